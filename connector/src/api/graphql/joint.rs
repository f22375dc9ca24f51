//! Many runs in one request (`graphql`), by aliases: the fields, and the first range of the history, of runs of which there is little to read.
//!
//! What an answer says of one run counts for that run as an answer of its own would. What it says of none in particular (an error without a
//! path, `null` in the project's place, an answer that is too large or comes too late, a refusal of the question) counts for nothing: the
//! runs are asked for again in smaller company, down to one by one. A run that an error names by its path is asked for alone.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::api::client::{Client, Failure, RequestError};
use crate::api::exchange::{Exchange, Response};
use crate::api::server_errors::{About, ServerErrors};
use crate::destination::Destination;
use crate::error::Error;
use crate::records::filter::MetricFilter;
use crate::records::json as lenient;
use crate::records::row::History;

use super::answer::{Envelope, read_leniently};
use super::details::{HeavyRun, Node};
use super::window::BODY_LIMIT;
use super::{Graphql, Include, Window, queries};

/// So many runs are asked for at once, at most.
pub(super) const MOST_RUNS: usize = 50;
/// What an answer is planned to hold.
const TARGET_BYTES: f64 = (1 << 20) as f64;
/// A run's fields, before any were seen.
const FIRST_FIELDS_BYTES: f64 = 4096.0;
/// A history row, before any was seen.
const FIRST_ROW_BYTES: f64 = 512.0;
/// With so many failures in a row, runs are asked for one by one: that tells a server that is down from runs that can't be read.
const MOST_FAILURES: u32 = 3;
/// A joint request is tried so often again as it is; then its runs are asked for in smaller company, which tries again too.
const RETRIES: u32 = 1;

/// A run to be asked for together with others.
#[derive(Debug)]
pub(super) struct Asked<'r> {
    pub(super) id: &'r str,
    pub(super) include: Include,
    /// The position of its first row, for rows that name no step.
    pub(super) position: i64,
}

/// What a joint answer says of one run.
#[derive(Debug)]
pub(super) enum First {
    /// The project does not have it.
    Gone,
    /// Its fields, and what was asked for of its history.
    Run(Box<FirstRun>),
}

/// The first answer about one run, which came together with others.
#[derive(Debug)]
pub(super) struct FirstRun {
    pub(super) heavy: HeavyRun,
    pub(super) include: Include,
    pub(super) history: History,
    /// The size of its part of the answer.
    pub(super) bytes: usize,
}

/// What the joint requests of a sync have shown.
#[derive(Debug)]
pub(super) struct Experience {
    /// What is not refused: so many runs at once.
    most_runs: Cell<usize>,
    /// What a run's fields take, in bytes.
    fields: Cell<f64>,
    /// What a history row takes; 0 while none was seen.
    row: Cell<f64>,
    /// Joint requests that brought nothing, since one brought something.
    failures: Cell<u32>,
}

impl Default for Experience {
    fn default() -> Self {
        Self {
            most_runs: Cell::new(MOST_RUNS),
            fields: Cell::new(FIRST_FIELDS_BYTES),
            row: Cell::new(0.0),
            failures: Cell::new(0),
        }
    }
}

impl First {
    /// The range of steps that it was asked with.
    pub(super) fn window(&self) -> Option<Window> {
        match self {
            Self::Run(first) => match first.include {
                Include::History(window) => Some(window),
                Include::Nothing | Include::Export => None,
            },
            Self::Gone => None,
        }
    }
}

impl Experience {
    /// How many runs may be asked for at once.
    pub(super) fn most_runs(&self) -> usize {
        self.most_runs.get()
    }

    /// What a run with so many rows to read adds to an answer, in parts of what an answer is planned to hold. `row_bytes` is what a row was
    /// seen to take elsewhere; 0: none was seen.
    pub(super) fn part(&self, rows: u64, row_bytes: f64) -> f64 {
        let row = [self.row.get(), row_bytes].into_iter().find(|row| *row > 0.0).unwrap_or(FIRST_ROW_BYTES);
        (self.fields.get() + rows as f64 * row) / TARGET_BYTES
    }

