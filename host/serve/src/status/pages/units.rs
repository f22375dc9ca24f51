//! Quantities as people read them on a page.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use crate::record::between;

/// `0.4 s`, `45 s`, `12 min`, `3 h 20 min`, `5 d 3 h`.
pub(super) fn span(span: Duration) -> String {
    let (seconds, minutes, hours) = (span.as_secs(), span.as_secs() / 60, span.as_secs() / 3600);
    match seconds {
        0..10 => format!("{:.1} s", span.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// `12.3 MiB`.
pub(super) fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// `1 234 567`, with spaces that don't break a line.
pub(super) fn count(amount: u64) -> String {
    let digits = amount.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    groups.iter().map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join("\u{202f}")
}

/// A moment as how far it is from now, with the exact one beside it.
pub(super) fn moment(then: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let exact = then.to_rfc3339_opts(SecondsFormat::Secs, true);
    html! {
        time datetime=(exact) title=(exact) {
            @if then <= now { (span(between(then, now))) " ago" } @else { "in " (span(between(now, then))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_rounded_to_what_matters() {
        let spans = [
            (400, "0.4 s"),
            (9_940, "9.9 s"),
            (45_900, "45 s"),
            (60_000, "1 min"),
            (12_000_000, "3 h 20 min"),
            (442_800_000, "5 d 3 h"),
        ];
        for (millis, shown) in spans {
            assert_eq!(span(Duration::from_millis(millis)), shown);
        }
        for (amount, shown) in [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")]
        {
            assert_eq!(count(amount), shown);
        }
        assert_eq!((size(0), size(12 << 20)), ("0.0 MiB".into(), "12.0 MiB".into()));
    }
}
