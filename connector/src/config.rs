//! The configuration: what keys there are, their JSON Schema, and the reading of one that names every problem it has.

mod address;
mod annotations;
mod project;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::{Value, json};

use crate::error::{Error, Problem};
use crate::hash::hash;
use crate::records::filter::MetricFilter;
use crate::records::time;
use crate::tables::{self, Table};

/// Where W&B's own service answers.
pub const DEFAULT_BASE_URL: &str = "https://api.wandb.ai";
/// Runs for each page of a listing, as the specification has it.
pub const DEFAULT_PAGE_SIZE: u32 = 100;
/// Requests in flight.
pub const DEFAULT_CONCURRENCY: u32 = 16;

/// Which of W&B's interfaces to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Ask GraphQL first, then REST.
    Auto,
    /// The paths of the connector's specification.
    Rest,
    /// What the W&B service serves.
    Graphql,
}

/// What the deletion of a run at W&B does to its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletes {
    /// They stay.
    Keep,
    /// They stay, and the table `deleted_runs` names the run.
    Mark,
    /// They are deleted.
    Remove,
}

/// A key that Debug does not show.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

/// A configuration in which nothing is wrong.
#[derive(Debug, Clone)]
pub struct Config {
    /// The API key, or what the host gave in its place.
    pub api_key: Secret,
    /// The user or team that owns the project.
    pub entity: String,
    /// The project.
    pub project: String,
    /// Runs for each page of a listing, and rows for each page of a `rest` history: 1 to 1000.
    pub page_size: u32,
    /// Scheme, host and path prefix, without a slash at the end.
    pub base_url: String,
    /// Which interface.
    pub api: Api,
    /// Requests in flight at most: 1 to 256.
    pub concurrency: u32,
    /// The tables to write, in their order.
    pub tables: Vec<&'static Table>,
    /// Which metrics to write.
    pub metrics: MetricFilter,
    /// Runs last updated before this (microseconds since the epoch) are left out.
    pub start_time: Option<i64>,
    /// What becomes of runs that were deleted.
    pub deletes: Deletes,
}

const KEYS: [&str; 11] = [
    "api_key",
    "entity",
    "project",
    "page_size",
    "base_url",
    "api",
    "concurrency",
    "tables",
    "metrics",
    "start_time",
    "deletes",
];

/// The configuration's JSON Schema.
pub fn json_schema() -> Value {
    let patterns = json!({"type": "array", "items": {"type": "string"}});
    let tables = tables::TABLES.map(|table| table.name);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Weights & Biases",
        "type": "object",
        "required": ["api_key", "entity", "project"],
        "additionalProperties": false,
        "properties": {
            "api_key": {"type": "string", "minLength": 1, "writeOnly": true, "x-elt-credential": annotations::credential(),
                "title": "API key",
                "description": "A W&B API key; one that may only read is enough. See https://wandb.ai/authorize."},
            "entity": {"type": "string", "minLength": 1, "title": "Entity",
                "description": "The user or team that owns the project: the first part of the project's URL."},
            "project": {"type": "string", "minLength": 1, "title": "Project",
                "description": "The project's name: the second part of its URL. The whole URL, or entity/project, is understood too."},
            "page_size": {"type": ["integer", "string"], "minimum": 1, "maximum": 1000, "default": DEFAULT_PAGE_SIZE,
                "title": "Page size", "description": "Runs for each page of a listing; in the rest dialect also rows for each page of a history."},
            "base_url": {"type": "string", "format": "uri", "x-elt-origin": true, "x-elt-downloads": annotations::downloads(),
                "default": DEFAULT_BASE_URL,
                "title": "Base URL", "description": "Where W&B's API answers; change it for a self-hosted W&B."},
            "api": {"enum": ["auto", "rest", "graphql"], "default": "auto", "title": "API",
                "description": "Which of W&B's interfaces to use; auto asks GraphQL first, then REST."},
            "concurrency": {"type": ["integer", "string"], "minimum": 1, "maximum": 256, "default": DEFAULT_CONCURRENCY,
                "title": "Concurrency", "description": "Requests in flight at most. Falls by itself as W&B's rate limit is used up."},
            "tables": {"type": ["array", "string"], "items": {"enum": tables}, "default": tables,
                "title": "Tables", "description": "The tables to write; a list, or names with commas between them."},
            "metrics": {"type": ["object", "array", "string"], "properties": {"include": patterns, "exclude": patterns}, "additionalProperties": false,
                "title": "Metrics", "description": "Patterns of the metrics to write, in which * stands for any text and ? for one character. A bare list or a text with commas means include."},
            "start_time": {"type": "string", "title": "Start time",
                "description": "Leave out runs last updated before this time: RFC 3339, UTC where it does not say."},
            "deletes": {"enum": ["keep", "mark", "remove"], "default": "keep", "x-elt-deletes": true, "title": "Deleted runs",
                "description": "What becomes of the rows of a run that was deleted at W&B: they stay; they stay and the table deleted_runs names the run; they are removed."},
        }
    });
    if let Some(schema) = schema.as_object_mut() {
        schema.extend(annotations::of_the_whole());
    }
    schema
}

