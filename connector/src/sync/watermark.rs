//! The watermark: the highest `updated_at` such that every run with that `updated_at` or a lower one is done.

use std::collections::{BTreeMap, BTreeSet};

/// Follows which runs are done, and how high the watermark may stand. Times are microseconds since the epoch.
#[derive(Debug)]
pub struct Watermark {
    value: Option<i64>,
    /// The times of all listed runs.
    times: BTreeSet<i64>,
    /// How many runs of each time are not done.
    open: BTreeMap<i64, usize>,
    /// Only a complete listing tells what lies below.
    complete: bool,
}

impl Watermark {
    /// Starts from the stored one.
    pub fn new(stored: Option<i64>) -> Self {
        Self { value: stored, times: BTreeSet::new(), open: BTreeMap::new(), complete: false }
    }

    /// A run was listed. A run without a legible time never holds the watermark up: its entry alone says whether it is done.
    pub fn listed(&mut self, updated_at: Option<i64>, done: bool) {
        let Some(time) = updated_at else { return };
        self.times.insert(time);
        if !done {
            *self.open.entry(time).or_default() += 1;
        }
    }

    /// A run that was listed as not done is done now.
    pub fn done(&mut self, updated_at: Option<i64>) {
        let Some(time) = updated_at else { return };
        if let Some(count) = self.open.get_mut(&time) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&time);
            }
        }
    }

    /// The listing has ended, and left nothing out.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// The new value, if the watermark has risen.
    pub fn advance(&mut self) -> Option<i64> {
        if !self.complete {
            return None;
        }
        let reached = match self.open.first_key_value() {
            None => self.times.last(),
            Some((&first, _)) => self.times.range(..first).next_back(),
        };
        let reached = reached.copied().filter(|reached| self.value.is_none_or(|value| *reached > value))?;
        self.value = Some(reached);
        self.times = self.times.split_off(&reached);
        Some(reached)
    }

    /// Where it stands.
    pub fn value(&self) -> Option<i64> {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_stays_below_a_run_that_is_not_done_and_below_its_ties() {
        let mut watermark = Watermark::new(None);
        for (time, done) in [(1, true), (2, true), (3, false), (3, true), (4, true)] {
            watermark.listed(Some(time), done);
        }
        assert_eq!(watermark.advance(), None, "the listing is not complete");
        watermark.complete();
        assert_eq!(watermark.advance(), Some(2));
        assert_eq!(watermark.advance(), None);
        watermark.done(Some(3));
        assert_eq!(watermark.advance(), Some(4));
    }

    #[test]
    fn it_never_falls() {
        let mut watermark = Watermark::new(Some(10));
        watermark.listed(Some(5), false);
        watermark.complete();
        assert_eq!(watermark.advance(), None);
        watermark.done(Some(5));
        assert_eq!((watermark.advance(), watermark.value()), (None, Some(10)));
    }

    proptest! {
        #[test]
        fn all_at_or_below_it_is_done(runs in proptest::collection::vec((0i64..8, any::<bool>()), 1..20), order in any::<prop::sample::Index>()) {
            let mut watermark = Watermark::new(None);
            for (time, done) in &runs {
                watermark.listed(Some(*time), *done);
            }
            watermark.complete();
            let mut open: Vec<i64> = runs.iter().filter(|(_, done)| !done).map(|(time, _)| *time).collect();
            loop {
                watermark.advance();
                let expected = runs.iter().map(|(time, _)| *time).filter(|time| open.iter().all(|open| open > time)).max();
                prop_assert_eq!(watermark.value(), expected);
                if open.is_empty() {
                    break;
                }
                let next = open.remove(order.index(open.len()));
                watermark.done(Some(next));
            }
        }
    }
}
