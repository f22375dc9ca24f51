//! What a connector may reach and how much it may use. The default allows nothing but the origins that the
//! configuration itself names.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::destination::writer::COMMIT_AFTER;
use crate::runtime::seconds;

/// The rules that one sync runs under.
///
/// It serialises by the names of its fields, durations in seconds as `…_seconds`, networks as texts such as `10.0.0.0/8`. What is absent has its
/// default; a name that is not known is refused.
///
/// ```
/// use std::time::Duration;
///
/// use elt_host::{Limits, Policy};
///
/// let limits = Limits::default().memory(256 << 20).wall_time(Duration::from_secs(3600));
/// let policy = Policy::default().limits(limits).download_origins(["https://storage.example"]);
/// let read: Policy = serde_json::from_str(
///     r#"{"download_origins": ["https://storage.example"], "limits": {"memory": 268435456, "wall_time_seconds": 3600}}"#,
/// )?;
/// assert_eq!(read, policy);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Policy {
    /// Origins that may be asked *without* credentials, beside the configuration's own: download hosts of signed URLs.
    pub download_origins: Vec<String>,
    /// Networks that resolved addresses may lie in although they are loopback, link-local, private or otherwise special.
    #[serde(with = "as_texts")]
    pub networks: Vec<IpNet>,
    /// How much the connector may use.
    pub limits: Limits,
    /// Age at which what was read is made durable and shown to readers, even if it is little. It is what a crash can lose.
    #[serde(with = "seconds", rename = "commit_after_seconds")]
    pub commit_after: Duration,
    /// How long the destination may take to store what is complete when the sync has to end: after it was cancelled, or when its
    /// [`wall_time`](Limits::wall_time) is over. A destination that is stuck beyond that is left to itself, and the error says what is not known.
    #[serde(with = "seconds", rename = "destination_grace_seconds")]
    pub destination_grace: Duration,
}

/// Longer than the minute that SQLite waits for whoever has locked the database, which is an error of its own.
const DESTINATION_GRACE: Duration = Duration::from_secs(120);

impl Default for Policy {
    fn default() -> Self {
        Self {
            download_origins: Vec::new(),
            networks: Vec::new(),
            limits: Limits::default(),
            commit_after: COMMIT_AFTER,
            destination_grace: DESTINATION_GRACE,
        }
    }
}

impl Policy {
    /// The same with these [`download_origins`](Self::download_origins), such as `https://storage.example`.
    #[must_use]
    pub fn download_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.download_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// The same with these [`networks`](Self::networks).
    #[must_use]
    pub fn networks(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.networks = networks.into_iter().collect();
        self
    }

    /// The same with other [`limits`](Self::limits).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same with another age of what is [committed](Self::commit_after).
    #[must_use]
    pub fn commit_after(mut self, age: Duration) -> Self {
        self.commit_after = age;
        self
    }

    /// The same with another [`destination_grace`](Self::destination_grace).
    #[must_use]
    pub fn destination_grace(mut self, grace: Duration) -> Self {
        self.destination_grace = grace;
        self
    }
}

/// Networks as people write them.
mod as_texts {
    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| elt_support::units::network(text).map_err(de::Error::custom)).collect()
    }
}

