//! A sync's place among those that work: it has a slot while it works, and none while it waits for a rate limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::Budgets;
use super::tenant::TenantId;
use crate::egress::Origin;
use crate::pace::Pace;

/// The slot of one sync, given back and taken again as it waits.
pub(super) struct Turn {
    tenant: TenantId,
    slots: Arc<Semaphore>,
    budgets: Arc<Budgets>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
    /// Requests of one sync take one slot together: one of them waits for it, the others for that one.
    taking: tokio::sync::Mutex<()>,
}

impl Turn {
    /// Begins with a slot.
    pub(super) fn new(
        tenant: TenantId,
        slot: OwnedSemaphorePermit,
        slots: Arc<Semaphore>,
        budgets: Arc<Budgets>,
    ) -> Self {
        Self { tenant, slots, budgets, held: Mutex::new(Some(slot)), taking: tokio::sync::Mutex::default() }
    }

    /// Whether the sync waits, and holds no slot.
    pub(super) fn is_waiting(&self) -> bool {
        self.held().is_none()
    }

    /// Gives the slot back.
    pub(super) fn give_back(&self) {
        self.held().take();
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take_again(&self) {
        if !self.is_waiting() {
            return;
        }
        let _first = self.taking.lock().await;
        if self.is_waiting() {
            // Slots are never closed.
            let slot = self.slots.clone().acquire_owned().await.ok();
            *self.held() = slot;
        }
    }
}

impl Pace for Turn {
    fn before_request<'a>(&'a self, origin: &'a Origin) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Some(budget) = self.budgets.of(origin)
                && !budget.try_take()
            {
                self.give_back();
                budget.take(&self.tenant).await;
            }
            self.take_again().await;
        })
    }

    fn throttled(&self, _: Duration) {
        self.give_back();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::parse("https://api.example").unwrap()
    }

    fn turn(slots: &Arc<Semaphore>, budgets: &Arc<Budgets>) -> Arc<Turn> {
        let slot = slots.clone().try_acquire_owned().unwrap();
        Arc::new(Turn::new("a".parse().unwrap(), slot, slots.clone(), budgets.clone()))
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
                tokio::spawn(async move { again.before_request(&origin()).await })
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
        budgets.replace([(origin(), 1200)]);
        let turn = turn(&slots, &budgets);
        while budgets.of(&origin()).unwrap().try_take() {}
        let waiting = turn.clone();
        let request = tokio::spawn(async move { waiting.before_request(&origin()).await });
        while !turn.is_waiting() {
            assert!(!request.is_finished(), "it did not wait");
            tokio::task::yield_now().await;
        }
        assert_eq!(slots.available_permits(), 1);
        request.await.unwrap();
        assert!(!turn.is_waiting());
        turn.before_request(&Origin::parse("https://other.example").unwrap()).await;
        assert!(!turn.is_waiting(), "another origin has no budget");
    }
}
