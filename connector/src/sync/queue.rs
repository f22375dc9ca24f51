//! Which changed run is read next.
//!
//! The largest go first, since nothing is as slow as a large run that begins last. But every few of them a small one comes between: where the
//! large ones fail, it shows that W&B does not. Runs that failed the last time go last, so that they delay no other.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::run::Ready;

/// One of so many runs is the smallest that waits.
const MIX: u64 = 4;

/// Of runs of one size the first listed is taken for the larger one.
type Rank = (u64, Reverse<u64>);

/// The changed runs that wait.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    new: BTreeMap<Rank, Ready>,
    failed_before: BTreeMap<Rank, Ready>,
    listed: u64,
    taken: u64,
    /// The last one came from the smallest.
    from_smallest: bool,
}

impl Queue {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.new.len() + self.failed_before.len()
    }

    /// A run joins.
    pub(crate) fn push(&mut self, ready: Ready, failed_before: bool) {
        self.listed += 1;
        let place = (ready.listed.size(), Reverse(self.listed));
        let queue = if failed_before { &mut self.failed_before } else { &mut self.new };
        queue.insert(place, ready);
    }

    /// The next one. While `more_may_come`, runs that failed before wait; where `smallest` is wanted, nothing else is given as long as there
    /// are others than those.
    pub(crate) fn pop(&mut self, smallest: bool, more_may_come: bool) -> Option<Ready> {
        self.taken += u64::from(!self.new.is_empty());
        self.from_smallest = smallest || self.taken.is_multiple_of(MIX);
        let next = if self.from_smallest { self.new.pop_first() } else { self.new.pop_last() };
        let next = next.or_else(|| if more_may_come { None } else { self.failed_before.pop_first() });
        next.map(|(_, ready)| ready)
    }

    /// One more beside the last one, the nearest to it in size, if it `fits`. Runs that failed before are read by themselves.
    pub(crate) fn pop_beside(&mut self, fits: impl FnOnce(&Ready) -> bool) -> Option<Ready> {
        let next = if self.from_smallest { self.new.first_entry() } else { self.new.last_entry() };
        next.filter(|next| fits(next.get())).map(|next| next.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Earlier, Listed};
    use crate::state::HistoryVersion;

    fn ready(lines: u64) -> Ready {
        let history = Some(HistoryVersion { lines: Some(lines), heartbeat: None });
        let listed = Listed { id: lines.to_string(), version: String::new(), updated_at: None, history, row: None };
        Ready { listed, earlier: Earlier::default(), company: 9 }
    }

    #[test]
    fn the_largest_go_first_with_small_ones_between_and_those_that_failed_last() {
        let mut queue = Queue::default();
        for lines in [5, 900, 1, 70, 30, 8] {
            queue.push(ready(lines), lines == 900);
        }
        let mut order = Vec::new();
        while let Some(next) = queue.pop(order.len() == 1, true) {
            order.push(next.listed.size());
        }
        assert_eq!((order, queue.len()), (vec![70, 1, 30, 5, 8], 1));
        assert_eq!(queue.pop(false, false).unwrap().listed.size(), 900);
        assert!(queue.pop(false, false).is_none());
    }

    #[test]
    fn what_is_read_beside_a_run_is_next_to_it_in_size() {
        let mut queue = Queue::default();
        for lines in [5, 900, 1, 70, 8] {
            queue.push(ready(lines), lines == 1);
        }
        let size = |ready: Option<Ready>| ready.map(|ready| ready.listed.size());
        assert_eq!(size(queue.pop(false, true)), Some(900));
        assert_eq!(size(queue.pop_beside(|next| next.listed.size() < 50)), None);
        assert_eq!(size(queue.pop_beside(|_| true)), Some(70));
        assert_eq!((size(queue.pop(true, true)), size(queue.pop_beside(|_| true))), (Some(5), Some(8)));
        assert_eq!(size(queue.pop_beside(|_| true)), None, "it failed before");
    }
}