/// An object that keeps every entry, so that a key given twice is seen.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Entries;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a JSON object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Collects problems while values are read.
struct Reader {
    entries: BTreeMap<String, Value>,
    problems: Vec<Problem>,
}

impl Reader {
    fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem { key: Some(key.to_owned()), message: message.into() });
    }

    /// The value of a key that is given and not null.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.entries.remove(key).filter(|value| !value.is_null())
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text.trim().to_owned()),
            other => {
                self.problem(key, format!("must be a text, not {}", kind(&other)));
                None
            }
        }
    }

    /// One of three; the first when the key is not given, is empty or wrong.
    fn choice<T: Copy>(&mut self, key: &str, choices: [(&str, T); 3]) -> T {
        let [(default, first), (second, _), (third, _)] = choices;
        let text = self.text(key).filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned());
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => *choice,
            None => {
                self.problem(key, format!("must be {default}, {second} or {third}, not `{text}`"));
                first
            }
        }
    }

    fn required(&mut self, key: &str, hint: &str) -> String {
        let mistyped = self.problems.len();
        match self.text(key) {
            Some(text) if text.is_empty() => self.problem(key, format!("is empty; {hint}")),
            Some(text) if text.chars().any(char::is_control) => self.problem(key, "holds a control character"),
            Some(text) => return text,
            None if self.problems.len() == mistyped => self.problem(key, format!("is missing; {hint}")),
            None => {}
        }
        String::new()
    }

    /// A number, or a numeric text as Fivetran's configurations have it.
    fn number(&mut self, key: &str, default: u32, most: u32) -> u32 {
        let Some(value) = self.take(key) else {
            return default;
        };
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            other => {
                self.problem(key, format!("must be a whole number from 1 to {most}, not {}", kind(other)));
                return default;
            }
        };
        match number.and_then(|number| u32::try_from(number).ok()).filter(|number| (1..=most).contains(number)) {
            Some(number) => number,
            None => {
                self.problem(key, format!("must be a whole number from 1 to {most}, not {value}"));
                default
            }
        }
    }

    /// A list of texts, or one text with commas.
    fn list(&mut self, key: &str, value: Value) -> Vec<String> {
        let texts = match value {
            Value::String(text) => Ok(text.split(',').map(str::to_owned).collect()),
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(other),
                })
                .collect(),
            other => Err(other),
        };
        match texts {
            Ok(texts) => {
                let texts: Vec<String> = texts;
                texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
            }
            Err(other) => {
                self.problem(key, format!("must be a list of texts, not {}", kind(&other)));
                Vec::new()
            }
        }
    }

    fn base_url(&mut self) -> String {
        let Some(text) = self.text("base_url").filter(|text| !text.is_empty()) else {
            return DEFAULT_BASE_URL.to_owned();
        };
        address::read(&text).unwrap_or_else(|problem| {
            self.problem("base_url", problem);
            DEFAULT_BASE_URL.to_owned()
        })
    }

    /// Entity and project. Either may name both.
    fn names(&mut self, base_url: &str) -> (String, String) {
        let text = |key: &str| self.entries.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        let (tells_entity, tells_project) = (text("project").contains('/'), text("entity").contains('/'));
        let is_absent = |key: &str| self.entries.get(key).is_none_or(|value| value.is_null() || value == "");
        let (no_entity, no_project) = (is_absent("entity"), is_absent("project"));
        let before = self.problems.len();
        let mut name = |key: &str, told: bool, hint: &str| if told { String::new() } else { self.required(key, hint) };
        let form = "part of the project's URL, wandb.ai/<entity>/<project>";
        let entity = name("entity", tells_entity && no_entity, &format!("it is the first {form}"));
        let project = name("project", tells_project && no_project, &format!("it is the second {form}"));
        self.entries.remove("entity");
        self.entries.remove("project");
        if self.problems.len() > before {
            return (entity, project);
        }
        project::read(&entity, &project, base_url).unwrap_or_else(|(key, problem)| {
            self.problem(key, problem);
            (entity, project)
        })
    }

    fn tables(&mut self) -> Vec<&'static Table> {
        let all = tables::TABLES.to_vec();
        let Some(value) = self.take("tables") else {
            return all;
        };
        let before = self.problems.len();
        let names = self.list("tables", value);
        for name in &names {
            if !tables::TABLES.iter().any(|table| table.name == name) {
                let known = tables::TABLES.map(|table| format!("`{}`", table.name)).join(", ");
                self.problem("tables", format!("`{name}` is no table; the tables are {known}"));
            }
        }
        if names.is_empty() && self.problems.len() == before {
            self.problem("tables", "names no table; leave it out to get all");
        }
        all.into_iter().filter(|table| names.iter().any(|name| *name == table.name)).collect()
    }

    fn metrics(&mut self) -> MetricFilter {
        match self.take("metrics") {
            None => MetricFilter::default(),
            Some(Value::Object(mut object)) => {
                let mut side =
                    |key: &str| object.remove(key).map_or_else(Vec::new, |value| self.list("metrics", value));
                let (include, exclude) = (side("include"), side("exclude"));
                let filter = MetricFilter::new(&include, &exclude);
                for key in object.keys() {
                    self.problem("metrics", format!("has the unknown key `{key}`; it takes `include` and `exclude`"));
                }
                filter
            }
            Some(value) => MetricFilter::new(&self.list("metrics", value), &[]),
        }
    }

    fn start_time(&mut self) -> Option<i64> {
        let text = self.text("start_time").filter(|text| !text.is_empty())?;
        let time = time::parse(&text).or_else(|| time::parse(&format!("{text}T00:00:00")));
        if time.is_none() {
            self.problem("start_time", format!("`{text}` is no time; an example is 2025-01-31T00:00:00Z"));
        }
        time
    }
}

