//! The exported part of a run's history (`graphql`): parquet files behind signed URLs, merged by step. What they do not hold comes by
//! ranges of steps: rows between two files, and all from the last exported row on.
//!
//! Exports lag behind, and know nothing of a run that was rewound meanwhile. So nothing is trusted that the history itself does not
//! confirm: the last exported row must be in it with the same timestamp, no exported step may lie beyond its last one, and the number of
//! rows must be the one that W&B counts. Otherwise the run is read again by steps, from its beginning.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use history_parquet::Broken;
use history_parquet::footer::Footer;
use history_parquet::group::{GroupReader, ReadError, Selection};

use crate::api::client::{BODY_LIMIT, RequestError};
use crate::api::exchange::Exchange;
use crate::api::url::shown;
use crate::destination::{Destination, Level};
use crate::error::Error;
use crate::records::lineage::Tail;
use crate::run::CHUNK_BYTES;

use super::Include;
use super::download::RemoteFile;
use super::exports::LEAST_ROWS;
use super::reading::{GraphqlSource, Pass, RunReader, Steps};

/// The same for rows of known width: eight responses.
const LEAST_BYTES: f64 = (8 << 20) as f64;
/// Of the files' ends, which come first, so much is kept for later: all of a file that is not larger, which then takes a single request.
const KEPT_BYTES: usize = 1 << 20;
/// Footers asked for at once.
const OPENING: usize = 4;
/// A row group that takes more memory than this is not read: ranges of steps are.
const MOST_COST: usize = 64 << 20;

/// How the reading of the exported part ended.
pub(super) enum Exported {
    /// Nothing was read.
    Nothing,
    /// The pass has ended.
    Ended(Pass),
    /// The last known row was read by steps, and nothing after it.
    Behind(Tail),
    /// Rows were read; this is the last one, by step and timestamp.
    Read(Tail),
}

/// A row group of one of the files.
struct Unit {
    file: usize,
    group: usize,
    /// Its first and last step, as the file says.
    first: i64,
    last: i64,
}

struct Opened<'c, 'a, X, D> {
    file: RemoteFile<'c, 'a, X, D>,
    footer: Footer,
    selection: Selection,
}

/// Why the files are not read any further.
enum Stop {
    Read(ReadError),
    Pass(Pass),
    Fatal(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Read(broken.into())
    }
}

impl<X: Exchange, D: Destination> GraphqlSource<'_, X, D> {
    /// Whether files are worth asking for, with so many rows still to read.
    pub(super) fn wants_export(&self, expected: u64) -> bool {
        let wide = expected as f64 * self.row_bytes.get() >= LEAST_BYTES;
        (expected >= LEAST_ROWS || wide) && !self.exports.off.get()
    }
}

impl<X: Exchange, D: Destination> RunReader<'_, '_, X, D> {
    /// Reads the run's fields and the exported part of its history after `tail`.
    pub(super) async fn read_exported(
        &mut self,
        steps: &mut Steps<'_>,
        tail: Option<&Tail>,
    ) -> Result<Exported, Error> {
        let urls = {
            let Self { source, sink, .. } = &mut *self;
            let counted = sink.listed.lines();
            let history = RefCell::new(&mut sink.history);
            let run =
                source.graphql.run(source.client, &sink.listed.id, Include::Export, BODY_LIMIT, &history, 0).await;
            match run {
                Ok(Some((mut run, _))) => {
                    let urls = std::mem::take(&mut run.exported);
                    run.lines = run.lines.or(counted);
                    *steps.heavy = Some(run);
                    urls
                }
                Ok(None) => return Ok(Exported::Ended(Pass::Deleted)),
                // A server that is older than exported histories names what it does not know.
                Err(RequestError::Failed(Error::Upstream { message, .. })) if lacks_exports(&message) => {
                    self.source.exports.off.set(true);
                    self.sink.log(Level::Debug, &format!("This W&B has no exported histories ({message})"));
                    return Ok(Exported::Nothing);
                }
                Err(error) => return Err(error.into()),
            }
        };
        if urls.is_empty() {
            return Ok(Exported::Nothing);
        }
        let mut from = 0;
        if let Some(tail) = tail {
            let after = tail.step.saturating_add(1);
            if let Some(pass) = self.read_steps(steps, tail.step, Some(after), Some(tail)).await? {
                return Ok(Exported::Ended(pass));
            }
            from = after;
        }
        let before = self.sink.entry.rows;
        let result = self.merge(steps, &urls, from).await;
        let emitted = self.sink.entry.rows > before;
        match result {
            Ok(()) => {}
            Err(Stop::Fatal(error)) => return Err(error),
            Err(Stop::Pass(pass)) => return Ok(Exported::Ended(pass)),
            Err(Stop::Read(error)) => {
                self.say_not_read(&error);
                // What came of a file that is broken elsewhere may be wrong too.
                if emitted && matches!(error, ReadError::Broken(_)) {
                    return Ok(Exported::Ended(Pass::Stale));
                }
            }
        }
        Ok(match (&self.sink.entry.last, tail) {
            (Some(last), _) if emitted => Exported::Read(Tail { points: String::new(), ..last.clone() }),
            (_, Some(tail)) => Exported::Behind(tail.clone()),
            (_, None) => Exported::Nothing,
        })
    }

