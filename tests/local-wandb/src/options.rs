//! What a server is started with.

use std::time::Duration;

use super::clock::{Micros, START};
use super::project::World;
use super::rate_limit::RateLimit;

/// The API key that a server accepts unless told otherwise: 40 hexadecimal digits, as W&B's are.
pub const TEST_KEY: &str = "0123456789abcdef0123456789abcdef01234567";

/// How GraphQL answers a key that is not valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadKey {
    /// 401 with an `errors` body.
    #[default]
    Unauthorized,
    /// 200 where `viewer` and every project are null.
    NullViewer,
}

/// The compression of parquet files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParquetCodec {
    /// None.
    None,
    /// Snappy.
    Snappy,
    /// Gzip.
    Gzip,
    /// Zstandard, which W&B was seen to use.
    #[default]
    Zstd,
    /// LZ4 (raw blocks).
    Lz4,
}

/// How histories are exported to parquet.
#[derive(Clone, Debug)]
pub struct ParquetOptions {
    /// Whether exports exist at all; without them `parquetHistory` answers no URLs.
    pub enabled: bool,
    /// The compression.
    pub codec: ParquetCodec,
    /// The most rows in a file.
    pub rows_per_file: usize,
    /// How many rows before the boundary are both exported and live.
    pub overlap: usize,
    /// Whether the order of the URLs changes from request to request.
    pub shuffle: bool,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        ParquetOptions {
            enabled: true,
            codec: ParquetCodec::default(),
            rows_per_file: 100_000,
            overlap: 0,
            shuffle: true,
        }
    }
}

/// What a server is started with. `Options::default()` is an empty server on a free port.
#[derive(Clone, Debug)]
pub struct Options {
    /// The key it accepts.
    pub api_key: String,
    /// What it holds.
    pub world: World,
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Added before each answer.
    pub latency: Duration,
    /// Whether the `rest` dialect exists; without it those paths are 404.
    pub rest: bool,
    /// Whether the `graphql` dialect exists; without it `/graphql` is 404.
    pub graphql: bool,
    /// Whether `nextUrl` is a path rather than a whole URL.
    pub relative_next_url: bool,
    /// How GraphQL answers a key that is not valid.
    pub bad_key: BadKey,
    /// Whether answers above 1 KiB are compressed for clients that accept gzip.
    pub gzip: bool,
    /// The most runs or rows of a page, whatever was asked for.
    pub max_page: usize,
    /// Parquet exports.
    pub parquet: ParquetOptions,
    /// The time at the start.
    pub now: Micros,
    /// Whether new rows move `updatedAt` too, or only `heartbeatAt`.
    pub append_moves_updated_at: bool,
    /// The rate limit of the service; none without it. Stored files are not the service's.
    pub rate_limit: Option<RateLimit>,
    /// Threads that serve.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            api_key: TEST_KEY.to_owned(),
            world: World::default(),
            port: 0,
            latency: Duration::ZERO,
            rest: true,
            graphql: true,
            relative_next_url: false,
            bad_key: BadKey::default(),
            gzip: true,
            max_page: 1000,
            parquet: ParquetOptions::default(),
            now: START,
            append_moves_updated_at: true,
            rate_limit: None,
            threads: 2,
        }
    }
}

impl Options {
    /// A server that holds this world.
    pub fn with_world(world: World) -> Self {
        Options { world, ..Options::default() }
    }
}
