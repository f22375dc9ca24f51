//! What there is to see of the tenants at this moment. Holds no secret and no configuration.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::record::SyncRecord;
use super::tenant::TenantId;

/// Gives overviews: the scheduler to the status page and the metrics.
pub trait Watch: Send + Sync {
    /// All tenants, by id.
    fn tenants(&self) -> Vec<TenantOverview>;

    /// Entries of the tenants' files that can't be used, each as a line for people: file, place, what is wrong.
    fn problems(&self) -> Vec<String>;

    /// The last syncs of one tenant, the newest first, at most `most`.
    fn history(&self, tenant: &TenantId, most: usize) -> Vec<SyncRecord>;

    /// Whether syncs are being started: the tenants were read, the process is not being drained.
    fn is_ready(&self) -> bool;

    /// The places for syncs that run at once.
    fn slots(&self) -> Slots;
}

/// Places for syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Those in use.
    pub taken: usize,
    /// All of them.
    pub all: usize,
}

/// One tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantOverview {
    /// Who.
    pub id: TenantId,
    /// What operators group tenants by.
    pub labels: BTreeMap<String, String>,
    /// When the next sync is due; none while one runs.
    pub next: Option<DateTime<Utc>>,
    /// Why that is later than the schedule says, if it is.
    pub waits: Option<String>,
    /// What runs now.
    pub running: Option<RunningSync>,
    /// The last sync that ended.
    pub last: Option<SyncRecord>,
    /// The start of the last complete sync: what was at the source then is at the destination now.
    pub fresh_as_of: Option<DateTime<Utc>>,
}

/// A sync that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningSync {
    /// Since when.
    pub started: DateTime<Utc>,
    /// Rows committed so far.
    pub rows: u64,
    /// Whether it waits for a rate limit.
    pub throttled: bool,
}
