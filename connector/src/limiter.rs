//! How many requests are in flight. Falls when W&B says 429, rises slowly again; a wait that W&B asks for holds up all requests. Large responses
//! come fewer at a time than small ones, since all of them are held in memory.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Bytes of responses that may be under way, as far as their sizes can be foreseen.
const UNDER_WAY: f64 = (16 << 20) as f64;
/// So many may be under way whatever their size: one is read while others come.
const FEWEST: f64 = 4.0;
/// What a response is expected to hold before any came.
const FIRST_SIZE: f64 = (4 << 20) as f64;
/// How much of what was expected is expected still, after a smaller response.
const MEMORY: f64 = 0.75;

/// Lets a bounded, adapting number of requests through. For one thread.
#[derive(Debug)]
pub struct Limiter {
    most: f64,
    limit: Cell<f64>,
    in_flight: Cell<usize>,
    /// Bytes that the next response may hold: those of a large one that came lately.
    size: Cell<f64>,
    waiting: RefCell<VecDeque<Waker>>,
    /// Requests that began before this moment say nothing about the present limit.
    lowered_at: Cell<Duration>,
    /// No request begins before this moment.
    resume_at: Cell<Duration>,
}

/// The right to have one request in flight.
#[derive(Debug)]
pub struct Permit<'l>(&'l Limiter);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.wake();
    }
}

impl Limiter {
    /// At most `most` in flight.
    pub fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        Self {
            most,
            limit: Cell::new(most),
            in_flight: Cell::new(0),
            size: Cell::new(FIRST_SIZE),
            waiting: RefCell::default(),
            lowered_at: Cell::new(Duration::ZERO),
            resume_at: Cell::new(Duration::ZERO),
        }
    }

    /// Waits for a place.
    pub async fn acquire(&self) -> Permit<'_> {
        poll_fn(|context| {
            let fitting = (UNDER_WAY / self.size.get()).max(FEWEST);
            if self.in_flight.get() < self.limit.get().min(fitting) as usize {
                self.in_flight.set(self.in_flight.get() + 1);
                return Poll::Ready(Permit(self));
            }
            self.waiting.borrow_mut().push_back(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// How long requests still have to wait, at `now`.
    pub fn pause(&self, now: Duration) -> Option<Duration> {
        self.resume_at.get().checked_sub(now).filter(|wait| !wait.is_zero())
    }

    /// A request that began at `began` was answered.
    pub fn succeeded(&self, began: Duration) {
        if began >= self.lowered_at.get() {
            let limit = self.limit.get();
            self.limit.set((limit + 0.5 / limit).min(self.most));
            self.wake();
        }
    }

    /// A response held so many bytes.
    pub fn received(&self, bytes: usize) {
        self.size.set((bytes as f64).max(self.size.get() * MEMORY));
        self.wake();
    }

    /// A request that began at `began` was refused for its rate; W&B wants to be left alone for `wait`.
    pub fn refused(&self, began: Duration, now: Duration, wait: Option<Duration>) {
        if began >= self.lowered_at.get() {
            self.limit.set((self.limit.get() / 2.0).max(1.0));
            self.lowered_at.set(now);
        }
        if let Some(wait) = wait {
            self.resume_at.set(self.resume_at.get().max(now + wait));
        }
    }

    /// Wakes everyone: a waiter that was dropped meanwhile must not swallow the only call.
    fn wake(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_so_many_are_in_flight() {
        let limiter = Limiter::new(2);
        let first = limiter.acquire().now_or_never().unwrap();
        let _second = limiter.acquire().now_or_never().unwrap();
        assert!(limiter.acquire().now_or_never().is_none());
        drop(first);
        assert!(limiter.acquire().now_or_never().is_some());
    }

    #[test]
    fn large_responses_come_fewer_at_a_time() {
        let limiter = Limiter::new(32);
        let in_flight = || std::iter::from_fn(|| limiter.acquire().now_or_never()).collect::<Vec<_>>().len();
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
        let few = Limiter::new(2);
        assert_eq!(std::iter::from_fn(|| few.acquire().now_or_never()).collect::<Vec<_>>().len(), 2);
    }

    #[test]
    fn a_burst_of_refusals_halves_the_limit_once() {
        let limiter = Limiter::new(16);
        for _ in 0..16 {
            limiter.refused(SECOND, 2 * SECOND, None);
        }
        assert_eq!(limiter.limit.get(), 8.0);
        for round in 3..20 {
            limiter.refused(round * SECOND, round * SECOND, None);
        }
        assert_eq!(limiter.limit.get(), 1.0);
    }

    #[test]
    fn the_limit_rises_slowly_and_not_above_the_most() {
        let limiter = Limiter::new(4);
        limiter.refused(SECOND, SECOND, None);
        limiter.succeeded(Duration::ZERO);
        assert_eq!(limiter.limit.get(), 2.0, "an old request says nothing");
        for _ in 0..5 {
            limiter.succeeded(2 * SECOND);
        }
        assert!(limiter.limit.get() > 2.9 && limiter.limit.get() < 3.5);
        for _ in 0..100 {
            limiter.succeeded(2 * SECOND);
        }
        assert_eq!(limiter.limit.get(), 4.0);
    }

    #[test]
    fn a_wait_holds_up_everyone_until_it_is_over() {
        let limiter = Limiter::new(4);
        limiter.refused(SECOND, SECOND, Some(5 * SECOND));
        limiter.refused(SECOND, SECOND, Some(SECOND));
        assert_eq!(limiter.pause(2 * SECOND), Some(4 * SECOND));
        assert_eq!(limiter.pause(6 * SECOND), None);
    }
}
