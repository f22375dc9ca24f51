//! A run's history: its rows kept verbatim, in the forms that both dialects send.
//!
//! Rows lie one behind the other in one text, each followed by a comma, so a page of any range is a slice of it and
//! serving it costs a copy. The escaped form that GraphQL sends (rows as JSON strings) lies beside it, made when first asked
//! for. Histories are shared between runs (`Arc`), and copied only when one of them changes.

use std::sync::OnceLock;

use super::json::{self, Json};

/// Rows of one run, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every row followed by a comma.
    text: String,
    /// Where each row starts in `text`.
    starts: Vec<usize>,
    /// Each row's step.
    steps: Vec<i64>,
    /// The rows as JSON strings, for GraphQL.
    escaped: OnceLock<Escaped>,
    /// What `historyKeys` says.
    keys: OnceLock<Option<serde_json::Value>>,
}

#[derive(Clone, Debug)]
struct Escaped {
    text: String,
    starts: Vec<usize>,
}

impl History {
    /// No rows yet, with room for `rows` of `bytes` together.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        History {
            text: String::with_capacity(bytes + rows),
            starts: Vec::with_capacity(rows),
            steps: Vec::with_capacity(rows),
            escaped: OnceLock::new(),
            keys: OnceLock::new(),
        }
    }

    /// A history of these rows.
    pub fn from_lines<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Self {
        let mut history = History::default();
        for line in lines {
            history.push(line.as_ref());
        }
        history
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Appends a row verbatim. Its step is its `_step`, else its position.
    pub fn push(&mut self, line: &str) {
        let step = Json::parse(line).ok().and_then(|row| row.get("_step").and_then(Json::as_i64));
        self.push_at(step.unwrap_or(self.len() as i64), line);
    }

    /// Appends a row whose step is known, which spares parsing it.
    pub fn push_at(&mut self, step: i64, line: &str) {
        self.forget();
        self.starts.push(self.text.len());
        self.steps.push(step);
        self.text.push_str(line);
        self.text.push(',');
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        if rows < self.len() {
            self.forget();
            self.text.truncate(self.starts[rows]);
            self.starts.truncate(rows);
            self.steps.truncate(rows);
        }
    }

    /// Forgets what was derived from the rows.
    fn forget(&mut self) {
        self.escaped.take();
        self.keys.take();
    }

    /// What `historyKeys` says, made once.
    pub(crate) fn keys(&self, make: impl FnOnce(&Self) -> Option<serde_json::Value>) -> Option<serde_json::Value> {
        self.keys.get_or_init(|| make(self)).clone()
    }

    /// A row's text.
    pub fn line(&self, row: usize) -> &str {
        let end = self.starts.get(row + 1).copied().unwrap_or(self.text.len());
        &self.text[self.starts[row]..end - 1]
    }

    /// Every row's text.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.line(row))
    }

    /// Each row's step.
    pub fn steps(&self) -> &[i64] {
        &self.steps
    }

    /// The highest step.
    pub fn last_step(&self) -> Option<i64> {
        self.steps.iter().copied().max()
    }

    /// The rows with `min <= step < max`, in step order.
    pub fn rows_between(&self, min: i64, max: i64) -> Vec<usize> {
        let mut rows: Vec<usize> = if self.steps.is_sorted() {
            let from = self.steps.partition_point(|&step| step < min);
            let to = self.steps.partition_point(|&step| step < max);
            (from..to.max(from)).collect()
        } else {
            (0..self.len()).filter(|&row| (min..max).contains(&self.steps[row])).collect()
        };
        rows.sort_by_key(|&row| self.steps[row]);
        rows
    }

    /// Appends rows `from..to` to `out` as members of a JSON array, separated by commas.
    pub fn push_rows(&self, out: &mut String, from: usize, to: usize) {
        push_slice(out, &self.text, &self.starts, from, to);
    }

    /// Appends rows to `out` as JSON strings separated by commas.
    pub fn push_escaped(&self, out: &mut String, rows: &[usize]) {
        let escaped = self.escaped.get_or_init(|| self.escape());
        let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else {
            return;
        };
        if last >= first && last - first + 1 == rows.len() && rows.is_sorted() {
            push_slice(out, &escaped.text, &escaped.starts, first, last + 1);
            return;
        }
        for (i, &row) in rows.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            push_slice(out, &escaped.text, &escaped.starts, row, row + 1);
        }
    }

    fn escape(&self) -> Escaped {
        let mut text = String::with_capacity(self.text.len() + self.text.len() / 4);
        let mut starts = Vec::with_capacity(self.len());
        for line in self.lines() {
            starts.push(text.len());
            json::push_string(&mut text, line);
            text.push(',');
        }
        Escaped { text, starts }
    }
}

fn push_slice(out: &mut String, text: &str, starts: &[usize], from: usize, to: usize) {
    if from < to && from < starts.len() {
        let end = starts.get(to).copied().unwrap_or(text.len());
        out.push_str(&text[starts[from]..end - 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        History::from_lines([r#"{"_step":0,"a":"x"}"#, r#"{"a":NaN}"#, r#"{"_step":1000}"#])
    }

    #[test]
    fn a_row_without_a_step_takes_its_position() {
        assert_eq!(history().steps(), [0, 1, 1000]);
    }

    #[test]
    fn the_lower_bound_is_inclusive_and_the_upper_exclusive() {
        assert_eq!(history().rows_between(1, 1000), [1]);
        assert_eq!(history().rows_between(1, 1001), [1, 2]);
        assert_eq!(history().rows_between(2, 1), [0usize; 0]);
    }

    #[test]
    fn pages_are_slices_of_the_rows_as_sent() {
        let mut out = String::new();
        history().push_rows(&mut out, 0, 2);
        assert_eq!(out, r#"{"_step":0,"a":"x"},{"a":NaN}"#);
        out.clear();
        history().push_escaped(&mut out, &[0, 2]);
        assert_eq!(out, r#""{\"_step\":0,\"a\":\"x\"}","{\"_step\":1000}""#);
    }

    #[test]
    fn truncating_and_logging_anew_replaces_rows() {
        let mut history = history();
        history.truncate(1);
        history.push(r#"{"_step":1,"b":2}"#);
        assert_eq!(history.lines().collect::<Vec<_>>(), [r#"{"_step":0,"a":"x"}"#, r#"{"_step":1,"b":2}"#]);
    }
}
