//! The server's clock, which tests set: timestamps of a test must not depend on when it runs.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SecondsFormat, Utc};

/// A point in time: microseconds since the epoch, UTC.
pub type Micros = i64;

/// Microseconds in a second.
pub const SECOND: Micros = 1_000_000;

/// 2025-06-15T15:06:40Z, where every generated project begins.
pub const START: Micros = 1_750_000_000 * SECOND;

/// Time as the server sees it. It stands still until something moves it.
#[derive(Debug)]
pub struct Clock {
    now: AtomicI64,
    tick: AtomicI64,
}

impl Clock {
    /// A clock that stands at `now` and moves a second with every mutation.
    pub fn at(now: Micros) -> Self {
        Clock { now: AtomicI64::new(now), tick: AtomicI64::new(SECOND) }
    }

    /// The time.
    pub fn now(&self) -> Micros {
        self.now.load(Ordering::SeqCst)
    }

    /// Sets the time.
    pub fn set(&self, now: Micros) {
        self.now.store(now, Ordering::SeqCst);
    }

    /// Moves the time.
    pub fn advance(&self, by: Micros) {
        self.now.fetch_add(by, Ordering::SeqCst);
    }

    /// How far each mutation moves the time; 0 makes every later change tie with the last.
    pub fn set_tick(&self, tick: Micros) {
        self.tick.store(tick, Ordering::SeqCst);
    }

    /// Moves by one tick and reads the time.
    pub fn tick(&self) -> Micros {
        let tick = self.tick.load(Ordering::SeqCst);
        self.now.fetch_add(tick, Ordering::SeqCst) + tick
    }
}

/// The spellings of a run's timestamps that W&B was seen to use. All are UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampStyle {
    /// `2023-11-05T17:46:35`
    Bare,
    /// `2023-11-05T17:46:35Z`
    #[default]
    Zulu,
    /// `2023-11-05T17:46:35.123456Z`
    Fraction,
    /// `2023-11-05T17:46:35.123`
    BareFraction,
}

impl TimestampStyle {
    /// A time so spelled; styles without a fraction cut it off.
    pub fn format(self, at: Micros) -> String {
        let time = DateTime::<Utc>::from_timestamp_micros(at).unwrap_or_default();
        match self {
            TimestampStyle::Bare => time.format("%Y-%m-%dT%H:%M:%S").to_string(),
            TimestampStyle::Zulu => time.to_rfc3339_opts(SecondsFormat::Secs, true),
            TimestampStyle::Fraction => time.to_rfc3339_opts(SecondsFormat::Micros, true),
            TimestampStyle::BareFraction => time.format("%Y-%m-%dT%H:%M:%S%.3f").to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_timestamps_as_wandb_does() {
        let at = START + 123_456;
        assert_eq!(TimestampStyle::Bare.format(at), "2025-06-15T15:06:40");
        assert_eq!(TimestampStyle::Zulu.format(at), "2025-06-15T15:06:40Z");
        assert_eq!(TimestampStyle::Fraction.format(at), "2025-06-15T15:06:40.123456Z");
        assert_eq!(TimestampStyle::BareFraction.format(at), "2025-06-15T15:06:40.123");
    }
}
