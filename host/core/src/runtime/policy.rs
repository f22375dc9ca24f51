//! What a connector may reach and how much it may use. The default allows nothing but the origins that the
//! configuration itself names.

use std::time::Duration;

use ipnet::IpNet;

use crate::destination::writer::COMMIT_AFTER;

/// The rules that one sync runs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Origins that may be asked *without* credentials, beside the configuration's own: download hosts of signed URLs.
    pub download_origins: Vec<String>,
    /// Networks that resolved addresses may lie in although they are loopback, link-local, private or otherwise special.
    pub networks: Vec<IpNet>,
    /// How much the connector may use.
    pub limits: Limits,
    /// Age at which what was read is made durable and shown to readers, even if it is little. It is what a crash can lose.
    pub commit_after: Duration,
    /// How long the destination may take to store what is complete when the sync has to end: after it was cancelled, or when its
    /// [`wall_time`](Limits::wall_time) is over. A destination that is stuck beyond that is left to itself, and the error says what is not known.
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

/// Upper bounds for one sync. Each is named where it is reached: in the error that it ends the sync with, or in the log.
///
/// | what reaching it does | limits |
/// |---|---|
/// | the sync ends with [`Error::Limit`](crate::error::Error::Limit); what is committed stays | `memory`, `wall_time`, `cpu_time`, `handles`, `header_bytes`, `requests`, `bytes_in`, `bytes_out`, `batch_bytes`, `group_bytes`, `rows`, `state_bytes` |
/// | a request waits, and the log says so once | `requests_per_minute`; `open_requests`, and where waiting can't help, the sync ends |
/// | one response fails, which the guest may survive; the log says so | `response_bytes` |
/// | lines are dropped and counted, or cut | `log_lines`, `log_line_bytes` |
///
/// What is bounded without a limit of its own, because it only waits: groups on their way to the destination (8 MiB), what is read of
/// responses before the guest asks for it, what a transaction gathers before it is committed (64 MiB, or one group).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the guest's linear memory. Sixteen requests in flight with pages of a few MiB need about 100 MiB. No more than an
    /// engine's [`Allocator::Pooling`](crate::runtime::engine::Allocator::Pooling) has for each instance. A guest that is refused more mostly crashes; the
    /// sync then *ends* with this.
    pub memory: usize,
    /// From start to end, waiting for rate limits included. A week, since the first sync of a project with millions of runs may take
    /// days at the pace that a source allows. Then the sync *ends*, once the destination has stored what is complete
    /// ([`Policy::destination_grace`]).
    pub wall_time: Duration,
    /// Processor time of the guest: its own code, what the host does in its calls, and decompressing and masking what it receives. Waiting
    /// is none. Six hours are enough for terabytes of JSON; a guest that never stops computing is *ended* days before `wall_time` would do it.
    pub cpu_time: Duration,
    /// Handles that the guest holds at once: requests, bodies, streams, timers. A request under way needs about ten. The header
    /// fields of each are bounded too, so this is also what it can make the host keep for it. One more *ends* the sync.
    pub handles: usize,
    /// Bytes of the header fields of one request that the guest builds. More *ends* the sync.
    pub header_bytes: usize,
    /// Requests under way at once, from when they are about to be sent to when the guest has read the response. One more *waits* for
    /// another to end. A guest that reads none of them would wait for itself: when none has moved for as long as
    /// [`Timeouts::between_bytes`](crate::http::client::Timeouts::between_bytes) can be at most (5 minutes), the sync *ends*.
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
