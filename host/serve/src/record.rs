//! How a sync ended, as the history keeps it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::tenant::TenantId;

/// One sync of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncRecord {
    /// Whose.
    pub tenant: TenantId,
    /// When it was due: what came before `started` is the scheduling delay.
    pub due: DateTime<Utc>,
    /// When it got a slot.
    pub started: DateTime<Utc>,
    /// How it ended; none while it runs, and for one that the host did not outlive.
    pub end: Option<SyncEnd>,
}

/// The end of a sync.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncEnd {
    /// When.
    pub at: DateTime<Utc>,
    /// `ok`, `partial` (some items were left out), or the kind of the error ([`elt_host::Error::kind`]).
    pub outcome: String,
    /// One line for people, without secrets and control characters; none when all went well.
    pub message: Option<String>,
    /// Rows committed, of all tables.
    pub rows: u64,
    /// Items of the source: written, and left out.
    pub items: (u64, u64),
    /// Requests, retries among them.
    pub requests: u64,
    /// Retries.
    pub retries: u64,
    /// Time that the connector waited for rate limits.
    pub throttled: Duration,
    /// The most linear memory that the guest had, in bytes.
    pub memory: u64,
}

impl SyncRecord {
    /// Whether everything was brought over.
    pub fn is_complete(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.outcome == "ok")
    }

    /// Whether the host was ended, or told to end, before the sync was.
    pub fn was_interrupted(&self) -> bool {
        self.end.as_ref().is_none_or(|end| end.outcome == "interrupted")
    }
}

/// From `start` to `end`; zero when the clock was set back.
pub(super) fn between(start: DateTime<Utc>, end: DateTime<Utc>) -> Duration {
    (end - start).to_std().unwrap_or_default()
}
