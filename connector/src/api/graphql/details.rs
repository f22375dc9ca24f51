//! What is asked about runs: their fields, ranges of their histories, where exported files are, and whether they are there.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::api::client::{BODY_LIMIT, Client, Failure, RequestError};
use crate::api::exchange::{Exchange, Response};
use crate::api::server_errors::About;
use crate::destination::Destination;
use crate::error::Error;
use crate::records::filter::MetricFilter;
use crate::records::page;
use crate::records::row::{Entries, History};
use crate::records::{json as lenient, time};
use crate::tables::RunRow;

use super::answer::Envelope;
use super::{Data, Graphql, Include, NO_PROJECT, Window, queries};

/// A run's heavy fields.
#[derive(Debug)]
pub struct HeavyRun {
    /// The row of `runs`.
    pub row: RunRow,
    /// The last step of the history; none where there is no history or the server does not say.
    pub last_step: Option<i64>,
    /// The number of history rows, as W&B counts them.
    pub lines: Option<u64>,
    /// Where the exported parts of the history are, in no order; empty where they were not asked for.
    pub exported: Vec<String>,
    /// The fields that are not in the row because they are no JSON, and why.
    pub illegible: Vec<(&'static str, String)>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Node<'a> {
    pub(super) name: Option<String>,
    display_name: Option<String>,
    state: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    pub(super) heartbeat_at: Option<String>,
    history_line_count: Option<f64>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
    user: Option<User>,
    /// None: the answer lacks it, which is not the same as null.
    #[serde(deserialize_with = "present")]
    config: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    summary_metrics: Option<Option<String>>,
    #[serde(borrow)]
    history_keys: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) history: Option<&'a RawValue>,
    parquet_history: Option<ParquetHistory>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParquetHistory {
    parquet_urls: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct User {
    username: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryKeys {
    last_step: Option<f64>,
}

impl Node<'_> {
    /// When the run last changed, as text: `updatedAt`, else when it was last alive.
    pub(super) fn updated_at(&self) -> Option<i64> {
        [&self.updated_at, &self.heartbeat_at].into_iter().flatten().find_map(|text| time::parse(text))
    }

    fn exported(&self) -> Vec<String> {
        let exported = self.parquet_history.as_ref();
        exported.and_then(|exported| exported.parquet_urls.clone()).unwrap_or_default()
    }

    /// Reads the rows, which were asked for: an answer without them has failed, and says nothing of how many there are. Only of a run that has
    /// none there may be nothing.
    fn read_history(&self, history: &mut History, position: i64) -> Result<(), String> {
        match self.history {
            Some(rows) => page::graphql(rows.get(), history, position),
            None if self.lines() == Some(0) => Ok(()),
            None => Err("it lacks the history".to_owned()),
        }
    }

    /// The run's fields, and its rows into `history`, where they were asked for.
    pub(super) fn heavy(
        &self,
        run_id: &str,
        include: Include,
        history: &mut History,
        position: i64,
    ) -> Result<HeavyRun, String> {
        self.has_heavy_fields()?;
        let mut illegible = Vec::new();
        let row = self.row(run_id, &mut illegible);
        if let Include::History(_) = include {
            self.read_history(history, position)?;
        }
        let last_step = last_step(self.history_keys);
        Ok(HeavyRun { row, last_step, lines: self.lines(), exported: self.exported(), illegible })
    }

    /// Whether the fields are there that only a question for one run brings.
    fn has_heavy_fields(&self) -> Result<(), String> {
        match (&self.config, &self.summary_metrics) {
            (None, _) => Err("it lacks the config".to_owned()),
            (_, None) => Err("it lacks the summary".to_owned()),
            _ => Ok(()),
        }
    }

    pub(super) fn lines(&self) -> Option<u64> {
        self.history_line_count.filter(|lines| *lines >= 0.0).map(|lines| lines as u64)
    }

    /// The row of `runs`. A field that is no JSON costs that field; it is named in `illegible`.
    fn row(&self, run_id: &str, illegible: &mut Vec<(&'static str, String)>) -> RunRow {
        let time = |text: &Option<String>| text.as_deref().and_then(time::parse);
        let mut legible = |field, read: Result<Option<String>, String>| {
            read.unwrap_or_else(|why| {
                illegible.push((field, why));
                None
            })
        };
        RunRow {
            run_id: run_id.to_owned(),
            name: self.display_name.clone().or_else(|| self.name.clone()),
            state: self.state.clone(),
            user: self.user.as_ref().and_then(|user| user.username.clone()),
            created_at: time(&self.created_at),
            updated_at: self.updated_at(),
            tags: self.tags.and_then(|tags| legible("tags", document(tags.get()))),
            config: self.config.iter().flatten().next().and_then(|config| legible("config", unwrap_config(config))),
            summary: self
                .summary_metrics
                .iter()
                .flatten()
                .next()
                .and_then(|summary| legible("summary", document(summary))),
        }
    }
}

/// A document that came inside a string; none for `null` and for nothing.
fn document(text: &str) -> Result<Option<String>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let read = |text: &str| serde_json::from_str::<Box<RawValue>>(text).map(|raw| raw.get().to_owned());
    lenient::parse(text.as_bytes(), read).map(|json| Some(json).filter(|json| json != "null"))
}

/// `{"lr":{"value":0.1,"desc":null},"_wandb":{…}}` as people wrote it: `{"lr":0.1}`.
fn unwrap_config(text: &str) -> Result<Option<String>, String> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
    }
    let Some(json) = document(text)? else {
        return Ok(None);
    };
    let Ok(entries) = serde_json::from_str::<Entries<'_>>(&json) else {
        // Not an object: nothing is wrapped.
        return Ok(Some(json));
    };
    let mut out = String::with_capacity(json.len());
    for (key, value) in entries.0 {
        if key == "_wandb" || key == "wandb_version" {
            continue;
        }
        out.push_str(if out.is_empty() { "{" } else { "," });
        out.push_str(&Value::from(key.into_owned()).to_string());
        out.push(':');
        // Something wrapped in `value` is unwrapped, also where that is null.
        out.push_str(
            serde_json::from_str::<Wrapped<'_>>(value.get()).map_or(value.get(), |wrapped| wrapped.value.get()),
        );
    }
    out.push_str(if out.is_empty() { "{}" } else { "}" });
    Ok(Some(out))
}

