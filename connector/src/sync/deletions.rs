//! Runs that W&B no longer has.
//!
//! A run that the state knows and a complete listing lacks may be deleted, or the listing may have missed it: pages shift while
//! they are read. So W&B is asked for each such run by name, and only a run that it says it does not have counts as deleted. Before
//! any of these answers is believed, the same question about a run that was listed must find that one: a server that
//! answers "not found" to everything deletes nothing. What a deletion does to the rows is the configuration's choice.
//!
//! What was found is remembered in the run's entry, so that it is asked for once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;

use crate::api::exchange::Exchange;
use crate::batch::Batch;
use crate::config::Deletes;
use crate::destination::{Destination, Level, StatePatch};
use crate::error::Error;
use crate::records::time;
use crate::state::{self, RunEntry, State};
use crate::sync::context::Sync;
use crate::sync::listing::{Listing, Pages, Seen};
use crate::sync::outage::MOST_FAILURES;
use crate::tables::{MARKS, TABLES, keys_of_runs};

/// Runs whose deletion is stored in one group.
const GROUP: usize = 256;
/// Listed runs that are asked for, until one is found.
const MOST_WITNESSES: usize = 3;
/// Names in a log line.
const SHOWN: usize = 5;

/// A run that the state knows and the listing lacks.
struct Missing {
    id: String,
    entry: RunEntry,
}

/// Finds and stores deletions, after a complete listing. Returns how many runs that the state knew are deleted.
pub(crate) async fn settle<X: Exchange, D: Destination>(
    sync: &Sync<'_, X, D>,
    listing: &Listing<'_, '_, X, D>,
) -> Result<u64, Error> {
    let (state, listed): (&State, &Seen) = (&listing.state, &listing.seen);
    let missing = state::run_ids(state).filter(|id| !listed.contains_key(*id)).map(|id| {
        // An entry that can't be read is that of a run all the same.
        Missing { id: id.to_owned(), entry: RunEntry::find(state, id).unwrap_or_default() }
    });
    let (earlier, mut unknown): (Vec<_>, Vec<_>) = missing.partition(|run| run.entry.deleted.is_some());
    if !listing.is_clean && !unknown.is_empty() {
        let message = format!(
            "The listing was not whole, so whether {} missing from it were deleted is not asked; the next sync asks",
            named(&unknown)
        );
        sync.client.destination.log(Level::Warning, &message);
        unknown.clear();
    }
    let mut new = absent(sync, unknown).await?;
    if !new.is_empty() && !is_trustworthy(sync, listed).await? {
        let message = format!(
            "W&B says that {} missing from its listing do not exist, but does not find a listed one either; the next sync asks again",
            named(&new)
        );
        sync.client.destination.log(Level::Warning, &message);
        new.clear();
    }
    let count = (earlier.len() + new.len()) as u64;
    let now = time::format(sync.client.exchange.wall_clock().timestamp_micros());
    for run in &mut new {
        run.entry.deleted = Some(now.clone());
    }
    let marks_are_kept = state.contains_key(state::MARKS);
    match sync.config.deletes {
        Deletes::Keep => {
            store(sync, &new, |_| Ok(()))?;
            say(sync, &new, "what is stored of it stays", "what is stored of them stays");
        }
        Deletes::Mark => {
            // Those found while `deletes` was something else have no mark yet.
            let unmarked = if marks_are_kept { Vec::new() } else { earlier };
            new.extend(unmarked);
            store(sync, &new, |runs| mark(sync, runs))?;
            say(sync, &new, "it is marked in the table deleted_runs", "they are marked in the table deleted_runs");
            if !marks_are_kept {
                sync.checkpoint(vec![(state::MARKS.to_owned(), Some("kept".to_owned()))])?;
            }
        }
        Deletes::Remove => {
            new.extend(earlier);
            store(sync, &new, |runs| remove(sync, runs))?;
            say(sync, &new, "its rows are removed", "their rows are removed");
        }
    }
    Ok(count)
}

