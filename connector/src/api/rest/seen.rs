//! Whether something was seen before, in a memory that does not grow with what is seen.

use std::collections::{BTreeSet, VecDeque};

/// So many are remembered one by one.
const RECENT: usize = 1024;

/// Hashes that were seen: the last ones, and one of long ago. What goes round in a longer circle than is remembered comes back to that one
/// (Brent's way to find a circle): it is replaced each time the count has doubled, so that it lies in the circle sooner or later, and stays for
/// as long as a whole round takes.
#[derive(Debug, Default)]
pub(super) struct Seen {
    recent: BTreeSet<u64>,
    order: VecDeque<u64>,
    of_long_ago: Option<u64>,
    count: u64,
}

impl Seen {
    /// Takes note of a hash. False where it is known to have been seen before.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        if self.of_long_ago == Some(hash) || !self.recent.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
        self.count += 1;
        if self.count.is_power_of_two() {
            self.of_long_ago = Some(hash);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many it takes to notice that `lead` hashes are followed by a circle of `length`.
    fn noticed_after(lead: u64, length: u64) -> u64 {
        let mut seen = Seen::default();
        let cycles = (0..lead).chain((0..length).cycle().map(|place| lead + place));
        cycles.take_while(|hash| seen.insert(*hash)).count() as u64
    }

    #[test]
    fn a_short_circle_is_noticed_in_its_second_round() {
        for (lead, length) in [(0, 1), (0, 2), (5, 1), (1000, 7), (100_000, RECENT as u64)] {
            assert_eq!(noticed_after(lead, length), lead + length, "{lead} {length}");
        }
    }

    #[test]
    fn a_circle_longer_than_what_is_remembered_is_noticed_too() {
        for (lead, length) in [(0, 5_000), (3_000, 5_000), (100_000, 2_000), (10, 70_000)] {
            let took = noticed_after(lead, length);
            assert!(took <= 3 * (lead + length), "{lead} {length}: {took}");
        }
    }

    #[test]
    fn what_is_remembered_does_not_grow() {
        let mut seen = Seen::default();
        assert!((0..200_000).all(|hash| seen.insert(hash)), "all are new");
        assert_eq!((seen.recent.len(), seen.order.len()), (RECENT, RECENT));
    }
}
