//! What is left of a rate limit that the server tells with every answer, and what follows from it: how many requests may be in flight, and
//! when the next one may begin. The aim is never to be refused, and to leave something for others who use the same key.
//!
//! W&B counts requests in windows of time and says what is left in thousandths, so what one request costs is learned from how that falls.

use std::time::Duration;

use crate::api::rate::{Left, WHOLE};

/// From here on down, what is left is spread over the time until the limit is renewed.
const SPARING: f64 = WHOLE / 4.0;
/// The most that one request is taken to cost after the first answer, which does not tell what other clients of the key used.
const DEAREST_GUESS: f64 = WHOLE / 2.0;
/// The least that a request costs.
const CHEAPEST: f64 = 0.001;

/// What is known of a limit.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    left: f64,
    cost: f64,
    /// Answers since `left` was set last.
    answers: u32,
    read_at: Duration,
    renewed_at: Duration,
    /// What is there then. Less than everything where the server's wish was too long to be granted.
    renewed_to: f64,
    /// No request begins before this moment.
    next_at: Duration,
}

impl Quota {
    /// What the first answer says. `begun` requests were made until then.
    pub fn first(told: Left, begun: u32, now: Duration, longest: Duration) -> Self {
        let cost = ((WHOLE - told.parts) / f64::from(begun.max(1))).clamp(CHEAPEST, DEAREST_GUESS);
        let nothing = Duration::ZERO;
        let mut quota =
            Self { left: 0.0, cost, answers: 0, read_at: now, renewed_at: now, renewed_to: WHOLE, next_at: nothing };
        quota.set(told, now, longest);
        quota
    }

    fn set(&mut self, told: Left, now: Duration, longest: Duration) {
        (self.left, self.answers, self.read_at) = (told.parts, 0, now);
        self.renewed_at = now + told.renewed_in.min(longest);
        // Of a wait that was cut short, one request shows whether it was enough.
        self.renewed_to = if told.renewed_in > longest { CHEAPEST } else { WHOLE };
    }

    /// What the answer says to a request that began at `began`. No wait is longer than `longest`.
    pub fn read(&mut self, told: Left, began: Duration, now: Duration, longest: Duration) {
        self.answers = self.answers.saturating_add(1);
        if now < self.renewed_at && told.parts < self.left {
            let cost = (self.left - told.parts) / f64::from(self.answers);
            self.cost = ((self.cost + cost) / 2.0).clamp(CHEAPEST, WHOLE);
            self.set(told, now, longest);
        } else if now >= self.renewed_at || began >= self.read_at {
            // Answers overtake each other: more is left only where the request is newer than what was read before.
            self.set(told, now, longest);
        }
    }

    /// What is left at `now`, in thousandths.
    fn left_at(&self, now: Duration) -> f64 {
        if now < self.renewed_at { self.left } else { self.renewed_to }
    }

    /// How many requests may be in flight: as many as there is something left for, but one to try with.
    pub fn fitting(&self, now: Duration) -> f64 {
        (self.left_at(now) / self.cost).floor().max(1.0)
    }

    /// When the next request may begin.
    pub fn next_at(&self, now: Duration) -> Duration {
        if self.left_at(now) > 0.0 { self.next_at } else { self.renewed_at }
    }

    /// A request was refused: they cost more than was thought.
    pub fn refused(&mut self) {
        self.cost = (self.cost * 2.0).min(WHOLE);
    }

    /// A request begins.
    pub fn begin(&mut self, now: Duration) {
        if now < self.renewed_at && self.left > 0.0 && self.left < SPARING {
            let part = (self.cost / self.left).min(1.0);
            self.next_at = now + (self.renewed_at - now).mul_f64(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);

    fn told(parts: f64, seconds: u32) -> Left {
        Left { parts, renewed_in: SECOND * seconds }
    }

    #[test]
    fn no_more_are_in_flight_than_something_is_left_for() {
        let mut quota = Quota::first(told(800.0, 1), 1, SECOND, LONGEST);
        assert_eq!(quota.fitting(SECOND), 4.0);
        quota.begin(SECOND);
        quota.read(told(600.0, 1), SECOND, SECOND, LONGEST);
        assert_eq!(quota.fitting(SECOND), 3.0);
        assert_eq!(quota.fitting(3 * SECOND), 5.0, "it is renewed");
    }

    #[test]
    fn nothing_begins_while_nothing_is_left() {
        let quota = Quota::first(told(0.0, 7), 1, SECOND, LONGEST);
        assert_eq!(quota.next_at(SECOND), 8 * SECOND);
        assert!(quota.next_at(8 * SECOND) <= 8 * SECOND);
        // A day is not waited for: after a minute one request shows whether that was enough.
        let quota = Quota::first(told(0.0, 86_400), 1, SECOND, LONGEST);
        assert_eq!((quota.next_at(SECOND), quota.fitting(61 * SECOND)), (61 * SECOND, 1.0));
    }

    #[test]
    fn what_others_used_is_not_taken_for_the_cost_of_a_request() {
        let mut quota = Quota::first(told(300.0, 60), 1, SECOND, LONGEST);
        assert_eq!(quota.fitting(SECOND), 1.0);
        for left in 1..12 {
            quota.begin(SECOND);
            quota.read(told(300.0 - f64::from(left), 60), SECOND, SECOND, LONGEST);
        }
        assert!(quota.fitting(SECOND) > 200.0, "{quota:?}");
    }

    #[test]
    fn the_last_quarter_is_spread_over_the_time_until_it_is_renewed() {
        let mut quota = Quota::first(told(800.0, 60), 10, SECOND, LONGEST);
        quota.begin(SECOND);
        assert!(quota.next_at(SECOND) <= SECOND, "there is plenty");
        quota.begin(SECOND);
        quota.read(told(200.0, 50), SECOND, 11 * SECOND, LONGEST);
        let mut quota = Quota { cost: 20.0, ..quota };
        quota.begin(11 * SECOND);
        assert_eq!(quota.next_at(11 * SECOND), 16 * SECOND, "ten are left for fifty seconds");
    }

    #[test]
    fn answers_that_overtake_each_other_do_not_raise_what_is_left() {
        let mut quota = Quota::first(told(900.0, 60), 1, SECOND, LONGEST);
        quota.read(told(700.0, 60), SECOND, 2 * SECOND, LONGEST);
        quota.read(told(800.0, 60), SECOND, 3 * SECOND, LONGEST);
        assert_eq!(quota.left, 700.0);
        quota.read(told(990.0, 60), 4 * SECOND, 5 * SECOND, LONGEST);
        assert_eq!(quota.left, 990.0, "the window ended sooner than was said");
    }
}
