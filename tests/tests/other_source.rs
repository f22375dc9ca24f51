//! Another source than W&B's, in another language, in our host: a component of Python with a schema of its own, by `--component`.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use elt_host::{Cache, Connector, Engine, EngineOptions};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use wandb_connector_tests::plain_http::{PlainServer, Request, answer};
use wandb_connector_tests::product::{binary, target_dir};
use wandb_connector_tests::set_up;

const TOKEN: &str = "a-token-that-stays-with-the-host";
const PAGE: u64 = 10;

/// Readings and the requests for them.
#[derive(Default)]
struct Sensors {
    readings: u64,
    asked: Vec<String>,
}

fn respond(sensors: &Mutex<Sensors>, request: &Request, to: &TcpStream) -> std::io::Result<bool> {
    let mut sensors = sensors.lock().unwrap_or_else(PoisonError::into_inner);
    sensors.asked.push(request.path.clone());
    if request.header("authorization") != format!("Bearer {TOKEN}") {
        return answer(to, "401 Unauthorized", "", b"").map(|()| true);
    }
    let after: u64 = request.path.split_once("after=").and_then(|(_, after)| after.parse().ok()).unwrap_or_default();
    let page = (after + 1..=sensors.readings).take(PAGE as usize).map(|id| {
        let mut reading = json!({
            "id": id, "sensor": format!("s{}", id % 3), "at": format!("2025-06-15T12:{id:02}:00.25Z"), "celsius": 20.5,
        });
        if id == 4 {
            reading["celsius"] = Value::Null;
            reading["extra"] = json!({"battery": "low"});
        }
        reading
    });
    answer(to, "200 OK", "", Value::from_iter(page).to_string().as_bytes()).map(|()| true)
}

struct CliDriver {
    server: PlainServer,
    sensors: Arc<Mutex<Sensors>>,
    folder: TempDir,
    component: PathBuf,
}

fn cache() -> PathBuf {
    target_dir().join("component-cache")
}

/// The component, built, and compiled once for all tests: it holds a whole Python.
fn component() -> PathBuf {
    static COMPONENT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let component = set_up::program("source/build.sh").expect("the component is built");
        let mut inspect = Command::new(binary());
        inspect.arg("inspect").arg("--component").arg(&component).env_clear().env("XDG_CACHE_HOME", cache());
        let output = inspect.output().expect("it runs");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("wasi:cli/stdout@0.2.9 (nothing behind it)"), "{output:?}");
        component
    };
    COMPONENT.get_or_init(build).clone()
}

impl CliDriver {
    fn new() -> Self {
        let sensors = Arc::new(Mutex::new(Sensors { readings: 25, ..Sensors::default() }));
        let shared = sensors.clone();
        let server = PlainServer::start(move |request, to| respond(&shared, request, to)).expect("a server");
        Self { server, sensors, folder: TempDir::new().expect("a temporary folder"), component: component() }
    }

    /// Runs the command line tool with the component and what else a configuration holds.
    fn sync(&self, config: &Value) -> Output {
        let mut whole = json!({"base_url": self.server.base_url(), "token": TOKEN});
        for (key, value) in config.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        std::fs::write(self.folder.path().join("configuration.json"), whole.to_string()).expect("a file");
        let mut command = Command::new(binary());
        command.args(["sync", "--config", "configuration.json", "--format", "json", "--component"]);
        command.arg(&self.component).current_dir(self.folder.path()).env_clear();
        let output = command.env("XDG_CACHE_HOME", cache()).output().expect("it runs");
        assert!(!String::from_utf8_lossy(&output.stderr).contains(TOKEN), "{output:?}");
        output
    }

    fn stored(&self, sql: &str) -> Vec<String> {
        let database = Connection::open(self.folder.path().join("warehouse.db")).expect("a database");
        let mut statement = database.prepare(sql).expect("a query");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("texts")
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.sensors.lock().unwrap_or_else(PoisonError::into_inner).asked)
    }
}

fn summary(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}"))
}

#[test]
fn a_connector_in_python_syncs_incrementally_in_our_host() {
    let cli = CliDriver::new();
    let first = cli.sync(&json!({}));
    assert!(first.status.success(), "{first:?}");
    assert_eq!(summary(&first)["rows"]["readings"], json!(25));
    assert_eq!(cli.asked(), ["/readings?after=0", "/readings?after=10", "/readings?after=20", "/readings?after=25"]);
    let rows = cli.stored(
        "SELECT sensor || ' ' || taken_at || ' ' || ifnull(celsius, 'none') || ' ' || ifnull(extra, 'none')
         FROM readings ORDER BY taken_at",
    );
    let cells = |id| if id == 4 { r#"none {"battery": "low"}"# } else { "20.5 none" };
    let expected = (1..=25).map(|id| format!("s{} 2025-06-15T12:{id:02}:00.250000Z {}", id % 3, cells(id)));
    assert_eq!(rows, expected.collect::<Vec<_>>());

    cli.sensors.lock().unwrap_or_else(PoisonError::into_inner).readings = 28;
    let second = cli.sync(&json!({}));
    assert_eq!(summary(&second)["rows"]["readings"], json!(3), "{second:?}");
    assert_eq!(cli.asked(), ["/readings?after=25", "/readings?after=28"], "it went on from the state");
    assert_eq!(cli.stored("SELECT value FROM _elt_state WHERE key = 'after'"), ["28"]);
}

#[test]
fn its_errors_end_in_exit_codes_as_any_connectors_do() {
    let cli = CliDriver::new();
    let refused = cli.sync(&json!({"token": "another"}));
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert_eq!(summary(&refused)["error"], json!("the token is not accepted"));
}

#[test]
fn what_a_connector_must_not_do_ends_it_with_an_error_that_names_the_call() {
    let cli = CliDriver::new();
    let ended = cli.sync(&json!({"print": true}));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let error = summary(&ended)["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("it called `wasi:cli/stdout@") && error.contains("which a connector may not"), "{error}");
    assert_eq!(cli.asked(), [""; 0]);
}

#[test]
fn a_component_with_another_import_is_refused_before_it_runs() {
    // (component (import "acme:magic/door@1.0.0" (instance (export "open" (func)))))
    let component = b"\0asm\x0d\0\x01\0\x07\x11\x01B\x02\x01@\0\x01\0\x04\0\x04open\x01\0\x0a\x1a\x01\0\x15acme:magic/door@1.0.0\x05\0";
    let engine = Engine::new(&EngineOptions::default()).expect("an engine");
    let refused = Connector::load(&engine, component, &Cache::in_folder(Path::new("/nonexistent").into())).err();
    let refused = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("the component imports `acme:magic/door@1.0.0`, which a connector may not"), "{refused}");
}
