//! One run by GraphQL: its fields, its exported history, and the rest by ranges of steps.

use std::cell::RefCell;

use crate::api::client::{BODY_LIMIT, RequestError};
use crate::api::exchange::Exchange;
use crate::api::graphql::window::{AdaptiveWindow, Strictness};
use crate::api::graphql::{Graphql, HeavyRun, Include, Window};
use crate::destination::{Destination, Level};
use crate::error::Error;
use crate::records::lineage::Tail;
use crate::sync::state::{HistoryVersion, RunEntry};

use super::export::Exported;
use super::locate;
use super::reader::{Pass, RunEnd, RunReader, Steps};

/// After so many empty ranges in a row the next row is looked for, unless the next range reaches the end.
const EMPTY_RANGES: u32 = 2;
impl<X: Exchange, D: Destination> RunReader<'_, '_, X, D> {
    pub(super) async fn read_graphql(mut self, graphql: &Graphql, known: Option<RunEntry>) -> Result<RunEnd, Error> {
        let same_history =
            known.as_ref().is_some_and(|known| known.version.is_some() && known.history == self.listed.history);
        if !self.sync.config.wants_history() || (same_history && self.has_history_version()) {
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

    /// The number of history rows that the listing says.
    pub(super) fn counted(&self) -> Option<u64> {
        self.listed.history.as_ref().and_then(|history| history.lines)
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
        let Steps { heavy, .. } = steps;
        let lines = heavy.as_ref().and_then(|heavy| heavy.lines);
        let counted_before =
            resume.and_then(|known| Some(known.rows == known.history.as_ref()?.lines?)).unwrap_or(false);
        let still_live = heavy.as_ref().is_some_and(|heavy| heavy.row.state.as_deref() == Some("running"));
        if let Some(lines) = lines.filter(|_| resume.is_none()) {
            let missing = self.entry.rows < lines;
            // What did not come by steps the last time is not missing in the files.
            let is_expected = self.short_before.is_some_and(|before| self.entry.rows + before == lines);
            if from_export && !is_expected && self.sync.exports.misfits(self.entry.rows, lines, still_live) {
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
            // Of a run that was read to its end before, what it lacked was told then.
            Some(lines) if resume.is_none_or(|known| known.version.is_none()) => {
                self.judge_count(lines, resume.is_none() && strictness == Strictness::Adaptive)
            }
            _ => Pass::Complete,
        })
    }

    /// A whole history was read, in which W&B counts so many rows. Where fewer came, they may come another time: at once, if it `can_be_stricter`,
    /// or in the next sync. That ends as soon as no fewer are missing than the last time: then W&B counts otherwise.
    fn judge_count(&mut self, lines: u64, can_be_stricter: bool) -> Pass {
        let missing = lines.saturating_sub(self.entry.rows);
        self.entry.short_by = Some(missing).filter(|missing| *missing > 0);
        let is_settled = missing == 0 || self.short_before.is_some_and(|before| missing >= before);
        if !is_settled && can_be_stricter {
            return Pass::Short;
        }
        self.is_short = !is_settled;
        if missing > 0 {
            let rows = self.entry.rows;
            let what_follows = match is_settled {
                true => "that is what the last sync got too, and is taken for all there is",
                false => "what came is stored, and the next sync reads it again",
            };
            let message =
                format!("Run {}: {rows} history rows came, of {lines} that W&B counts; {what_follows}", self.listed.id);
            self.sync.client.destination.log(Level::Warning, &message);
        }
        Pass::Complete
    }

    /// Reads the rows from `start` to `end`, or to the history's end, by ranges of steps. `first` is what the first of them must be. A pass
    /// is returned where it has ended.
    pub(super) async fn read_steps(
        &mut self,
        steps: &mut Steps<'_>,
        start: i64,
        end: Option<i64>,
        first: Option<&Tail>,
    ) -> Result<Option<Pass>, Error> {
        let client = &self.sync.client;
        let counted = self.counted();
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
                        run.map(|(mut run, bytes)| {
                            run.lines = run.lines.or(counted);
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
            // What W&B says is the last step may lag behind. While rows are missing, they are looked for behind it.
            let lags = |heavy: &HeavyRun| {
                heavy.last_step.is_some_and(|last| at > last) && heavy.lines.is_some_and(|lines| read < lines)
            };
            let overruns = end.is_none() && heavy.as_ref().is_some_and(lags);
            if let Some(heavy) = heavy.as_mut().filter(|_| overruns) {
                heavy.last_step = None;
            }
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
            if !overruns && (empty < EMPTY_RANGES || window.end() >= end) {
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
}
