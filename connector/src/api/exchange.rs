//! The connector's whole view of the outside: an HTTP exchange, clocks and random numbers. The component binds it to WASI;
//! tests, fuzzers and the native baseline of the benchmarks bind it to what they need.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Asks GraphQL.
    Post,
}

/// One HTTP request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// Lower-case names. `content-length` is the exchange's business.
    pub headers: Vec<(&'static str, String)>,
    /// The whole body; empty for none.
    pub body: Vec<u8>,
}

/// One HTTP response with its whole body.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body as it came over the wire.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that lower-case name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// Why no whole response came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The host sends no such request: its egress policy forbids it, or it does not trust the server. Never retried.
    #[error("{0}")]
    Denied(String),
    /// The body is larger than the caller's limit.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    /// A network failure: refused, reset, timed out, cut short.
    #[error("{0}")]
    Failed(String),
}

/// What the sync logic needs of its surroundings. One thread; futures need not be `Send`.
#[allow(async_fn_in_trait, reason = "single-threaded by design, used with static dispatch")]
pub trait Exchange {
    /// Sends a request and reads the whole response, following no redirect. `limit` bounds the body in bytes.
    async fn send(&self, request: &Request, limit: usize) -> Result<Response, TransportError>;

    /// Waits.
    async fn sleep(&self, duration: Duration);

    /// A monotonic clock, from any origin.
    fn now(&self) -> Duration;

    /// The wall clock.
    fn wall_clock(&self) -> DateTime<Utc>;

    /// 64 random bits.
    fn random(&self) -> u64;
}