fn last_step(keys: Option<&RawValue>) -> Option<i64> {
    let read = |text: &str| serde_json::from_str::<HistoryKeys>(text).ok();
    // Some servers send the object inside a string.
    let text = keys?.get();
    let keys = read(text).or_else(|| read(&serde_json::from_str::<String>(text).ok()?))?;
    keys.last_step.filter(|step| step.is_finite()).map(|step| step as i64)
}

impl Graphql {
    /// A run's heavy fields and what is wanted beside them. None: the run does not exist any more. The number is the response's size in bytes.
    pub async fn run<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
        beside: Include,
        limit: usize,
        history: &RefCell<&mut History>,
        position: i64,
    ) -> Result<Option<(HeavyRun, usize)>, RequestError> {
        let variables = match beside {
            Include::History(window) => window_variables(run_id, window),
            Include::Export => export_variables(run_id),
            Include::Nothing => json!({"run": run_id}),
        };
        let (name, query) = queries::run(beside);
        let request = self.request(name, &query, variables);
        let question = self.question(format!("reading run {run_id}"), About::Run(run_id));
        let read = |data: Data<'_>, bytes| {
            let Some(node) = data.run(&question)? else { return Ok(None) };
            let run = node.heavy(run_id, beside, &mut history.borrow_mut(), position)?;
            Ok(Some((run, bytes)))
        };
        self.query(client, &request, &question, limit, false, read).await
    }

    /// Where the exported parts of a run's history are: the same files as before with new signatures, perhaps others.
    pub async fn export<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<Vec<String>, RequestError> {
        let request = self.request("Export", &queries::export(), export_variables(run_id));
        let question = self.question(format!("reading the exported history of run {run_id}"), About::Run(run_id));
        let read = |data: Data<'_>, _| Ok(data.run(&question)?.map(|node| node.exported()).unwrap_or_default());
        self.query(client, &request, &question, BODY_LIMIT, false, read).await
    }

    /// A part of a run's history, into `history`. None: the run does not exist any more. The number is the response's size in bytes.
    pub async fn history<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
        window: Window,
        limit: usize,
        history: &RefCell<&mut History>,
        position: i64,
    ) -> Result<Option<usize>, RequestError> {
        let request = self.request("History", &queries::history(), window_variables(run_id, window));
        let question = self.question(format!("reading the history of run {run_id}"), About::Run(run_id));
        let read = |data: Data<'_>, bytes| {
            let Some(node) = data.run(&question)? else {
                return Ok(None);
            };
            node.read_history(&mut history.borrow_mut(), position)?;
            Ok(Some(bytes))
        };
        self.query(client, &request, &question, limit, false, read).await
    }

    /// Whether the first step of a run's history can be asked for, and the run is there.
    pub(crate) async fn has_history<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<bool, Error> {
        let request =
            self.request("History", &queries::history(), window_variables(run_id, Window { start: 0, steps: 1 }));
        let question = self.question(format!("reading the history of run {run_id}"), About::Run(run_id));
        let read = |data: Data<'_>, _| Ok(data.project.is_some_and(|project| project.run.is_some()));
        Ok(self.query(client, &request, &question, BODY_LIMIT, false, read).await?)
    }

    /// Steps of a run between `from` and `to` (exclusive) that have rows: all of them, or those that W&B chose where there are more than
    /// `samples`. Good for finding out where rows are, never for reading them. None: the run does not exist any more.
    pub async fn some_steps<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
        (from, to): (i64, i64),
        samples: u32,
        limit: usize,
    ) -> Result<Option<Vec<i64>>, RequestError> {
        let variables = json!({"run": run_id, "minStep": from, "maxStep": to, "samples": samples});
        let request = self.request("History", &queries::history(), variables);
        let what = format!("looking for the first row of the history of run {run_id}");
        let question = self.question(what, About::Run(run_id));
        let read = |data: Data<'_>, _| {
            let Some(node) = data.run(&question)? else { return Ok(None) };
            let mut rows = History::new(MetricFilter::default());
            node.read_history(&mut rows, 0)?;
            Ok(Some(rows.rows().map(|row| row.step).filter(|step| (from..to).contains(step)).collect()))
        };
        self.query(client, &request, &question, limit, false, read).await
    }

    /// Whether the project has that run. A project that is not to be seen is an error: nothing follows from it for its runs.
    pub async fn has_run<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<bool, Error> {
        let request = self.request("HasRun", &queries::has_run(), json!({"run": run_id}));
        let question = self.question(format!("asking whether run {run_id} exists"), About::Run(run_id));
        let read = |data: Data<'_>, _| match data.project {
            None => Ok(None),
            Some(_) => Ok(Some(data.run(&question)?.is_some())),
        };
        match self.query(client, &request, &question, BODY_LIMIT, false, read).await? {
            Some(found) => Ok(found),
            None => Err(Error::NotFound(format!("{}: {NO_PROJECT}", question.what))),
        }
    }

    /// Which of these runs the project has, in their order; none where the answer leaves it open.
    pub(super) async fn have_runs<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        ids: &[String],
    ) -> Result<Vec<Option<bool>>, Error> {
        let variables: Map<String, Value> =
            (0..).zip(ids).map(|(number, id): (usize, _)| (format!("run{number}"), id.as_str().into())).collect();
        let request = self.request("HaveRuns", &queries::have_runs(ids.len()), Value::Object(variables));
        let question = self.question(format!("asking whether {} runs exist", ids.len()), About::Runs);
        let accept = |response: &Response| {
            let body: Envelope<'_, ExistingRuns<'_>> = serde_json::from_slice(&response.body)
                .map_err(|error| Failure::malformed(response.status, lenient::place(&error)))?;
            // What goes wrong is asked about each of them.
            let project =
                body.data.and_then(|data| data.project).filter(|_| response.status == 200 && body.errors.is_none());
            let project = project.unwrap_or_default();
            let said = |(number, id): (usize, &String)| match project.get(queries::alias(number).as_str())? {
                Some(run) => Some(true).filter(|_| run.name == *id),
                None => Some(false),
            };
            Ok((0..).zip(ids).map(said).collect())
        };
        Ok(client.send_within(&request, &question.what, BODY_LIMIT, 0, accept).await?)
    }
}

