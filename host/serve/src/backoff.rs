//! Tenants whose syncs fail for a reason that lasts until somebody changes something: a key that is not accepted, a project that is not
//! there. Asking again every time the schedule says would tell nothing new, for ever, so each time in a row doubles the wait, up to an
//! hour.
//!
//! That somebody did change something is seen by a [`Mark`] of the entry and its secrets, so that it is tried at once then. It is two
//! bytes of a salted hash: enough to notice a change, too little to learn anything of a secret from it, so that it may be kept in the
//! history, over a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::record::SyncEnd;
use super::schedule::Schedule;
use super::tenant::{SecretSource, Tenant, TenantId};

/// The longest wait; that of a schedule which is rarer stays as it is.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// Between two looks at secrets that are files or variables.
const LOOK: Duration = Duration::from_secs(5);
/// Between two runs of a program that tells a secret, at least.
const ASK: Duration = Duration::from_secs(60);

/// The outcomes that last.
const LASTING: [&str; 4] = ["configuration", "authentication", "permission", "not-found"];

/// A mark of an entry and of its secrets' values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(pub u16);

/// How a tenant has been failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// Syncs in a row that failed for a reason that lasts, with one mark.
    pub times: u32,
    /// What they failed with; none where it is not known.
    pub mark: Option<Mark>,
}

impl Mark {
    /// Of a tenant, whose secrets have these values; none where one can't be looked up.
    pub fn of(tenant: &Tenant, secrets: &BTreeMap<String, Option<String>>, salt: u64) -> Self {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(&salt.to_string());
        add(&serde_json::Value::Object(tenant.config.clone()).to_string());
        add(&format!("{:?} {:?} {:?}", tenant.secrets, tenant.component, tenant.policy));
        add(&tenant.destination.to_string());
        for (key, value) in secrets {
            add(key);
            add(if value.is_some() { "is" } else { "is not there" });
            add(value.as_deref().unwrap_or_default());
        }
        let digest = hash.finalize();
        Self(u16::from_le_bytes([digest[0], digest[1]]))
    }
}

impl Failing {
    /// After one more sync, which ended so.
    pub fn after(before: Option<Self>, end: &SyncEnd, mark: Option<Mark>) -> Option<Self> {
        match end.outcome.as_str() {
            // It was not let to its end.
            "interrupted" => before,
            outcome if LASTING.contains(&outcome) => {
                let before = before.filter(|before| before.mark == mark).map_or(0, |before| before.times);
                Some(Self { times: before.saturating_add(1), mark })
            }
            _ => None,
        }
    }

    /// When it is tried again, if the last try began then.
    pub fn next(&self, id: &TenantId, schedule: &Schedule, started: DateTime<Utc>) -> DateTime<Utc> {
        let due = schedule.due(id, started, Some(started));
        let pause = (due - started).to_std().unwrap_or_default();
        let doublings = self.times.saturating_sub(1).min(31);
        let wait = pause.saturating_mul(1 << doublings).min(LONGEST.max(pause));
        TimeDelta::from_std(wait).ok().and_then(|wait| started.checked_add_signed(wait)).unwrap_or(due)
    }

    /// Why it waits, for people.
    pub fn reason(&self, end: &SyncEnd) -> String {
        let times = if self.times == 1 { "once".to_owned() } else { format!("{} times in a row", self.times) };
        format!("it failed {times} ({}); a change of its entry or its secrets is tried at once", end.outcome)
    }
}

/// How often the secrets of a tenant that waits are looked at.
pub(super) fn looks_every(tenant: &Tenant) -> Duration {
    let asks = tenant.secrets.values().any(|source| matches!(source, SecretSource::Command(_)));
    if asks { ASK } else { LOOK }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::file;
    use crate::schedule::Repeat;
    use elt_host::Policy;

    fn end(outcome: &str) -> SyncEnd {
        let (rows, items, requests, retries, memory) = (0, (0, 0), 0, 0, 0);
        let (at, outcome, message, throttled) = (Utc::now(), outcome.to_owned(), None, Duration::ZERO);
        SyncEnd { at, outcome, message, rows, items, requests, retries, throttled, memory }
    }

    fn waits(every: u64, times: u32) -> i64 {
        let schedule = Schedule { repeat: Repeat::Every(Duration::from_secs(every)), jitter: Duration::ZERO };
        let started = Utc::now();
        let next = Failing { times, mark: None }.next(&"a".parse().unwrap(), &schedule, started);
        (next - started).num_seconds()
    }

    #[test]
    fn each_failure_in_a_row_doubles_the_wait_up_to_an_hour() {
        let of = |every| (1..=8).map(|times| waits(every, times)).collect::<Vec<_>>();
        assert_eq!(of(60), [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(of(2400), [2400, 3600, 3600, 3600, 3600, 3600, 3600, 3600]);
        assert_eq!(of(86_400), [86_400; 8], "a schedule that is rarer stays as it is");
        assert_eq!(waits(1, u32::MAX), 3600);
    }

    #[test]
    fn only_what_lasts_counts_and_a_change_begins_anew() {
        let mark = Some(Mark(7));
        let mut failing = None;
        for outcome in ["authentication", "interrupted", "permission", "not-found", "configuration"] {
            failing = Failing::after(failing, &end(outcome), mark);
        }
        assert_eq!(failing, Some(Failing { times: 4, mark }), "one was interrupted, which says nothing");
        assert_eq!(Failing::after(failing, &end("authentication"), Some(Mark(8))).unwrap().times, 1);
        for outcome in ["ok", "partial", "upstream", "rate-limited", "destination", "limit", "internal"] {
            assert_eq!(Failing::after(failing, &end(outcome), mark), None, "{outcome}");
        }
    }

    #[test]
    fn a_mark_changes_with_the_entry_and_with_the_values_of_its_secrets() {
        let tenant = |project: &str| {
            let text = format!(
                "[[tenant]]\nid = \"a\"\ndestination = \"null:\"\n[tenant.config]\nproject = \"{project}\"\napi_key = {{ env = \"KEY\" }}"
            );
            file::read("t.toml".as_ref(), "/".as_ref(), &text, &Policy::default()).entries[0].tenant.clone()
        };
        let mark = |project: &str, key: Option<&str>, salt: u64| {
            let secrets = BTreeMap::from([("api_key".to_owned(), key.map(str::to_owned))]);
            Mark::of(&tenant(project), &secrets, salt)
        };
        let first = mark("vision", Some("secret"), 1);
        assert_eq!(mark("vision", Some("secret"), 1), first);
        for other in [
            mark("audio", Some("secret"), 1),
            mark("vision", Some("secret2"), 1),
            mark("vision", None, 1),
            mark("vision", Some(""), 1),
            mark("vision", Some("secret"), 2),
        ] {
            assert_ne!(other, first);
        }
    }
}
