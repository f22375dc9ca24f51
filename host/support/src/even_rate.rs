//! An even rate, of which a little may be used ahead: the generic cell rate algorithm, on a clock that the caller reads.
//!
//! The host's only rate limiter. Two things are built on it: what one sync may send, and what all tenants may send to one origin. Of the
//! crate `governor` these 20 lines would be all that is used, and it would add six crates: what it has beyond them, keys and waiting, does
//! not fit, since requests to an origin wait tenant by tenant and leave the line when their sync is stopped.

use std::time::Duration;

/// Lets events through, one each `interval`. Moments are durations since the caller's own beginning.
#[derive(Debug)]
pub struct EvenRate {
    interval: Duration,
    /// How far ahead of the even rate an event may be.
    ahead: Duration,
    /// When the next event is due at the even rate.
    due: Duration,
}

impl EvenRate {
    /// The time between two events, of which there are `most` each minute, and at least one.
    pub fn interval(most: u32) -> Duration {
        Duration::from_secs(60) / most.max(1)
    }

    /// One event each `interval`. After a pause they may come at once as far as `ahead` of that; what a longer pause left unused is lost.
    pub fn new(interval: Duration, ahead: Duration) -> Self {
        Self { interval, ahead, due: Duration::ZERO }
    }

    /// Takes the next place, however late that is: how long it is until then.
    pub fn reserve(&mut self, now: Duration) -> Duration {
        let wait = self.wait(now);
        self.due = self.due.max(now).saturating_add(self.interval);
        wait
    }

    /// Takes the next place if it has come. The error is how long it is until then.
    pub fn try_take(&mut self, now: Duration) -> Result<(), Duration> {
        let wait = self.wait(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.reserve(now);
        Ok(())
    }

    fn wait(&self, now: Duration) -> Duration {
        self.due.saturating_sub(self.ahead).saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn those_of_the_first_second_may_come_at_once() {
        let mut rate = EvenRate::new(millis(250), millis(750));
        let waits: Vec<_> = (0..6).map(|_| rate.reserve(Duration::ZERO)).collect();
        assert_eq!(waits, [0, 0, 0, 0, 250, 500].map(millis));
        // Those places are taken; who comes when they are over waits no longer than the others.
        assert_eq!(rate.reserve(SECOND / 2), millis(250));
        // What was not used for an hour gives one second's worth, not an hour's.
        let later = 3600 * SECOND;
        assert_eq!([(); 4].map(|()| rate.reserve(later)), [Duration::ZERO; 4]);
        assert_eq!(rate.reserve(later), millis(250));
    }

    #[test]
    fn a_place_that_has_not_come_is_not_taken() {
        let mut rate = EvenRate::new(SECOND, SECOND);
        assert_eq!([(); 3].map(|()| rate.try_take(Duration::ZERO)), [Ok(()), Ok(()), Err(SECOND)]);
        assert_eq!(rate.try_take(millis(400)), Err(millis(600)));
        // Who comes late loses nothing by it.
        assert_eq!(rate.try_take(millis(1700)), Ok(()));
        assert_eq!(rate.try_take(millis(2000)), Ok(()));
    }

    #[test]
    fn the_slowest_and_the_fastest_rate_have_an_interval() {
        assert_eq!((EvenRate::interval(0), EvenRate::interval(1)), (60 * SECOND, 60 * SECOND));
        assert!(!EvenRate::interval(u32::MAX).is_zero());
        let mut slow = EvenRate::new(EvenRate::interval(1), Duration::ZERO);
        assert_eq!((slow.reserve(Duration::ZERO), slow.reserve(Duration::ZERO)), (Duration::ZERO, 60 * SECOND));
    }
}
