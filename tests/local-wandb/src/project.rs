//! What the server holds: entities' projects and their runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::clock::{Micros, START, TimestampStyle};
use super::history::History;
use super::json::Json;

/// The states a run can be in.
pub const STATES: [&str; 8] =
    ["running", "finished", "crashed", "failed", "killed", "pending", "preempting", "preempted"];

/// Whom a run belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name people see.
    pub name: String,
    /// The account name.
    pub username: String,
}

/// A run. JSON parts are texts, sent as they are.
#[derive(Clone, Debug)]
pub struct Run {
    /// The id in URLs, unique in its project (`name` in GraphQL, `id` in REST).
    pub id: String,
    /// The name people gave it.
    pub display_name: Option<String>,
    /// One of [`STATES`].
    pub state: String,
    /// Whose it is; runs of removed accounts have none.
    pub user: Option<User>,
    /// When it was created.
    pub created_at: Micros,
    /// When it was last edited; some servers do not say.
    pub updated_at: Option<Micros>,
    /// When it last gave a sign of life.
    pub heartbeat_at: Micros,
    /// How its timestamps are spelled.
    pub timestamps: TimestampStyle,
    /// Its tags; `None` is sent as null.
    pub tags: Option<Vec<String>>,
    /// What people noted.
    pub notes: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// Its kind of job.
    pub job_type: Option<String>,
    /// Its config as W&B stores it: each value wrapped, `{"lr":{"value":0.1,"desc":null},"_wandb":{"value":{…}}}`.
    pub config: Option<String>,
    /// Its summary.
    pub summary: Option<String>,
    /// Its history.
    pub history: Arc<History>,
    /// System metrics, rows as JSON texts.
    pub events: Vec<String>,
    /// How many of its rows have been exported to parquet; the rest is live.
    pub exported_rows: usize,
    /// Its console output and uploaded files, by path.
    pub files: BTreeMap<String, Arc<[u8]>>,
    /// Whether listings leave it out, as those that the key may not see; its place in the pages stays.
    pub hidden: bool,
    /// Whether its config, tags and summary are left out of REST answers when null, rather than sent as null.
    pub omit_nulls: bool,
}

impl Run {
    /// A finished run of that id with nothing in it.
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Run {
            display_name: Some(format!("run {id}")),
            id,
            state: "finished".to_owned(),
            user: Some(User { name: "Ada Lovelace".to_owned(), username: "ada".to_owned() }),
            created_at: START,
            updated_at: Some(START),
            heartbeat_at: START,
            timestamps: TimestampStyle::default(),
            tags: Some(Vec::new()),
            notes: None,
            group: None,
            job_type: None,
            config: Some("{}".to_owned()),
            summary: Some("{}".to_owned()),
            history: Arc::default(),
            events: Vec::new(),
            exported_rows: 0,
            files: BTreeMap::new(),
            hidden: false,
            omit_nulls: false,
        }
    }

    /// The same run with this history, all of it exported.
    pub fn with_history<S: AsRef<str>>(mut self, lines: impl IntoIterator<Item = S>) -> Self {
        self.history = Arc::new(History::from_lines(lines));
        self.exported_rows = self.history.len();
        self
    }

    /// Its config as a REST server sends it: values unwrapped, W&B's own keys kept.
    pub fn unwrapped_config(&self) -> Option<String> {
        let text = self.config.as_deref()?;
        match Json::parse(text) {
            Ok(Json::Object(members)) => {
                let members = members.into_iter().map(|(key, value)| {
                    let inner = value.get("value").cloned();
                    (key, inner.unwrap_or(value))
                });
                Some(Json::Object(members.collect()).to_string())
            }
            _ => Some(text.to_owned()),
        }
    }

    /// The opaque id that GraphQL calls `id`.
    pub fn storage_id(&self, entity: &str, project: &str) -> String {
        BASE64.encode(format!("Run:v1:{}:{project}:{entity}", self.id))
    }
}

/// How a project's REST history is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestHistory {
    /// `{"history":[…],"nextUrl":…}`
    #[default]
    Paged,
    /// A bare list of the whole history, whatever page size was asked for.
    BareList,
}

/// A project of an entity.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Its runs in the order they were created on the server.
    pub runs: Vec<Arc<Run>>,
    /// How its REST history is answered.
    pub rest_history: RestHistory,
}

impl Project {
    /// A project of these runs.
    pub fn new(runs: impl IntoIterator<Item = Run>) -> Self {
        Project { runs: runs.into_iter().map(Arc::new).collect(), rest_history: RestHistory::default() }
    }

    /// The run of that id.
    pub fn run(&self, id: &str) -> Option<&Arc<Run>> {
        self.runs.iter().find(|run| run.id == id)
    }

    /// The run of that id, to change.
    pub fn run_mut(&mut self, id: &str) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.id == id).map(Arc::make_mut)
    }
}

/// Everything the server holds: projects by entity and name.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Projects by `(entity, name)`.
    pub projects: BTreeMap<(String, String), Project>,
}

impl World {
    /// A project, if it exists.
    pub fn project(&self, entity: &str, name: &str) -> Option<&Project> {
        self.projects.get(&(entity.to_owned(), name.to_owned()))
    }

    /// A project, made when it does not exist.
    pub fn project_mut(&mut self, entity: &str, name: &str) -> &mut Project {
        self.projects.entry((entity.to_owned(), name.to_owned())).or_default()
    }

    /// The latest time of any run.
    pub fn latest(&self) -> Option<Micros> {
        let runs = self.projects.values().flat_map(|project| &project.runs);
        runs.map(|run| run.created_at.max(run.heartbeat_at).max(run.updated_at.unwrap_or(0))).max()
    }

    /// A run, if it exists.
    pub fn run(&self, entity: &str, project: &str, id: &str) -> Option<Arc<Run>> {
        self.project(entity, project)?.run(id).cloned()
    }
}
