//! How much the responses that are being read hold together. How large they will be is not known when they are asked for: a few hundred
//! bytes over the wire can be as large as a response may be, and a dozen of them at once more than the memory there is.
//!
//! Beyond the budget only the response that was begun first is read on, so that one always comes to its end; the others wait, and their
//! servers with them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// What all responses that are being read may hold, before one of them alone goes on: twice what is expected of ordinary ones (`limiter.rs`).
const BYTES: usize = 32 << 20;

/// The responses that are being read. For one thread.
#[derive(Debug)]
pub struct Bodies {
    most: usize,
    held: Cell<usize>,
    /// Numbers of those under way; a smaller one was begun earlier.
    under_way: RefCell<BTreeSet<u64>>,
    next: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::new(BYTES)
    }
}

impl Bodies {
    /// Responses that may hold `most` bytes together.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            held: Cell::new(0),
            under_way: RefCell::default(),
            next: Cell::new(0),
            waiting: RefCell::default(),
        }
    }

    /// A response that is about to be read.
    pub fn begin(&self) -> Body<'_> {
        let number = self.next.get();
        self.next.set(number + 1);
        self.under_way.borrow_mut().insert(number);
        Body { bodies: self, number, bytes: 0 }
    }
}

/// One response that is being read. What it holds counts until it is dropped.
#[derive(Debug)]
pub struct Body<'b> {
    bodies: &'b Bodies,
    number: u64,
    bytes: usize,
}

impl Body<'_> {
    /// Waits until it may be read on.
    pub async fn turn(&self) {
        poll_fn(|context| {
            let is_first = self.bodies.under_way.borrow().first() == Some(&self.number);
            if is_first || self.bodies.held.get() < self.bodies.most {
                return Poll::Ready(());
            }
            self.bodies.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// It takes so many bytes more of memory.
    pub fn grew(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.bodies.held.set(self.bodies.held.get() + bytes);
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        self.bodies.held.set(self.bodies.held.get() - self.bytes);
        self.bodies.under_way.borrow_mut().remove(&self.number);
        for waker in self.bodies.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::FuturesUnordered;
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    fn may_go_on(body: &Body<'_>) -> bool {
        body.turn().now_or_never().is_some()
    }

    #[test]
    fn beyond_the_budget_only_the_first_goes_on() {
        let bodies = Bodies::new(100);
        let (mut first, mut second, mut third) = (bodies.begin(), bodies.begin(), bodies.begin());
        second.grew(60);
        assert!(may_go_on(&first) && may_go_on(&second) && may_go_on(&third));
        third.grew(40);
        assert!(may_go_on(&first) && !may_go_on(&second) && !may_go_on(&third));
        first.grew(1000);
        assert!(may_go_on(&first) && !may_go_on(&second));
        drop(first);
        assert!(may_go_on(&second) && !may_go_on(&third), "the next one is the first now");
        drop(second);
        assert!(may_go_on(&third));
        drop(third);
        assert_eq!((bodies.held.get(), bodies.under_way.borrow().len()), (0, 0));
    }

    #[test]
    fn who_waits_is_woken_when_another_ends() {
        let bodies = Bodies::new(10);
        let (mut first, second) = (bodies.begin(), bodies.begin());
        first.grew(10);
        // A set polls again only who was woken.
        let mut waits: FuturesUnordered<_> = [second.turn()].into_iter().collect();
        assert!(waits.next().now_or_never().is_none());
        drop(first);
        assert_eq!(waits.next().now_or_never(), Some(Some(())));
    }
}
