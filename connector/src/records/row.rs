//! One JSON row of a history into columns: the value rules of the README.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::records::{json, time};

use super::columns::{Points, Taken};
use super::filter::MetricFilter;
use super::lineage::{Row, mix};
use super::names::{NameId, Names};
use crate::hash::hash;

/// Objects nested deeper than this are not flattened further: the rest becomes one JSON value.
const MOST_DEPTH: usize = 100;

/// The largest integer up to which every integer is a double.
const EXACT: u64 = 1 << 53;

/// Collects the rows of one run as columns. Rows are added by deserializing into [`RowSeed`].
#[derive(Debug)]
pub struct History {
    names: Names,
    metrics: Points<f64>,
    objects: Points<String>,
    object_bytes: usize,
    /// The rows added since the last [`History::clear_rows`], with where their points begin.
    rows: Vec<(Row, Mark)>,
    /// Numbers rows from 0 on, also those that failed.
    serial: u64,
    /// A key that occurred twice in one row after flattening; the first one found, to be told once.
    collision: Option<String>,
    /// The step of the row before, and the number of the first row of that step.
    step: Option<i64>,
    step_began: u64,
    /// A metric of the open row that a row since `step_began` has too.
    again: Option<NameId>,
    /// A metric that two rows of one step have; the first one found, to be told once.
    step_collision: Option<(i64, String)>,
    path: String,
}

/// A place in the columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    metrics: usize,
    objects: usize,
}

impl History {
    /// No rows yet.
    pub fn new(filter: MetricFilter) -> Self {
        Self {
            names: Names::new(filter),
            metrics: Points::default(),
            objects: Points::default(),
            object_bytes: 0,
            rows: Vec::new(),
            serial: 0,
            collision: None,
            step: None,
            step_began: 0,
            again: None,
            step_collision: None,
            path: String::new(),
        }
    }

    /// The points collected, of both tables.
    pub fn points(&self) -> usize {
        self.metrics.len() + self.objects.len()
    }

    /// Roughly the bytes that the columns take, and those of names that taking the columns out sets free.
    pub fn bytes(&self) -> usize {
        self.points() * 32 + self.object_bytes + self.names.excess_bytes()
    }

