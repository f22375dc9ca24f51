//! What the connector remembers between syncs: a flat map of strings.
//!
//! | key | value |
//! |---|---|
//! | `runs_hwm_utc` | the watermark: the highest `updated_at` up to which everything is done (RFC 3339) |
//! | `source` | which project the destination holds |
//! | `import_hwm_utc` | while the first sync after the import of a bare watermark is under way: that watermark |
//! | `marks` | there while the table `deleted_runs` says the same as the entries do |
//! | `runs/<id>` | one run: a [`RunEntry`] as JSON |
//! | `failed/<id>` | there while a run could not be read the last time |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::records::lineage::Tail;

/// The watermark's key; Fivetran's connector has the same.
pub const WATERMARK: &str = "runs_hwm_utc";
/// The project's key.
pub const SOURCE: &str = "source";
/// The key of a watermark that was imported without runs.
pub const IMPORT: &str = "import_hwm_utc";
/// The key that says that marks of deleted runs are kept.
pub const MARKS: &str = "marks";
/// What a run's key begins with.
pub const RUNS: &str = "runs/";
/// What the key of a run that could not be read begins with.
pub const FAILED: &str = "failed/";

/// The version of the rules by which histories are read. An entry that names none was written by a connector that took the members of a
/// union in an exported history for metrics of their own.
pub const RULES: u32 = 1;

/// Histories with fewer rows were never read from exported files.
pub const LEAST_EXPORTED_ROWS: u64 = 5_000;

/// The state as it is handed to a sync.
pub type State = BTreeMap<String, String>;

/// What is remembered of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunEntry {
    /// A hash of the run's entry in the listing that the destination is up to date with; none while its history is partly read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the listing says of the run's history; where it is unchanged, so is the history (`graphql`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryVersion>,
    /// A hash of what the configuration selects, where that is less than all. An entry with another selection counts as none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<String>,
    /// By which version of the rules its history was read; see [`RULES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<u32>,
    /// The run lay below a watermark that was imported, and was never read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
    /// W&B was found not to have the run any more, and when (RFC 3339). Should it come back, it is a new run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
    /// The step after the last row.
    #[serde(rename = "next_step", skip_serializing_if = "Option::is_none")]
    pub next_step: Option<i64>,
    /// Rows read.
    pub rows: u64,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Tail>,
    /// How many of the rows that W&B counts did not come when it was read whole (`graphql`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_by: Option<u64>,
    /// They may come yet: the next sync reads it again, and whole, changed or not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// A hash over all rows before the last one, in hexadecimal (`rest`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What a listing says of a run's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryVersion {
    /// The number of rows, as W&B counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// When the run was last alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<String>,
}

impl RunEntry {
    /// The entry of a run. One that can't be read counts as none: the run is read whole.
    pub fn find(state: &State, run_id: &str) -> Option<Self> {
        serde_json::from_str(state.get(&key(run_id))?).ok()
    }

    /// Whether what was read of it by other rules may have come from exported files, so that it is not built upon. The entry does not say
    /// where rows came from, but a digest is kept only of those that came by the `rest` dialect, which has no exports.
    pub fn is_outdated(&self) -> bool {
        let by_graphql = self.history.is_some() || self.digest.is_none();
        self.rules != Some(RULES) && self.rows > 0 && by_graphql
    }

    /// The entry as it is stored.
    pub fn to_text(&self) -> String {
        // A struct of texts and numbers always serializes.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The key of a run.
pub fn key(run_id: &str) -> String {
    format!("{RUNS}{run_id}")
}

/// The key that says that a run could not be read.
pub fn failed_key(run_id: &str) -> String {
    format!("{FAILED}{run_id}")
}

/// The ids of the runs that the state knows, in order.
pub fn run_ids(state: &State) -> impl Iterator<Item = &str> {
    ids(state, RUNS)
}

/// The ids of the runs that could not be read the last time.
pub fn failed_ids(state: &State) -> impl Iterator<Item = &str> {
    ids(state, FAILED)
}

fn ids<'s>(state: &'s State, prefix: &'static str) -> impl Iterator<Item = &'s str> {
    state.range(prefix.to_owned()..).map_while(move |(key, _)| key.strip_prefix(prefix))
}

/// Whether the state knows any run.
pub fn knows_runs(state: &State) -> bool {
    run_ids(state).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_rules_may_have_read_from_exports_is_outdated() {
        let entry = |text: &str| -> RunEntry { serde_json::from_str(text).unwrap() };
        for (text, outdated) in [
            (r#"{"version":"1","history":{"lines":9},"rows":9}"#, true),
            (r#"{"version":"1","history":{"lines":9},"rows":9,"rules":1}"#, false),
            (r#"{"version":"1","history":{"lines":9},"rows":9,"rules":2}"#, true),
            // Partly read.
            (r#"{"rows":9}"#, true),
            // Nothing was read, or by the other dialect.
            (r#"{"version":"1","history":{"lines":9},"rows":0}"#, false),
            (r#"{"version":"1","rows":9,"digest":"00"}"#, false),
            // By the other dialect first.
            (r#"{"version":"1","history":{"lines":9},"rows":9,"digest":"00"}"#, true),
        ] {
            assert_eq!(entry(text).is_outdated(), outdated, "{text}");
        }
        let fresh = RunEntry { rules: Some(RULES), rows: 9, ..RunEntry::default() };
        assert!(!entry(&fresh.to_text()).is_outdated());
    }
}
