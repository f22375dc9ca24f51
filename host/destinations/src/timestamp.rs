//! Timestamps as text, `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
//!
//! Written digit by digit because it is on the hot path: a general formatter takes longer for a timestamp than SQLite
//! does for the row. Rows of one step share their timestamp, so the last text is kept.

/// The longest text: sign, six digits of a year, and the rest.
const ROOM: usize = 30;
const MICROS_A_DAY: i64 = 86_400_000_000;

/// Formats timestamps; remembers the last one.
pub struct TimestampText {
    micros: i64,
    buffer: [u8; ROOM],
    start: usize,
}

impl Default for TimestampText {
    fn default() -> Self {
        Self::new()
    }
}

impl TimestampText {
    /// The epoch, to begin with.
    pub fn new() -> Self {
        let mut text = Self { micros: 0, buffer: [0; ROOM], start: 0 };
        text.write(0);
        text
    }

    /// The text of a moment in microseconds since the epoch. Years beyond 0 to 9999 have a sign, as in ISO 8601.
    pub fn of(&mut self, micros: i64) -> &str {
        if micros != self.micros {
            self.write(micros);
            self.micros = micros;
        }
        // Always ASCII; written so that no fault here could do more than show as an empty text.
        std::str::from_utf8(&self.buffer[self.start..]).unwrap_or_default()
    }

    fn write(&mut self, micros: i64) {
        let (days, time) = (micros.div_euclid(MICROS_A_DAY), micros.rem_euclid(MICROS_A_DAY) as u64);
        let (year, month, day) = civil_from_days(days);
        let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
        let mut end = ROOM;
        let mut put = |digits: usize, mut value: u64, after: u8| {
            end -= 1;
            self.buffer[end] = after;
            for _ in 0..digits {
                end -= 1;
                self.buffer[end] = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(6, fraction, b'Z');
        put(2, seconds % 60, b'.');
        put(2, seconds / 60 % 60, b':');
        put(2, seconds / 3600, b':');
        put(2, day, b'T');
        put(2, month, b'-');
        let size = year.unsigned_abs();
        put(
            if size > 99_999 {
                6
            } else if size > 9_999 {
                5
            } else {
                4
            },
            size,
            b'-',
        );
        if !(0..=9_999).contains(&year) {
            end -= 1;
            self.buffer[end] = if year < 0 { b'-' } else { b'+' };
        }
        self.start = end;
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. The method is that of
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>: years begin in March, so that the leap day is the last.
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u64, day as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    fn chrono_text(micros: i64) -> String {
        DateTime::from_timestamp_micros(micros).unwrap().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
    }

    #[test]
    fn known_moments() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_825_600_000_000, "2000-02-29T12:00:00.000000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
            (253_402_300_800_000_000, "+10000-01-01T00:00:00.000000Z"),
            (-62_167_219_200_000_001, "-0001-12-31T23:59:59.999999Z"),
            (i64::MAX, "+294247-01-10T04:00:54.775807Z"),
            (i64::MIN, "-290308-12-21T19:59:05.224192Z"),
        ] {
            assert_eq!(TimestampText::new().of(micros), text);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(near in -5_000_000_000_000_000i64..5_000_000_000_000_000, far in -8_000_000_000_000_000_000i64..8_000_000_000_000_000_000) {
            let mut text = TimestampText::new();
            for micros in [near, far, far, near / 86_400_000_000 * 86_400_000_000] {
                prop_assert_eq!(text.of(micros), chrono_text(micros));
            }
        }
    }
}