/// Which of many runs there are.
#[derive(Deserialize)]
struct ExistingRuns<'a> {
    #[serde(borrow, default)]
    project: Option<BTreeMap<Cow<'a, str>, Option<Named>>>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

fn export_variables(run_id: &str) -> Value {
    json!({"run": run_id, "liveKeys": ["_step"]})
}

fn window_variables(run_id: &str, window: Window) -> Value {
    json!({"run": run_id, "minStep": window.start, "maxStep": window.end(), "samples": window.steps})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_is_unwrapped_with_every_digit() {
        for (given, expected) in [
            (
                r#"{"lr":{"value":0.10000000000000000555,"desc":null},"_wandb":{"value":{}},"wandb_version":1}"#,
                r#"{"lr":0.10000000000000000555}"#,
            ),
            (
                r#"{"a":{"value":null},"b":{"value":{"value":3}},"c":5,"d":{"x":1}}"#,
                r#"{"a":null,"b":{"value":3},"c":5,"d":{"x":1}}"#,
            ),
            (r#"{"n":{"value":NaN},"é\"":{"value":1e400}}"#, r#"{"n":"NaN","é\"":1e400}"#),
            (r#"{"_wandb":{}}"#, "{}"),
            ("{}", "{}"),
        ] {
            assert_eq!(unwrap_config(given).unwrap().as_deref(), Some(expected), "{given}");
        }
        assert_eq!(unwrap_config("null"), Ok(None));
        assert_eq!(unwrap_config(""), Ok(None));
        assert!(unwrap_config("{").is_err());
    }

    #[test]
    fn half_of_a_surrogate_pair_in_a_run_is_never_stored() {
        let config = unwrap_config(r#"{"\ud800":{"value":"\udfff"},"b":{"value":[1]}}"#);
        assert_eq!(config.unwrap().as_deref(), Some("{\"\u{fffd}\":\"\\ufffd\",\"b\":[1]}"));
        let node: Node<'_> =
            serde_json::from_str(r#"{"name":"r","tags":["\ud83e"],"summaryMetrics":"{\"s\":\"\\ud83e\"}"}"#).unwrap();
        let mut illegible = Vec::new();
        let row = node.row("r", &mut illegible);
        assert_eq!(row.tags.as_deref(), Some(r#"["\ufffd"]"#));
        assert_eq!(row.summary.as_deref(), Some(r#"{"s":"\ufffd"}"#));
        assert_eq!(illegible, []);
    }

    #[test]
    fn the_last_step_is_read_from_an_object_or_a_text() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(last_step(Some(&raw(r#"{"keys":{},"lastStep":2147483648}"#))), Some(1 << 31));
        assert_eq!(last_step(Some(&raw(r#""{\"lastStep\":7}""#))), Some(7));
        assert_eq!(last_step(Some(&raw(r#"{"lastStep":null}"#))), None);
        assert_eq!(last_step(None), None);
    }
}
