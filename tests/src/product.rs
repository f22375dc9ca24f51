//! The product as an embedder uses it: the built component in the host library, with SQLite as the destination.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arrow_array::StringArray;
use elt_destinations::url::{Access, open};
use elt_host::{
    Cache, CancellationToken, Connector, Destination, Engine, EngineOptions, Event, HttpClient, Level, Observer,
    Outcome, Policy, State, SyncRequest,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::local_wandb::truth::{Difference, compare_sqlite};
use crate::local_wandb::{Dialect, LocalWandb, Truth};

/// The target folder that this program was built into.
pub fn target_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    // target/debug/deps/test-0123 or target/debug/program
    let profile = program.ancestors().find(|folder| folder.join("deps").is_dir());
    profile.and_then(Path::parent).map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

/// The component that `make component` built.
pub fn component_file() -> PathBuf {
    target_dir().join("wasm32-unknown-unknown/component/wandb_connector.wasm")
}

/// The component, compiled once for all tests of a program.
///
/// # Panics
/// When it was not built.
pub fn connector() -> &'static Connector {
    static CONNECTOR: OnceLock<Connector> = OnceLock::new();
    CONNECTOR.get_or_init(|| {
        let file = component_file();
        let engine = Engine::new(&EngineOptions::default()).expect("an engine");
        let cache = Cache::in_folder(target_dir().join("component-cache"));
        Connector::load_file(&engine, &file, &cache)
            .unwrap_or_else(|error| panic!("{error}; run `make component` first ({})", file.display()))
    })
}

/// Keeps what a sync reports.
#[derive(Default)]
pub struct Recorder {
    events: Mutex<Vec<Event>>,
    came: Notify,
}

impl Observer for Recorder {
    fn event(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.came.notify_waiters();
    }
}

impl Recorder {
    /// The log lines, each with its level.
    pub fn log(&self) -> Vec<(Level, String)> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |event: &Event| match event {
            Event::Log { level, message } => Some((*level, message.clone())),
            _ => None,
        };
        events.iter().filter_map(line).collect()
    }

    /// Waits until a line that holds `part` was logged.
    ///
    /// # Panics
    /// When none is for a minute.
    pub async fn until_logged(&self, part: &str) {
        let logged = async {
            loop {
                let mut next = pin!(self.came.notified());
                next.as_mut().enable();
                if self.log().iter().any(|(_, line)| line.contains(part)) {
                    return;
                }
                next.await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), logged).await;
        assert!(in_time.is_ok(), "no `{part}`: {:?}", self.log());
    }
}

/// One user's corner: a configuration and a destination.
pub struct Workspace {
    folder: TempDir,
    dialect: Dialect,
    parquet: bool,
    /// The configuration; change it as a test needs.
    pub config: Map<String, Value>,
    /// What the connector may do.
    pub policy: Policy,
    /// Its way to the network.
    pub client: HttpClient,
    /// What the last sync reported.
    pub recorder: Arc<Recorder>,
}

