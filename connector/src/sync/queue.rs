//! Which changed run is read next.
//!
//! The largest go first, since nothing is as slow as a large run that begins last. But every few of them a small one comes between: where the
//! large ones fail, it shows that W&B does not. Runs that failed the last time go last, so that they hold up nobody.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::api::Listed;
use crate::sync::run::Earlier;

/// One of so many runs is the smallest that waits.
const MIX: u64 = 4;

/// A changed run that waits to be read.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The run as it was listed.
    pub(crate) listed: Listed,
    /// What earlier syncs know of it.
    pub(crate) earlier: Earlier,
}

/// Of runs of one size the first listed is taken for the larger one.
type Rank = (u64, Reverse<u64>);

/// The changed runs that wait.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    new: BTreeMap<Rank, Ready>,
    failed_before: BTreeMap<Rank, Ready>,
    listed: u64,
    taken: u64,
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
        let next = if smallest || self.taken.is_multiple_of(MIX) { self.new.pop_first() } else { self.new.pop_last() };
        let next = next.or_else(|| if more_may_come { None } else { self.failed_before.pop_first() });
        next.map(|(_, ready)| ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::state::HistoryVersion;

    fn ready(lines: u64) -> Ready {
        let history = Some(HistoryVersion { lines: Some(lines), heartbeat: None });
        let listed = Listed { id: lines.to_string(), version: String::new(), updated_at: None, history, row: None };
        Ready { listed, earlier: Earlier::default() }
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
}