    fn say_not_read(&self, error: &ReadError) {
        let id = &self.sink.listed.id;
        let why = match error {
            ReadError::Denied(why) => {
                if !self.source.exports.off.replace(true) {
                    self.sink.log(
                        Level::Warning,
                        &format!(
                            "Exported histories can't be downloaded: {why}; reading histories by steps instead, which takes longer"
                        ),
                    );
                }
                return;
            }
            ReadError::Broken(why) => why.to_string(),
            ReadError::Gone(status) => format!("HTTP {status}"),
            ReadError::Failed(why) => why.clone(),
        };
        let message = format!("Run {id}: an exported file can't be read ({why}); reading its history by steps instead");
        self.sink.log(Level::Warning, &message);
    }

    /// Reads all steps from `from` on that the files hold, and those that lie between files.
    async fn merge(&mut self, steps: &mut Steps<'_>, urls: &[String], from: i64) -> Result<(), Stop> {
        let source = self.source;
        let allows = |name: &str| source.config.metrics.allows(name);
        let keep = KEPT_BYTES / urls.len().max(1);
        let files: Vec<Opened<'_, '_, X, D>> = stream::iter(urls)
            .map(|url| async move {
                let (file, footer) = RemoteFile::open(source.client, url, keep).await?;
                // W&B's compaction leaves files without rows, and those have no columns either.
                if footer.rows() == 0 {
                    return Ok(None);
                }
                let selection = Selection::new(&footer, allows)?;
                Ok::<_, ReadError>(Some(Opened { file, footer, selection }))
            })
            .buffered(OPENING)
            .try_filter_map(future::ok)
            .try_collect()
            .await?;
        let units = self.units(&files, from).await?;
        let heavy = steps.heavy.as_ref();
        let rows: u64 = units.iter().map(|unit| files[unit.file].footer.groups[unit.group].rows).sum();
        let lines = heavy.and_then(|heavy| heavy.lines);
        let last = units.iter().map(|unit| unit.last).max();
        if last.zip(heavy.and_then(|heavy| heavy.last_step)).is_some_and(|(exported, last)| exported > last) {
            self.sink.log(
                Level::Debug,
                &format!("Run {}: its exported files are older than its history", self.sink.listed.id),
            );
            return Ok(());
        }
        if let Some(cost) = units
            .iter()
            .map(|unit| files[unit.file].selection.cost(&files[unit.file].footer.groups[unit.group]))
            .max()
            .filter(|cost| *cost > MOST_COST)
        {
            self.sink.log(
                Level::Debug,
                &format!(
                    "Run {}: reading its exported files would take {} MiB of memory; reading by steps",
                    self.sink.listed.id,
                    cost >> 20
                ),
            );
            return Ok(());
        }
        let has_gaps = lines.is_none_or(|lines| self.sink.entry.rows.saturating_add(rows) < lines);
        let mut merge = Merge { files: &files, renewed: false, active: Vec::new(), at: from };
        let mut waiting = units.iter().peekable();
        // Of one file, rows that lie between two row groups can't be missing.
        let spans: Vec<(i64, i64)> = (0..files.len())
            .filter_map(|file| {
                let of_file = || units.iter().filter(|unit| unit.file == file);
                let first = of_file().map(|unit| unit.first).min()?;
                Some((first, of_file().map(|unit| unit.last).max()?))
            })
            .collect();
        loop {
            merge.load(self).await?;
            let least = merge.active.iter().filter_map(|(_, reader)| reader.step()).min();
            if let Some(unit) = waiting.next_if(|unit| least.is_none_or(|least| unit.first <= least)) {
                let is_gap = least.is_none()
                    && unit.first > merge.at
                    && !spans.iter().any(|(first, last)| *first < merge.at && unit.first <= *last);
                if has_gaps && is_gap {
                    let pass = self.read_steps(steps, merge.at, Some(unit.first), None).await?;
                    if let Some(pass) = pass {
                        return Err(Stop::Pass(pass));
                    }
                    merge.at = unit.first;
                }
                let Opened { footer, selection, .. } = &files[unit.file];
                let group = &footer.groups[unit.group];
                let cost = selection.cost(group);
                let share = if merge.active.is_empty() {
                    source.exports.budget.share(cost).await
                } else {
                    source.exports.budget.extra(cost)
                };
                merge.active.push((unit.file, GroupReader::new(selection.clone(), footer, group, Some(share))?));
                continue;
            }
            if least.is_none() {
                return Ok(());
            }
            let until = waiting.peek().map_or(i64::MAX, |unit| unit.first);
            let rows = merge.emit(&mut self.sink.history, until)?;
            self.sink.account_for_page(rows)?;
            for (_, reader) in &mut merge.active {
                reader.forget_names();
            }
        }
    }

