//! Reads one run: what both dialects have in common.

use crate::api::exchange::Exchange;
use crate::api::graphql::window::AdaptiveWindow;
use crate::api::graphql::{Graphql, HeavyRun};
use crate::api::{Dialect, Listed};
use crate::config::Deletes;
use crate::destination::{Destination, Level};
use crate::error::Error;
use crate::records::lineage::Tail;
use crate::records::row::History;
use crate::sync::context::Sync;
use crate::sync::state::{self, RunEntry};
use crate::tables::{self, MARKS, Rows, RunRow, keys_of_runs};

/// Columns larger than this are sent before the run is complete.
pub(super) const CHUNK_BYTES: usize = 512 << 10;

/// How the reading of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// Its rows are written.
    Synced,
    /// W&B does not have it, though it was listed; its rows stay as they are.
    Gone,
}

/// What earlier syncs know of a run.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// What the state says of it, if it was read before with the same selection.
    pub entry: Option<RunEntry>,
    /// It was deleted at W&B, and is back. Then there is no entry to go on from.
    pub returned: bool,
}

/// How one pass over a history ended.
pub(super) enum Pass {
    Complete,
    Deleted,
    /// What was read before is not in the history any more.
    Rewound,
    /// Fewer rows came than W&B counts.
    Short,
    /// What was exported of the history does not fit the history.
    Stale,
}

/// How a history is read by ranges of steps.
pub(super) struct Steps<'p> {
    pub(super) graphql: &'p Graphql,
    pub(super) adaptive: AdaptiveWindow,
    /// The run's fields, once they were read.
    pub(super) heavy: &'p mut Option<HeavyRun>,
}

/// Reads one run.
pub struct RunReader<'s, 'a, X, D> {
    pub(super) sync: &'s Sync<'a, X, D>,
    pub(super) listed: Listed,
    pub(super) history: History,
    /// The rows of `metrics` and `metric_objects` that are stored go before new ones come.
    pub(super) replace: bool,
    /// A mark that the run is deleted goes before new rows come.
    pub(super) unmark: bool,
    pub(super) entry: RunEntry,
    pub(super) told_collision: bool,
    pub(super) told_step_collision: bool,
    /// Exported files of this run were found not to fit.
    pub(super) distrusts_export: bool,
    /// How many rows of those that W&B counts did not come the last time.
    pub(super) short_before: Option<u64>,
    /// Some of the rows that W&B counts did not come, and may come the next time.
    pub(super) is_short: bool,
}

impl<'s, 'a, X: Exchange, D: Destination> RunReader<'s, 'a, X, D> {
    /// Reads the run and sends what has changed since `earlier`.
    pub async fn read(sync: &'s Sync<'a, X, D>, listed: Listed, earlier: Earlier) -> Result<RunEnd, Error> {
        let Earlier { entry: known, returned } = earlier;
        let history = History::new(sync.config.metrics.clone());
        let short_before = known.as_ref().and_then(|known| known.short_by);
        let reader = Self {
            sync,
            listed,
            history,
            replace: false,
            unmark: returned && sync.config.deletes == Deletes::Mark,
            entry: RunEntry::default(),
            told_collision: false,
            told_step_collision: false,
            distrusts_export: false,
            short_before,
            is_short: false,
        };
        match &sync.dialect {
            Dialect::Rest(rest) => reader.read_rest(rest, known).await,
            Dialect::Graphql(graphql) => reader.read_graphql(graphql, known).await,
        }
    }

    /// Begins a pass: continues after what is known, or from nothing.
    pub(super) fn begin(&mut self, known: Option<&RunEntry>) {
        self.history = History::new(self.sync.config.metrics.clone());
        self.replace = known.is_none();
        self.entry = known.cloned().unwrap_or_default();
        self.entry.short_by = self.short_before;
        self.entry.again = false;
        self.entry.version = None;
        self.entry.seen = false;
        self.entry.selection = self.sync.selection.clone();
        self.entry.rules = Some(state::RULES);
    }

    pub(super) fn say_rewound(&self) {
        let message = format!("Run {} was rewound or logged anew; reading it whole", self.listed.id);
        self.sync.client.destination.log(Level::Info, &message);
    }

    /// Says which of the run's own fields are left out.
    pub(super) fn say_illegible(&self, fields: &[(&str, String)]) {
        for (field, why) in fields {
            let message = format!("Run {}: its {field} can't be read and is left out: {why}", self.listed.id);
            self.sync.client.destination.log(Level::Warning, &message);
        }
    }

    pub(super) fn remember(&mut self, last: &crate::records::lineage::Row) {
        self.entry.next_step = Some(last.step.saturating_add(1));
        self.entry.last = Some(Tail::of(last));
    }

    /// Counts the rows of a page that was read, and sends what has gathered if that is a lot.
    pub(super) fn account_for_page(&mut self, rows: usize) -> Result<(), Error> {
        if let Some(last) = rows.checked_sub(1).and_then(|last| self.history.row_with_points(last)) {
            self.remember(&last);
        }
        self.entry.rows += rows as u64;
        self.history.clear_rows();
        self.tell_collisions();
        if self.history.bytes() >= CHUNK_BYTES {
            self.send_history()?;
            self.sync.checkpoint(vec![(state::key(&self.listed.id), Some(self.entry.to_text()))])?;
        }
        Ok(())
    }

    /// Says, once for the run, where one value took the place of another.
    pub(super) fn tell_collisions(&mut self) {
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
            self.sync.client.destination.log(Level::Warning, &message);
        }
    }

    pub(super) fn send_history(&mut self) -> Result<(), Error> {
        let destination = self.sync.client.destination;
        if std::mem::take(&mut self.unmark) {
            destination.delete(MARKS.name, keys_of_runs([self.listed.id.clone()]))?;
        }
        for (table, batch) in tables::of_history(&mut self.history, &self.listed.id) {
            if !self.sync.config.writes(table) {
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
    pub(super) fn finish(mut self, row: RunRow) -> Result<RunEnd, Error> {
        self.send_history()?;
        for table in &self.sync.config.tables {
            if let Rows::Fields(rows) = table.rows {
                self.sync.client.destination.upsert(table.name, rows(&row))?;
            }
        }
        self.entry.version = Some(self.listed.version.clone());
        if self.is_short {
            // Without a last row there is nothing to go on from.
            self.entry = RunEntry { again: true, history: None, last: None, next_step: None, ..self.entry };
            self.sync.run_short(&self.listed, self.entry.to_text())?;
            return Ok(RunEnd::Synced);
        }
        self.entry.history = self.listed.history.clone();
        self.sync.run_done(&self.listed, Some(self.entry.to_text()))?;
        Ok(RunEnd::Synced)
    }
}
