//! What is read of one run: rows and what the state is to say of them, held back until they can go out together.

use super::{Earlier, Listed, Outlet, Ready, RunEnd};
use crate::config::Deletes;
use crate::destination::Level;
use crate::error::Error;
use crate::records::lineage::Tail;
use crate::records::row::History;
use crate::state::{self, RunEntry};
use crate::tables::{self, MARKS, Rows, RunRow, keys_of_runs};

/// Columns larger than this are sent before the run is complete.
pub const CHUNK_BYTES: usize = 512 << 10;

/// Takes what is read of one run.
pub struct RunSink<'s> {
    outlet: &'s dyn Outlet,
    /// The run.
    pub listed: Listed,
    /// What was read and not sent yet.
    pub history: History,
    /// The rows of `metrics` and `metric_objects` that are stored go before new ones come.
    replace: bool,
    /// A mark that the run is deleted goes before new rows come.
    unmark: bool,
    /// What the state is to say of it.
    pub entry: RunEntry,
    told_collision: bool,
    told_step_collision: bool,
    /// How many rows of those that W&B counts did not come the last time.
    pub short_before: Option<u64>,
    /// Some of the rows that W&B counts did not come, and may come the next time.
    pub is_short: bool,
}

impl<'s> RunSink<'s> {
    /// For a run, and what earlier syncs know of it.
    pub fn new(ready: Ready, outlet: &'s dyn Outlet) -> (Self, Option<RunEntry>) {
        let Ready { listed, earlier: Earlier { entry: known, returned }, .. } = ready;
        let config = outlet.config();
        let sink = Self {
            outlet,
            listed,
            history: History::new(config.metrics.clone()),
            replace: false,
            unmark: returned && config.deletes == Deletes::Mark,
            entry: RunEntry::default(),
            told_collision: false,
            told_step_collision: false,
            short_before: known.as_ref().and_then(|known| known.short_by),
            is_short: false,
        };
        (sink, known)
    }

    /// A line for people.
    pub fn log(&self, level: Level, message: &str) {
        self.outlet.destination().log(level, message);
    }

    /// What is stored of the history stays, whatever is known of the run.
    pub fn keep_history(&mut self) {
        self.replace = false;
    }

    /// Begins a pass: continues after what is known, or from nothing.
    pub fn begin(&mut self, known: Option<&RunEntry>) {
        self.history = History::new(self.outlet.config().metrics.clone());
        self.replace = known.is_none();
        self.entry = known.cloned().unwrap_or_default();
        self.entry.short_by = self.short_before;
        self.entry.again = false;
        self.entry.version = None;
        self.entry.seen = false;
        self.entry.selection = self.outlet.selection();
        self.entry.rules = Some(state::RULES);
    }

    /// Says that what was read before is not there any more.
    pub fn say_rewound(&self) {
        let message = format!("Run {} was rewound or logged anew; reading it whole", self.listed.id);
        self.log(Level::Info, &message);
    }

    /// Says which of the run's own fields are left out.
    pub fn say_illegible(&self, fields: &[(&str, String)]) {
        for (field, why) in fields {
            let message = format!("Run {}: its {field} can't be read and is left out: {why}", self.listed.id);
            self.log(Level::Warning, &message);
        }
    }

    /// Takes note of the last row that was read.
    pub fn remember(&mut self, last: &crate::records::lineage::Row) {
        self.entry.next_step = Some(last.step.saturating_add(1));
        self.entry.last = Some(Tail::of(last));
    }

    /// Counts the rows of a page that was read, and sends what has gathered if that is a lot.
    ///
    /// # Errors
    /// The destination's.
    pub fn account_for_page(&mut self, rows: usize) -> Result<(), Error> {
        if let Some(last) = rows.checked_sub(1).and_then(|last| self.history.row_with_points(last)) {
            self.remember(&last);
        }
        self.entry.rows += rows as u64;
        self.history.clear_rows();
        self.tell_collisions();
        if self.history.bytes() >= CHUNK_BYTES {
            self.send_history()?;
            self.outlet.checkpoint(vec![(state::key(&self.listed.id), Some(self.entry.to_text()))])?;
        }
        Ok(())
    }

    /// Says, once for the run, where one value took the place of another.
    fn tell_collisions(&mut self) {
        let id = &self.listed.id;
        let row = self.history.take_collision().filter(|_| !std::mem::replace(&mut self.told_collision, true));
        let row = row.map(|name| {
            format!(
                "Run {id}: two keys of a history row flatten to the same name (such as {name:?}); the last one in each row is kept"
            )
        });
        let step =
            self.history.take_step_collision().filter(|_| !std::mem::replace(&mut self.told_step_collision, true));
        let step = step.map(|(step, name)| {
            format!(
                "Run {id}: two history rows of one step have the same metric (such as {name:?} at step {step}); the last one is kept"
            )
        });
        for message in row.into_iter().chain(step) {
            self.log(Level::Warning, &message);
        }
    }

    fn send_history(&mut self) -> Result<(), Error> {
        let destination = self.outlet.destination();
        if std::mem::take(&mut self.unmark) {
            destination.delete(MARKS.name, keys_of_runs([self.listed.id.clone()]))?;
        }
        for (table, batch) in tables::of_history(&mut self.history, &self.listed.id) {
            if !self.outlet.config().writes(table) {
                continue;
            }
            if self.replace {
                destination.delete(table.name, keys_of_runs([self.listed.id.clone()]))?;
            }
            if let Some(batch) = batch {
                destination.upsert(table.name, batch)?;
            }
        }
        self.replace = false;
        Ok(())
    }

    /// Sends what is left and the run's own row, and says that the run is done.
    ///
    /// # Errors
    /// The destination's.
    pub fn finish(mut self, row: RunRow) -> Result<RunEnd, Error> {
        self.send_history()?;
        for table in &self.outlet.config().tables {
            if let Rows::Fields(rows) = table.rows {
                self.outlet.destination().upsert(table.name, rows(&row))?;
            }
        }
        self.entry.version = Some(self.listed.version.clone());
        if self.is_short {
            // Without a last row there is nothing to go on from.
            self.entry = RunEntry { again: true, history: None, last: None, next_step: None, ..self.entry };
            self.outlet.done(&self.listed, self.entry.to_text(), true)?;
            return Ok(RunEnd::Synced);
        }
        self.entry.history = self.listed.history.clone();
        self.outlet.done(&self.listed, self.entry.to_text(), false)?;
        Ok(RunEnd::Synced)
    }
}
