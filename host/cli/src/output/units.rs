//! Quantities as people read them.

use std::time::Duration;

pub(crate) use elt_support::units::bytes;

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0:42`, `1:02:03`.
pub(crate) fn clock(time: Duration) -> String {
    let (hours, minutes, seconds) = (time.as_secs() / 3600, time.as_secs() / 60 % 60, time.as_secs() % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `1 run`, `2 runs`; `unit` in the singular.
pub(crate) fn counted(number: u64, unit: &str) -> String {
    format!("{} {unit}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (seconds, text) in [(0, "0:00"), (42, "0:42"), (3599, "59:59"), (3723, "1:02:03"), (360_000, "100:00:00")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
        for (amount, text) in [(640, "640 bytes"), (512 << 20, "512 MiB"), (3 << 19, "1.5 MiB"), (1 << 30, "1 GiB")] {
            assert_eq!(bytes(amount), text);
        }
        assert_eq!((counted(1, "run"), counted(0, "run")), ("1 run".into(), "0 runs".into()));
    }
}
