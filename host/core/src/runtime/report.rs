//! What a sync says while it runs: cleaned of secrets and control characters, and limited in length and number.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use elt_support::printable::{cut, escape_control};

use crate::component::annotations::ItemNames;
use crate::http::secrets::Redactor;
use crate::runtime::events::{Event, Level, Observer};
use crate::runtime::outcome::Items;
use crate::runtime::policy::Limits;
use crate::runtime::progress_labels;
use crate::runtime::progress_labels::Labels;

/// Different things that a connector may report progress of. The rest is not remembered.
const MOST_LABELS: usize = 32;
/// Bytes of such a thing's name.
const LABEL_BYTES: usize = 64;

/// Passes events on to an observer.
pub(crate) struct Reporter {
    observer: Arc<dyn Observer>,
    redactor: Redactor,
    lines_left: AtomicU64,
    dropped: AtomicU64,
    line_bytes: usize,
    progress: Mutex<Labels>,
}

impl Reporter {
    pub(crate) fn new(observer: Arc<dyn Observer>, redactor: Redactor, limits: &Limits) -> Self {
        Self {
            observer,
            redactor,
            lines_left: AtomicU64::new(limits.log_lines),
            dropped: AtomicU64::new(0),
            line_bytes: limits.log_line_bytes,
            progress: Mutex::default(),
        }
    }

    /// Makes text fit to be shown.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// A line of the guest. When there were too many, says so once and drops the rest.
    pub(crate) fn guest_line(&self, level: Level, message: &str) {
        let take = |left: u64| left.checked_sub(1);
        match self.lines_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => self.line(level, message),
            Err(_) => {
                if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                    self.line(
                        Level::Warning,
                        "The connector wrote more lines than the limit `log_lines` allows; further ones are dropped",
                    );
                }
            }
        }
    }

    /// A line of the host.
    pub(crate) fn line(&self, level: Level, message: &str) {
        // Redacted before it is cut: half a secret would not be recognised. A guest that sends megabytes pays for them in time.
        let redacted = self.redactor.redact(message);
        let shown = escape_control(cut(&redacted, self.line_bytes));
        let message = if redacted.len() > self.line_bytes { format!("{shown}… (cut)") } else { shown };
        self.observer.event(Event::Log { level, message });
    }

    /// Tells how many lines were dropped, if any.
    pub(crate) fn finish(&self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            self.line(Level::Warning, &format!("{dropped} lines of the connector were dropped"));
        }
    }

    /// How far the guest is.
    pub(crate) fn progress(&self, what: &str, done: u64, total: Option<u64>) {
        // Redacted before it is cut, here too.
        let what = escape_control(cut(&self.redactor.redact(what), LABEL_BYTES));
        let mut known = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_LABELS || known.contains_key(&what) {
            known.insert(what.clone(), (done, total));
        }
        drop(known);
        self.observer.event(Event::Progress { what, done, total });
    }

    /// The guest waits for a rate limit.
    pub(crate) fn throttled(&self, duration: Duration) {
        self.observer.event(Event::Throttled(duration));
    }

    /// A transaction was committed.
    pub(crate) fn committed(&self, rows: BTreeMap<String, u64>, elapsed: Duration) {
        self.observer.event(Event::Committed { rows, elapsed });
    }

    /// Something that needs no cleaning.
    pub(crate) fn event(&self, event: Event) {
        self.observer.event(event);
    }

    /// What the progress reports say about a sync that did not get to its summary, and the number of retries.
    pub(crate) fn items(&self, names: Option<&ItemNames>) -> (Items, u64) {
        progress_labels::items(&self.progress.lock().unwrap_or_else(PoisonError::into_inner), names)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Observer for Lines {
        fn event(&self, event: Event) {
            if let Event::Log { message, .. } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }

    fn reporter(lines: &Arc<Lines>, limits: Limits) -> Reporter {
        Reporter::new(lines.clone(), Redactor::default(), &limits)
    }

    #[test]
    fn a_flood_of_lines_is_cut_off_and_counted() {
        let lines = Arc::new(Lines::default());
        let reporter = reporter(&lines, Limits::default().log_lines(2));
        for n in 0..10 {
            reporter.guest_line(Level::Info, &format!("line {n}"));
        }
        reporter.finish();
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[2].contains("log_lines") && lines[3].starts_with("8 lines"));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let lines = Arc::new(Lines::default());
        reporter(&lines, Limits::default().log_line_bytes(4)).guest_line(Level::Info, "äöü");
        assert_eq!(lines.0.lock().unwrap()[0], "äö… (cut)");
    }

    #[test]
    fn endless_new_labels_are_not_remembered() {
        let reporter = reporter(&Arc::default(), Limits::default());
        for n in 0..10_000 {
            reporter.progress(&format!("{n}{}", "x".repeat(1000)), n, None);
        }
        assert!(reporter.progress.lock().unwrap().len() <= MOST_LABELS);
    }
}
