//! How many requests are in flight, and when the next one may begin. What W&B says of its rate limit and what a storage host says hold for
//! each of them alone; places are common to both, and fewer while responses are large, since all of them are held in memory.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::api::quota::Quota;
use crate::api::rate::Left;

/// The longest wait that a server is granted. After it one request shows whether it was enough.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Bytes of responses that may be under way, as far as their sizes can be foreseen.
const UNDER_WAY: f64 = (16 << 20) as f64;
/// So many may be under way whatever their size: one is read while others come.
const FEWEST: f64 = 4.0;
/// What a response is expected to hold before any came.
const FIRST_SIZE: f64 = (4 << 20) as f64;
/// How much of what was expected is expected still, after a smaller response.
const MEMORY: f64 = 0.75;

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// W&B's API, which is asked with the key.
    Api,
    /// Where files are stored, which is asked without.
    Storage,
}

/// The rate of requests to one party: the number in flight falls when it says 429 and rises slowly again, a wait that it asks for holds up
/// all requests to it, and what it says is left of its limit is made to last.
#[derive(Debug)]
struct Rate {
    limit: Cell<f64>,
    in_flight: Cell<usize>,
    begun: Cell<u32>,
    /// Requests that began before this moment say nothing about the present limit.
    lowered_at: Cell<Duration>,
    /// No request begins before this moment.
    resume_at: Cell<Duration>,
    quota: Cell<Option<Quota>>,
}

impl Rate {
    fn new(most: f64) -> Self {
        Self {
            limit: Cell::new(most),
            in_flight: Cell::new(0),
            begun: Cell::new(0),
            lowered_at: Cell::new(Duration::ZERO),
            resume_at: Cell::new(Duration::ZERO),
            quota: Cell::new(None),
        }
    }

    fn pause(&self, now: Duration) -> Option<Duration> {
        let next_at = self.quota.get().map_or(Duration::ZERO, |quota| quota.next_at(now));
        self.resume_at.get().max(next_at).checked_sub(now).filter(|wait| !wait.is_zero())
    }

    fn has_room(&self, now: Duration) -> bool {
        let fitting = self.quota.get().map_or(f64::INFINITY, |quota| quota.fitting(now));
        self.in_flight.get() < self.limit.get().min(fitting) as usize
    }

    fn begin(&self, now: Duration) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.begun.set(self.begun.get().saturating_add(1));
        self.with_quota(|quota| quota.begin(now));
    }

    fn with_quota(&self, change: impl FnOnce(&mut Quota)) {
        self.quota.set(self.quota.get().map(|mut quota| {
            change(&mut quota);
            quota
        }));
    }
}

/// Lets a bounded, adapting number of requests through. For one thread.
#[derive(Debug)]
pub struct Limiter {
    most: f64,
    in_flight: Cell<usize>,
    /// Bytes that the next response may hold: those of a large one that came lately.
    size: Cell<f64>,
    waiting: RefCell<VecDeque<Waker>>,
    api: Rate,
    storage: Rate,
}

/// The right to have one request in flight.
#[derive(Debug)]
pub struct Permit<'l> {
    limiter: &'l Limiter,
    party: Party,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let rate = self.limiter.rate(self.party);
        rate.in_flight.set(rate.in_flight.get() - 1);
        self.limiter.in_flight.set(self.limiter.in_flight.get() - 1);
        self.limiter.wake();
    }
}

