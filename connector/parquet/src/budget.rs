//! How much may be buffered by all readers together. Histories are read by the dozen at once; their row groups are not.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// What all runs may buffer of files.
const BYTES: usize = 40 << 20;

/// A number of bytes to share out. For one thread.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    taken: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

/// The right to buffer so many bytes.
#[derive(Debug)]
pub struct Share<'b> {
    budget: &'b Budget,
    bytes: usize,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.taken.set(self.budget.taken.get() - self.bytes);
        for waker in self.budget.waiting.take() {
            waker.wake();
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BYTES)
    }
}

impl Budget {
    /// With so many bytes to share.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Cell::new(0), waiting: RefCell::default() }
    }

    /// Waits for a share. An oversized one is granted when nothing else is taken.
    pub async fn share(&self, bytes: usize) -> Share<'_> {
        poll_fn(|context| {
            let taken = self.taken.get();
            if taken == 0 || taken.saturating_add(bytes) <= self.most {
                return Poll::Ready(self.extra(bytes));
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// A share beside one that the caller holds already, granted at once: two callers that wait with a share each would deadlock.
    pub fn extra(&self, bytes: usize) -> Share<'_> {
        self.taken.set(self.taken.get() + bytes);
        Share { budget: self, bytes }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn shares_wait_for_room() {
        let budget = Budget::new(10);
        let first = budget.share(6).now_or_never().unwrap();
        let _second = budget.share(4).now_or_never().unwrap();
        assert!(budget.share(1).now_or_never().is_none());
        drop(first);
        assert!(budget.share(6).now_or_never().is_some());
    }

    #[test]
    fn more_than_there_is_comes_alone() {
        let budget = Budget::new(10);
        let large = budget.share(100).now_or_never().unwrap();
        assert!(budget.share(1).now_or_never().is_none());
        drop(large);
        assert!(budget.share(1).now_or_never().is_some());
    }
}
