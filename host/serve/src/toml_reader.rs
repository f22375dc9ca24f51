//! Reads tables of TOML key by key, and keeps everything that is wrong with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeTable, DeValue};

use super::problem::{Lines, Problem, SourcePosition};
use super::tenant::TenantId;
use elt_support::units;

/// A value and where it stands.
pub(super) type Item<'i> = Spanned<DeValue<'i>>;

/// What is wrong with one entry, as it comes up.
pub(super) struct Findings<'a> {
    pub(super) lines: &'a Lines<'a>,
    /// Where in the file positions count from.
    pub(super) base: usize,
    pub(super) tenant: Option<TenantId>,
    pub(super) problems: Vec<Problem>,
}

impl Findings<'_> {
    /// The place of a position.
    pub(super) fn place(&self, at: usize) -> SourcePosition {
        self.lines.place(self.base + at)
    }

    /// Something is wrong at a position.
    pub(super) fn report(&mut self, at: usize, message: impl Into<String>) {
        let (place, tenant) = (self.place(at), self.tenant.clone());
        self.problems.push(Problem { place, tenant, message: message.into() });
    }

    /// `value`, or none after its problem was reported.
    pub(super) fn accept<T>(&mut self, at: usize, what: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|why| self.report(at, format!("`{what}`: {why}"))).ok()
    }
}

/// Each key of a table, once; keys that are not in `known` are reported.
pub(super) fn keys<'t, 'i>(
    table: &'t DeTable<'i>,
    known: &[&str],
    findings: &mut Findings<'_>,
) -> Vec<(&'t str, &'t Item<'i>)> {
    let mut found = Vec::new();
    for (key, item) in table.iter() {
        let name: &str = key.get_ref();
        if known.contains(&name) {
            found.push((name, item));
        } else {
            let known = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            findings.report(key.span().start, format!("`{name}` means nothing here; known are {known}"));
        }
    }
    found
}

pub(super) fn table<'t, 'i>(item: &'t Item<'i>) -> Result<&'t DeTable<'i>, String> {
    item.get_ref().as_table().ok_or_else(|| expected("a table", item))
}

pub(super) fn text<'t>(item: &'t Item<'_>) -> Result<&'t str, String> {
    item.get_ref().as_str().ok_or_else(|| expected("text", item))
}

pub(super) fn texts(item: &Item<'_>) -> Result<Vec<String>, String> {
    let list = item.get_ref().as_array().ok_or_else(|| expected("a list of texts", item))?;
    list.iter().map(|item| text(item).map(str::to_owned)).collect()
}

/// A path, which begins in `folder` unless it is absolute.
pub(super) fn path(item: &Item<'_>, folder: &Path) -> Result<PathBuf, String> {
    match text(item)? {
        "" => Err("names no file".into()),
        text if text.contains('\0') => Err("names no file".into()),
        text => Ok(folder.join(text)),
    }
}

/// A positive whole number.
pub(super) fn count(item: &Item<'_>) -> Result<u64, String> {
    let number = item.get_ref().as_integer().and_then(integer).and_then(|number| u64::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or_else(|| expected("a positive whole number", item))
}

/// `"512MiB"`.
pub(super) fn size(item: &Item<'_>) -> Result<usize, String> {
    units::size(text(item)?)
}

/// `"90s"`, within bounds.
pub(super) fn time(item: &Item<'_>, least: Duration, most: Duration) -> Result<Duration, String> {
    let time = units::duration(text(item)?)?;
    match time {
        time if time < least => Err(format!("is at least {least:?}")),
        time if time > most => Err(format!("is at most {} days", most.as_secs() / 86_400)),
        time => Ok(time),
    }
}

fn expected(what: &str, item: &Item<'_>) -> String {
    format!("must be {what}, but is {}", kind(item.get_ref()))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The same value in JSON. Times become text as they stand.
pub(super) fn json(item: &Item<'_>) -> Result<Value, String> {
    Ok(match item.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => integer(number).map(Value::from).ok_or("is too large a number")?,
        DeValue::Float(number) => float(number).ok_or("is no number that JSON has")?,
        DeValue::Boolean(value) => Value::from(*value),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(json).collect::<Result<_, _>>()?),
        DeValue::Table(table) => {
            let entry = |(key, item): (&Spanned<_>, &Item<'_>)| Ok((text_of(key), json(item)?));
            Value::Object(table.iter().map(entry).collect::<Result<Map<_, _>, String>>()?)
        }
    })
}

fn text_of(key: &Spanned<std::borrow::Cow<'_, str>>) -> String {
    key.get_ref().clone().into_owned()
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn float(number: &DeFloat<'_>) -> Option<Value> {
    let number = number.as_str().parse::<f64>().ok()?;
    serde_json::Number::from_f64(number).map(Value::Number)
}
