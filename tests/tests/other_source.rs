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
use wandb_connector_tests::platform::scripted_guest;
use wandb_connector_tests::product::{binary, target_dir};
use wandb_connector_tests::set_up;

const TOKEN: &str = "a-token-that-stays-with-the-host";
const WANDB_KEY: &str = "0123456789abcdef0123456789abcdef01234567";
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
    if request.header("authorization") != format!("Token {TOKEN}") {
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

    /// Runs a command of the tool with the component and what else a configuration holds.
    fn run(&self, command: &[&str], config: &Value) -> Output {
        let mut whole = json!({"sensors_url": self.server.base_url(), "token": TOKEN});
        for (key, value) in config.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        let component = self.component.to_str().expect("a path in UTF-8");
        std::fs::write(self.folder.path().join("configuration.json"), whole.to_string()).expect("a file");
        self.tool([command, &["--config", "configuration.json", "--component", component]].concat().as_slice())
    }

    fn tool(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path()).env_clear().env("SENSORS_TOKEN", TOKEN);
        // What belongs to W&B is not for this component.
        command.env("WANDB_API_KEY", WANDB_KEY).env("WANDB_BASE_URL", "https://wandb.invalid");
        let output = command.env("XDG_CACHE_HOME", cache()).output().expect("it runs");
        let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned()).concat();
        assert!(!said.contains(TOKEN) && !said.contains(WANDB_KEY), "{output:?}");
        output
    }

    fn sync(&self, config: &Value) -> Output {
        self.run(&["sync", "--format", "json"], config)
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

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
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
fn its_things_have_its_names_in_every_command() {
    let cli = CliDriver::new();
    let first = summary(&cli.sync(&json!({})));
    assert_eq!(first["readings"], json!({"seen": 25, "synced": 25, "unchanged": 0, "deleted": 0, "quarantined": 0}));
    assert_eq!((&first["after"], first.get("runs"), first.get("runs_hwm_utc")), (&json!("25"), None, None), "{first}");
    let again = cli.run(&["sync"], &json!({}));
    assert!(text(&again).contains("0 readings seen: 0 synced") && text(&again).contains("watermark 25"), "{again:?}");
    let failed = summary(&cli.sync(&json!({"sensors_url": "ftp://x"})));
    assert_eq!((&failed["readings"]["seen"], &failed["rows"]), (&json!(0), &json!({"readings": 0})), "{failed}");

    let preview = cli.run(&["preview", "--rows", "2"], &json!({}));
    assert!(text(&preview).starts_with("readings (2 rows)") && text(&preview).contains("taken_at"), "{preview:?}");
    let schema = cli.run(&["schema", "--format", "json"], &json!({"sensors_url": null}));
    assert_eq!(summary(&schema)[0]["table"], json!("readings"), "it does not depend on what is missing");
    let inspected = cli.run(&["inspect"], &json!({}));
    assert!(text(&inspected).contains(&format!("{} with the key", cli.server.base_url())), "{inspected:?}");

    let deletes = cli.run(&["sync", "--deletes", "remove"], &json!({}));
    let said = String::from_utf8_lossy(&deletes.stderr).into_owned();
    assert!(deletes.status.code() == Some(2) && said.contains("--deletes means nothing to this component"), "{said}");
}

#[test]
fn what_it_stored_is_verified_item_by_item() {
    let cli = CliDriver::new();
    cli.sync(&json!({}));
    let equal = cli.run(&["verify"], &json!({}));
    assert_eq!((equal.status.code(), text(&equal).as_str()), (Some(0), "Verified 3 sensors: 3 equal\n"), "{equal:?}");
    assert!(String::from_utf8_lossy(&equal.stderr).contains("with Sensors; nothing is written"), "{equal:?}");

    let database = Connection::open(cli.folder.path().join("warehouse.db")).expect("a database");
    database.execute("UPDATE readings SET celsius = 1 WHERE taken_at LIKE '2025-06-15T12:01%'", []).expect("a row");
    drop(database);
    cli.sensors.lock().unwrap_or_else(PoisonError::into_inner).readings = 27;
    let found = cli.run(&["verify", "--format", "json"], &json!({}));
    assert_eq!(found.status.code(), Some(4), "{found:?}");
    let found = summary(&found);
    assert_eq!((&found["sensors"]["verified"], &found["sensors"]["equal"]), (&json!(3), &json!(0)), "{found}");
    let results = found["findings"].as_array().expect("a list").iter();
    let results: Vec<_> = results.map(|it| (it["sensor"].as_str(), it["result"].as_str())).collect();
    // Its state does not tell what a sync saw of a sensor, so an altered row is never taken for one that is to be updated.
    let expected = [("s0", "behind"), ("s1", "different"), ("s2", "behind")];
    assert_eq!(results, expected.map(|(sensor, result)| (Some(sensor), Some(result))), "{found}");
    assert_eq!(found["findings"][1]["changed_since_last_sync"], json!(false), "{found}");
}

#[test]
fn a_tenant_runs_it_beside_others_with_its_own_keys() {
    let cli = CliDriver::new();
    let (url, component) = (cli.server.base_url(), &cli.component);
    let tenant = |id: &str, token: &str| {
        format!(
            "[[tenant]]\nid = \"{id}\"\ncomponent = {component:?}\ndestination = \"sqlite:{id}.db\"\n\
             policy.allow_networks = [\"127.0.0.0/8\"]\n[tenant.config]\nsensors_url = \"{url}\"\ntoken = {token}\n"
        )
    };
    let tenants = tenant("good", "{ env = \"SENSORS_TOKEN\" }") + &tenant("plain", "\"a-token\"");
    std::fs::write(cli.folder.path().join("tenants.toml"), tenants).expect("a file");
    let served = cli.tool(&["serve", "--once", "--format", "json", "--tenants", "tenants.toml"]);
    let syncs = summary(&served)["syncs"].as_array().expect("a list").clone();
    let sync =
        |id: &str| syncs.iter().find(|sync| sync["tenant"] == id).unwrap_or_else(|| panic!("{served:?}")).clone();
    assert_eq!((&sync("good")["outcome"], &sync("good")["synced"]), (&json!("ok"), &json!(25)), "{served:?}");
    let plain = sync("plain");
    assert_eq!(plain["outcome"], json!("configuration"), "{served:?}");
    assert!(plain["message"].as_str().unwrap_or_default().contains("`token`: is a secret"), "{plain}");
    let checked = cli.tool(&["tenants", "check", "--tenants", "tenants.toml"]);
    assert!(text(&checked).contains("`token` is a secret and must not stand in the file"), "{checked:?}");
}

#[test]
fn nothing_that_belongs_to_another_source_is_given_to_it() {
    let cli = CliDriver::new();
    let guest = scripted_guest();
    std::fs::write(cli.folder.path().join("script.json"), json!({"script": [["log-config"]]}).to_string())
        .expect("a file");
    let guest = guest.to_str().expect("a path in UTF-8");
    let shown = cli.tool(&["sync", "--destination", "null:", "--config", "script.json", "--component", guest]);
    let said = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(said.contains("script") && !said.contains("api_key") && !said.contains("wandb.invalid"), "{said}");
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
