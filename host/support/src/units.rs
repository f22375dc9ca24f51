//! Quantities as people write them, in flags and in files, and read them. An error says what the form is and gives an example.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::origin::OriginPattern;

/// `512MiB`, `2GiB`, `1500000`.
pub fn size(text: &str) -> Result<usize, String> {
    let units = [("", 1), ("b", 1), ("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30)];
    let decimal = [("kb", 1_000), ("mb", 1_000_000), ("gb", 1_000_000_000)];
    let bytes = quantity(text, units.iter().chain(&decimal)).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| "give a number and a unit, such as 512MiB or 2GiB".into())
}

/// `500ms`, `90s`, `30m`, `12h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let millis = quantity(text, units.iter());
    millis.map(Duration::from_millis).ok_or_else(|| "give a number and a unit, such as 90s, 30m, 12h or 7d".into())
}

/// A positive whole number and a unit.
fn quantity<'a>(text: &str, mut units: impl Iterator<Item = &'a (&'a str, u64)>) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = units.find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor).filter(|amount| *amount > 0)
}

/// `10.0.0.0/8`, `::1/128`, or one address.
pub fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(address);
    network.ok_or_else(|| "give a network such as 10.0.0.0/8, or an address such as 127.0.0.1".into())
}

/// `https://storage.googleapis.com`, `https://*.example.com:8443`: scheme, host and perhaps a port.
pub fn origin(text: &str) -> Result<String, String> {
    OriginPattern::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// `512 MiB`, `1.5 MiB`, `640 bytes`.
pub fn bytes(amount: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, factor)| amount >= *factor) {
        Some((unit, factor)) if amount.is_multiple_of(factor) => format!("{} {unit}", amount / factor),
        Some((unit, factor)) => format!("{:.1} {unit}", amount as f64 / factor as f64),
        None => format!("{amount} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases =
            [("512MiB", 512 << 20), ("2GiB", 2 << 30), ("64 mib", 64 << 20), ("1kB", 1000), ("1500000", 1_500_000)];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "0", "-1", "1.5GiB", "12parsecs", "99999999999GiB", "１MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        for text in ["", "90", "0s", "0ms", "1w", "s", "-5s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks() {
        for (text, shown) in [("10.0.0.0/8", "10.0.0.0/8"), ("127.0.0.1", "127.0.0.1/32"), ("::1", "::1/128")] {
            assert_eq!(network(text).map(|network| network.to_string()), Ok(shown.into()), "{text}");
        }
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0/8"] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