    /// The rows added since the last [`History::clear_rows`], in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter().map(|(row, _)| row)
    }

    /// Forgets the list of rows, keeping their points.
    pub fn clear_rows(&mut self) {
        self.rows.clear();
    }

    /// Drops the points of the first `count` of [`History::rows`], and those rows.
    pub fn drop_first(&mut self, count: usize) {
        let Some((_, start)) = self.rows.first().filter(|_| count > 0).cloned() else {
            return;
        };
        let end = self.rows.get(count).map_or_else(|| self.mark(), |(_, mark)| *mark);
        self.metrics.remove(start.metrics, end.metrics);
        self.object_bytes = self
            .object_bytes
            .saturating_sub(object_bytes(self.objects.since(start.objects).take(end.objects - start.objects)));
        self.objects.remove(start.objects, end.objects);
        self.rows.drain(..count.min(self.rows.len()));
        for (_, mark) in &mut self.rows {
            mark.metrics -= end.metrics - start.metrics;
            mark.objects -= end.objects - start.objects;
        }
    }

    /// Where the next row will begin.
    pub fn mark(&self) -> Mark {
        Mark { metrics: self.metrics.len(), objects: self.objects.len() }
    }

    /// Forgets the rows added since `mark` and their points: the page they came from was broken.
    pub fn rewind(&mut self, mark: Mark, rows: usize) {
        self.metrics.truncate(mark.metrics);
        self.object_bytes = self.object_bytes.saturating_sub(object_bytes(self.objects.since(mark.objects)));
        self.objects.truncate(mark.objects);
        self.rows.truncate(rows);
        self.forget_step();
    }

    /// Takes the numbers out; none when there are none. [`History::taken`] follows, once the other points are taken too.
    pub fn take_metrics(&mut self) -> Option<Taken<f64>> {
        self.metrics.take(&self.names)
    }

    /// Takes out what is no number; none when there is nothing. [`History::taken`] follows.
    pub fn take_objects(&mut self) -> Option<Taken<String>> {
        self.object_bytes = 0;
        self.objects.take(&self.names)
    }

    /// All points were taken out: of the rows nothing is kept, nor of names where they have grown too many.
    pub fn taken(&mut self) {
        self.rows.clear();
        self.names.trim();
    }

    /// A name that two keys of one row were flattened to; told once.
    pub fn take_collision(&mut self) -> Option<String> {
        self.collision.take()
    }

    /// A metric that two rows of one step have, and the step; told once.
    pub fn take_step_collision(&mut self) -> Option<(i64, String)> {
        self.step_collision.take()
    }

    /// Says that the next row may be one that came before.
    pub fn forget_step(&mut self) {
        self.step = None;
    }

    /// Begins a row whose values come one by one, from elsewhere than a JSON row. [`History::end_row`] ends it.
    pub fn begin_row(&mut self) -> Mark {
        self.serial += 1;
        self.again = None;
        self.mark()
    }

    /// Ends a row that [`History::begin_row`] began. Its hash is not computed: only the `rest` dialect needs it.
    pub fn end_row(&mut self, start: Mark, step: i64, timestamp: Option<i64>) {
        self.close_points(step, timestamp);
        let row = Row { step, timestamp, points: Vec::new(), hash: 0 };
        self.rows.push((row, start));
    }

    /// The number of a metric's name, valid as long as the history is.
    pub fn intern(&mut self, name: &str) -> NameId {
        self.names.intern(name)
    }

    /// A double of the open row, which may be NaN or infinite.
    pub fn add_double(&mut self, start: Mark, name: NameId, value: f64) {
        self.metric(start, name, value);
    }

    /// An integer of the open row.
    pub fn add_integer(&mut self, start: Mark, name: NameId, value: i64) {
        if value.unsigned_abs() <= EXACT {
            self.metric(start, name, value as f64);
        } else {
            self.number(start, name, &value.to_string());
        }
    }

    /// A number of the open row, as JSON has it.
    pub fn add_number(&mut self, start: Mark, name: NameId, raw: &str) {
        self.number(start, name, raw);
    }

    /// A text of the open row. The names of non-finite numbers are those numbers.
    pub fn add_text(&mut self, start: Mark, name: NameId, text: &str) {
        match text {
            "NaN" => self.metric(start, name, f64::NAN),
            "Infinity" => self.metric(start, name, f64::INFINITY),
            "-Infinity" => self.metric(start, name, f64::NEG_INFINITY),
            _ => self.object(start, name, &serde_json::Value::from(text).to_string()),
        }
    }

    /// A JSON value of the open row. On an error the row is to be given up.
    pub fn add_json(&mut self, start: Mark, name: NameId, raw: &str) -> serde_json::Result<()> {
        self.value(start, name, raw, 0)
    }

    /// Gives the open row's points their step.
    fn close_points(&mut self, step: i64, timestamp: Option<i64>) {
        self.metrics.close_row(step, timestamp);
        self.objects.close_row(step, timestamp);
        if self.step.replace(step) != Some(step) {
            self.step_began = self.serial;
        } else if let Some(name) = self.again
            && self.step_collision.is_none()
        {
            self.step_collision = Some((step, self.names.text(name).to_owned()));
        }
    }

    fn close_row(&mut self, start: Mark, step: i64, timestamp: Option<i64>) {
        self.close_points(step, timestamp);
        let own = mix(step as u64, timestamp.unwrap_or(i64::MIN) as u64);
        let hash = self.hashes(start, self.mark()).fold(own, mix);
        self.rows.push((Row { step, timestamp, points: Vec::new(), hash }, start));
    }

    /// The hashes of the points between two places.
    fn hashes(&self, start: Mark, end: Mark) -> impl Iterator<Item = u64> {
        let metrics = self.metrics.since(start.metrics).take(end.metrics - start.metrics);
        let metrics = metrics.map(|(name, value)| mix(self.names.hash(name), value.to_bits()));
        let objects = self.objects.since(start.objects).take(end.objects - start.objects);
        let objects = objects.map(|(name, json)| mix(self.names.hash(name), !hash(json.as_bytes())));
        metrics.chain(objects)
    }

    /// The row at a position in [`History::rows`], with the hashes of its points.
    pub fn row_with_points(&self, index: usize) -> Option<Row> {
        let (row, start) = self.rows.get(index)?;
        let end = self.rows.get(index + 1).map_or_else(|| self.mark(), |(_, mark)| *mark);
        Some(Row { points: self.hashes(*start, end).collect(), ..row.clone() })
    }

    /// One value under a name that is already interned.
    fn value(&mut self, start: Mark, name: NameId, raw: &str, depth: usize) -> serde_json::Result<()> {
        match raw.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => self.number(start, name, raw),
            Some(b't') => self.metric(start, name, 1.0),
            Some(b'f') => self.metric(start, name, 0.0),
            Some(b'n') | None => {}
            Some(b'"') => match raw {
                "\"NaN\"" => self.metric(start, name, f64::NAN),
                "\"Infinity\"" => self.metric(start, name, f64::INFINITY),
                "\"-Infinity\"" => self.metric(start, name, f64::NEG_INFINITY),
                _ => self.object(start, name, raw),
            },
            Some(b'{') if depth < MOST_DEPTH => return self.nested(start, name, raw, depth),
            Some(_) => self.object(start, name, raw),
        }
        Ok(())
    }

    fn number(&mut self, start: Mark, name: NameId, raw: &str) {
        let digits = raw.strip_prefix('-').unwrap_or(raw);
        let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_integer
            && let Ok(integer) = raw.parse::<i64>()
            && integer.unsigned_abs() <= EXACT
            && raw != "-0"
        {
            return self.metric(start, name, integer as f64);
        }
        // The standard library's parser rounds correctly; JSON's grammar is a part of what it takes.
        let value = raw.parse::<f64>().unwrap_or(f64::NAN);
        let carried = value.is_finite();
        if carried {
            self.metric(start, name, value);
        }
        if !carried || (is_integer && raw != "-0") {
            self.push_object(start, name, raw, carried);
        }
    }

    fn metric(&mut self, start: Mark, name: NameId, value: f64) {
        if self.claim(start, name) {
            self.metrics.push(name, value);
        }
    }

    fn object(&mut self, start: Mark, name: NameId, raw: &str) {
        self.push_object(start, name, raw, false);
    }

    /// `beside`: the same value is already in `metrics`.
    fn push_object(&mut self, start: Mark, name: NameId, raw: &str, beside: bool) {
        let wanted = if beside { self.names.allowed(name) } else { self.claim(start, name) };
        if wanted {
            let json = if json::is_sound(raw) { raw.to_owned() } else { json::repair(raw.as_bytes()) };
            self.object_bytes += object_cost(&json);
            self.objects.push(name, json);
        }
    }

    /// Whether the metric is wanted; takes back what the row already has under this name.
    fn claim(&mut self, start: Mark, name: NameId) -> bool {
        if !self.names.allowed(name) {
            return false;
        }
        match self.names.stamp(name, self.serial) {
            Some(row) if row == self.serial => {
                self.metrics.retract(start.metrics, name);
                let own = self.objects.since(start.objects).filter(|(other, _)| *other == name);
                self.object_bytes = self.object_bytes.saturating_sub(object_bytes(own));
                self.objects.retract(start.objects, name);
                self.collision.get_or_insert_with(|| self.names.text(name).to_owned());
            }
            Some(row) if row >= self.step_began => self.again = Some(name),
            _ => {}
        }
        true
    }

    fn nested(&mut self, start: Mark, name: NameId, raw: &str, depth: usize) -> serde_json::Result<()> {
        let Entries(entries) = serde_json::from_str(raw)?;
        // Media and histograms say what they are.
        if entries.is_empty() || entries.iter().any(|(key, _)| key == "_type") {
            self.object(start, name, raw);
            return Ok(());
        }
        let mut path = std::mem::take(&mut self.path);
        if depth == 0 {
            path.clear();
            path.push_str(self.names.text(name));
        }
        let length = path.len();
        for (key, value) in entries {
            path.push('.');
            path.push_str(&key);
            let name = self.names.intern(&path);
            self.path = path;
            let result = match self.names.are_too_long() {
                true => Err(serde_json::Error::custom("the names of its metrics are too long")),
                false => self.value(start, name, value.get(), depth + 1),
            };
            path = std::mem::take(&mut self.path);
            path.truncate(length);
            result?;
        }
        self.path = path;
        Ok(())
    }
}

