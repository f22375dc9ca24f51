//! When syncs are due.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use croner::parser::{CronParser, Seconds, Year};
use sha2::{Digest, Sha256};

use super::tenant_id::TenantId;

/// The shortest interval. More often than that a tenant would only keep a slot from others.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The longest interval, and the longest jitter.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// When a tenant's syncs are due.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What is repeated.
    pub repeat: Repeat,
    /// A tenant's times are put off by up to this much, by an amount that is the same for a tenant every time, so that tenants with one
    /// schedule don't all start at once. Of an interval it is the first time that is put off, and with it all that follow.
    pub jitter: Duration,
}

/// What is repeated.
#[derive(Debug, Clone, PartialEq)]
pub enum Repeat {
    /// This long after the start of the last sync.
    Every(Duration),
    /// At the times that a cron expression of five fields names, in UTC. Most tenants share one.
    Cron(Arc<croner::Cron>),
}

impl Repeat {
    /// Reads a cron expression. One whose time never comes is refused.
    pub fn cron(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let form = "a cron expression has five fields (minute, hour, day, month, weekday), such as `0 3 * * *`";
        let cron = parser.parse(text).map_err(|why| format!("{form}: {why}"))?;
        match cron.find_next_occurrence(&Utc::now(), false) {
            Ok(_) => Ok(Self::Cron(Arc::new(cron))),
            Err(_) => Err("the time that it names never comes".into()),
        }
    }
}

impl Default for Schedule {
    /// Every hour.
    fn default() -> Self {
        Self { repeat: Repeat::Every(Duration::from_secs(3600)), jitter: Duration::ZERO }
    }
}

impl Schedule {
    /// When the next sync is due: a first one as soon as the tenant is `known`, each further one as the schedule says, counted from the
    /// start of the `last`. A time that was missed is made up for once.
    pub fn due(&self, id: &TenantId, known: DateTime<Utc>, last: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let put_off = TimeDelta::from_std(self.put_off(id)).unwrap_or_default();
        let Some(last) = last else { return later(known, put_off) };
        match &self.repeat {
            Repeat::Every(interval) => later(last, TimeDelta::from_std(*interval).unwrap_or(TimeDelta::MAX)),
            Repeat::Cron(cron) => match cron.find_next_occurrence(&later(last, -put_off), false) {
                Ok(next) => later(next, put_off),
                Err(_) => DateTime::<Utc>::MAX_UTC,
            },
        }
    }

    /// The tenant's part of the jitter.
    fn put_off(&self, id: &TenantId) -> Duration {
        let mut first = [0; 4];
        first.copy_from_slice(&Sha256::digest(id.as_str())[..4]);
        self.jitter.mul_f64(f64::from(u32::from_be_bytes(first)) / (f64::from(u32::MAX) + 1.0))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repeat {
            Repeat::Every(interval) => write!(f, "every {}", shown(*interval)),
            Repeat::Cron(cron) => f.write_str(&elt_support::printable::escape_control(cron.as_str())),
        }
    }
}

/// In the largest unit that it is a whole number of, as it would be written.
fn shown(time: Duration) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let millis = time.as_millis();
    let unit = units.into_iter().find(|(_, length)| millis > 0 && millis.is_multiple_of(*length));
    unit.map_or_else(|| format!("{time:?}"), |(name, length)| format!("{}{name}", millis / length))
}

fn later(time: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    time.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-{text}Z").parse().unwrap()
    }

    fn id(text: &str) -> TenantId {
        text.parse().unwrap()
    }

    #[test]
    fn an_interval_counts_from_the_start_of_the_last_sync() {
        let schedule = Schedule { repeat: Repeat::Every(Duration::from_secs(900)), jitter: Duration::ZERO };
        assert_eq!(schedule.due(&id("a"), at("23T12:00:00"), None), at("23T12:00:00"));
        assert_eq!(schedule.due(&id("a"), at("23T12:00:00"), Some(at("23T11:50:00"))), at("23T12:05:00"));
        let missed = schedule.due(&id("a"), at("23T12:00:00"), Some(at("20T11:50:00")));
        assert_eq!(missed, at("20T12:05:00"), "it is long due");
    }

    #[test]
    fn a_cron_time_comes_once_also_when_it_was_missed() {
        let schedule = Schedule { repeat: Repeat::cron("0 3 * * *").unwrap(), jitter: Duration::from_secs(600) };
        let put_off = schedule.due(&id("a"), at("23T12:00:00"), Some(at("22T12:00:00"))) - at("23T03:00:00");
        assert!((0..600).contains(&put_off.num_seconds()), "{put_off}");
        let mut last = at("22T12:00:00");
        for day in 23..=26 {
            let due = schedule.due(&id("a"), at("23T12:00:00"), Some(last));
            assert_eq!(due, at(&format!("{day}T03:00:00")) + put_off);
            last = due;
        }
        let late = at("28T01:00:00");
        assert_eq!(schedule.due(&id("a"), late, Some(late)), at("28T03:00:00") + put_off, "made up for once");
    }

    #[test]
    fn jitter_spreads_tenants_and_is_the_same_every_time() {
        let schedule = Schedule { repeat: Repeat::Every(Duration::from_secs(900)), jitter: Duration::from_secs(100) };
        let known = at("23T12:00:00");
        let due: Vec<_> = (0..1000).map(|n| schedule.due(&id(&format!("t{n}")), known, None) - known).collect();
        let in_tenth = |tenth: i64| due.iter().filter(|it| it.num_seconds() / 10 == tenth).count();
        for tenth in 0..10 {
            assert!((50..150).contains(&in_tenth(tenth)), "{tenth}: {}", in_tenth(tenth));
        }
        assert_eq!(schedule.due(&id("t7"), known, None) - known, due[7]);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (text, why) in [
            ("", "five fields"),
            ("0 3 * *", "five fields"),
            ("0 0 3 * * *", "five fields"),
            ("61 * * * *", "five fields"),
            ("0 0 31 2 *", "never comes"),
        ] {
            let refusal = Repeat::cron(text).unwrap_err();
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
        assert!(Repeat::cron("*/15 8-18 * * MON-FRI").is_ok());
    }

    #[test]
    fn times_beyond_the_calendar_never_come() {
        let schedule = Schedule { repeat: Repeat::Every(Duration::MAX), jitter: Duration::ZERO };
        assert_eq!(schedule.due(&id("a"), Utc::now(), Some(Utc::now())), DateTime::<Utc>::MAX_UTC);
    }
}
