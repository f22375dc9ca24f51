//! One run from W&B to the destination. What is read of a run is held back until the run is complete, or until it has grown too large to be
//! held; then rows, deletions and the checkpoint that answers for them go out together, with nothing of another run between them.

pub mod export;
mod locate;

use std::cell::RefCell;

use crate::api::client::{BODY_LIMIT, RequestError};
use crate::api::exchange::Exchange;
use crate::api::graphql::window::{AdaptiveWindow, Strictness};
use crate::api::graphql::{Graphql, HeavyRun, Include, Window};
use crate::api::rest::Rest;
use crate::api::{CycleDetector, Dialect, Listed, RunRow};
use crate::batch::Batch;
use crate::config::Deletes;
use crate::destination::{Destination, Level};
use crate::error::Error;
use crate::records::lineage::{Digest, Tail};
use crate::records::row::History;
use crate::sync::Sync;
use crate::sync::state::{self, HistoryVersion, RunEntry};
use crate::tables::TableName;

use export::Exported;

/// After so many empty ranges in a row the next row is looked for, unless the next range reaches the end.
const EMPTY_RANGES: u32 = 2;
/// Columns larger than this are sent before the run is complete.
const CHUNK_BYTES: usize = 512 << 10;

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
enum Pass {
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
struct Steps<'p> {
    graphql: &'p Graphql,
    adaptive: AdaptiveWindow,
    /// The run's fields, once they were read.
    heavy: &'p mut Option<HeavyRun>,
}

/// Reads one run.
pub struct RunReader<'s, 'a, X, D> {
    sync: &'s Sync<'a, X, D>,
    listed: Listed,
    history: History,
    /// The rows of `metrics` and `metric_objects` that are stored go before new ones come.
    replace: bool,
    /// A mark that the run is deleted goes before new rows come.
    unmark: bool,
    entry: RunEntry,
    told_collision: bool,
    told_step_collision: bool,
    /// Exported files of this run were found not to fit.
    distrusts_export: bool,
}