impl Config {
    /// Reads a configuration: a JSON object. The error lists every problem.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |message: String| Err(Error::Configuration(vec![Problem { key: None, message }]));
        let Entries(entries) = match serde_json::from_str(text) {
            Ok(entries) => entries,
            // serde_json's message can quote a value, which may be the key: only the place is told.
            Err(error) if error.is_data() => return fail("must be a JSON object".to_owned()),
            Err(error) => {
                return fail(format!("is not valid JSON (line {}, column {})", error.line(), error.column()));
            }
        };
        let mut reader = Reader { entries: BTreeMap::new(), problems: Vec::new() };
        for (key, value) in entries {
            if reader.entries.insert(key.clone(), value).is_some() {
                reader.problem(&key, "is given twice");
            }
        }
        let api_key = Secret(reader.required("api_key", "get one at https://wandb.ai/authorize"));
        let base_url = reader.base_url();
        let (entity, project) = reader.names(&base_url);
        let config = Self {
            api_key,
            base_url: address::without_project(base_url, &entity, &project),
            entity,
            project,
            page_size: reader.number("page_size", DEFAULT_PAGE_SIZE, 1000),
            api: reader.choice("api", [("auto", Api::Auto), ("rest", Api::Rest), ("graphql", Api::Graphql)]),
            concurrency: reader.number("concurrency", DEFAULT_CONCURRENCY, 256),
            tables: reader.tables(),
            metrics: reader.metrics(),
            start_time: reader.start_time(),
            deletes: reader
                .choice("deletes", [("keep", Deletes::Keep), ("mark", Deletes::Mark), ("remove", Deletes::Remove)]),
        };
        let unknown: Vec<String> = reader.entries.keys().filter(|key| !KEYS.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            let nearest =
                KEYS.iter().map(|known| (strsim::damerau_levenshtein(known, &key.to_lowercase()), known)).min();
            let message = match nearest {
                Some((distance, known)) if distance <= 1 + known.len() / 3 => {
                    format!("is not a known key; did you mean `{known}`?")
                }
                _ => {
                    let (_, known) = nearest.unwrap_or((0, &KEYS[0]));
                    format!("is not a known key; the nearest is `{known}`, and the keys are {}", KEYS.join(", "))
                }
            };
            reader.problem(&key, message);
        }
        if reader.problems.is_empty() { Ok(config) } else { Err(Error::Configuration(reader.problems)) }
    }

    /// Whether histories are to be read.
    pub fn wants_history(&self) -> bool {
        self.tables.iter().any(|table| table.holds_history())
    }

    /// Whether a table is to be written.
    pub fn writes(&self, table: &Table) -> bool {
        self.tables.contains(&table)
    }

    /// The tables that a sync writes.
    pub fn schema(&self) -> Vec<&'static Table> {
        let marks = (self.deletes == Deletes::Mark).then_some(tables::MARKS);
        self.tables.iter().copied().chain(marks).collect()
    }

    /// A hash of what is written of a run; none when it is everything. When it changes, runs that were done are read anew.
    pub fn selection(&self) -> Option<String> {
        if self.tables == tables::TABLES && self.metrics.allows_all() {
            return None;
        }
        let tables: Vec<&str> = self.tables.iter().map(|table| table.name).collect();
        let [include, exclude] = self.metrics.patterns();
        let text = json!([tables, include, exclude]).to_string();
        Some(format!("{:016x}", hash(text.as_bytes())))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        match Config::parse(text) {
            Err(Error::Configuration(problems)) => problems
                .iter()
                .map(|problem| format!("{}: {}", problem.key.as_deref().unwrap_or("-"), problem.message))
                .collect::<Vec<_>>()
                .join("\n"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_least_configuration_gets_the_defaults() {
        let config = Config::parse(r#"{"api_key":"k","entity":"acme","project":"demo"}"#).unwrap();
        assert_eq!((config.page_size, config.concurrency, config.base_url.as_str()), (100, 16, DEFAULT_BASE_URL));
        assert_eq!(config.tables, tables::TABLES);
        assert!(config.metrics.allows("anything/at.all"));
        assert!(!format!("{config:?}").contains("\"k\""), "Debug shows the key");
    }

    #[test]
    fn numbers_may_be_texts() {
        let config =
            Config::parse(r#"{"api_key":"k","entity":"e","project":"p","page_size":" 250 ","concurrency":"4"}"#)
                .unwrap();
        assert_eq!((config.page_size, config.concurrency), (250, 4));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        insta::assert_snapshot!(problems(
            r#"{"api_key":"","entity":5,"page_size":0,"base_url":"ftp://x","api":"soap","tables":["run"],"metrics":{"only":1},
                "start_time":"soon","page_sise":3,"concurrency":1.5,"colour":"red","metrics ":1,"deletes":"drop"}"#), @r"
        api_key: is empty; get one at https://wandb.ai/authorize
        base_url: must begin with https:// (or http:// for a server of your own): an example is https://api.wandb.ai
        entity: must be a text, not a number
        project: is missing; it is the second part of the project's URL, wandb.ai/<entity>/<project>
        page_size: must be a whole number from 1 to 1000, not 0
        api: must be auto, rest or graphql, not `soap`
        concurrency: must be a whole number from 1 to 256, not 1.5
        tables: `run` is no table; the tables are `runs`, `metrics`, `metric_objects`
        metrics: has the unknown key `only`; it takes `include` and `exclude`
        start_time: `soon` is no time; an example is 2025-01-31T00:00:00Z
        deletes: must be keep, mark or remove, not `drop`
        colour: is not a known key; the nearest is `api`, and the keys are api_key, entity, project, page_size, base_url, api, concurrency, tables, metrics, start_time, deletes
        metrics : is not a known key; did you mean `metrics`?
        page_sise: is not a known key; did you mean `page_size`?
        ");
    }

    #[test]
    fn what_is_no_object_is_refused_without_quoting_it() {
        for text in ["", "[]", "\"hunter2\"", "{", "{\"api_key\": hunter2}"] {
            let said = problems(text);
            assert!(said.starts_with("-: ") && !said.contains("hunter2"), "{text}: {said}");
        }
        assert!(problems(r#"{"entity":"a","entity":"b"}"#).contains("entity: is given twice"));
    }

    #[test]
    fn urls_that_would_send_the_key_astray_are_refused() {
        for url in [
            "https://user:pw@host",
            "https://",
            "file:///etc",
            "https://host/?q=1",
            "https://host:99999",
            "api.wandb.ai",
        ] {
            let text = json!({"api_key":"k","entity":"e","project":"p","base_url":url}).to_string();
            assert!(problems(&text).starts_with("base_url: "), "{url}");
        }
        for url in ["http://127.0.0.1:8080/", "https://wandb.example.com/api", "https://[::1]:9"] {
            let text = json!({"api_key":"k","entity":"e","project":"p","base_url":url}).to_string();
            assert_eq!(Config::parse(&text).unwrap().base_url, url.trim_end_matches('/'), "{url}");
        }
    }

    #[test]
    fn metric_patterns_include_then_exclude() {
        let text = r#"{"api_key":"k","entity":"e","project":"p","metrics":{"include":["val/*","loss"],"exclude":["*/grad?"]}}"#;
        let filter = Config::parse(text).unwrap().metrics;
        for (name, expected) in
            [("val/acc", true), ("loss", true), ("val/a/b", true), ("val/grad1", false), ("train/loss", false)]
        {
            assert_eq!(filter.allows(name), expected, "{name}");
        }
    }
}
