//! What an answer says of the rate limit: how long to wait (`Retry-After`), and how much is left until when (`RateLimit-Remaining`, which W&B
//! counts from 1000 down whatever the limit is, and `RateLimit-Reset`).

use std::time::Duration;

use chrono::DateTime;

use crate::api::exchange::{Exchange, Response};

/// What `RateLimit-Remaining` says while nothing is used.
pub const WHOLE: f64 = 1000.0;
/// What is told in seconds is cut to this: an absurd number is a wish for a long wait.
const LONGEST_SECONDS: f64 = 1e11;
/// Seconds since the epoch in this century and the next.
const MOMENTS: std::ops::Range<Duration> = Duration::from_secs(1_000_000_000)..Duration::from_secs(7_000_000_000);

/// What is left of a limit, and when all of it is there again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// 0 to [`WHOLE`].
    pub parts: f64,
    /// From now on.
    pub renewed_in: Duration,
}

/// What is left, where the answer says so.
pub fn left(response: &Response, exchange: &impl Exchange) -> Option<Left> {
    let parts = number(response, "ratelimit-remaining")?.clamp(0.0, WHOLE);
    Some(Left { parts, renewed_in: reset(response, exchange)? })
}

/// How long the server wants to be left alone after it refused a request for its rate: the longest wait that it names.
pub fn refused_for(response: &Response, exchange: &impl Exchange) -> Option<Duration> {
    retry_after(response, exchange).max(reset(response, exchange))
}

/// `Retry-After`: seconds or a date.
pub fn retry_after(response: &Response, exchange: &impl Exchange) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    if text.parse::<f64>().is_ok() {
        return seconds(text);
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.to_utc() - exchange.wall_clock()).to_std().unwrap_or(Duration::ZERO))
}

/// Seconds from now on; where it can only be a moment, as other servers write it, seconds since the epoch.
fn reset(response: &Response, exchange: &impl Exchange) -> Option<Duration> {
    let told = seconds(response.header("ratelimit-reset")?)?;
    let now = Duration::from_secs(u64::try_from(exchange.wall_clock().timestamp()).unwrap_or_default());
    Some(if MOMENTS.contains(&told) { told.saturating_sub(now) } else { told })
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse::<f64>().ok().filter(|seconds| !seconds.is_nan())?;
    Some(Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_SECONDS)))
}

fn number(response: &Response, name: &str) -> Option<f64> {
    response.header(name)?.trim().parse::<f64>().ok().filter(|number| !number.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Response { headers, ..Response::default() }
    }

    /// What a client is tested with where only its clock matters.
    struct At(i64);

    impl Exchange for At {
        async fn send(
            &self,
            _: &crate::api::exchange::Request,
            _: usize,
        ) -> Result<Response, crate::api::exchange::TransportError> {
            Ok(Response::default())
        }
        async fn sleep(&self, _: Duration) {}
        fn now(&self) -> Duration {
            Duration::ZERO
        }
        fn wall_clock(&self) -> DateTime<chrono::Utc> {
            DateTime::from_timestamp(self.0, 0).unwrap()
        }
        fn random(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_reset_that_can_only_be_a_moment_is_one() {
        let reset = |text: &str| super::reset(&answer(&[("ratelimit-reset", text)]), &At(1_750_000_000));
        assert_eq!(reset("1750000030"), Some(Duration::from_secs(30)));
        assert_eq!(reset("1749999000"), Some(Duration::ZERO), "it is over");
        assert_eq!(reset("86400"), Some(Duration::from_secs(86_400)));
        assert_eq!(reset("1e300"), Some(Duration::from_secs_f64(LONGEST_SECONDS)));
    }

    #[test]
    fn what_is_left_is_told_by_both_headers_or_not_at_all() {
        let said = |remaining: &str, reset: &str| {
            left(&answer(&[("ratelimit-remaining", remaining), ("ratelimit-reset", reset)]), &At(0))
                .map(|left| (left.parts, left.renewed_in.as_secs_f64()))
        };
        assert_eq!(said("640", "12"), Some((640.0, 12.0)));
        assert_eq!(said(" 0 ", "0.5"), Some((0.0, 0.5)));
        assert_eq!(said("5000", "-3"), Some((WHOLE, 0.0)));
        assert_eq!(said("-1", "inf"), Some((0.0, LONGEST_SECONDS)));
        for (remaining, reset) in [("NaN", "1"), ("1", "NaN"), ("many", "1"), ("1", "soon"), ("", "")] {
            assert_eq!(said(remaining, reset), None, "{remaining:?} {reset:?}");
        }
        assert_eq!(left(&answer(&[("ratelimit-remaining", "1")]), &At(0)), None);
    }
}
