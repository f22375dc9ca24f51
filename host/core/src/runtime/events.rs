//! What a sync reports while it runs.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// What a sync reports while it runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A log line of the connector or of the host. It is safe to print: secrets and control characters are hidden already.
    Log {
        /// How much it matters.
        level: Level,
        /// One line.
        message: String,
    },
    /// `done` of `total` units of `what`.
    Progress {
        /// A plural noun.
        what: String,
        /// How many are done.
        done: u64,
        /// Of how many, where that is known.
        total: Option<u64>,
    },
    /// The connector waits for a rate limit.
    Throttled(Duration),
    /// A transaction was committed.
    Committed {
        /// Rows by table since the start of the sync.
        rows: BTreeMap<String, u64>,
        /// How long the destination took for the commit itself.
        elapsed: Duration,
    },
    /// A request that was sent has ended, with its response's body, or has failed.
    Request {
        /// `GET`, `POST` and so on.
        method: String,
        /// Whom it was sent to: the name or address, without port and path.
        host: String,
        /// The response's status, if there was a response.
        status: Option<u16>,
        /// What it failed of, as one word.
        error: Option<String>,
        /// When it was sent.
        started: SystemTime,
        /// From then to its end.
        elapsed: Duration,
    },
}

/// How much a log line matters; `wit/log.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// The ordinary course.
    Info,
    /// Dealt with.
    Warning,
    /// Data could not be synced.
    Severe,
}

/// Receives the events of a sync, on the threads that run it: must not block.
pub trait Observer: Send + Sync {
    /// One event.
    fn event(&self, event: Event);
}
