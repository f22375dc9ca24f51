//! One run by GraphQL: its fields, its exported history, and the rest by ranges of steps.

use std::cell::RefCell;

use crate::api::client::{BODY_LIMIT, RequestError};
use crate::api::exchange::Exchange;
use crate::destination::{Destination, Level};
use crate::error::Error;
use crate::records::lineage::Tail;
use crate::run::{Listed, Ready, RunEnd, RunSink};
use crate::state::{HistoryVersion, RunEntry};

use super::export::Exported;
use super::joint::{First, FirstRun};
use super::locate;
use super::reading::{GraphqlSource, Pass, RunReader, Steps};
use super::window::{AdaptiveWindow, Strictness};
use super::{HeavyRun, Include, Window};

/// After so many empty ranges in a row the next row is looked for, unless the next range reaches the end.
const EMPTY_RANGES: u32 = 2;

/// What is read of a run first.
impl<X: Exchange, D: Destination> GraphqlSource<'_, X, D> {
    /// What the first question about a run asks for. None: where its exported files are, which is asked for one run alone.
    pub(super) fn first_question(&self, ready: &Ready) -> Option<Include> {
        let known = ready.earlier.entry.as_ref();
        if self.reads_fields_only(&ready.listed, known) {
            return Some(Include::Nothing);
        }
        let resume = resumed(&ready.listed, known);
        let expected = expected(&ready.listed, resume);
        if self.wants_export(expected) {
            return None;
        }
        let start = resume.and_then(|known| known.last.as_ref()).map_or(0, |tail| tail.step);
        let adaptive = AdaptiveWindow::new(Strictness::Adaptive, expected, self.row_bytes.get());
        Some(Include::History(Window { start, steps: adaptive.steps() }))
    }

    /// The position of the first row that the first question brings.
    pub(super) fn first_position(&self, ready: &Ready) -> i64 {
        let resume = resumed(&ready.listed, ready.earlier.entry.as_ref());
        i64::try_from(resume.map_or(0, rows_before_last)).unwrap_or(i64::MAX)
    }

    /// How many history rows the run still has to be read, as far as the listing says.
    pub(super) fn expected_rows(&self, ready: &Ready) -> Option<u64> {
        ready.listed.lines()?;
        Some(expected(&ready.listed, resumed(&ready.listed, ready.earlier.entry.as_ref())))
    }

    fn reads_fields_only(&self, listed: &Listed, known: Option<&RunEntry>) -> bool {
        let same_history = known.is_some_and(|known| known.version.is_some() && known.history == listed.history);
        !self.config.wants_history() || (same_history && has_history_version(listed))
    }
}

/// What is known of the run, where its history goes on from there. Fewer rows than before: it was rewound, and what is known of it is no
/// help.
fn resumed<'k>(listed: &Listed, known: Option<&'k RunEntry>) -> Option<&'k RunEntry> {
    known.filter(|known| known.last.is_some() && !shrank(listed, known))
}

/// The last known row comes again.
fn rows_before_last(known: &RunEntry) -> u64 {
    known.rows.saturating_sub(u64::from(known.last.is_some()))
}

fn expected(listed: &Listed, resume: Option<&RunEntry>) -> u64 {
    listed.size().saturating_sub(resume.map_or(0, rows_before_last))
}

/// Whether the listing says enough of the history to trust that it did not change.
fn has_history_version(listed: &Listed) -> bool {
    let said = listed.history.as_ref();
    said.is_some_and(|HistoryVersion { lines, heartbeat }| lines.is_some() && heartbeat.is_some())
}

fn shrank(listed: &Listed, known: &RunEntry) -> bool {
    let lines = |history: &Option<HistoryVersion>| history.as_ref().and_then(|history| history.lines);
    matches!((lines(&listed.history), lines(&known.history)), (Some(now), Some(then)) if now < then)
}

impl<X: Exchange, D: Destination> RunReader<'_, '_, X, D> {
    /// Reads the run and sends what has changed since it was `known`.
    pub(super) async fn read(mut self, known: Option<RunEntry>) -> Result<RunEnd, Error> {
        if self.source.reads_fields_only(&self.sink.listed, known.as_ref()) {
            self.sink.begin(known.as_ref());
            self.sink.keep_history();
            return match self.fields().await? {
                Some(run) => {
                    self.sink.say_illegible(&run.illegible);
                    self.sink.finish(run.row)
                }
                None => Ok(RunEnd::Gone),
            };
        }
        let mut resume = resumed(&self.sink.listed, known.as_ref()).cloned();
        let mut strictness = Strictness::Adaptive;
        loop {
            self.sink.begin(resume.as_ref());
            let mut heavy = None;
            match self.pass(resume.as_ref(), strictness, &mut heavy).await? {
                Pass::Complete => {}
                Pass::Deleted => return Ok(RunEnd::Gone),
                Pass::Rewound => {
                    self.sink.say_rewound();
                    resume = None;
                    continue;
                }
                Pass::Short => {
                    let message = format!(
                        "Run {}: fewer history rows came than W&B counts; reading it again in small steps",
                        self.sink.listed.id
                    );
                    self.sink.log(Level::Debug, &message);
                    (resume, strictness) = (None, Strictness::Strict);
                    continue;
                }
                Pass::Stale => {
                    let message = format!(
                        "Run {}: its exported files do not fit its history; reading it by steps",
                        self.sink.listed.id
                    );
                    self.sink.log(Level::Debug, &message);
                    (resume, self.distrusts_export) = (None, true);
                    continue;
                }
            }
            let Some(HeavyRun { row, illegible, .. }) = heavy else {
                return Err(Error::Internal("a run was read without its fields".to_owned()));
            };
            self.sink.say_illegible(&illegible);
            return self.sink.finish(row);
        }
    }