/// Those of `runs` that W&B says it does not have. A question that fails says nothing.
async fn absent<X: Exchange, D: Destination>(sync: &Sync<'_, X, D>, runs: Vec<Missing>) -> Result<Vec<Missing>, Error> {
    let mut asked: BTreeMap<String, Missing> = runs.into_iter().map(|run| (run.id.clone(), run)).collect();
    let mut answers = sync.source.has(asked.keys().cloned().collect());
    let mut absent = Vec::new();
    let mut failures: Vec<Error> = Vec::new();
    while let Some((id, answer)) = answers.next().await {
        match answer {
            Ok(true) => {}
            Ok(false) => absent.extend(asked.remove(&id)),
            Err(error) if error.is_of_one_question() => {
                failures.push(error);
                if failures.len() >= MOST_FAILURES {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    // Where the key was revoked meanwhile, the listing is refused too.
    if failures.iter().any(Error::is_refusal) {
        sync.source.try_listing().await?;
    }
    if let Some(error) = failures.first() {
        let message = format!(
            "Whether runs that the listing lacks are deleted could not be asked for all of them; the next sync asks again: {error}"
        );
        sync.client.destination.log(Level::Warning, &message);
    }
    absent.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(absent)
}

/// Whether the question that found runs absent finds one that is known to be there. Where nothing was listed, listing again has to
/// bring the same.
async fn is_trustworthy<X: Exchange, D: Destination>(sync: &Sync<'_, X, D>, listed: &Seen) -> Result<bool, Error> {
    let believed = |answer: Result<bool, Error>| match answer {
        Err(error) if error.is_of_one_question() => Ok(false),
        other => other,
    };
    if listed.is_empty() {
        let page = sync.source.list(None).await;
        return believed(page.map(|page| page.runs.is_empty() && page.unreadable.is_empty() && page.next.is_none()));
    }
    let quarantined = sync.quarantined_ids();
    for id in listed.keys().filter(|id| !quarantined.contains(*id)).take(MOST_WITNESSES) {
        if let Some((_, answer)) = sync.source.has(vec![id.clone()]).next().await
            && believed(answer)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Which of these runs are listed still. Where that can't be asked, all of them may be.
pub(crate) async fn still_listed<X: Exchange, D: Destination>(
    sync: &Sync<'_, X, D>,
    runs: &[(String, Option<i64>)],
) -> Result<BTreeSet<String>, Error> {
    let asked: BTreeSet<&str> = runs.iter().map(|(id, _)| id.as_str()).collect();
    let mut found = BTreeSet::new();
    let mut pages = Pages::default();
    let mut cursor = None;
    while found.len() < asked.len() {
        let page = match sync.source.list(cursor.as_deref()).await {
            Ok(page) => page,
            Err(error) if error.is_of_one_question() && !error.is_refusal() => {
                return Ok(asked.into_iter().map(str::to_owned).collect());
            }
            Err(error) => return Err(error),
        };
        let entries = page.runs.len() + page.unreadable.len();
        let ids = page.runs.into_iter().map(|run| run.id).chain(page.unreadable.into_iter().filter_map(|odd| odd.id));
        found.extend(ids.filter(|id| asked.contains(id.as_str())));
        let goes_on = page.next.is_some();
        if !goes_on || pages.visit(cursor.as_deref(), entries, false, goes_on).is_err() {
            break;
        }
        cursor = page.next;
    }
    Ok(found)
}

/// Stores what `change` sends for the runs together with what the state is to say of them.
fn store<X: Exchange, D: Destination>(
    sync: &Sync<'_, X, D>,
    runs: &[Missing],
    change: impl Fn(&[Missing]) -> Result<(), Error>,
) -> Result<(), Error> {
    let keeps = sync.config.deletes != Deletes::Remove;
    for runs in runs.chunks(GROUP) {
        change(runs)?;
        let patch = runs.iter().map(|run| (state::key(&run.id), keeps.then(|| run.entry.to_text())));
        sync.checkpoint(StatePatch::from_iter(patch))?;
    }
    Ok(())
}

fn mark<X: Exchange, D: Destination>(sync: &Sync<'_, X, D>, runs: &[Missing]) -> Result<(), Error> {
    let noticed = runs.iter().map(|run| run.entry.deleted.as_deref().and_then(time::parse)).collect();
    match MARKS.marks(runs.iter().map(|run| run.id.clone()).collect(), noticed) {
        Some(marks) => sync.client.destination.upsert(MARKS.name, marks),
        None => Ok(()),
    }
}

fn remove<X: Exchange, D: Destination>(sync: &Sync<'_, X, D>, runs: &[Missing]) -> Result<(), Error> {
    for table in TABLES.into_iter().filter(|table| sync.config.writes(table)) {
        sync.client.destination.delete(table.name, keys(runs))?;
    }
    Ok(())
}

fn keys(runs: &[Missing]) -> Batch {
    keys_of_runs(runs.iter().map(|run| run.id.clone()))
}

fn say<X: Exchange, D: Destination>(sync: &Sync<'_, X, D>, runs: &[Missing], one: &str, many: &str) {
    if !runs.is_empty() {
        let message = format!("Deleted at W&B: {}; {}", named(runs), if runs.len() == 1 { one } else { many });
        sync.client.destination.log(Level::Warning, &message);
    }
}

/// `7 runs (a, b, c, d, e, …)`
fn named(runs: &[Missing]) -> String {
    let names: Vec<&str> = runs.iter().take(SHOWN).map(|run| run.id.as_str()).collect();
    let more = if runs.len() > SHOWN { ", …" } else { "" };
    let unit = if runs.len() == 1 { "run" } else { "runs" };
    format!("{} {unit} ({}{more})", runs.len(), names.join(", "))
}