    /// A joint answer came.
    fn observe(&self, sizes: &[Size]) {
        self.failures.set(0);
        let runs = sizes.len().max(1) as f64;
        let (history, rows) = sizes.iter().fold((0, 0), |(bytes, rows), size| (bytes + size.history, rows + size.rows));
        let whole: usize = sizes.iter().map(|size| size.whole).sum();
        self.fields.set((self.fields.get() + whole.saturating_sub(history) as f64 / runs) / 2.0);
        if rows > 0 {
            self.row.set(history as f64 / rows as f64);
        }
    }

    /// A joint request for so many runs brought nothing, for this reason. Returns in how large a company they may be asked for again.
    /// `refused`: the question itself is not accepted.
    fn failed(&self, runs: usize, error: &RequestError, refused: bool) -> usize {
        let half = (runs / 2).max(1);
        match error {
            // Nor will a longer one be.
            RequestError::Failed(Error::Upstream { .. }) if refused => {
                self.most_runs.set(self.most_runs.get().min(half));
                half
            }
            RequestError::TooLarge(_) => {
                self.fields.set(self.fields.get() * 2.0);
                self.row.set(self.row.get() * 2.0);
                half
            }
            // No matter of how many were asked for.
            RequestError::Failed(Error::Authentication(_) | Error::Permission(_) | Error::NotFound(_))
            | RequestError::Denied(_) => 1,
            RequestError::Failed(_) => {
                self.failures.set(self.failures.get() + 1);
                // It is not the company that this server fails at.
                if self.failures.get() >= MOST_FAILURES { 1 } else { half }
            }
        }
    }

    /// The server answers as if it knew no aliases.
    fn lacks_aliases(&self) {
        self.most_runs.set(1);
    }
}

/// What one run takes in an answer.
struct Size {
    whole: usize,
    history: usize,
    rows: usize,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    project: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
}

/// What an answer says of each run, and the runs' sizes. None: nothing that can be used; the run is asked for alone.
type Firsts = Vec<Option<First>>;

impl Graphql {
    /// Asks for runs in one request. What it says of them is in their order; none where a run is to be asked for alone. The error says in how
    /// large a company they may be asked for again.
    pub(super) async fn together<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        asked: &[Asked<'_>],
        filter: &MetricFilter,
        experience: &Experience,
    ) -> Result<Firsts, (usize, Error)> {
        let mut variables = Map::new();
        let mut set = |name: &str, number: usize, value: Value| variables.insert(format!("{name}{number}"), value);
        for (number, run) in asked.iter().enumerate() {
            set("run", number, run.id.into());
            if let Include::History(window) = run.include {
                set("from", number, window.start.into());
                set("to", number, window.end().into());
                set("samples", number, window.steps.into());
            }
        }
        let query = queries::together(asked.iter().map(|run| run.include));
        let request = self.request(queries::TOGETHER, &query, Value::Object(variables));
        let question = self.question(format!("reading {} runs", asked.len()), About::Runs);
        let refused = Cell::new(false);
        let failed = |failure: Failure| {
            refused.set(matches!(failure, Failure::Final(Error::Upstream { .. })));
            failure
        };
        let read = |response: &Response, text: &str| {
            let (data, errors_said) = match serde_json::from_str::<Envelope<'_, Data<'_>>>(text) {
                Ok(Envelope { data, errors, error }) => {
                    let error = error.filter(|_| data.is_none());
                    (Ok(data), ServerErrors::new(errors, error))
                }
                Err(error) => (Err(error), ServerErrors::of_body(text.as_bytes())),
            };
            if let Some(error) = question.refusal(response, &errors_said) {
                return Err(failed(Failure::Final(error)));
            }
            let named: Option<BTreeSet<&str>> = errors_said.of_aliases();
            let Some(named) = named else { return Err(failed(question.failure(response.status, &errors_said))) };
            let data = data.map_err(|error| Failure::malformed(response.status, lenient::place(&error)))?;
            let project = data.and_then(|data| data.project);
            let project = project.ok_or_else(|| Failure::malformed(response.status, "it lacks the project"))?;
            Ok(self.firsts(asked, &project, &named, filter, experience))
        };
        let accept = |response: &Response| read_leniently(response, |text| read(response, text));
        let sent = client.send_within(&request, &question.what, BODY_LIMIT, RETRIES, accept).await;
        sent.map_err(|error| (experience.failed(asked.len(), &error, refused.get()), error.into()))
    }