/// Roughly the bytes that a document takes beside its point.
fn object_cost(json: &str) -> usize {
    json.len() + 32
}

fn object_bytes<'p>(points: impl Iterator<Item = (NameId, &'p String)>) -> usize {
    points.map(|(_, json)| object_cost(json)).sum()
}

/// An object's entries in their order, values unread.
pub(crate) struct Entries<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<BorrowedText<'de>, &'de RawValue>()? {
                    entries.push((key.0, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// A text that borrows from the document where no escape stands in the way. (`Cow<str>` alone never borrows.)
#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads one row into a [`History`]. `position` is the row's step where it names none itself.
pub struct RowSeed<'h> {
    /// Where the points go.
    pub history: &'h mut History,
    /// The row's position in the whole history.
    pub position: i64,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a history row: an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { history, position } = self;
        let start = history.mark();
        let (mut step, mut timestamp) = (None, None);
        history.serial += 1;
        history.again = None;
        while let Some(key) = map.next_key_seed(KeySeed(&mut history.names))? {
            let raw = map.next_value::<&RawValue>()?.get();
            match key {
                Key::Step => step = integer(raw),
                Key::Timestamp => timestamp = raw.parse::<f64>().ok().and_then(time::from_history),
                Key::Ignored => {}
                Key::Metric(name) => history.value(start, name, raw, 0).map_err(A::Error::custom)?,
            }
        }
        history.close_row(start, step.unwrap_or(position), timestamp);
        Ok(())
    }
}

/// A step: an integer, also one written as a double.
fn integer(raw: &str) -> Option<i64> {
    raw.parse().ok().or_else(|| {
        let value: f64 = raw.parse().ok()?;
        (value.fract() == 0.0 && value.abs() < EXACT as f64).then_some(value as i64)
    })
}

enum Key {
    Step,
    Timestamp,
    Ignored,
    Metric(NameId),
}

struct KeySeed<'h>(&'h mut Names);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "_step" => Key::Step,
            "_timestamp" => Key::Timestamp,
            "_runtime" | "_wandb" => Key::Ignored,
            _ => Key::Metric(self.0.intern(key)),
        })
    }
}