impl Limiter {
    /// At most `most` in flight.
    pub fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        Self {
            most,
            in_flight: Cell::new(0),
            size: Cell::new(FIRST_SIZE),
            waiting: RefCell::default(),
            api: Rate::new(most),
            storage: Rate::new(most),
        }
    }

    fn rate(&self, party: Party) -> &Rate {
        match party {
            Party::Api => &self.api,
            Party::Storage => &self.storage,
        }
    }

    /// Waits for a place. The error is how long requests to that party have to wait before they may ask for one: nobody who waits for a
    /// rate limit keeps a place from others.
    pub async fn acquire(&self, party: Party, now: impl Fn() -> Duration) -> Result<Permit<'_>, Duration> {
        let rate = self.rate(party);
        poll_fn(|context| {
            let now = now();
            if let Some(pause) = rate.pause(now) {
                return Poll::Ready(Err(pause));
            }
            let fitting = (UNDER_WAY / self.size.get()).max(FEWEST).min(self.most);
            if self.in_flight.get() < fitting as usize && rate.has_room(now) {
                self.in_flight.set(self.in_flight.get() + 1);
                rate.begin(now);
                return Poll::Ready(Ok(Permit { limiter: self, party }));
            }
            self.waiting.borrow_mut().push_back(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// A request that began at `began` was answered.
    pub fn succeeded(&self, party: Party, began: Duration) {
        let rate = self.rate(party);
        if began >= rate.lowered_at.get() {
            let limit = rate.limit.get();
            rate.limit.set((limit + 0.5 / limit).min(self.most));
            self.wake();
        }
    }

    /// A response held so many bytes.
    pub fn received(&self, bytes: usize) {
        self.size.set((bytes as f64).max(self.size.get() * MEMORY));
        self.wake();
    }

    /// The answer to a request that began at `began` says what is left.
    pub fn told(&self, party: Party, left: Left, began: Duration, now: Duration) {
        let rate = self.rate(party);
        let quota = match rate.quota.get() {
            None => Quota::first(left, rate.begun.get(), now, LONGEST_WAIT),
            Some(mut quota) => {
                quota.read(left, began, now, LONGEST_WAIT);
                quota
            }
        };
        rate.quota.set(Some(quota));
        self.wake();
    }

    /// A request that began at `began` was refused for its rate; the party wants to be left alone for `wait`.
    pub fn refused(&self, party: Party, began: Duration, now: Duration, wait: Option<Duration>) {
        let rate = self.rate(party);
        if began >= rate.lowered_at.get() {
            rate.limit.set((rate.limit.get() / 2.0).max(1.0));
            rate.lowered_at.set(now);
            rate.with_quota(Quota::refused);
        }
        if let Some(wait) = wait {
            rate.resume_at.set(rate.resume_at.get().max(now + wait.min(LONGEST_WAIT)));
        }
    }

    /// Wakes all waiters: a single wake-up would be lost on one that was dropped meanwhile.
    fn wake(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::Party::{Api, Storage};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn taken(limiter: &Limiter, party: Party, now: Duration) -> Option<Permit<'_>> {
        limiter.acquire(party, || now).now_or_never()?.ok()
    }

    fn fitting(limiter: &Limiter, party: Party, now: Duration) -> usize {
        std::iter::from_fn(|| taken(limiter, party, now)).collect::<Vec<_>>().len()
    }

    #[test]
    fn only_so_many_are_in_flight() {
        let limiter = Limiter::new(2);
        let first = taken(&limiter, Api, SECOND).unwrap();
        let _second = taken(&limiter, Storage, SECOND).unwrap();
        assert!(taken(&limiter, Api, SECOND).is_none());
        drop(first);
        assert!(taken(&limiter, Api, SECOND).is_some());
    }

    #[test]
    fn large_responses_come_fewer_at_a_time() {
        let limiter = Limiter::new(32);
        let in_flight = || fitting(&limiter, Api, SECOND);
        assert_eq!(in_flight(), 4, "nothing is known yet");
        for _ in 0..20 {
            limiter.received(1000);
        }
        assert_eq!(in_flight(), 32);
        limiter.received(1 << 20);
        assert_eq!(in_flight(), 16);
        limiter.received(60 << 20);
        limiter.received(1000);
        assert_eq!(in_flight(), 4);
        assert_eq!(fitting(&Limiter::new(2), Api, SECOND), 2);
    }

    #[test]
    fn a_burst_of_refusals_halves_the_limit_once() {
        let limiter = Limiter::new(16);
        for _ in 0..16 {
            limiter.refused(Api, SECOND, 2 * SECOND, None);
        }
        assert_eq!(limiter.api.limit.get(), 8.0);
        for round in 3..20 {
            limiter.refused(Api, round * SECOND, round * SECOND, None);
        }
        assert_eq!(limiter.api.limit.get(), 1.0);
    }

    #[test]
    fn the_limit_rises_slowly_and_not_above_the_most() {
        let limiter = Limiter::new(4);
        limiter.refused(Api, SECOND, SECOND, None);
        limiter.succeeded(Api, Duration::ZERO);
        assert_eq!(limiter.api.limit.get(), 2.0, "an old request says nothing");
        for _ in 0..5 {
            limiter.succeeded(Api, 2 * SECOND);
        }
        assert!(limiter.api.limit.get() > 2.9 && limiter.api.limit.get() < 3.5);
        for _ in 0..100 {
            limiter.succeeded(Api, 2 * SECOND);
        }
        assert_eq!(limiter.api.limit.get(), 4.0);
    }

    #[test]
    fn a_wait_holds_up_everyone_until_it_is_over() {
        let limiter = Limiter::new(4);
        limiter.refused(Api, SECOND, SECOND, Some(5 * SECOND));
        limiter.refused(Api, SECOND, SECOND, Some(SECOND));
        let pause = |now| limiter.acquire(Api, || now).now_or_never().and_then(Result::err);
        assert_eq!(pause(2 * SECOND), Some(4 * SECOND));
        assert_eq!(pause(6 * SECOND), None);
        assert!(taken(&limiter, Api, 6 * SECOND).is_some());
    }

    #[test]
    fn what_a_storage_host_refuses_slows_nothing_else() {
        let limiter = Limiter::new(4);
        for _ in 0..4 {
            limiter.refused(Storage, SECOND, 2 * SECOND, Some(50 * SECOND));
        }
        limiter.told(Storage, Left { parts: 0.0, renewed_in: 50 * SECOND }, SECOND, SECOND);
        assert_eq!((fitting(&limiter, Api, SECOND), fitting(&limiter, Storage, SECOND)), (4, 0));
        assert_eq!(fitting(&limiter, Storage, 60 * SECOND), 2);
    }

    #[test]
    fn as_less_is_left_fewer_are_in_flight() {
        let limiter = Limiter::new(16);
        limiter.received(0);
        for _ in 0..20 {
            limiter.received(0);
        }
        drop(taken(&limiter, Api, SECOND));
        limiter.told(Api, Left { parts: 980.0, renewed_in: 60 * SECOND }, SECOND, SECOND);
        assert_eq!(fitting(&limiter, Api, SECOND), 16);
        for parts in [900.0, 500.0, 260.0] {
            limiter.told(Api, Left { parts, renewed_in: 60 * SECOND }, SECOND, SECOND);
        }
        assert!((1..16).contains(&fitting(&limiter, Api, SECOND)));
        limiter.told(Api, Left { parts: 0.0, renewed_in: 60 * SECOND }, SECOND, SECOND);
        assert_eq!(fitting(&limiter, Api, SECOND), 0);
        assert!(fitting(&limiter, Api, 61 * SECOND) > 1);
    }
}
