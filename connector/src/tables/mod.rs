//! The tables, as the README shows them.

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableName {
    /// A row for each run.
    Runs,
    /// A row for each number that a run logged.
    Metrics,
    /// A row for each logged value that a double can't carry.
    MetricObjects,
    /// A row for each run that W&B no longer has, where the configuration wants such runs marked.
    DeletedRuns,
}

/// The tables that hold what W&B holds, in the order in which they are written.
pub const TABLES: [TableName; 3] = [TableName::Runs, TableName::Metrics, TableName::MetricObjects];

impl TableName {
    /// The name in the destination.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Metrics => "metrics",
            Self::MetricObjects => "metric_objects",
            Self::DeletedRuns => "deleted_runs",
        }
    }

    /// The columns in their order: name, type, whether it may be null.
    pub fn columns(self) -> &'static [(&'static str, DataType, bool)] {
        use DataType::{Double, Integer, Json, Text, Timestamp};
        match self {
            Self::Runs => &[
                ("run_id", Text, false),
                ("name", Text, true),
                ("state", Text, true),
                ("user", Text, true),
                ("created_at", Timestamp, true),
                ("updated_at", Timestamp, true),
                ("tags", Json, true),
                ("config_json", Json, true),
                ("summary_json", Json, true),
            ],
            Self::Metrics => &[
                ("run_id", Text, false),
                ("step", Integer, false),
                ("metric_name", Text, false),
                ("metric_value", Double, true),
                ("timestamp", Timestamp, true),
            ],
            Self::MetricObjects => &[
                ("run_id", Text, false),
                ("step", Integer, false),
                ("metric_name", Text, false),
                ("value_json", Json, true),
                ("timestamp", Timestamp, true),
            ],
            Self::DeletedRuns => &[("run_id", Text, false), ("noticed_at", Timestamp, true)],
        }
    }

    /// The primary key.
    pub fn primary_key(self) -> &'static [&'static str] {
        match self {
            Self::Runs | Self::DeletedRuns => &["run_id"],
            Self::Metrics | Self::MetricObjects => &["run_id", "step", "metric_name"],
        }
    }
}

/// What a column holds; the kinds of `wit/types.wit` that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// A signed 64-bit integer.
    Integer,
    /// An IEEE 754 double.
    Double,
    /// Unicode text.
    Text,
    /// A JSON document.
    Json,
    /// Microseconds since the epoch, UTC.
    Timestamp,
}
