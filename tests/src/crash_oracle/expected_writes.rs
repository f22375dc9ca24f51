//! What a destination must hold, told from its state: the second half of "the state never claims what the tables lack".
//!
//! An entry of the state says how far a run was read, but only the connector knows what its version stands for. So this
//! remembers how the source looked when it first saw an entry; syncs of the same source can only have read that.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use elt_host::State;
use rusqlite::Connection;
use serde_json::Value;
use wandb_connector::records::time;

use super::{Left, narrow};
use crate::local_wandb::Truth;
use crate::local_wandb::truth::{Difference, compare};

/// What the source held over time, and what a destination's state said of it.
pub struct ExpectedWrites {
    /// The source, each time it had changed.
    sources: Vec<Truth>,
    claims: BTreeMap<String, Claim>,
    watermark: Option<i64>,
}

/// What the state says of a run.
#[derive(Clone, Debug)]
struct Claim {
    entry: String,
    /// Which source it is about.
    source: usize,
    /// All rows are there, and the run's own.
    complete: bool,
    /// The rows of steps below this are there.
    below: i64,
    /// Which source the run's own row is from.
    row: Option<usize>,
}

impl ExpectedWrites {
    /// Begins with what the source holds and an empty destination.
    pub fn new(source: Truth) -> Self {
        Self { sources: vec![source], claims: BTreeMap::new(), watermark: None }
    }

    /// The source has changed. No sync may be under way.
    pub fn changed(&mut self, source: Truth) {
        self.sources.push(source);
    }

    /// The destination is a new one.
    pub fn emptied(&mut self) {
        self.claims.clear();
        self.watermark = None;
    }

