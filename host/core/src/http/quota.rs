//! How many requests one sync sends, how fast, and how much goes over the network for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use elt_support::even_rate::EvenRate;
use http::HeaderMap;

use crate::runtime::limits::{StopSignal, breach};
use crate::runtime::policy::Limits;

/// What one sync has used of the network. A total that is passed ends the sync; a rate only holds it back.
pub(crate) struct Quota {
    requests: Total,
    bytes_in: Total,
    bytes_out: Total,
    rate: Mutex<EvenRate>,
    began: Instant,
    stop: StopSignal,
}

struct Total {
    limit: &'static str,
    most: u64,
    used: AtomicU64,
}

impl Quota {
    pub(crate) fn new(limits: &Limits, stop: StopSignal) -> Self {
        // The requests of one second may come at once, so that a connector with several requests under way is not slowed below its rate.
        let interval = EvenRate::interval(limits.requests_per_minute);
        let total = |limit, most| Total { limit, most, used: AtomicU64::new(0) };
        Self {
            requests: total("requests", limits.requests),
            bytes_in: total("bytes_in", limits.bytes_in),
            bytes_out: total("bytes_out", limits.bytes_out),
            rate: Mutex::new(EvenRate::new(interval, Duration::from_secs(1).saturating_sub(interval))),
            began: Instant::now(),
            stop,
        }
    }

    /// One more request. False when it is one too many, which ends the sync.
    pub(crate) fn request(&self) -> bool {
        self.requests.add(1, &self.stop)
    }

    /// Reserves the next moment at which a request may be sent. How long it is until then.
    pub(crate) fn reserve(&self) -> Duration {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).reserve(self.began.elapsed())
    }

    /// More came in. False when it is too much, which ends the sync.
    pub(crate) fn received(&self, bytes: u64) -> bool {
        self.bytes_in.add(bytes, &self.stop)
    }

    /// More goes out. False when it is too much, which ends the sync.
    pub(crate) fn sent(&self, bytes: u64) -> bool {
        self.bytes_out.add(bytes, &self.stop)
    }

    /// Requests that were sent, or tried.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.used.load(Ordering::Relaxed).min(self.requests.most)
    }

    /// Bytes received, bytes sent.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.used.load(Ordering::Relaxed), self.bytes_out.used.load(Ordering::Relaxed))
    }
}

impl Total {
    fn add(&self, more: u64, stop: &StopSignal) -> bool {
        let add = |used: u64| Some(used.saturating_add(more));
        let before = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).unwrap_or_else(|used| used);
        let fits = before.saturating_add(more) <= self.most;
        if !fits {
            stop.give(breach(self.limit, format!("{} allowed", self.most)));
        }
        fits
    }
}

/// The size of header fields as HTTP/1.1 writes them. HTTP/2 packs them, so this is about what they take.
pub(crate) fn head_bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + ": \r\n".len()) as u64).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_total_may_be_reached_and_not_passed() {
        let stop = StopSignal::default();
        let quota = Quota::new(&Limits::default().requests(2).bytes_in(10), stop.clone());
        assert!(quota.request() && quota.request() && quota.received(10) && quota.sent(1000));
        assert!(stop.reason().is_none());
        assert!(!quota.request());
        assert_eq!((quota.requests(), quota.bytes()), (2, (10, 1000)));
        assert!(matches!(stop.reason(), Some(Error::Limit { limit: "requests", .. })));
        assert!(!quota.received(u64::MAX) && !quota.received(u64::MAX));
    }
}
