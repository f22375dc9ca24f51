//! How many requests one sync sends, how fast, and how much goes over the network for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;

use crate::runtime::limits::{StopSignal, breach};
use crate::runtime::policy::Limits;

/// What one sync has used of the network. A total that is passed ends the sync; a rate only holds it back.
pub(crate) struct Quota {
    requests: Total,
    bytes_in: Total,
    bytes_out: Total,
    rate: Rate,
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
        let total = |limit, most| Total { limit, most, used: AtomicU64::new(0) };
        Self {
            requests: total("requests", limits.requests),
            bytes_in: total("bytes_in", limits.bytes_in),
            bytes_out: total("bytes_out", limits.bytes_out),
            rate: Rate::per_minute(limits.requests_per_minute),
            began: Instant::now(),
            stop,
        }
    }

    /// One more request. False when it is one too many, which ends the sync.
    pub(crate) fn request(&self) -> bool {
        self.requests.add(1, &self.stop)
    }

    /// Takes the next turn to send a request. How long it is until then.
    pub(crate) fn turn(&self) -> Duration {
        self.rate.turn(self.began.elapsed())
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

/// Lets requests through at an even pace. Those of one second may come at once, so that a connector with several requests under way
/// is not slowed below its rate.
struct Rate {
    interval: Duration,
    /// How far ahead of the even pace a request may be.
    ahead: Duration,
    /// When the next request is due at the even pace, since the beginning.
    due: Mutex<Duration>,
}

impl Rate {
    /// At least one a minute.
    fn per_minute(most: u32) -> Self {
        let interval = Duration::from_secs(60) / most.max(1);
        Self { interval, ahead: Duration::from_secs(1).saturating_sub(interval), due: Mutex::default() }
    }

    fn turn(&self, now: Duration) -> Duration {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = (*due).max(now);
        *due = mine.saturating_add(self.interval);
        mine.saturating_sub(self.ahead).saturating_sub(now)
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
        let quota = Quota::new(&Limits { requests: 2, bytes_in: 10, ..Limits::default() }, stop.clone());
        assert!(quota.request() && quota.request() && quota.received(10) && quota.sent(1000));
        assert!(stop.reason().is_none());
        assert!(!quota.request());
        assert_eq!((quota.requests(), quota.bytes()), (2, (10, 1000)));
        assert!(matches!(stop.reason(), Some(Error::Limit { limit: "requests", .. })));
        assert!(!quota.received(u64::MAX) && !quota.received(u64::MAX));
    }

    #[test]
    fn requests_wait_for_their_turn() {
        let (second, rate) = (Duration::from_secs(1), Rate::per_minute(240));
        // Four a second: those of the first second at once, then one each quarter of a second.
        let waits: Vec<_> = (0..6).map(|_| rate.turn(Duration::ZERO)).collect();
        assert_eq!(waits, [0, 0, 0, 0, 250, 500].map(Duration::from_millis));
        // Those turns are taken; who comes when they are over waits no longer than the others.
        assert_eq!(rate.turn(second / 2), second / 4);
        // What was not used for an hour gives one second's worth, not an hour's.
        let later = Duration::from_secs(3600);
        assert_eq!([rate.turn(later), rate.turn(later), rate.turn(later), rate.turn(later)], [Duration::ZERO; 4]);
        assert_eq!(rate.turn(later), second / 4);
    }

    #[test]
    fn a_slow_pace_is_kept_from_the_first_request_on() {
        let rate = Rate::per_minute(1);
        assert_eq!(rate.turn(Duration::ZERO), Duration::ZERO);
        assert_eq!(rate.turn(Duration::ZERO), Duration::from_secs(60));
        assert_eq!(Rate::per_minute(0).interval, Duration::from_secs(60));
        assert!(!Rate::per_minute(u32::MAX).interval.is_zero());
    }
}