impl Workspace {
    /// For a project of a local server.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    pub fn new(server: &LocalWandb, dialect: Dialect, entity: &str, project: &str) -> Self {
        let api = match dialect {
            Dialect::Rest => "rest",
            Dialect::Graphql => "graphql",
        };
        let config = json!({
            "api_key": server.api_key(), "entity": entity, "project": project,
            "base_url": server.base_url(), "api": api,
        });
        let Value::Object(config) = config else { unreachable!("an object") };
        let folder = TempDir::new().expect("a temporary folder");
        Self {
            folder,
            dialect,
            parquet: false,
            config,
            policy: Policy::default(),
            client: HttpClient::default(),
            recorder: Arc::default(),
        }
    }

    /// Sets a key of the configuration.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config.insert(key.to_owned(), value.into());
        self
    }

    /// Makes the destination a folder of Parquet data sets.
    pub fn into_parquet(mut self) -> Self {
        self.parquet = true;
        self
    }

    /// What `--destination` would be.
    pub fn url(&self) -> String {
        match self.parquet {
            true => format!("parquet:{}", self.folder.path().join("warehouse").display()),
            false => format!("sqlite:{}", self.database().display()),
        }
    }

    /// The ids of the runs that a Parquet data set has rows of; none where there is no such data set.
    ///
    /// # Panics
    /// When it can't be read.
    pub fn parquet_run_ids(&self, table: &str) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        let Ok(files) = std::fs::read_dir(self.folder.path().join("warehouse").join(table)) else { return ids };
        for file in files {
            let file = File::open(file.expect("a file").path()).expect("it opens");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
            for batch in reader {
                let batch = batch.expect("rows");
                let column = batch.column_by_name("run_id").expect("a column `run_id`");
                let column = column.as_any().downcast_ref::<StringArray>().expect("text");
                ids.extend(column.iter().flatten().map(str::to_owned));
            }
        }
        ids
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("warehouse.db")
    }

    /// Opens the destination.
    ///
    /// # Panics
    /// When it can't be opened.
    pub fn destination(&self) -> Box<dyn Destination> {
        open(&self.url().parse().expect("a destination"), Access::ReadWrite).expect("the destination opens")
    }

    /// One sync, to its end.
    pub async fn sync(&mut self) -> Outcome {
        self.sync_cancellable(&CancellationToken::new()).await
    }

    /// What the next sync will report, to look at while it runs.
    pub fn watch(&mut self) -> Arc<Recorder> {
        self.recorder = Arc::default();
        self.recorder.clone()
    }

    /// One sync that can be cancelled.
    pub async fn sync_cancellable(&mut self, cancel: &CancellationToken) -> Outcome {
        if !self.recorder.log().is_empty() {
            self.recorder = Arc::default();
        }
        let policy = self.policy.clone();
        let spec = connector().spec().await.expect("a specification");
        let request = SyncRequest::new(spec, self.config.clone()).policy(policy);
        connector().sync(request, self.destination(), &self.client, self.recorder.clone(), cancel).await
    }

    /// The stored state.
    ///
    /// # Panics
    /// When it can't be read.
    pub fn state(&self) -> State {
        self.destination().state().expect("the state is legible")
    }

    /// Replaces the stored state.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn set_state(&self, state: &State) {
        self.destination().replace_state(state).expect("the state is written");
    }

    /// Where the database and what the server holds differ.
    ///
    /// # Panics
    /// When the database can't be read.
    pub fn differences(&self, server: &LocalWandb) -> Vec<Difference> {
        let text = |key: &str| self.config.get(key).and_then(Value::as_str).unwrap_or_default();
        self.differences_from(&server.truth(self.dialect, text("entity"), text("project")))
    }

    /// Where the database and a truth differ.
    ///
    /// # Panics
    /// When the database can't be read.
    pub fn differences_from(&self, truth: &Truth) -> Vec<Difference> {
        compare_sqlite(self.database(), truth).expect("the database is legible")
    }
}

/// A sync that ended well and left nothing out. `what` is said when it did not.
///
/// # Panics
/// When it did not.
#[track_caller]
pub fn assert_ok(outcome: &Outcome, what: impl Debug) {
    assert!(outcome.error.is_none(), "{what:?}: {:?}", outcome.error);
    assert_eq!(outcome.quarantined, [], "{what:?}");
}

/// The database holds what the server holds.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn assert_stored(workspace: &Workspace, server: &LocalWandb, what: impl Debug) {
    assert_none(&workspace.differences(server), what);
}

/// The database holds what a truth says.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn assert_holds(workspace: &Workspace, truth: &Truth, what: impl Debug) {
    assert_none(&workspace.differences_from(truth), what);
}

#[track_caller]
fn assert_none(differences: &[Difference], what: impl Debug) {
    let first = &differences[..differences.len().min(5)];
    assert!(differences.is_empty(), "{what:?}: {} differences, the first: {first:#?}", differences.len());
}

/// The command line tool.
///
/// # Panics
/// When it was not built.
pub fn binary() -> PathBuf {
    program("wandb-connector")
}

/// A program of this workspace, built with the same profile as this one.
///
/// # Panics
/// When it was not built.
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    let profile = this.ancestors().find(|folder| folder.join("deps").is_dir()).unwrap_or(Path::new("target/debug"));
    let program = profile.join(name);
    assert!(program.is_file(), "{} is missing: run `cargo build --workspace` first", program.display());
    program
}
