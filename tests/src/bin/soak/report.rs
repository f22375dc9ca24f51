//! What the soak saw, and whether memory stayed flat.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;

/// A quiet moment in which all tables were equal, and the sync after it.
pub(crate) struct Sample {
    pub(crate) peak_kib: u64,
    /// The destination's files.
    pub(crate) bytes: u64,
    /// Compared.
    pub(crate) rows: usize,
}

/// What one destination has been through.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) changes: u64,
    pub(crate) faults: u64,
    /// Disturbed syncs by their end.
    pub(crate) ended: u64,
    pub(crate) failed: u64,
    pub(crate) stopped: u64,
    pub(crate) killed: u64,
    pub(crate) samples: Vec<Sample>,
}

/// Everything.
pub(crate) struct Report {
    lanes: Vec<(String, Tally)>,
}

/// In the last quarter such a sync may take so much more memory than in the first one.
const MOST_GROWTH: f64 = 1.25;

/// A median of fewer values says little.
const LEAST_VALUES: usize = 4;

/// The medians of the first and the last quarter, where there are values enough.
fn quarters(values: impl Iterator<Item = u64>) -> Option<(u64, u64)> {
    let values: Vec<u64> = values.collect();
    let quarter = values.len() / 4;
    let median = |values: &[u64]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    (quarter >= LEAST_VALUES)
        .then(|| Some((median(&values[..quarter])?, median(&values[values.len() - quarter..])?)))
        .flatten()
}

impl Tally {
    fn memory(&self) -> Option<(u64, u64)> {
        quarters(self.samples.iter().map(|sample| sample.peak_kib))
    }

    fn size(&self) -> Option<(u64, u64)> {
        quarters(self.samples.iter().map(|sample| sample.bytes))
    }
}

impl Report {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { lanes: names.into_iter().map(|name| (name, Tally::default())).collect() }
    }

    pub(crate) fn of(&mut self, worker: usize) -> &mut Tally {
        &mut self.lanes[worker].1
    }

    /// One line for now.
    pub(crate) fn line(&self, elapsed: Duration) -> String {
        let sum = |of: fn(&Tally) -> u64| self.lanes.iter().map(|(_, tally)| of(tally)).sum::<u64>();
        let peak = self.lanes.iter().filter_map(|(_, tally)| tally.samples.last()).map(|it| it.peak_kib).max();
        format!(
            "{:>3}:{:02}  {} syncs disturbed ({} killed, {} stopped, {} failed, {} whole), {} faults, {} changes during syncs; \
             {} comparisons equal, {} rows; memory up to {} MiB",
            elapsed.as_secs() / 60,
            elapsed.as_secs() % 60,
            sum(|it| it.killed + it.stopped + it.failed + it.ended),
            sum(|it| it.killed),
            sum(|it| it.stopped),
            sum(|it| it.failed),
            sum(|it| it.ended),
            sum(|it| it.faults),
            sum(|it| it.changes),
            sum(|it| it.samples.len() as u64),
            sum(|it| it.samples.iter().map(|sample| sample.rows as u64).sum()),
            peak.unwrap_or(0) >> 10,
        )
    }

    /// Fails when memory grew.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        for (name, tally) in &self.lanes {
            let Some((first, last)) = tally.memory() else { continue };
            ensure!(
                last as f64 <= first as f64 * MOST_GROWTH,
                "{name}: the memory of syncs in quiet moments grew from {first} KiB in the first quarter to {last} KiB in the last one"
            );
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<18} {:>6} {:>7} {:>6} {:>6} {:>6} {:>11} {:>22} {:>22}",
            "destination",
            "killed",
            "stopped",
            "failed",
            "whole",
            "equal",
            "rows (last)",
            "memory MiB first→last",
            "files MiB first→last"
        )?;
        for (name, tally) in &self.lanes {
            let shown = |quarters: Option<(u64, u64)>, unit: f64| {
                quarters.map_or("too few".to_owned(), |(first, last)| {
                    format!("{:.1} → {:.1}", first as f64 / unit, last as f64 / unit)
                })
            };
            writeln!(
                f,
                "{name:<18} {:>6} {:>7} {:>6} {:>6} {:>6} {:>11} {:>22} {:>22}",
                tally.killed,
                tally.stopped,
                tally.failed,
                tally.ended,
                tally.samples.len(),
                tally.samples.last().map_or(0, |it| it.rows),
                shown(tally.memory(), 1024.0),
                shown(tally.size(), 1_048_576.0),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(peaks: impl Iterator<Item = u64>) -> Report {
        let mut report = Report::new(vec!["sqlite".to_owned()]);
        report.of(0).samples = peaks.map(|peak_kib| Sample { peak_kib, bytes: 0, rows: 0 }).collect();
        report
    }

    #[test]
    fn growing_memory_fails_the_soak_and_single_peaks_do_not() {
        assert!(report((0..40).map(|n| 30_000 + n * 300)).verdict().is_err());
        assert!(report((0..40).map(|n| if n % 7 == 6 { 60_000 } else { 30_000 + n })).verdict().is_ok());
        // Too few to tell.
        assert!(report((0..15).map(|n| 30_000 + n * 3_000)).verdict().is_ok());
    }
}
