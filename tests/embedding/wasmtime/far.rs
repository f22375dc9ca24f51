//! How far a sync is, for people: one line, which a terminal shows over and over, and a file gets now and then.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// What a connector last reported of each kind of thing.
pub(crate) struct Far {
    counts: Vec<(String, u64, Option<u64>)>,
    is_terminal: bool,
    shown: String,
    last: Instant,
}

impl Far {
    pub(crate) fn new() -> Self {
        Self { counts: Vec::new(), is_terminal: stderr().is_terminal(), shown: String::new(), last: Instant::now() }
    }

    /// `done` of `total` are done; `total` is none while that is not known.
    pub(crate) fn report(&mut self, what: String, done: u64, total: Option<u64>) {
        match self.counts.iter_mut().find(|(name, ..)| *name == what) {
            Some(count) => (count.1, count.2) = (done, total),
            None => self.counts.push((what, done, total)),
        }
        if self.last.elapsed() >= Duration::from_millis(if self.is_terminal { 100 } else { 10_000 }) {
            self.show();
        }
    }

    /// The line, if it has something new to say.
    fn show(&mut self) {
        // What has an end comes first; what has not happened is not worth a word.
        let with_end =
            self.counts.iter().filter_map(|(what, done, total)| Some(format!("{done} of {} {what}", (*total)?)));
        let others = self.counts.iter().filter(|(_, done, total)| total.is_none() && *done > 0);
        let parts: Vec<String> = with_end.chain(others.map(|(what, done, _)| format!("{done} {what}"))).collect();
        let line = parts.join(", ").escape_debug().to_string();
        if !line.is_empty() && line != self.shown {
            self.clear();
            // Progress may be lost.
            write!(stderr(), "{line}{}", if self.is_terminal { "" } else { "\n" }).ok();
        }
        (self.shown, self.last) = (line, Instant::now());
    }

    /// Makes room for another line.
    pub(crate) fn clear(&mut self) {
        if self.is_terminal {
            write!(stderr(), "\r\x1b[K").ok();
        }
        self.shown.clear();
    }
}

impl Drop for Far {
    /// The last line stays.
    fn drop(&mut self) {
        self.show();
        if self.is_terminal && !self.shown.is_empty() {
            writeln!(stderr()).ok();
        }
    }
}
