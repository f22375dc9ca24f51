//! The rate limit of the service: so many requests in each window of time, whoever sends them. What is left is told with every answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};

use super::http::{Answer, error};

/// `RateLimit-Remaining` while nothing is used, whatever the limit is.
const WHOLE: u64 = 1000;

/// A clock that tests move.
#[derive(Clone, Debug, Default)]
pub struct VirtualTime(Arc<AtomicU64>);

impl VirtualTime {
    /// The time since it was made.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }

    /// Moves it to that time, never back.
    pub fn move_to(&self, now: Duration) {
        self.0.fetch_max(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

/// What the windows of a limit are measured with.
#[derive(Clone, Debug)]
pub enum Time {
    /// The machine's clock, from this moment on.
    Real(Instant),
    /// A test's.
    Virtual(VirtualTime),
}

impl Time {
    fn now(&self) -> Duration {
        match self {
            Time::Real(start) => start.elapsed(),
            Time::Virtual(time) => time.now(),
        }
    }
}

/// A limit as a server is started with.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Requests of a window.
    pub requests: u32,
    /// How long a window is.
    pub window: Duration,
    /// What it is measured with.
    pub time: Time,
}

/// How much of the limit is used.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<(u128, u32)>);

/// What a request is told.
pub(crate) struct Told {
    pub(crate) refused: bool,
    remaining: u64,
    reset: u64,
}

impl Meter {
    /// Counts a request.
    pub(crate) fn count(&self, limit: &RateLimit) -> Told {
        let (now, window) = (limit.time.now(), limit.window.max(Duration::from_millis(1)));
        let number = now.as_nanos() / window.as_nanos();
        let mut meter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if meter.0 != number {
            *meter = (number, 0);
        }
        let refused = meter.1 >= limit.requests;
        meter.1 += u32::from(!refused);
        let left = u64::from(limit.requests - meter.1);
        let until = window.as_nanos() - now.as_nanos() % window.as_nanos();
        Told {
            refused,
            remaining: left * WHOLE / u64::from(limit.requests.max(1)),
            reset: u64::try_from(until.div_ceil(1_000_000_000)).unwrap_or(u64::MAX),
        }
    }
}

impl Told {
    /// The answer to a request above the limit. `Retry-After` is not promised, and not there.
    pub(crate) fn refusal() -> Answer {
        error(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded")
    }

    /// Says it in an answer's headers.
    pub(crate) fn write_to(&self, answer: &mut Answer) {
        answer.headers_mut().insert("ratelimit-remaining", HeaderValue::from(self.remaining));
        answer.headers_mut().insert("ratelimit-reset", HeaderValue::from(self.reset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_thousandths_and_is_there_again_in_the_next_window() {
        let time = VirtualTime::default();
        let limit = RateLimit { requests: 4, window: Duration::from_secs(10), time: Time::Virtual(time.clone()) };
        let meter = Meter::default();
        let count = || {
            let told = meter.count(&limit);
            (told.refused, told.remaining, told.reset)
        };
        assert_eq!([count(), count()], [(false, 750, 10), (false, 500, 10)]);
        time.move_to(Duration::from_millis(6500));
        assert_eq!([count(), count(), count()], [(false, 250, 4), (false, 0, 4), (true, 0, 4)]);
        time.move_to(Duration::from_secs(10));
        assert_eq!(count(), (false, 750, 10));
    }
}
