//! What is stored of a run itself.

/// A row of `runs`. JSON columns hold valid JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunRow {
    /// The run's id.
    pub run_id: String,
    /// `displayName`, else the server's `name`.
    pub name: Option<String>,
    /// `running`, `finished`, …
    pub state: Option<String>,
    /// The username.
    pub user: Option<String>,
    /// Microseconds since the epoch.
    pub created_at: Option<i64>,
    /// Microseconds since the epoch.
    pub updated_at: Option<i64>,
    /// A JSON list.
    pub tags: Option<String>,
    /// A JSON object.
    pub config: Option<String>,
    /// A JSON object.
    pub summary: Option<String>,
}