    /// The run's fields, where nothing else is wanted. None: the run does not exist any more.
    async fn fields(&mut self) -> Result<Option<HeavyRun>, Error> {
        match self.first.take() {
            Some(First::Gone) => return Ok(None),
            Some(First::Run(first)) => return Ok(Some(first.heavy)),
            None => {}
        }
        let Self { source, sink, .. } = self;
        let history = RefCell::new(&mut sink.history);
        let run = source.graphql.run(source.client, &sink.listed.id, Include::Nothing, BODY_LIMIT, &history, 0).await?;
        Ok(run.map(|(run, _)| run))
    }

    async fn pass(
        &mut self,
        resume: Option<&RunEntry>,
        strictness: Strictness,
        heavy: &mut Option<HeavyRun>,
    ) -> Result<Pass, Error> {
        let tail = resume.and_then(|known| known.last.clone());
        let start = tail.as_ref().map_or(0, |tail| tail.step);
        self.sink.entry.rows = resume.map_or(0, rows_before_last);
        let expected = expected(&self.sink.listed, resume);
        let adaptive = AdaptiveWindow::new(strictness, expected, self.source.row_bytes.get());
        let mut steps = Steps { adaptive, heavy };
        let wants_export = self.first.is_none() && !self.distrusts_export && self.source.wants_export(expected);
        let exported = if strictness == Strictness::Adaptive && wants_export {
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
                self.sink.entry.rows = self.sink.entry.rows.saturating_sub(1);
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
            let missing = self.sink.entry.rows < lines;
            // What did not come by steps the last time is not missing in the files.
            let is_expected = self.sink.short_before.is_some_and(|before| self.sink.entry.rows + before == lines);
            if from_export && !is_expected && self.source.exports.misfits(self.sink.entry.rows, lines, still_live) {
                return Ok(Pass::Stale);
            }
            if self.distrusts_export && missing {
                // Ranges of steps brought no more either: this server counts otherwise.
                self.source.exports.distrust_counts();
            }
        }
        Ok(match lines {
            // The rows known from before no longer add up with the new ones: some of them are gone.
            Some(lines)
                if counted_before
                    && (self.sink.entry.rows < lines || (self.sink.entry.rows > lines && !still_live)) =>
            {
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
        let missing = lines.saturating_sub(self.sink.entry.rows);
        self.sink.entry.short_by = Some(missing).filter(|missing| *missing > 0);
        let is_settled = missing == 0 || self.sink.short_before.is_some_and(|before| missing >= before);
        if !is_settled && can_be_stricter {
            return Pass::Short;
        }
        self.sink.is_short = !is_settled;
        if missing > 0 {
            let rows = self.sink.entry.rows;
            let what_follows = match is_settled {
                true => "that is what the last sync got too, and is taken for all there is",
                false => "what came is stored, and the next sync reads it again",
            };
            let message = format!(
                "Run {}: {rows} history rows came, of {lines} that W&B counts; {what_follows}",
                self.sink.listed.id
            );
            self.sink.log(Level::Warning, &message);
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
        let source = self.source;
        let (client, graphql) = (source.client, &source.graphql);
        let counted = self.sink.listed.lines();
        // What is read again of a step that was read already is no second row of it.
        self.sink.history.forget_step();
        let Steps { adaptive, heavy } = steps;
        let window_at = |start: i64, adaptive: &AdaptiveWindow| {
            let room = end.map_or(i64::MAX, |end| end.saturating_sub(start));
            Window { start, steps: adaptive.steps().min(room.max(1)) }
        };
        // The question was asked with this range.
        let asked = self.first.as_ref().and_then(First::window);
        let mut window = asked.unwrap_or_else(|| window_at(start, adaptive));
        let mut empty = 0;
        loop {
            let position = i64::try_from(self.sink.entry.rows).unwrap_or(i64::MAX);
            let limit = adaptive.body_limit();
            let given = self.first.take();
            let RunSink { history, listed, .. } = &mut self.sink;
            let history = RefCell::new(history);
            let answer = match heavy {
                None if given.is_some() => {
                    Ok(take_first(given, &mut history.borrow_mut(), counted).map(|(run, bytes)| {
                        **heavy = Some(run);
                        bytes
                    }))
                }
                None => graphql.run(client, &listed.id, Include::History(window), limit, &history, position).await.map(
                    |run| {
                        run.map(|(mut run, bytes)| {
                            run.lines = run.lines.or(counted);
                            **heavy = Some(run);
                            bytes
                        })
                    },
                ),
                Some(_) => graphql.history(client, &listed.id, window, limit, &history, position).await,
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
            let rows = self.sink.history.rows().len();
            if let Some(tail) = first.filter(|_| window.start == start) {
                let row = self.sink.history.row_with_points(0);
                if !row.is_some_and(|row| tail.recognises(&row)) {
                    return Ok(Some(Pass::Rewound));
                }
            }
            adaptive.observe(window.steps, rows, bytes);
            source.row_bytes.set(adaptive.row_bytes());
            self.sink.account_for_page(rows)?;
            let at = window.end();
            let read = self.sink.entry.rows;
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
            match locate::first_row(client, graphql, &self.sink.listed.id, at, end).await? {
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

/// What the first answer brought of a run, with the rows put into `history`. None: the run does not exist any more.
fn take_first(
    first: Option<First>,
    history: &mut crate::records::row::History,
    counted: Option<u64>,
) -> Option<(HeavyRun, usize)> {
    let Some(First::Run(first)) = first else { return None };
    let FirstRun { mut heavy, history: rows, bytes, .. } = *first;
    heavy.lines = heavy.lines.or(counted);
    *history = rows;
    Some((heavy, bytes))
}