    /// The row groups that hold steps from `from` on, by their first steps.
    async fn units(&self, files: &[Opened<'_, '_, X, D>], from: i64) -> Result<Vec<Unit>, ReadError> {
        let mut units = Vec::new();
        for (file, opened) in files.iter().enumerate() {
            let steps = Selection::steps(&opened.footer)?;
            for (group, row_group) in opened.footer.groups.iter().enumerate().filter(|(_, group)| group.rows > 0) {
                let range = match steps.range(row_group) {
                    Some(range) => Some(range),
                    None => {
                        let share = self.source.exports.budget.share(steps.cost(row_group)).await;
                        let mut reader = GroupReader::new(steps.clone(), &opened.footer, row_group, Some(share))?;
                        reader.range(&opened.file).await?
                    }
                };
                if let Some((first, last)) = range.filter(|(_, last)| *last >= from) {
                    units.push(Unit { file, group, first, last });
                }
            }
        }
        // Of rows that two files hold, the one counts whose file begins later: it was written later.
        units.sort_by_key(|unit| (unit.first, unit.last));
        Ok(units)
    }
}

/// The row groups that are being read, merged by step.
struct Merge<'f, 'c, 'a, X, D> {
    files: &'f [Opened<'c, 'a, X, D>],
    renewed: bool,
    active: Vec<(usize, GroupReader<'c>)>,
    /// All steps before this one are done.
    at: i64,
}

