//! What a sync did, for people (a table like the one of Fivetran's local runs) and for programs (one JSON object).

use std::collections::BTreeMap;
use std::fmt::Write;

use elt_host::wandb::WATERMARK;
use elt_host::{Error, Outcome};
use elt_support::printable::escape_control;
use serde::{Serialize, Serializer};

use crate::output::json;
use crate::output::table::{self, Heading};
use crate::output::units::{counted, grouped};

/// The tables of the built-in component: present in the JSON object also when a sync failed before it knew any.
pub(crate) const TABLES: [&str; 3] = ["runs", "metrics", "metric_objects"];

/// A sync that ended.
pub(crate) struct Summary<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) full_refresh: bool,
    /// Tables to name also when they got no row.
    pub(crate) tables: &'a [&'a str],
}

impl Summary<'_> {
    fn status(&self) -> &'static str {
        match &self.outcome.error {
            Some(Error::Interrupted) => "interrupted",
            Some(_) => "failed",
            None if self.quarantined() > 0 => "partial",
            None => "ok",
        }
    }

    fn quarantined(&self) -> u64 {
        self.outcome.items.quarantined.max(self.outcome.quarantined.len() as u64)
    }

    fn rows(&self) -> Vec<(&str, u64)> {
        let counts: &BTreeMap<String, u64> = &self.outcome.rows;
        let named = self.tables.iter().map(|table| (*table, counts.get(*table).copied().unwrap_or(0)));
        let others = counts.iter().map(|(table, rows)| (table.as_str(), *rows));
        named.chain(others.filter(|(table, _)| !self.tables.contains(table))).collect()
    }

    /// One object, on one line.
    pub(crate) fn json(&self) -> String {
        let Outcome { items, requests, retries, checkpoints, elapsed, state, error, .. } = self.outcome;
        json::line(&Object {
            status: self.status(),
            runs: Runs {
                seen: items.seen,
                synced: items.synced,
                unchanged: items.unchanged,
                deleted: items.deleted,
                quarantined: self.quarantined(),
            },
            rows: Rows(self.rows()),
            requests: *requests,
            retries: *retries,
            checkpoints: *checkpoints,
            seconds: elapsed.as_millis() as f64 / 1000.0,
            runs_hwm_utc: state.get(WATERMARK),
            error: error.as_ref().map(Error::to_string),
            error_kind: error.as_ref().map(|error| error.kind().name()),
        })
    }

    /// Nothing for a sync that failed before it found anything: the error says it all.
    pub(crate) fn text(&self) -> String {
        let outcome = self.outcome;
        let did_nothing = outcome.checkpoints == 0 && outcome.items.seen == 0;
        if outcome.error.is_some() && did_nothing {
            return String::new();
        }
        let mut text = self.operations();
        text.push('\n');
        let rows = self.rows().into_iter().map(|(table, rows)| vec![table.into(), grouped(rows)]);
        text += &table::render(&[Heading::Left("Table"), Heading::Right("Rows")], &rows.collect::<Vec<_>>());
        text.push('\n');
        text += &self.sentences();
        text
    }

    fn operations(&self) -> String {
        let outcome = self.outcome;
        let truncates = if self.full_refresh && outcome.checkpoints > 0 { outcome.rows.len() as u64 } else { 0 };
        let rows = [
            ("Upserts", outcome.rows.values().sum()),
            ("Updates", 0),
            ("Deletes", outcome.deletes.values().sum()),
            ("Truncates", truncates),
            ("Checkpoints", outcome.checkpoints),
        ];
        let rows: Vec<_> = rows.into_iter().map(|(name, calls)| vec![name.into(), grouped(calls)]).collect();
        table::render(&[Heading::Left("Operation"), Heading::Right("Calls")], &rows)
    }

    fn sentences(&self) -> String {
        let Outcome { items, requests, retries, elapsed, state, .. } = self.outcome;
        let unit = if items.unit.is_empty() { "run" } else { &items.unit };
        let deleted = match items.deleted {
            0 => String::new(),
            deleted => format!(", {} deleted at the source", grouped(deleted)),
        };
        let mut text = format!(
            "{} seen: {} synced, {} unchanged, {} quarantined{deleted}\n{} ({}) in {:.1} s\n",
            counted(items.seen, &escape_control(unit)),
            grouped(items.synced),
            grouped(items.unchanged),
            grouped(self.quarantined()),
            counted(*requests, "request"),
            if *retries == 1 { "1 retry".into() } else { format!("{} retries", grouped(*retries)) },
            elapsed.as_secs_f64(),
        );
        if let Some(watermark) = state.get(WATERMARK) {
            text += &format!("watermark {}\n", escape_control(watermark));
        }
        if !self.outcome.quarantined.is_empty() {
            text += "\nquarantined, to be tried again by the next sync:\n";
        }
        for (id, reason) in &self.outcome.quarantined {
            // Writing to a string can't fail.
            writeln!(text, "  {}: {}", escape_control(id), escape_control(reason)).ok();
        }
        text
    }
}

/// What `--format json` prints. Scripts rely on these names.
#[derive(Serialize)]
struct Object<'a> {
    status: &'static str,
    runs: Runs,
    rows: Rows<'a>,
    requests: u64,
    retries: u64,
    checkpoints: u64,
    seconds: f64,
    runs_hwm_utc: Option<&'a String>,
    error: Option<String>,
    /// The error's case in `wit/types.wit`, or one of the host's own.
    error_kind: Option<&'static str>,
}

#[derive(Serialize)]
struct Runs {
    seen: u64,
    synced: u64,
    unchanged: u64,
    deleted: u64,
    quarantined: u64,
}

/// By table.
struct Rows<'a>(Vec<(&'a str, u64)>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
