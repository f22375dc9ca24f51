//! When a connector's requests may be sent, as whoever runs several connectors decides: a budget of requests that tenants share, and
//! the slot of a sync that only waits.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Holds requests of one sync back, and hears of its waits.
pub trait RateGate: Send + Sync {
    /// Awaited before each request that is allowed and within its limits, when it is about to be sent to `origin`: scheme, host in lower case
    /// and, unless it is the scheme's own, port, such as `https://api.example`. Dropped when the sync is stopped meanwhile. The wait counts
    /// as time of the sync, and as none of the request's own timeouts.
    fn before_request<'a>(&'a self, origin: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// The connector says that it waits for a rate limit, and for how long. It may say so and go on: this is the guest's word.
    fn throttled(&self, wait: Duration);
}

/// Holds nothing back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ungated;

impl RateGate for Ungated {
    fn before_request<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }

    fn throttled(&self, _: Duration) {}
}