impl<'s, 'a, X: Exchange, D: Destination> RunReader<'s, 'a, X, D> {
    /// Reads the run and sends what has changed since `earlier`.
    pub async fn read(sync: &'s Sync<'a, X, D>, listed: Listed, earlier: Earlier) -> Result<RunEnd, Error> {
        let Earlier { entry: known, returned } = earlier;
        let history = History::new(sync.config.metrics.clone());
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
        };
        match &sync.dialect {
            Dialect::Rest(rest) => reader.read_rest(rest, known).await,
            Dialect::Graphql(graphql) => reader.read_graphql(graphql, known).await,
        }
    }

    fn wants_history(&self) -> bool {
        self.sync.config.writes(TableName::Metrics) || self.sync.config.writes(TableName::MetricObjects)
    }

    /// Begins a pass: continues after what is known, or from nothing.
    fn begin(&mut self, known: Option<&RunEntry>) {
        self.history = History::new(self.sync.config.metrics.clone());
        self.replace = known.is_none();
        self.entry = known.cloned().unwrap_or_default();
        self.entry.version = None;
        self.entry.seen = false;
        self.entry.selection = self.sync.selection.clone();
        self.entry.rules = Some(state::RULES);
    }

    fn say_rewound(&self) {
        let message = format!("Run {} was rewound or logged anew; reading it whole", self.listed.id);
        self.sync.client.destination.log(Level::Info, &message);
    }

    /// Says which of the run's own fields are left out.
    fn say_illegible(&self, fields: &[(&str, String)]) {
        for (field, why) in fields {
            let message = format!("Run {}: its {field} can't be read and is left out: {why}", self.listed.id);
            self.sync.client.destination.log(Level::Warning, &message);
        }
    }

    async fn read_graphql(mut self, graphql: &Graphql, known: Option<RunEntry>) -> Result<RunEnd, Error> {
        let same_history =
            known.as_ref().is_some_and(|known| known.version.is_some() && known.history == self.listed.history);
        if !self.wants_history() || (same_history && self.has_history_version()) {
            self.begin(known.as_ref());
            self.replace = false;
            let history = RefCell::new(&mut self.history);
            let run =
                graphql.run(&self.sync.client, &self.listed.id, Include::Nothing, BODY_LIMIT, &history, 0).await?;
            return match run {
                Some((run, _)) => {
                    self.say_illegible(&run.illegible);
                    self.finish(run.row)
                }
                None => Ok(RunEnd::Gone),
            };
        }
        // Fewer rows than before: it was rewound, and what is known of it is no help.
        let mut resume = known.filter(|known| known.last.is_some() && !self.shrank(known));
        let mut strictness = Strictness::Adaptive;
        loop {
            self.begin(resume.as_ref());
            let mut heavy = None;
            match self.pass_graphql(graphql, resume.as_ref(), strictness, &mut heavy).await? {
                Pass::Complete => {}
                Pass::Deleted => return Ok(RunEnd::Gone),
                Pass::Rewound => {
                    self.say_rewound();
                    resume = None;
                    continue;
                }
                Pass::Short => {
                    let message = format!(
                        "Run {}: fewer history rows came than W&B counts; reading it again in small steps",
                        self.listed.id
                    );
                    self.sync.client.destination.log(Level::Debug, &message);
                    (resume, strictness) = (None, Strictness::Strict);
                    continue;
                }
                Pass::Stale => {
                    let message = format!(
                        "Run {}: its exported files do not fit its history; reading it by steps",
                        self.listed.id
                    );
                    self.sync.client.destination.log(Level::Debug, &message);
                    (resume, self.distrusts_export) = (None, true);
                    continue;
                }
            }
            let Some(HeavyRun { row, illegible, .. }) = heavy else {
                return Err(Error::Internal("a run was read without its fields".to_owned()));
            };
            self.say_illegible(&illegible);
            return self.finish(row);
        }
    }

    /// Whether the listing says enough of the history to trust that it did not change.
    fn has_history_version(&self) -> bool {
        self.listed
            .history
            .as_ref()
            .is_some_and(|HistoryVersion { lines, heartbeat }| lines.is_some() && heartbeat.is_some())
    }

    fn shrank(&self, known: &RunEntry) -> bool {
        let lines = |history: &Option<HistoryVersion>| history.as_ref().and_then(|history| history.lines);
        matches!((lines(&self.listed.history), lines(&known.history)), (Some(now), Some(then)) if now < then)
    }

    async fn pass_graphql(
        &mut self,
        graphql: &Graphql,
        resume: Option<&RunEntry>,
        strictness: Strictness,
        heavy: &mut Option<HeavyRun>,
    ) -> Result<Pass, Error> {
        let tail = resume.and_then(|known| known.last.clone());
        let start = tail.as_ref().map_or(0, |tail| tail.step);
        // The last known row comes again.
        self.entry.rows = self.entry.rows.saturating_sub(u64::from(tail.is_some()));
        let expected = self.listed.size().saturating_sub(self.entry.rows);
        let mut steps =
            Steps { graphql, adaptive: AdaptiveWindow::new(strictness, expected, self.sync.row_bytes.get()), heavy };
        let exported = if strictness == Strictness::Adaptive && self.wants_export(expected) {
            self.read_exported(&mut steps, tail.as_ref()).await?
        } else {
            Exported::Nothing
        };
        let from_export = matches!(exported, Exported::Read(_));
        let (start, first) = match exported {
            Exported::Nothing => (start, tail),
            Exported::Ended(pass) => return Ok(pass),
            Exported::Behind(tail) => (tail.step.saturating_add(1), None),
            // The last exported row may have been incomplete. It comes again, and shows whether the files belong to this history.
            Exported::Read(last) => {
                self.entry.rows = self.entry.rows.saturating_sub(1);
                (last.step, Some(last))
            }
        };
        match self.read_steps(&mut steps, start, None, first.as_ref()).await? {
            Some(Pass::Rewound) if from_export => return Ok(Pass::Stale),
            Some(pass) => return Ok(pass),
            None => {}
        }
        let Steps { adaptive, heavy, .. } = steps;
        let lines = heavy.as_ref().and_then(|heavy| heavy.lines);
        let counted_before =
            resume.and_then(|known| Some(known.rows == known.history.as_ref()?.lines?)).unwrap_or(false);
        let still_live = heavy.as_ref().is_some_and(|heavy| heavy.row.state.as_deref() == Some("running"));
        if let Some(lines) = lines.filter(|_| resume.is_none()) {
            let missing = self.entry.rows < lines;
            if from_export && self.sync.exports.misfits(self.entry.rows, lines, still_live) {
                return Ok(Pass::Stale);
            }
            if self.distrusts_export && missing {
                // Ranges of steps brought no more either: this server counts otherwise.
                self.sync.exports.distrust_counts();
            }
        }
        Ok(match lines {
            // The rows known from before no longer add up with the new ones: some of them are gone.
            Some(lines) if counted_before && (self.entry.rows < lines || (self.entry.rows > lines && !still_live)) => {
                Pass::Rewound
            }
            Some(lines) if resume.is_none() && self.entry.rows < lines && adaptive.may_have_been_sampled() => {
                Pass::Short
            }
            _ => Pass::Complete,
        })
    }

    /// Reads the rows from `start` to `end`, or to the history's end, by ranges of steps. `first` is what the first of them must be. A pass
    /// is returned where it has ended.
    async fn read_steps(
        &mut self,
        steps: &mut Steps<'_>,
        start: i64,
        end: Option<i64>,
        first: Option<&Tail>,
    ) -> Result<Option<Pass>, Error> {
        let client = &self.sync.client;
        // What is read again of a step that was read already is no second row of it.
        self.history.forget_step();
        let Steps { graphql, adaptive, heavy } = steps;
        let window_at = |start: i64, adaptive: &AdaptiveWindow| {
            let room = end.map_or(i64::MAX, |end| end.saturating_sub(start));
            Window { start, steps: adaptive.steps().min(room.max(1)) }
        };
        let mut window = window_at(start, adaptive);
        let mut empty = 0;
        loop {
            let position = i64::try_from(self.entry.rows).unwrap_or(i64::MAX);
            let limit = adaptive.body_limit();
            let history = RefCell::new(&mut self.history);
            let answer = match heavy {
                None => graphql
                    .run(client, &self.listed.id, Include::History(window), limit, &history, position)
                    .await
                    .map(|run| {
                        run.map(|(run, bytes)| {
                            **heavy = Some(run);
                            bytes
                        })
                    }),
                Some(_) => graphql.history(client, &self.listed.id, window, limit, &history, position).await,
            };
            let bytes = match answer {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(Some(Pass::Deleted)),
                Err(RequestError::TooLarge(error)) => {
                    if !adaptive.shrink() {
                        return Err(error);
                    }
                    window = window_at(window.start, adaptive);
                    continue;
                }
                Err(RequestError::Denied(error) | RequestError::Failed(error)) => {
                    return Err(error);
                }
            };
            let rows = self.history.rows().len();
            if let Some(tail) = first.filter(|_| window.start == start) {
                let row = self.history.row_with_points(0);
                if !row.is_some_and(|row| tail.recognises(&row)) {
                    return Ok(Some(Pass::Rewound));
                }
            }
            adaptive.observe(window.steps, rows, bytes);
            self.sync.row_bytes.set(adaptive.row_bytes());
            self.account_for_page(rows)?;
            let at = window.end();
            let read = self.entry.rows;
            let ended = match (end, heavy.as_ref().and_then(|heavy| heavy.last_step)) {
                (Some(end), _) => at >= end,
                (None, Some(last)) => at > last,
                (None, None) => read >= heavy.as_ref().and_then(|heavy| heavy.lines).unwrap_or(0) || at >= 1 << 53,
            };
            if ended {
                return Ok(None);
            }
            window = window_at(at, adaptive);
            empty = if rows == 0 { empty + 1 } else { 0 };
            let (last, lines) = heavy.as_ref().map_or((None, None), |heavy| (heavy.last_step, heavy.lines));
            let end = end.or(last.map(|last| last.saturating_add(1))).unwrap_or(1 << 53);
            if empty < EMPTY_RANGES || window.end() >= end {
                continue;
            }
            match locate::first_row(client, graphql, &self.listed.id, at, end).await? {
                None => return Ok(Some(Pass::Deleted)),
                Some(step) if step >= end => return Ok(None),
                Some(step) => {
                    let left = lines.filter(|_| last.is_some()).map_or(0, |lines| lines.saturating_sub(read));
                    adaptive.land(left, end.saturating_sub(step));
                    window = window_at(step, adaptive);
                }
            }
        }
    }

    async fn read_rest(mut self, rest: &Rest, known: Option<RunEntry>) -> Result<RunEnd, Error> {
        let Some(row) = self.listed.row.take() else {
            return Err(Error::Internal("a listing without rows".to_owned()));
        };
        if !self.wants_history() {
            self.begin(known.as_ref());
            self.replace = false;
            return self.finish(row);
        }
        let mut resume = known.filter(|known| known.last.is_some() && known.digest.is_some() && known.rows > 0);
        loop {
            self.begin(resume.as_ref());
            match self.pass_rest(rest, resume.as_ref()).await? {
                Pass::Deleted => return Ok(RunEnd::Gone),
                Pass::Rewound | Pass::Short | Pass::Stale => {
                    self.say_rewound();
                    resume = None;
                }
                Pass::Complete => return self.finish(row),
            }
        }
    }

    async fn pass_rest(&mut self, rest: &Rest, resume: Option<&RunEntry>) -> Result<Pass, Error> {
        // Rows before the last known one are read and recognised, but not sent again.
        let known = resume.map_or(0, |known| known.rows - 1);
        self.entry.rows = 0;
        let mut digest = Digest::EMPTY;
        let mut cycles = CycleDetector::default();
        let mut url = rest.history_url(&self.listed.id);
        loop {
            let position = i64::try_from(self.entry.rows).unwrap_or(i64::MAX);
            let history = RefCell::new(&mut self.history);
            let page = rest.history(&self.sync.client, &self.listed.id, &url, &history, position).await?;
            let Some(next) = page else {
                return Ok(Pass::Deleted);
            };
            let rows = self.history.rows().len();
            let content = self.history.rows().fold(Digest::EMPTY, |digest, row| digest.with(row.hash));
            let going_round = cycles.visit(&url, rows == 0).and_then(|()| match rows {
                0 => Ok(()),
                _ => cycles.content(content.0),
            });
            going_round
                .map_err(|why| Error::upstream(format!("reading the history of run {}: {why}", self.listed.id)))?;
            let first = self.entry.rows;
            for (number, row) in (first..).zip(self.history.rows()) {
                if let Some(resume) = resume.filter(|_| number == known) {
                    let same_past = resume.digest.as_deref() == Some(&hexadecimal(digest));
                    let row = self.history.row_with_points((number - first) as usize);
                    let same_row = resume.last.as_ref().zip(row).is_some_and(|(tail, row)| tail.recognises(&row));
                    if !same_past || !same_row {
                        return Ok(Pass::Rewound);
                    }
                }
                self.entry.digest = Some(hexadecimal(digest));
                digest = digest.with(row.hash);
            }
            let last = rows.checked_sub(1).and_then(|last| self.history.row_with_points(last));
            let skipped = known.saturating_sub(first).min(rows as u64);
            self.history.drop_first(skipped as usize);
            let kept = rows - skipped as usize;
            self.entry.rows += skipped;
            if let Some(last) = last {
                self.remember(&last);
            }
            if kept > 0 {
                self.account_for_page(kept)?;
            } else {
                self.history.clear_rows();
            }
            match next {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(if self.entry.rows < known + u64::from(resume.is_some()) { Pass::Rewound } else { Pass::Complete })
    }

    fn remember(&mut self, last: &crate::records::lineage::Row) {
        self.entry.next_step = Some(last.step.saturating_add(1));
        self.entry.last = Some(Tail::of(last));
    }

    /// Counts the rows of a page that was read, and sends what has gathered if that is a lot.
    fn account_for_page(&mut self, rows: usize) -> Result<(), Error> {
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
            self.sync.client.destination.log(Level::Warning, &message);
        }
    }

    fn send_history(&mut self) -> Result<(), Error> {
        let destination = self.sync.client.destination;
        if std::mem::take(&mut self.unmark) {
            destination.delete(TableName::DeletedRuns.as_str(), Batch::of_runs([self.listed.id.clone()]))?;
        }
        let (metrics, objects) = self.history.take(&self.listed.id);
        for (table, batch) in [(TableName::Metrics, metrics), (TableName::MetricObjects, objects)] {
            if !self.sync.config.writes(table) {
                continue;
            }
            if self.replace {
                destination.delete(table.as_str(), Batch::of_runs([self.listed.id.clone()]))?;
            }
            if let Some(batch) = batch {
                destination.upsert(table.as_str(), batch)?;
            }
        }
        self.replace = false;
        Ok(())
    }

    /// Sends what is left and the run's own row, and says that the run is done.
    fn finish(mut self, row: RunRow) -> Result<RunEnd, Error> {
        self.send_history()?;
        if self.sync.config.writes(TableName::Runs) {
            self.sync.client.destination.upsert(TableName::Runs.as_str(), row.into_batch())?;
        }
        self.entry.version = Some(self.listed.version.clone());
        self.entry.history = self.listed.history.clone();
        self.sync.run_done(&self.listed, Some(self.entry.to_text()))?;
        Ok(RunEnd::Synced)
    }
}

fn hexadecimal(digest: Digest) -> String {
    format!("{:016x}", digest.0)
}