    fn firsts(
        &self,
        asked: &[Asked<'_>],
        project: &BTreeMap<Cow<'_, str>, &RawValue>,
        named: &BTreeSet<&str>,
        filter: &MetricFilter,
        experience: &Experience,
    ) -> Firsts {
        let mut sizes = Vec::new();
        let mut are_there = 0;
        let firsts = (0..).zip(asked).map(|(number, run): (usize, _)| {
            let alias = queries::alias(number);
            let part = project.get(alias.as_str())?.get();
            are_there += 1;
            if named.contains(alias.as_str()) {
                return None;
            }
            if part == "null" {
                return Some(First::Gone);
            }
            let read = |text: &str| first(run, text, filter);
            let repaired = || read(&lenient::repaired(part.as_bytes())?).ok();
            let (first, size) = read(part).ok().or_else(repaired)?;
            sizes.push(size);
            Some(First::Run(Box::new(first)))
        });
        let firsts = firsts.collect();
        if are_there == 0 {
            experience.lacks_aliases();
        }
        if !sizes.is_empty() {
            experience.observe(&sizes);
        }
        firsts
    }
}

/// Reads what came of one run.
fn first(run: &Asked<'_>, text: &str, filter: &MetricFilter) -> Result<(FirstRun, Size), String> {
    let node: Node<'_> = serde_json::from_str(text).map_err(|error| lenient::place(&error))?;
    if node.name.as_ref().is_some_and(|other| other != run.id) {
        return Err("it is about another run".to_owned());
    }
    let mut history = History::new(filter.clone());
    let heavy = node.heavy(run.id, run.include, &mut history, run.position)?;
    let size = Size {
        whole: text.len(),
        history: node.history.map_or(0, |rows| rows.get().len()),
        rows: history.rows().len(),
    };
    Ok((FirstRun { heavy, include: run.include, history, bytes: text.len() }, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(status: Option<u16>) -> RequestError {
        RequestError::Failed(Error::Upstream { status, message: String::new() })
    }

    #[test]
    fn a_refused_question_is_remembered_and_what_may_pass_is_not() {
        let experience = Experience::default();
        for (error, refused, company, most_runs) in [
            (upstream(Some(503)), false, 20, MOST_RUNS),
            (upstream(None), false, 20, MOST_RUNS),
            (RequestError::TooLarge(Error::upstream("")), false, 20, MOST_RUNS),
            (RequestError::Failed(Error::Authentication(String::new())), false, 1, MOST_RUNS),
            (upstream(Some(400)), true, 20, 20),
        ] {
            let failed = experience.failed(40, &error, refused);
            assert_eq!((failed, experience.most_runs()), (company, most_runs), "{error:?}");
        }
        assert_eq!(experience.failed(40, &upstream(None), false), 1, "the third in a row");
        experience.observe(&[Size { whole: 1, history: 0, rows: 0 }]);
        assert_eq!(experience.failed(40, &upstream(None), false), 20);
        let mut company = 20;
        while company > 1 {
            company = experience.failed(company, &upstream(Some(200)), true);
        }
        assert_eq!(experience.most_runs(), 1);
    }

    #[test]
    fn what_runs_take_is_learnt_from_answers() {
        let experience = Experience::default();
        let guessed = experience.part(20, 0.0);
        for _ in 0..20 {
            experience.observe(&[Size { whole: 50_000, history: 40_000, rows: 20 }]);
        }
        let learnt = experience.part(20, 0.0);
        assert!(learnt > 2.0 * guessed && (learnt * TARGET_BYTES - 50_000.0).abs() < 100.0, "{guessed} {learnt}");
        experience.failed(2, &RequestError::TooLarge(Error::upstream("")), false);
        assert!(experience.part(20, 0.0) > 1.9 * learnt);
    }
}