impl<X: Exchange, D: Destination> Merge<'_, '_, '_, X, D> {
    /// Gives every reader its next row, and drops those that have none.
    async fn load(&mut self, run: &RunReader<'_, '_, X, D>) -> Result<(), Stop> {
        let mut index = 0;
        while let Some((file, reader)) = self.active.get_mut(index) {
            let file = &self.files[*file].file;
            let more = match reader.load(file).await {
                // Signatures expire.
                Err(ReadError::Gone(status)) if !self.renewed => {
                    self.renewed = true;
                    let urls = run.source.graphql.export(run.source.client, &run.sink.listed.id).await;
                    for url in urls.map_err(|_| ReadError::Gone(status))? {
                        for opened in self.files.iter().filter(|opened| opened.file.name() == shown(&url)) {
                            opened.file.renew(&url)?;
                        }
                    }
                    reader.load(file).await?
                }
                other => other?,
            };
            if more {
                index += 1;
            } else {
                self.active.remove(index);
            }
        }
        Ok(())
    }

    /// Adds rows with steps before `until`, until one of the readers has no more in its window, or enough has gathered to be sent: a
    /// window of rows can hold far more as JSON than in the file. Returns how many.
    ///
    /// All rows of a step are added, in the order in which their files begin, so that they are merged in the destination and the last value
    /// of a metric counts. A row that two files hold is one row all the same.
    fn emit(&mut self, history: &mut crate::records::row::History, until: i64) -> Result<usize, Broken> {
        let mut rows = 0;
        if let [(_, reader)] = self.active.as_mut_slice() {
            while let Some(step) = reader.step().filter(|step| *step < until && history.bytes() < CHUNK_BYTES) {
                if step < self.at {
                    reader.skip()?;
                    continue;
                }
                let again = reader.step_after() == Some(step);
                reader.emit(history)?;
                self.at = step.saturating_add(i64::from(!again));
                rows += 1;
            }
            return Ok(rows);
        }
        while history.bytes() < CHUNK_BYTES && self.active.iter().all(|(_, reader)| reader.step().is_some()) {
            let least = self.active.iter().filter_map(|(_, reader)| reader.step()).min();
            let Some(least) = least.filter(|least| *least < until) else {
                break;
            };
            let (mut again, mut of_step, mut held) = (false, 0, BTreeMap::new());
            for (file, reader) in self.active.iter_mut().filter(|(_, reader)| reader.step() == Some(least)) {
                if least < self.at {
                    reader.skip()?;
                    continue;
                }
                again |= reader.step_after() == Some(least);
                let of_file = held.entry(*file).and_modify(|rows| *rows += 1).or_insert(1);
                if *of_file == 1 {
                    // The same row as another file's, perhaps with more in it.
                    history.forget_step();
                }
                of_step = of_step.max(*of_file);
                reader.emit(history)?;
            }
            self.at = self.at.max(least.saturating_add(i64::from(!again)));
            rows += of_step;
        }
        Ok(rows)
    }
}

/// Whether an error says that the server does not know the fields of exported histories. Runs and projects may be called so too; so what
/// counts is a name in quotes that is said to be a field's.
fn lacks_exports(message: &str) -> bool {
    const FIELDS: [&str; 3] = ["parquetHistory", "parquetUrls", "liveKeys"];
    let mut parts = message.split(['"', '\'', '`']);
    let mut before = parts.next().unwrap_or_default();
    parts.any(|part| {
        let kind = before.trim_end().rsplit(' ').next().unwrap_or_default().to_lowercase();
        before = part;
        let name = part.rsplit('.').next().unwrap_or_default();
        FIELDS.contains(&name) && matches!(kind.as_str(), "field" | "argument")
    })
}

#[cfg(test)]
mod tests {
    use super::lacks_exports;

    #[test]
    fn only_a_field_that_is_not_known_means_that_there_are_no_exports() {
        for said in [
            r#"Cannot query field "parquetHistory" on type "Run"."#,
            r#"Unknown argument "liveKeys" on field "Run.parquetHistory"."#,
            "Validation error: Field 'parquetHistory' in type 'Run' is undefined",
            r#"reading run parquetHistory: W&B says: Cannot query field `parquetUrls`"#,
        ] {
            assert!(lacks_exports(said), "{said}");
        }
        for said in [
            "reading run parquet-1: HTTP 400",
            r#"run "parquetHistory" can't be loaded"#,
            "reading run parquetHistory: W&B says: unknown field of acme/parquet/parquetHistory",
            r#"Cannot query field "historyKeys" on type "Run"."#,
        ] {
            assert!(!lacks_exports(said), "{said}");
        }
    }
}
