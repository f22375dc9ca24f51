//! One sync: what it needs, what it reports while it runs, and how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::http::rate_gate::{RateGate, Ungated};
use crate::runtime::policy::Policy;
use crate::runtime::scheduling::SchedulingClass;
use crate::state::StateKeys;

/// What a caller gives for one sync.
pub struct SyncRequest {
    /// The connector's configuration, secrets included. The guest gets opaque texts in the place of secrets
    /// (see `wit/source.wit`, `spec`).
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Where rows and state go.
    pub destination: Box<dyn crate::destination::Destination>,
    /// Begin again from nothing.
    pub full_refresh: bool,
    /// How to read the connector's state, where that is known: then a destination that has lost a table costs no more than reading
    /// again what is at the source.
    pub state_keys: Option<StateKeys>,
    /// What the connector may reach and use.
    pub policy: Policy,
    /// When its requests may be sent.
    pub rate_gate: Arc<dyn RateGate>,
    /// Where it computes. What is given here has to run the sync as well ([`SchedulingClass::run`]).
    pub scheduling: SchedulingClass,
}

impl SyncRequest {
    /// What has changed since the last sync, with the default policy, requests whenever the connector wants, and computing where everything does.
    pub fn new(
        config: serde_json::Map<String, serde_json::Value>,
        destination: Box<dyn crate::destination::Destination>,
    ) -> Self {
        let (policy, scheduling) = (Policy::default(), SchedulingClass::default());
        Self {
            config,
            destination,
            full_refresh: false,
            state_keys: None,
            policy,
            rate_gate: Arc::new(Ungated),
            scheduling,
        }
    }
}

/// How a sync ended. Also filled as far as possible when it failed.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Counts of the source's items.
    pub items: Items,
    /// Rows committed, by table.
    pub rows: BTreeMap<String, u64>,
    /// Rows' keys deleted, by table: calls of `delete`, not rows that vanished.
    pub deletes: BTreeMap<String, u64>,
    /// HTTP requests that the connector made, retries included.
    pub requests: u64,
    /// How many of them were retries, as the connector counts.
    pub retries: u64,
    /// Bytes received over the network, bodies and header fields, about.
    pub bytes_in: u64,
    /// Bytes sent over the network, bodies and heads, about.
    pub bytes_out: u64,
    /// Waits for rate limits, as the connector told them. Those of requests under way at once are all counted, so this can be more than
    /// `elapsed`.
    pub throttled: Duration,
    /// Processor time of the connector, of the host in its calls, and of decompressing and masking what it received.
    pub cpu_time: Duration,
    /// The most linear memory that the connector had, in bytes.
    pub memory: u64,
    /// Checkpoints committed.
    pub checkpoints: u64,
    /// From start to end.
    pub elapsed: Duration,
    /// The state after the last commit.
    pub state: crate::state::State,
    /// Items left out, with reasons.
    pub quarantined: Vec<(String, String)>,
    /// Why the sync ended early; none when it went through.
    pub error: Option<Error>,
}

/// The source's items, counted.
#[derive(Debug, Clone, Default)]
pub struct Items {
    /// The unit, in the singular (`run`); empty when the connector did not get as far as saying it.
    pub unit: String,
    /// Listed by the source.
    pub seen: u64,
    /// Written.
    pub synced: u64,
    /// Found unchanged.
    pub unchanged: u64,
    /// Known from this sync or an earlier one, and no longer at the source.
    pub deleted: u64,
    /// Could not be read.
    pub quarantined: u64,
}

/// What a sync reports while it runs.
#[derive(Debug, Clone)]
pub enum Event {
    /// A log line of the connector or of the host, control characters and secrets still to be hidden by nobody: the
    /// message is already safe to print.
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
        method: http::Method,
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
