//! Times as W&B writes them, as microseconds since the epoch, UTC.

use chrono::{DateTime, NaiveDateTime, SecondsFormat};

/// The last microsecond of the year 9999 and the first of the year 1: what every destination can write.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// A run's time: `2023-11-05T17:46:35`, with `Z` or an offset, with or without a fraction; UTC where it does not say.
pub fn parse(text: &str) -> Option<i64> {
    let micros = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.timestamp_micros(),
        Err(_) => {
            let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
            let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
                .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"));
            naive.ok()?.and_utc().timestamp_micros()
        }
    };
    RANGE.contains(&micros).then_some(micros)
}

/// RFC 3339 in UTC with as many digits as needed: `2025-06-15T15:06:40Z`.
pub fn format(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap_or_default().to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A history row's `_timestamp`: seconds since the epoch, or milliseconds from 1e11 on; rounded to the nearest microsecond. None
/// for what is no time.
pub fn from_history(value: f64) -> Option<i64> {
    let micros = if value.abs() >= 1e11 { value * 1e3 } else { value * 1e6 }.round();
    // `as` saturates, and NaN becomes 0: both are caught before.
    let in_range = micros >= *RANGE.start() as f64 && micros <= *RANGE.end() as f64;
    in_range.then_some(micros as i64).filter(|micros| RANGE.contains(micros))
}

/// A time in units of which so many are a second.
pub fn from_units(value: i64, units: i64) -> Option<i64> {
    let micros = i128::from(value) * 1_000_000 / i128::from(units.max(1));
    i64::try_from(micros).ok().filter(|micros| RANGE.contains(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_runs_time_is_utc() {
        let expected = Some(1_699_206_395_000_000);
        for text in
            ["2023-11-05T17:46:35", "2023-11-05T17:46:35Z", "2023-11-05T17:46:35.000", "2023-11-05T18:46:35+01:00"]
        {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(parse("2023-11-05T17:46:35.123456Z"), Some(1_699_206_395_123_456));
        assert_eq!(parse("2023-11-05 17:46:35.5"), Some(1_699_206_395_500_000));
        for text in ["", "yesterday", "2023-13-05T17:46:35", "99999-01-01T00:00:00Z", "2023-11-05T17:46:35\u{0}"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_formatted_time_parses_to_itself() {
        for micros in [0, 1_750_000_000_000_000, 1_750_000_000_000_001, -1] {
            assert_eq!(parse(&format(micros)), Some(micros));
        }
    }

    #[test]
    fn history_timestamps_are_seconds_or_milliseconds() {
        assert_eq!(from_history(1_750_000_000.0), Some(1_750_000_000_000_000));
        assert_eq!(from_history(1_795_404_379.0565507), Some(1_795_404_379_056_551));
        assert_eq!(from_history(1_750_000_000_123.0), Some(1_750_000_000_123_000));
        assert_eq!(from_history(0.0), Some(0));
        for value in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
            assert_eq!(from_history(value), None, "{value}");
        }
    }
}