/// Upper bounds for one sync. Each is named where it is reached: in the error that it ends the sync with, or in the log.
///
/// | what reaching it does | limits |
/// |---|---|
/// | the sync ends with [`Error::Limit`](crate::Error::Limit); what is committed stays | `memory`, `wall_time`, `cpu_time`, `handles`, `header_bytes`, `requests`, `bytes_in`, `bytes_out`, `batch_bytes`, `group_bytes`, `rows`, `state_bytes` |
/// | a request waits, and the log says so once | `requests_per_minute`; `open_requests`, and where waiting can't help, the sync ends |
/// | one response fails, which the guest may survive; the log says so | `response_bytes` |
/// | lines are dropped and counted, or cut | `log_lines`, `log_line_bytes` |
///
/// What is bounded without a limit of its own, because it only waits: groups on their way to the destination (8 MiB), what is read of
/// responses before the guest asks for it, what a transaction gathers before it is committed (64 MiB, or one group).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the guest's linear memory. Sixteen requests in flight with pages of a few MiB need about 100 MiB. No more than an
    /// engine's [pool](crate::EngineOptions::pool) has for each instance. A guest that is refused more mostly crashes; the
    /// sync then *ends* with this.
    pub memory: usize,
    /// From start to end, waiting for rate limits included. A week, since the first sync of a project with millions of runs may take
    /// days at the pace that a source allows. Then the sync *ends*, once the destination has stored what is complete
    /// ([`Policy::destination_grace`]).
    #[serde(with = "seconds", rename = "wall_time_seconds")]
    pub wall_time: Duration,
    /// Processor time of the guest: its own code, what the host does in its calls, and decompressing and masking what it receives. Waiting
    /// is none. Six hours are enough for terabytes of JSON; a guest that never stops computing is *ended* days before `wall_time` would do it.
    #[serde(with = "seconds", rename = "cpu_time_seconds")]
    pub cpu_time: Duration,
    /// Handles that the guest holds at once: requests, bodies, streams, timers. A request under way needs about ten. The header
    /// fields of each are bounded too, so this is also what it can make the host keep for it. One more *ends* the sync.
    pub handles: usize,
    /// Bytes of the header fields of one request that the guest builds. More *ends* the sync.
    pub header_bytes: usize,
    /// Requests under way at once, from when they are about to be sent to when the guest has read the response. One more *waits* for
    /// another to end. A guest that reads none of them would wait for itself: when none has moved for as long as
    /// the guest may leave a response unread (5 minutes), the sync *ends*.
    pub open_requests: usize,
    /// Requests of one sync, retries among them. A run takes a few, so ten million are those of millions of runs. One more *ends* the sync,
    /// and is not sent.
    pub requests: u64,
    /// Requests sent in a minute, in any one of them up to a second's worth more, and at least one. A request that would be too many *waits*
    /// for its turn, and never ends anything. 600,000 is more than any source answers, so it holds back only where a policy sets less.
    pub requests_per_minute: u32,
    /// Bytes received in one sync: bodies as they come over the network, and header fields, about. 1 TiB is far beyond any project. More
    /// *ends* the sync.
    pub bytes_in: u64,
    /// Bytes sent in one sync: bodies and heads, about. Requests are one or two KiB, so 32 GiB are more than `requests` of them. More *ends*
    /// the sync.
    pub bytes_out: u64,
    /// Bytes of one response's body, as they come and after decompression. A larger one *fails*, and the guest goes on as it likes.
    pub response_bytes: u64,
    /// Bytes of one batch, as Arrow arrays; a call may hold twice that much in all. More *ends* the sync.
    pub batch_bytes: usize,
    /// Bytes between two checkpoints: rows as Arrow arrays, and the checkpoint's change to the state. More *ends* the sync. A group that is
    /// complete *waits* while the destination is behind.
    pub group_bytes: usize,
    /// Rows of one sync. More *ends* it.
    pub rows: u64,
    /// Bytes of the whole state: keys, values, and 64 bytes for each entry. A checkpoint that makes it larger *ends* the sync.
    pub state_bytes: usize,
    /// Log lines of one sync; further ones are *dropped* and counted.
    pub log_lines: u64,
    /// Bytes of one log line; the rest is *cut*.
    pub log_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 512 << 20,
            wall_time: Duration::from_secs(7 * 24 * 3600),
            cpu_time: Duration::from_secs(6 * 3600),
            handles: 4096,
            header_bytes: 16 << 10,
            open_requests: 256,
            requests: 10_000_000,
            requests_per_minute: 600_000,
            bytes_in: 1 << 40,
            bytes_out: 32 << 30,
            response_bytes: 1 << 30,
            batch_bytes: 64 << 20,
            group_bytes: 128 << 20,
            rows: u64::MAX,
            state_bytes: 256 << 20,
            log_lines: 100_000,
            log_line_bytes: 8 << 10,
        }
    }
}

/// A method for each limit that sets it.
macro_rules! builder {
    ($($limit:ident: $kind:ty,)*) => {
        impl Limits {
            /// Their names.
            pub(crate) const NAMES: &[&str] = &[$(stringify!($limit)),*];

            $(
                #[doc = concat!("The same with another [`", stringify!($limit), "`](Self#structfield.", stringify!($limit), "), in its unit.")]
                #[must_use]
                pub fn $limit(mut self, $limit: $kind) -> Self {
                    self.$limit = $limit;
                    self
                }
            )*
        }
    };
}

builder! {
    memory: usize,
    wall_time: Duration,
    cpu_time: Duration,
    handles: usize,
    header_bytes: usize,
    open_requests: usize,
    requests: u64,
    requests_per_minute: u32,
    bytes_in: u64,
    bytes_out: u64,
    response_bytes: u64,
    batch_bytes: usize,
    group_bytes: usize,
    rows: u64,
    state_bytes: usize,
    log_lines: u64,
    log_line_bytes: usize,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_policy_reads_back_as_it_was_written_and_nothing_is_guessed() {
        let limits = Limits::default().rows(7).cpu_time(Duration::from_millis(1500));
        let networks = ["10.0.0.0/8", "::1/128"].map(|text| text.parse().unwrap());
        let policy = Policy::default().limits(limits).networks(networks).destination_grace(Duration::ZERO);
        let written = serde_json::to_value(&policy).unwrap();
        assert_eq!(written["limits"]["cpu_time_seconds"], json!(1.5));
        assert_eq!(written["networks"], json!(["10.0.0.0/8", "::1/128"]));
        assert_eq!(serde_json::from_value::<Policy>(written).unwrap(), policy);
        assert_eq!(serde_json::from_value::<Policy>(json!({})).unwrap(), Policy::default());
        for other in [
            json!({"network": []}),
            json!({"networks": ["anywhere"]}),
            json!({"limits": {"wall_time": 3}}),
            json!({"limits": {"wall_time_seconds": -1}}),
        ] {
            assert!(serde_json::from_value::<Policy>(other.clone()).is_err(), "{other}");
        }
    }

    #[test]
    fn every_limit_can_be_set_by_its_name() {
        let written = serde_json::to_value(Limits::default()).unwrap();
        let fields: Vec<_> = written.as_object().unwrap().keys().map(|key| key.trim_end_matches("_seconds")).collect();
        let mut names = Limits::NAMES.to_vec();
        names.sort_unstable();
        assert_eq!((fields, written["rows"].clone()), (names, Value::from(u64::MAX)));
    }
}
