//! The permit of one sync to work: it holds a slot while it works, and none while it waits for a rate limit.
//!
//! A sync that has held its slot for long gives it back at its next request and queues again. So the first sync of a large project does not
//! block other tenants for hours.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::budget::Budgets;
use super::scheduling::SchedulingClass;
use super::tenant::TenantId;
use elt_host::RateGate;

/// How long a slot is kept while others wait for one.
const SLICE: Duration = Duration::from_secs(60);

/// A slot, and since when it is held.
struct Slot {
    since: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { since: Instant::now(), _permit: permit }
    }
}

/// The slot of one sync, given back and taken again as it waits.
pub(super) struct SlotPermit {
    tenant: TenantId,
    slots: Arc<Semaphore>,
    budgets: Arc<Budgets>,
    held: Mutex<Option<Slot>>,
    /// Requests of one sync take one slot together: one of them waits for it, the others for that one.
    taking: tokio::sync::Mutex<()>,
    class: SchedulingClass,
}

impl SlotPermit {
    /// Begins with a slot.
    pub(super) fn new(
        tenant: TenantId,
        slot: OwnedSemaphorePermit,
        slots: Arc<Semaphore>,
        budgets: Arc<Budgets>,
        class: SchedulingClass,
    ) -> Self {
        let (held, taking) = (Mutex::new(Some(Slot::new(slot))), tokio::sync::Mutex::default());
        Self { tenant, slots, budgets, held, taking, class }
    }

    /// Whether the sync waits, and holds no slot.
    pub(super) fn is_waiting(&self) -> bool {
        self.held().is_none()
    }

    /// Gives the slot back.
    pub(super) fn give_back(&self) {
        self.held().take();
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Slot>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets others go first, after a while.
    fn make_room(&self, slice: Duration) {
        if self.slots.available_permits() == 0 {
            drop(self.held().take_if(|slot| slot.since.elapsed() >= slice));
        }
    }

    async fn take_again(&self) {
        if !self.is_waiting() {
            return;
        }
        let _first = self.taking.lock().await;
        if self.is_waiting() {
            // Slots are never closed.
            let slot = self.slots.clone().acquire_owned().await.ok();
            *self.held() = slot.map(Slot::new);
        }
    }
}

impl RateGate for SlotPermit {
    fn before_request<'a>(&'a self, origin: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Some(budget) = self.budgets.of(origin)
                && !budget.try_take()
            {
                self.give_back();
                budget.take(&self.tenant).await;
            }
            self.make_room(SLICE);
            self.take_again().await;
        })
    }

    fn throttled(&self, _: Duration) {
        self.give_back();
    }

    fn computed(&self, time: Duration) {
        self.class.spent(time);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.class.block(work)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use elt_support::origin::Origin;

    const ORIGIN: &str = "https://api.example";

    fn turn(slots: &Arc<Semaphore>, budgets: &Arc<Budgets>) -> Arc<SlotPermit> {
        let slot = slots.clone().try_acquire_owned().unwrap();
        Arc::new(SlotPermit::new(
            "a".parse().unwrap(),
            slot,
            slots.clone(),
            budgets.clone(),
            SchedulingClass::default(),
        ))
    }

    #[tokio::test]
    async fn a_sync_that_waits_for_a_rate_limit_holds_no_slot() {
        let slots = Arc::new(Semaphore::new(1));
        let turn = turn(&slots, &Arc::default());
        assert_eq!((turn.is_waiting(), slots.available_permits()), (false, 0));
        turn.throttled(Duration::from_secs(60));
        assert_eq!((turn.is_waiting(), slots.available_permits()), (true, 1));

        let others = slots.clone().try_acquire_owned().unwrap();
        let again = turn.clone();
        let mut requests: Vec<_> = (0..3)
            .map(|_| {
                let again = again.clone();
                tokio::spawn(async move { again.before_request(ORIGIN).await })
            })
            .collect();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(requests.iter().all(|request| !request.is_finished()), "there is no slot");
        drop(others);
        for request in requests.drain(..) {
            request.await.unwrap();
        }
        assert_eq!((turn.is_waiting(), slots.available_permits()), (false, 0), "one slot for all");
        drop((turn, again));
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_sync_that_waits_for_a_budget_holds_no_slot() {
        let slots = Arc::new(Semaphore::new(1));
        let budgets = Arc::new(Budgets::default());
        budgets.replace([(Origin::parse(ORIGIN).unwrap(), 1200)]);
        let turn = turn(&slots, &budgets);
        while budgets.of(ORIGIN).unwrap().try_take() {}
        let waiting = turn.clone();
        let request = tokio::spawn(async move { waiting.before_request(ORIGIN).await });
        while !turn.is_waiting() {
            assert!(!request.is_finished(), "it did not wait");
            tokio::task::yield_now().await;
        }
        assert_eq!(slots.available_permits(), 1);
        request.await.unwrap();
        assert!(!turn.is_waiting());
        turn.before_request("https://other.example").await;
        assert!(!turn.is_waiting(), "another origin has no budget");
    }

    #[tokio::test]
    async fn who_has_worked_for_long_goes_to_the_end_of_the_line() {
        let slots = Arc::new(Semaphore::new(1));
        let turn = turn(&slots, &Arc::default());
        turn.make_room(SLICE);
        assert!(!turn.is_waiting(), "it has only begun");
        let other = tokio::spawn(slots.clone().acquire_owned());
        tokio::task::yield_now().await;
        turn.make_room(Duration::ZERO);
        assert!(turn.is_waiting());
        let again = turn.clone();
        let request = tokio::spawn(async move { again.before_request(ORIGIN).await });
        let other = other.await.unwrap().unwrap();
        assert!(!request.is_finished());
        drop(other);
        request.await.unwrap();
        assert!(!turn.is_waiting());
    }
}
