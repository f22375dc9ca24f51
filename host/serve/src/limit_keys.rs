//! The limits that a file can set: the fields of [`Limits`] by name.

use std::time::Duration;

use super::toml_reader::{self, Item};
use elt_host::Limits;

type Set = fn(&mut Limits, &Item<'_>) -> Result<(), String>;

/// Name and form of each limit. Sizes are texts such as `"256MiB"`, times texts such as `"10m"`, counts numbers.
const LIMITS: &[(&str, Set)] = &[
    ("memory", |limits, item| toml_reader::size(item).map(|size| limits.memory = size)),
    ("wall_time", |limits, item| time(item).map(|time| limits.wall_time = time)),
    ("cpu_time", |limits, item| time(item).map(|time| limits.cpu_time = time)),
    ("handles", |limits, item| small(item).map(|count| limits.handles = count)),
    ("header_bytes", |limits, item| toml_reader::size(item).map(|size| limits.header_bytes = size)),
    ("open_requests", |limits, item| small(item).map(|count| limits.open_requests = count)),
    ("requests", |limits, item| toml_reader::count(item).map(|count| limits.requests = count)),
    ("requests_per_minute", |limits, item| small(item).map(|count| limits.requests_per_minute = count)),
    ("bytes_in", |limits, item| toml_reader::size(item).map(|size| limits.bytes_in = size as u64)),
    ("bytes_out", |limits, item| toml_reader::size(item).map(|size| limits.bytes_out = size as u64)),
    ("response_bytes", |limits, item| toml_reader::size(item).map(|size| limits.response_bytes = size as u64)),
    ("batch_bytes", |limits, item| toml_reader::size(item).map(|size| limits.batch_bytes = size)),
    ("group_bytes", |limits, item| toml_reader::size(item).map(|size| limits.group_bytes = size)),
    ("rows", |limits, item| toml_reader::count(item).map(|count| limits.rows = count)),
    ("state_bytes", |limits, item| toml_reader::size(item).map(|size| limits.state_bytes = size)),
    ("log_lines", |limits, item| toml_reader::count(item).map(|count| limits.log_lines = count)),
    ("log_line_bytes", |limits, item| toml_reader::size(item).map(|size| limits.log_line_bytes = size)),
];

/// The names, to say which are known.
pub(super) fn names() -> Vec<&'static str> {
    LIMITS.iter().map(|(name, _)| *name).collect()
}

/// Sets the limit of that name, if there is one.
pub(super) fn set(limits: &mut Limits, name: &str, item: &Item<'_>) -> Result<(), String> {
    LIMITS.iter().find(|(known, _)| *known == name).map_or(Ok(()), |(_, set)| set(limits, item))
}

fn time(item: &Item<'_>) -> Result<Duration, String> {
    toml_reader::time(item, Duration::from_millis(1), super::schedule::LONGEST)
}

fn small<N: TryFrom<u64>>(item: &Item<'_>) -> Result<N, String> {
    N::try_from(toml_reader::count(item)?).map_err(|_| "is too large".into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_limit_has_a_name_here() {
        // By serialising, since that names every field.
        let limits = serde_json::to_value(Limits::default()).unwrap_or_default();
        let fields = limits.as_object().into_iter().flat_map(|limits| limits.keys());
        let fields: BTreeSet<&str> = fields.map(|name| name.trim_end_matches("_seconds")).collect();
        assert!(fields.contains("memory"));
        assert_eq!(fields, names().into_iter().collect());
    }
}
