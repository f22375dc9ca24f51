//! How often all tenants together may ask an origin.
//!
//! A service counts the requests of a key and of an address, and tenants of one platform often share either. So a budget belongs to an
//! origin, whichever tenant asks it and with whatever key. Requests that have to wait are released tenant by tenant (round robin): a tenant
//! with many requests does not delay one with a single request. Unused budget is lost, but for about a second's worth.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::tenant::TenantId;
use elt_support::even_rate::EvenRate;
use elt_support::origin::Origin;

/// How long an unused budget saves up.
const SAVED: Duration = Duration::from_secs(1);

/// The budgets of all origins that have one.
#[derive(Debug, Default)]
pub struct Budgets {
    /// By the text of the origin, which is the same for all spellings of it.
    by_origin: Mutex<HashMap<String, Arc<Budget>>>,
}

impl Budgets {
    /// Puts other budgets in force. Requests that wait for one that has changed are still released by the old one.
    pub fn replace(&self, budgets: impl IntoIterator<Item = (Origin, u32)>) {
        let mut by_origin = self.by_origin.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut *by_origin);
        let kept = budgets.into_iter().map(|(origin, per_minute)| {
            let origin = origin.to_string();
            let same = old.remove(&origin).filter(|budget| budget.per_minute == per_minute);
            (origin, same.unwrap_or_else(|| Arc::new(Budget::new(per_minute))))
        });
        *by_origin = kept.collect();
    }

    /// The budget of an origin; none where there is no limit.
    pub(super) fn of(&self, origin: &str) -> Option<Arc<Budget>> {
        self.by_origin.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned()
    }
}

/// How often one origin may be asked.
#[derive(Debug)]
pub(super) struct Budget {
    per_minute: u32,
    began: Instant,
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    rate: EvenRate,
    /// Tenants in the order in which they are served, each with its requests.
    waiting: VecDeque<(TenantId, VecDeque<oneshot::Sender<()>>)>,
    served: bool,
}

impl Budget {
    fn new(per_minute: u32) -> Self {
        let interval = EvenRate::interval(per_minute);
        // At least one is saved, or a timer that fires late would cost requests.
        let rate = EvenRate::new(interval, SAVED.max(interval));
        let line = Line { rate, waiting: VecDeque::new(), served: false };
        Self { per_minute, began: Instant::now(), line: Mutex::new(line) }
    }

    /// Takes one request out of the budget, if that needs no wait.
    pub(super) fn try_take(&self) -> bool {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.waiting.is_empty() && line.rate.try_take(self.began.elapsed()).is_ok()
    }

    /// Waits until the budget allows the tenant one request.
    pub(super) async fn take(self: &Arc<Self>, tenant: &TenantId) {
        let turn = {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            let (sender, turn) = oneshot::channel();
            match line.waiting.iter_mut().find(|(other, _)| other == tenant) {
                Some((_, requests)) => requests.push_back(sender),
                None => line.waiting.push_back((tenant.clone(), VecDeque::from([sender]))),
            }
            if !std::mem::replace(&mut line.served, true) {
                tokio::spawn(self.clone().serve());
            }
            turn
        };
        // Fails only when the process ends.
        turn.await.ok();
    }

    /// Releases requests until none waits.
    async fn serve(self: Arc<Self>) {
        loop {
            let wait = {
                let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
                loop {
                    line.forget_gone();
                    if line.waiting.is_empty() {
                        line.served = false;
                        return;
                    }
                    if let Err(wait) = line.rate.try_take(self.began.elapsed()) {
                        break wait;
                    }
                    line.give_turn();
                }
            };
            sleep(wait).await;
        }
    }
}

impl Line {
    /// Requests whose sync was stopped are not waited for any more.
    fn forget_gone(&mut self) {
        for (_, requests) in &mut self.waiting {
            requests.retain(|request| !request.is_closed());
        }
        self.waiting.retain(|(_, requests)| !requests.is_empty());
    }

    fn give_turn(&mut self) {
        let Some((tenant, mut requests)) = self.waiting.pop_front() else { return };
        if let Some(request) = requests.pop_front() {
            request.send(()).ok();
        }
        if !requests.is_empty() {
            self.waiting.push_back((tenant, requests));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::parse("https://api.example").unwrap()
    }

    fn budget(per_minute: u32) -> Arc<Budget> {
        let budgets = Budgets::default();
        budgets.replace([(origin(), per_minute)]);
        budgets.of(&origin().to_string()).unwrap()
    }

    /// Lets tenants wait with so many requests each, and tells whose turn came in which order.
    async fn turns(budget: &Arc<Budget>, waiting: &[(&str, usize)]) -> Vec<String> {
        while budget.try_take() {}
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (tenant, requests) in waiting {
            for _ in 0..*requests {
                let (budget, order, tenant) = (budget.clone(), order.clone(), tenant.parse::<TenantId>().unwrap());
                tasks.push(tokio::spawn(async move {
                    budget.take(&tenant).await;
                    order.lock().unwrap().push(tenant.to_string());
                }));
                tokio::task::yield_now().await;
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        Arc::into_inner(order).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn a_tenant_with_many_requests_does_not_come_before_one_with_few() {
        let order = turns(&budget(6000), &[("greedy", 30), ("modest", 2), ("small", 1)]).await;
        let last = |tenant: &str| order.iter().rposition(|it| it == tenant).unwrap();
        assert!(last("modest") <= 6 && last("small") <= 4, "{order:?}");
        assert_eq!(order.len(), 33);
    }

    #[tokio::test]
    async fn no_more_are_sent_than_were_budgeted() {
        let budget = budget(3000);
        let started = Instant::now();
        turns(&budget, &[("a", 25), ("b", 25)]).await;
        // 50 a second, and one second saved up was taken before. A slow machine makes it longer, never shorter.
        assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn what_is_no_longer_waited_for_takes_no_turn() {
        let budget = budget(60);
        while budget.try_take() {}
        let (gone, tenant) = (budget.clone(), "gone".parse::<TenantId>().unwrap());
        let stopped = tokio::spawn(async move { gone.take(&tenant).await });
        tokio::task::yield_now().await;
        stopped.abort();
        assert!(stopped.await.unwrap_err().is_cancelled());
        let mut line = budget.line.lock().unwrap();
        line.forget_gone();
        assert!(line.waiting.is_empty());
    }

    #[tokio::test]
    async fn unchanged_budgets_stay_and_others_are_new() {
        let budgets = Budgets::default();
        budgets.replace([(origin(), 60)]);
        let first = budgets.of(&origin().to_string()).unwrap();
        budgets.replace([(origin(), 60)]);
        assert!(Arc::ptr_eq(&first, &budgets.of(&origin().to_string()).unwrap()));
        budgets.replace([(origin(), 61)]);
        assert!(!Arc::ptr_eq(&first, &budgets.of(&origin().to_string()).unwrap()));
        budgets.replace([]);
        assert!(budgets.of(&origin().to_string()).is_none());
    }
}
