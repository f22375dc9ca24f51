//! How far a sync is, as one line of text. [`crate::output::console`] decides where that line is written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use elt_host::Event;
use elt_support::printable::escape_control;

use crate::output::units::{clock, grouped};

/// What a sync last reported.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    /// In the order in which they were first reported.
    items: Vec<(String, u64, Option<u64>)>,
    rows: u64,
    waiting_until: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, items: Vec::new(), rows: 0, waiting_until: None }
    }

    /// Takes note of an event; log lines are none of its business.
    pub(crate) fn note(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Progress { what, done, total } => self.note_items(what, *done, *total),
            Event::Throttled(time) => self.waiting_until = self.waiting_until.max(now.checked_add(*time)),
            Event::Committed { rows, .. } => self.rows = sum(rows),
            _ => {}
        }
    }

    fn note_items(&mut self, what: &str, done: u64, total: Option<u64>) {
        match self.items.iter_mut().find(|(name, ..)| name == what) {
            Some(item) => (item.1, item.2) = (done, total),
            None => self.items.push((what.into(), done, total)),
        }
    }

    /// `120 of 400 runs · 2 runs quarantined · 31,204 rows · 1,240 rows/s · 0:42 · waiting for the rate limit, 12 s`
    pub(crate) fn line(&self, now: Instant) -> String {
        let elapsed = now.saturating_duration_since(self.started);
        let of_total = |(what, done, total): &(String, u64, Option<u64>)| {
            Some(format!("{} of {} {}", grouped(*done), grouped((*total)?), escape_control(what)))
        };
        let counted = |(what, done, total): &(String, u64, Option<u64>)| {
            (total.is_none() && *done > 0).then(|| format!("{} {}", grouped(*done), escape_control(what)))
        };
        // What has an end first; what has not happened is not worth a word.
        let mut parts: Vec<_> = self.items.iter().filter_map(of_total).collect();
        parts.extend(self.items.iter().filter_map(counted));
        if parts.is_empty() {
            parts.push("starting".into());
        }
        if self.rows > 0 {
            parts.push(format!("{} rows", grouped(self.rows)));
            let rate = self.rows as f64 / elapsed.as_secs_f64().max(0.1);
            parts.push(format!("{} rows/s", grouped(rate as u64)));
        }
        parts.push(clock(elapsed));
        if let Some(left) = self.waiting_until.and_then(|until| until.checked_duration_since(now))
            && left > Duration::ZERO
        {
            parts.push(format!("waiting for the rate limit, {} s", left.as_secs_f64().ceil()));
        }
        parts.join(" · ")
    }
}

fn sum(rows: &BTreeMap<String, u64>) -> u64 {
    rows.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_known() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut progress = Progress::new(start);
        assert_eq!(progress.line(at(0)), "starting · 0:00");

        let runs = |done, total| Event::Progress { what: "runs".into(), done, total };
        progress.note(&runs(0, None), at(1));
        assert_eq!(progress.line(at(1)), "starting · 0:01");
        progress.note(&Event::Progress { what: "runs quarantined".into(), done: 2, total: None }, at(1));
        assert_eq!(progress.line(at(1)), "2 runs quarantined · 0:01");

        progress.note(&runs(1200, Some(4000)), at(9));
        let rows = [("runs".into(), 204), ("metrics".into(), 31_000)].into();
        progress.note(&Event::Committed { rows, elapsed: Duration::ZERO }, at(9));
        assert_eq!(
            progress.line(at(10)),
            "1,200 of 4,000 runs · 2 runs quarantined · 31,204 rows · 3,120 rows/s · 0:10"
        );

        progress.note(&Event::Throttled(Duration::from_secs(30)), at(20));
        progress.note(&Event::Throttled(Duration::from_secs(2)), at(21));
        assert!(progress.line(at(38)).ends_with("0:38 · waiting for the rate limit, 12 s"));
        assert!(progress.line(at(51)).ends_with("0:51"));
    }
}
