//! Rows of exported files into a [`History`], by the same rules as rows of JSON.

use history_parquet::sink::{Sink, Time};

use super::names::NameId;
use super::row::{History, Mark};
use super::{json, time};

impl Sink for History {
    type Row = Mark;

    fn name(&mut self, name: &str) -> NameId {
        self.intern(name)
    }

    fn begin_row(&mut self) -> Mark {
        Self::begin_row(self)
    }

    fn end_row(&mut self, row: Mark, step: i64, time: Option<i64>) {
        Self::end_row(self, row, step, time);
    }

    fn micros(time: Time) -> Option<i64> {
        match time {
            Time::Number(value) => time::from_history(value),
            Time::Units(value, units) => time::from_units(value, units),
        }
    }

    fn add_double(&mut self, row: Mark, name: NameId, value: f64) {
        Self::add_double(self, row, name, value);
    }

    fn add_integer(&mut self, row: Mark, name: NameId, value: i64) {
        Self::add_integer(self, row, name, value);
    }

    fn add_number(&mut self, row: Mark, name: NameId, raw: &str) {
        Self::add_number(self, row, name, raw);
    }

    fn add_text(&mut self, row: Mark, name: NameId, text: &str) {
        Self::add_text(self, row, name, text);
    }

    fn add_json(&mut self, row: Mark, name: NameId, raw: &str) -> Result<(), String> {
        Self::add_json(self, row, name, raw).map_err(|error| json::place(&error))
    }

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}
