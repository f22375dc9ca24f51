//! What a process that runs several syncs decides for each of them: when its requests may be sent (tenants share a budget, and a sync that only
//! waits gives its slot to another one), and on which threads its destination may block.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Delays requests of one sync, and is told of what it does. An [`HttpClient`](crate::HttpClient) is [given](crate::HttpClient::gated) one.
pub trait RateGate: Send + Sync {
    /// Awaited before each request that is allowed and within its limits, when it is about to be sent to `origin`: scheme, host in lower case
    /// and, unless it is the scheme's own, port, such as `https://api.example`. Dropped when the sync is stopped meanwhile. The wait counts
    /// as time of the sync, and as none of the request's own timeouts.
    fn before_request<'a>(&'a self, origin: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// The connector says that it waits for a rate limit, and for how long. It may say so and go on: this is the guest's word.
    fn throttled(&self, wait: Duration);

    /// The connector, what the host does in its calls, or the destination has used this much more processor time.
    fn computed(&self, time: Duration) {
        let _ = time;
    }

    /// Does `work` of the destination, which may block, and ends when that has ended, or has panicked. By itself on a thread that the current
    /// runtime has for such work.
    fn block(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let done = tokio::task::spawn_blocking(work);
        Box::pin(async move { drop(done.await) })
    }
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
