//! Somebody who runs `serve` for many tenants: a folder with a file of tenants, the command, and what can be seen of it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli_driver::{CliDriver, Ended};
use crate::crash_oracle::Running;
use crate::local_wandb::truth::compare_sqlite;
use crate::local_wandb::{Dialect, Fault, LocalWandb, Matcher, Options, Project, TEST_KEY, World, generate};
use crate::product::target_dir;

/// The longest that anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How an entry names the key that most tenants have.
const KEY: &str = "{ env = \"TENANT_KEY\" }";

/// A server with projects of the entity `acme`, that takes one key.
///
/// # Panics
/// When it does not start.
pub fn server(key: &str, projects: impl IntoIterator<Item = (String, Project)>) -> LocalWandb {
    let mut world = World::default();
    for (name, project) in projects {
        *world.project_mut("acme", &name) = project;
    }
    LocalWandb::start_blocking(Options { api_key: key.into(), ..Options::with_world(world) }).expect("it starts")
}

/// Tenants `t0`, `t1`, …, each with a project of its own; those after the first `quick` meet `fault` at a history.
///
/// # Panics
/// When the server does not start.
pub fn held(tenants: usize, quick: usize, fault: &Fault) -> (LocalWandb, Platform) {
    let server = server(TEST_KEY, (0..tenants).map(|n| (format!("p{n}"), generate::realistic(4, n as u64))));
    let mut platform = Platform::new();
    for n in 0..tenants {
        platform.tenant(&format!("t{n}"), &server, &format!("p{n}"), "");
    }
    for n in quick..tenants {
        let run = server.world().project("acme", &format!("p{n}")).expect("it is there").runs[1].id.clone();
        server.fault(Matcher::history().run(&run), fault.clone());
    }
    (server, platform)
}

/// The component of `tests/guest`, that does what its configuration says.
///
/// # Panics
/// When it was not built.
pub fn scripted_guest() -> std::path::PathBuf {
    let guest = target_dir().join("wasm32-unknown-unknown/component/scripted_guest.wasm");
    assert!(guest.is_file(), "{} is missing: run `make component` first", guest.display());
    guest
}

/// JSON as TOML writes it.
pub fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| format!("{} = {}", Value::from(key.as_str()), toml(value));
            format!("{{ {} }}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        // JSON lets it stand as it is, TOML does not.
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    }
}

/// The folder of whoever runs the host, with a file of tenants.
pub struct Platform {
    /// The folder and the environment.
    pub cli: CliDriver,
    /// What the file holds.
    pub text: String,
}

impl Default for Platform {
    fn default() -> Self {
        Self::new()
    }
}

impl Platform {
    /// With no tenants. Connections to this machine are allowed.
    pub fn new() -> Self {
        let mut cli = CliDriver::new(&json!({}));
        cli.variables.push(("TENANT_KEY", TEST_KEY.into()));
        Self { cli, text: "[defaults]\npolicy.allow_networks = [\"127.0.0.1\"]\n".into() }
    }

    /// Adds lines to the file.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn say(&mut self, text: &str) {
        self.text += text;
        self.text.push('\n');
        fs::write(self.cli.path("tenants.toml"), &self.text).expect("it is written");
    }

    /// A tenant that syncs `acme/<project>` into `<id>.db` with the key of the environment.
    pub fn tenant(&mut self, id: &str, server: &LocalWandb, project: &str, more: &str) {
        self.tenant_with_key(id, server, project, KEY, more);
    }

    /// The same with another key.
    pub fn tenant_with_key(&mut self, id: &str, server: &LocalWandb, project: &str, key: &str, more: &str) {
        let base_url = server.base_url();
        self.say(&format!(
            "[[tenant]]\nid = \"{id}\"\ndestination = \"sqlite:{id}.db\"\n{more}\n[tenant.config]\napi_key = {key}\n\
             entity = \"acme\"\nproject = \"{project}\"\nbase_url = \"{base_url}\""
        ));
    }

    /// A tenant that runs the scripted guest.
    pub fn scripted(&mut self, id: &str, server: &LocalWandb, script: &str, more: &str) {
        self.scripted_with_key(id, &server.base_url(), script, KEY, more);
    }

    /// The same with another key, and any source.
    pub fn scripted_with_key(&mut self, id: &str, base_url: &str, script: &str, key: &str, more: &str) {
        let guest = scripted_guest();
        self.say(&format!(
            "[[tenant]]\nid = \"{id}\"\ndestination = \"sqlite:{id}.db\"\ncomponent = {guest:?}\n{more}\n[tenant.config]\n\
             api_key = {key}\nbase_url = \"{base_url}\"\nscript = {script}"
        ));
    }

    /// Starts `serve`; without a status page, unless the arguments are about it.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn serve(&self, arguments: &[&str]) -> Running {
        let own = ["--listen", "--once"].iter().any(|flag| arguments.contains(flag));
        let quiet: &[&str] = if own { &[] } else { &["--listen", "none"] };
        let mut command = self.cli.command(&[&["serve"], quiet, arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(command).expect("it starts")
    }

    /// What `tenants list` says of each tenant.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn list(&self) -> BTreeMap<String, Value> {
        let ended = self.cli.run(&["tenants", "list", "--format", "json"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let rows = ended.json().as_array().cloned().expect("a list");
        rows.into_iter().map(|row| (row["tenant"].as_str().expect("a text").to_owned(), row)).collect()
    }

    /// How each tenant is doing.
    #[track_caller]
    pub fn states(&self) -> BTreeMap<String, String> {
        let state = |row: Value| row["state"].as_str().unwrap_or_default().to_owned();
        self.list().into_iter().map(|(id, row)| (id, state(row))).collect()
    }

    /// `serve --once`.
    #[track_caller]
    pub fn once(&self) -> Ended {
        self.cli.run(&["serve", "--once", "--format", "json"])
    }

    /// A tenant's database holds what the server holds.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_equal(&self, id: &str, server: &LocalWandb, dialect: Dialect, project: &str) {
        let truth = server.truth(dialect, "acme", project);
        let differences = compare_sqlite(self.cli.path(&format!("{id}.db")), &truth).expect("it is legible");
        assert!(differences.is_empty(), "{id}: {} differences: {:#?}", differences.len(), differences.first());
    }
}

/// How each tenant's sync ended, of what `serve --once --format json` printed.
///
/// # Panics
/// When it printed something else.
pub fn outcomes(ended: &Ended) -> Vec<(String, String)> {
    let summary = ended.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let syncs = summary["syncs"].as_array().expect("a list");
    let mut outcomes: Vec<_> = syncs.iter().map(|it| (text(&it["tenant"]), text(&it["outcome"]))).collect();
    outcomes.sort();
    outcomes
}

/// How many of [`Platform::states`] are this one.
pub fn count(states: &BTreeMap<String, String>, state: &str) -> usize {
    states.values().filter(|it| *it == state).count()
}

/// Waits until something is so.
///
/// # Panics
/// When it never is.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        // It is asked of another process, over HTTP or in a file.
        std::thread::sleep(Duration::from_millis(100));
    }
}
