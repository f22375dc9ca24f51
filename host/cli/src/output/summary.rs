//! What a sync did, for people (a table like the one of Fivetran's local runs) and for programs (one JSON object).

use std::collections::BTreeMap;
use std::fmt::Write;

use elt_host::{Error, Outcome};
use elt_support::printable::escape_control;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::output::json;
use crate::output::table::{self, Heading};
use crate::output::units::{counted, grouped};
use crate::output::vocabulary::{Vocabulary, member};

/// The members of the JSON object that are called the same whatever the component.
const MEMBERS: [&str; 8] = ["status", "rows", "requests", "retries", "checkpoints", "seconds", "error", "error_kind"];

/// A sync that ended.
pub(crate) struct Summary<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) full_refresh: bool,
    /// Tables to name also when they got no row.
    pub(crate) tables: &'a [&'a str],
    pub(crate) vocabulary: &'a Vocabulary,
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
        json::line(&Object(self))
    }

    fn counts(&self) -> Counts {
        let items = &self.outcome.items;
        Counts {
            seen: items.seen,
            synced: items.synced,
            unchanged: items.unchanged,
            deleted: items.deleted,
            quarantined: self.quarantined(),
        }
    }

    /// One item, and several.
    fn units(&self) -> (&str, &str) {
        let (said, names) = (&self.outcome.items, &self.vocabulary.items);
        match said.units.is_empty() {
            true => (&names.singular, &names.plural),
            false => (&said.unit, &said.units),
        }
    }

    /// The watermark's key and value, where the component has one.
    fn watermark(&self) -> Option<(&str, Option<&String>)> {
        let key = self.vocabulary.watermark.as_deref()?;
        Some((key, self.outcome.state.get(key)))
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
        let Outcome { items, requests, retries, elapsed, .. } = self.outcome;
        let (one, several) = self.units();
        let deleted = match items.deleted {
            0 => String::new(),
            deleted => format!(", {} deleted at the source", grouped(deleted)),
        };
        let mut text = format!(
            "{} {} seen: {} synced, {} unchanged, {} quarantined{deleted}\n{} ({}) in {:.1} s\n",
            grouped(items.seen),
            escape_control(if items.seen == 1 { one } else { several }),
            grouped(items.synced),
            grouped(items.unchanged),
            grouped(self.quarantined()),
            counted(*requests, "request"),
            if *retries == 1 { "1 retry".into() } else { format!("{} retries", grouped(*retries)) },
            elapsed.as_secs_f64(),
        );
        if let Some((_, Some(watermark))) = self.watermark() {
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

/// What `--format json` prints. Scripts rely on these names: those of [`MEMBERS`], the component's plural for what is counted, and the
/// state's key of its watermark.
struct Object<'a>(&'a Summary<'a>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(summary) = self;
        let Outcome { requests, retries, checkpoints, elapsed, error, .. } = summary.outcome;
        let items = member(summary.units().1, &MEMBERS, "items");
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("status", summary.status())?;
        object.serialize_entry(&items, &summary.counts())?;
        object.serialize_entry("rows", &Rows(summary.rows()))?;
        object.serialize_entry("requests", requests)?;
        object.serialize_entry("retries", retries)?;
        object.serialize_entry("checkpoints", checkpoints)?;
        object.serialize_entry("seconds", &(elapsed.as_millis() as f64 / 1000.0))?;
        if let Some((key, value)) = summary.watermark() {
            let taken: Vec<&str> = MEMBERS.into_iter().chain([items.as_str()]).collect();
            object.serialize_entry(&member(key, &taken, "watermark"), &value)?;
        }
        object.serialize_entry("error", &error.as_ref().map(Error::to_string))?;
        // The error's case in `wit/types.wit`, or one of the host's own.
        object.serialize_entry("error_kind", &error.as_ref().map(|error| error.kind().name()))?;
        object.end()
    }
}

#[derive(Serialize)]
struct Counts {
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
