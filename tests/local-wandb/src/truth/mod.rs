//! The ground truth: what a sync of a project must bring, worked out plainly from what the server holds.
//!
//! This is a second opinion on the table and value rules. It shares no code with the connector, and cares for clarity, not
//! speed or memory.

mod compare;
mod parquet;
mod values;

use std::collections::BTreeMap;

pub use compare::{Difference, compare, compare_sqlite};
pub use parquet::load_parquet;
pub use values::TruthTime;

use super::json::Json;
use super::project::Run;

/// Which dialect the sync spoke; the rows differ in config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `rest`
    Rest,
    /// `graphql`
    Graphql,
}

/// A row of `runs`, but for its key.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// Its display name, else the server's name for it.
    pub name: String,
    /// Its state.
    pub state: String,
    /// The username.
    pub user: Option<String>,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// Microseconds since the epoch.
    pub updated_at: Option<i64>,
    /// Canonical JSON.
    pub tags: Option<Json>,
    /// Canonical JSON.
    pub config: Option<Json>,
    /// Canonical JSON.
    pub summary: Option<Json>,
}

/// The key of `metrics` and `metric_objects`: run, step, metric name.
pub type MetricKey = (String, i64, String);

/// A row of `metrics`, but for its key.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRow {
    /// The value; NaN and the infinities included.
    pub value: f64,
    /// When it was logged.
    pub timestamp: Option<TruthTime>,
}

/// A row of `metric_objects`, but for its key.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectRow {
    /// Canonical JSON.
    pub value: Json,
    /// When it was logged.
    pub timestamp: Option<TruthTime>,
}

/// The rows of every table, by primary key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// `runs`
    pub runs: BTreeMap<String, RunRow>,
    /// `metrics`
    pub metrics: BTreeMap<MetricKey, MetricRow>,
    /// `metric_objects`
    pub objects: BTreeMap<MetricKey, ObjectRow>,
}

impl Truth {
    /// The rows that these runs make.
    pub fn of<'a>(dialect: Dialect, runs: impl IntoIterator<Item = &'a Run>) -> Self {
        let mut truth = Truth::default();
        for run in runs {
            truth.runs.insert(run.id.clone(), run_row(dialect, run));
            truth.add_history(run);
        }
        truth
    }

    fn add_history(&mut self, run: &Run) {
        for (position, line) in run.history.lines().enumerate() {
            let Ok(row) = Json::parse(line) else { continue };
            let step = row.get("_step").and_then(Json::as_i64).unwrap_or(position as i64);
            let timestamp = row.get("_timestamp").and_then(values::stamp);
            for (name, value) in values::flatten(&row) {
                let key = (run.id.clone(), step, name);
                if let Some(value) = values::as_double(&value) {
                    self.metrics.insert(key.clone(), MetricRow { value, timestamp });
                }
                if values::is_object(&value) {
                    self.objects.insert(key, ObjectRow { value: value.canonical(), timestamp });
                }
            }
        }
    }

    /// Takes over a run's rows from an earlier truth: a run deleted at the server stays in the destination.
    pub fn keep_run(&mut self, earlier: &Truth, id: &str) {
        let of_run = |key: &&MetricKey| key.0 == id;
        if let Some(row) = earlier.runs.get(id) {
            self.runs.insert(id.to_owned(), row.clone());
        }
        let metrics = earlier.metrics.iter().filter(|(key, _)| of_run(key));
        self.metrics.extend(metrics.map(|(key, row)| (key.clone(), row.clone())));
        let objects = earlier.objects.iter().filter(|(key, _)| of_run(key));
        self.objects.extend(objects.map(|(key, row)| (key.clone(), row.clone())));
    }

    /// Leaves out a run's rows, as when it was quarantined in a first sync.
    pub fn drop_run(&mut self, id: &str) {
        self.runs.remove(id);
        self.metrics.retain(|key, _| key.0 != id);
        self.objects.retain(|key, _| key.0 != id);
    }
}

fn run_row(dialect: Dialect, run: &Run) -> RunRow {
    let time = |at| values::run_time(&run.timestamps.format(at));
    // What is no JSON is left out.
    let parse = |text: &str| Json::parse(text).ok().map(|json| json.canonical());
    let config = match dialect {
        Dialect::Rest => run.unwrapped_config().as_deref().and_then(parse),
        Dialect::Graphql => run.config.as_deref().and_then(parse).map(unwrap_config),
    };
    let updated_at = match dialect {
        Dialect::Rest => run.updated_at,
        Dialect::Graphql => run.updated_at.or(Some(run.heartbeat_at)),
    };
    RunRow {
        name: run.display_name.clone().unwrap_or_else(|| run.id.clone()),
        state: run.state.clone(),
        user: run.user.as_ref().map(|user| user.username.clone()),
        created_at: time(run.created_at),
        updated_at: updated_at.map(time),
        tags: run.tags.as_ref().map(|tags| Json::Array(tags.iter().cloned().map(Json::String).collect())),
        config,
        summary: run.summary.as_deref().and_then(parse),
    }
}