    /// Checks what a sync left: the state against the source, and the tables against the state.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&mut self, left: &Left) -> anyhow::Result<()> {
        self.note(&left.state)?;
        self.check_watermark(&left.state)?;
        let mut expected = Truth::default();
        for (id, claim) in &self.claims {
            self.add(&mut expected, id, claim);
        }
        let differences = compare(&left.rows, &expected)?;
        ensure!(differences.is_empty(), "the tables are not what the state says: {}", first(&differences));
        left.newer.as_ref().map_or(Ok(()), |newer| self.check_newer(newer, &expected))
    }

    /// The runs whose every row of now is stored.
    pub fn complete(&self) -> BTreeSet<&str> {
        let now = self.now();
        let complete = self.claims.iter().filter(|(id, claim)| claim.complete && self.is_current(id, claim, now));
        complete.map(|(id, _)| id.as_str()).collect()
    }

    /// The runs of now that are stored in part, and the step from which on rows are missing.
    pub fn partial(&self) -> BTreeMap<&str, i64> {
        let partial = self.claims.iter().filter(|(_, claim)| !claim.complete && claim.source + 1 == self.sources.len());
        partial.map(|(id, claim)| (id.as_str(), claim.below)).collect()
    }

    /// What the source holds now, with what stays of deleted runs.
    pub fn truth(&self) -> Truth {
        let mut truth = self.now().clone();
        for (id, claim) in self.claims.iter().filter(|(id, _)| !self.now().runs.contains_key(*id)) {
            self.add(&mut truth, id, claim);
        }
        truth
    }

    fn now(&self) -> &Truth {
        &self.sources[self.sources.len() - 1]
    }

    /// Whether a run is still what it was in the source that a claim is about.
    fn is_current(&self, id: &str, claim: &Claim, now: &Truth) -> bool {
        claim.source + 1 == self.sources.len() || self.sources[claim.source].runs.get(id) == now.runs.get(id)
    }

    fn note(&mut self, state: &State) -> anyhow::Result<()> {
        let source = self.sources.len() - 1;
        let entries = state.iter().filter_map(|(key, entry)| Some((key.strip_prefix("runs/")?, entry)));
        let mut seen = BTreeSet::new();
        for (id, entry) in entries {
            seen.insert(id.to_owned());
            let before = self.claims.get(id);
            if before.is_some_and(|before| before.entry == *entry) {
                continue;
            }
            let fields: Value = serde_json::from_str(entry).with_context(|| format!("the entry of {id}"))?;
            if !self.now().runs.contains_key(id) {
                // That the run is gone is all that there is to learn of it.
                let Some(claim) = self.claims.get_mut(id).filter(|_| fields["deleted"].is_string()) else {
                    bail!("a new entry for {id}, which is not at the source: {entry}");
                };
                claim.entry.clone_from(entry);
                continue;
            }
            let complete = fields["version"].is_string();
            let row = if complete { Some(source) } else { before.and_then(|before| before.row) };
            let below = fields["next_step"].as_i64().unwrap_or(i64::MIN);
            self.claims.insert(id.to_owned(), Claim { entry: entry.clone(), source, complete, below, row });
        }
        let lost: Vec<_> = self.claims.keys().filter(|id| !seen.contains(*id)).collect();
        ensure!(lost.is_empty(), "entries were there and are gone: {lost:?}");
        Ok(())
    }

    fn check_watermark(&mut self, state: &State) -> anyhow::Result<()> {
        let watermark = match state.get("runs_hwm_utc") {
            Some(text) => Some(time::parse(text).with_context(|| format!("the watermark {text:?}"))?),
            None => None,
        };
        ensure!(watermark >= self.watermark, "the watermark fell from {:?} to {watermark:?}", self.watermark);
        self.watermark = watermark;
        let complete = self.complete();
        let passed = self.now().runs.iter().filter(|(_, run)| run.updated_at.is_some_and(|at| Some(at) <= watermark));
        let open: Vec<_> = passed.map(|(id, _)| id).filter(|id| !complete.contains(id.as_str())).collect();
        ensure!(open.is_empty(), "the watermark {watermark:?} passes runs that are not complete: {open:?}");
        Ok(())
    }

    /// The rows that a claim is about.
    fn add(&self, to: &mut Truth, id: &str, claim: &Claim) {
        if let Some(row) = claim.row.and_then(|source| self.sources[source].runs.get(id)) {
            to.runs.insert(id.to_owned(), row.clone());
        }
        let below = if claim.complete { i64::MAX } else { claim.below };
        add_history(to, &self.sources[claim.source], id, below);
    }

    /// What readers see is newer than the state: each run is as the state says, or as far as a sync of now could have brought it.
    fn check_newer(&self, newer: &Connection, stated: &Truth) -> anyhow::Result<()> {
        let ids = newer
            .prepare(
                "SELECT run_id FROM runs UNION SELECT run_id FROM metrics UNION SELECT run_id FROM metric_objects",
            )?
            .query_map([], |row| row.get::<_, String>(0))?
            .collect::<rusqlite::Result<BTreeSet<_>>>()?;
        for id in ids.iter().chain(stated.runs.keys()) {
            narrow(newer, [id])?;
            let last: Option<i64> = newer.query_row(
                "SELECT max(step) FROM (SELECT step FROM metrics UNION ALL SELECT step FROM metric_objects)",
                [],
                |row| row.get(0),
            )?;
            let below = last.map_or(i64::MIN, |last| last + 1);
            let now = self.now();
            let mut whole = Truth::default();
            whole.keep_run(now, id);
            let mut as_stated = Truth::default();
            as_stated.keep_run(stated, id);
            let mut part = Truth { runs: as_stated.runs.clone(), ..Truth::default() };
            add_history(&mut part, now, id, below);
            let mut why = String::new();
            let mut fits = false;
            for candidate in [&as_stated, &whole, &part] {
                let differences = compare(newer, candidate)?;
                fits |= differences.is_empty();
                why = differences.first().map_or(why, ToString::to_string);
            }
            ensure!(fits, "readers see of {id} neither what the state says nor what is at the source: {why}");
        }
        Ok(())
    }
}

fn add_history(to: &mut Truth, from: &Truth, id: &str, below: i64) {
    let range = (id.to_owned(), i64::MIN, String::new())..;
    let of_run = |key: &(String, i64, String)| key.0 == id;
    let metrics = from.metrics.range(range.clone()).take_while(|(key, _)| of_run(key) && key.1 < below);
    to.metrics.extend(metrics.map(|(key, row)| (key.clone(), row.clone())));
    let objects = from.objects.range(range).take_while(|(key, _)| of_run(key) && key.1 < below);
    to.objects.extend(objects.map(|(key, row)| (key.clone(), row.clone())));
}

fn first(differences: &[Difference]) -> String {
    let shown = differences.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    format!("{} differences, {shown}", differences.len())
}