/// GraphQL's config without the wrapping of its values and without W&B's own keys.
fn unwrap_config(config: Json) -> Json {
    let Json::Object(members) = config else {
        return config;
    };
    let own = ["_wandb", "wandb_version"];
    let members = members.into_iter().filter(|(key, _)| !own.contains(&key.as_str())).map(|(key, value)| {
        let inner = value.get("value").cloned();
        (key, inner.unwrap_or(value))
    });
    Json::Object(members.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::awkward::awkward;
    use std::sync::Arc;

    fn truth(dialect: Dialect) -> Truth {
        let project = awkward();
        Truth::of(dialect, project.runs.iter().map(Arc::as_ref))
    }

    fn metric(truth: &Truth, run: &str, step: i64, name: &str) -> Option<f64> {
        truth.metrics.get(&(run.to_owned(), step, name.to_owned())).map(|row| row.value)
    }

    fn object(truth: &Truth, run: &str, step: i64, name: &str) -> Option<String> {
        truth.objects.get(&(run.to_owned(), step, name.to_owned())).map(|row| row.value.to_string())
    }

    #[test]
    fn values_go_where_the_rules_say() {
        let truth = truth(Dialect::Graphql);
        assert!(metric(&truth, "nonfinite", 0, "bare").is_some_and(f64::is_nan));
        assert!(metric(&truth, "nonfinite", 1, "bare").is_some_and(f64::is_nan));
        assert_eq!(metric(&truth, "nonfinite", 1, "down"), Some(f64::NEG_INFINITY));
        assert_eq!(object(&truth, "nonfinite", 1, "down"), None);
        assert_eq!(
            object(&truth, "nonfinite", 2, "list").as_deref(),
            Some(r#"[1,"NaN","Infinity","-Infinity","NaN"]"#)
        );
        assert_eq!(metric(&truth, "integers", 0, "big"), Some(9_007_199_254_740_992.0));
        assert_eq!(object(&truth, "integers", 0, "big").as_deref(), Some("9007199254740993"));
        assert_eq!(object(&truth, "integers", 0, "exact"), None);
        assert_eq!(metric(&truth, "types", 0, "b"), Some(1.0));
        assert_eq!(metric(&truth, "types", 0, "none"), None);
        assert_eq!(object(&truth, "types", 0, "empty_text").as_deref(), Some(r#""""#));
        assert_eq!(metric(&truth, "nested", 0, "nested.y.z"), Some(2.0));
        assert_eq!(object(&truth, "nested", 1, "empty").as_deref(), Some("{}"));
        assert_eq!(object(&truth, "nested", 0, "nested.empty").as_deref(), Some("{}"));
        assert_eq!(metric(&truth, "nested", 3, "_runtime"), None);
        assert_eq!(metric(&truth, "nested", 3, "system._step"), Some(7.0));
        assert_eq!(metric(&truth, "media", 0, "img.width"), None);
        assert_eq!(metric(&truth, "no-steps", 2, "b"), Some(4.0));
    }

    #[test]
    fn the_last_of_colliding_names_wins() {
        let truth = truth(Dialect::Rest);
        assert_eq!(metric(&truth, "collisions", 0, "a.b"), Some(2.0));
        assert_eq!(metric(&truth, "collisions", 1, "a.b"), Some(4.0));
        assert_eq!(object(&truth, "collisions", 2, "a.b"), None);
        assert_eq!(metric(&truth, "collisions", 3, "a.b"), None);
    }

    #[test]
    fn only_graphql_unwraps_its_config() {
        let config = |dialect, id: &str| truth(dialect).runs[id].config.as_ref().map(ToString::to_string);
        let graphql = config(Dialect::Graphql, "digits").expect("a config");
        assert!(graphql.contains(r#""huge":1e400"#) && !graphql.contains("wandb"), "{graphql}");
        let rest = config(Dialect::Rest, "digits").expect("a config");
        assert!(rest.contains(r#""_wandb":{"cli_version""#), "{rest}");
        let shapes = config(Dialect::Graphql, "config-shapes").expect("a config");
        assert!(shapes.contains(r#""grid":{"desc":"inner","value":1}"#), "{shapes}");
    }

    #[test]
    fn updated_at_falls_back_to_the_heartbeat_in_graphql_only() {
        assert_eq!(truth(Dialect::Rest).runs["never-updated"].updated_at, None);
        assert!(truth(Dialect::Graphql).runs["never-updated"].updated_at.is_some());
    }
}
