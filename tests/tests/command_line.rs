//! The binary against the local server, as a person or a script meets it: what it says, where, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wandb_connector_tests::cli_driver::{CliDriver, interrupt, run_by_run, serve, with};
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Mutation, Options, Project, Run, World, generate,
};

const KEY: &str = wandb_connector_tests::local_wandb::TEST_KEY;

#[track_caller]
fn assert_stored(cli: &CliDriver, server: &LocalWandb, dialect: Dialect) {
    let differences = compare_sqlite(cli.path("warehouse.db"), &server.truth(dialect, "acme", "demo")).unwrap();
    assert!(differences.is_empty(), "{} differences: {:#?}", differences.len(), differences.first());
}

/// No file that was written holds the key.
fn assert_no_key_in(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_key_in(&path);
        } else if path.file_name().unwrap() != "configuration.json" {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn a_sync_stores_the_project_and_says_so_in_one_object() {
    let server = serve(generate::realistic(30, 4));
    let cli = CliDriver::of(&server);
    let ended = cli.sync();
    assert_eq!(ended.code, 0, "{ended:?}");
    let summary = ended.json();
    assert_eq!(summary["status"], "ok");
    assert_eq!(summary["runs"], json!({"seen": 30, "synced": 30, "unchanged": 0, "deleted": 0, "quarantined": 0}));
    assert_eq!(summary["error"], Value::Null);
    assert_eq!(summary["requests"], server.log().len());
    let truth = server.truth(Dialect::Graphql, "acme", "demo");
    assert_eq!(
        summary["rows"],
        json!({"runs": 30, "metrics": truth.metrics.len(), "metric_objects": truth.objects.len()})
    );
    assert_stored(&cli, &server, Dialect::Graphql);
    for line in ["INFO: Starting Weights & Biases connector sync", "INFO: Synced 30 runs from W&B"] {
        assert!(ended.stderr.lines().any(|said| said == line), "{}", ended.stderr);
    }
    assert_no_key_in(cli.folder());
}

#[test]
fn the_summary_for_people_names_what_they_know() {
    let server = serve(generate::realistic(3, 4));
    let cli = CliDriver::of(&server);
    let ended = cli.run(&["sync", "--config", "configuration.json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for word in ["Operation", "Calls", "Upserts", "Deletes", "Checkpoints", "metrics", "3 runs seen"] {
        assert!(ended.stdout.contains(word), "{word}: {}", ended.stdout);
    }
}

#[test]
fn environment_and_netrc_fill_in_what_the_file_lacks() {
    let server = serve(generate::realistic(2, 4));
    let mut cli = CliDriver::new(&json!({"project": "demo"}));
    fs::write(cli.path(".netrc"), format!("machine 127.0.0.1\n  login user\n  password {KEY}\n")).unwrap();
    fs::set_permissions(cli.path(".netrc"), fs::Permissions::from_mode(0o600)).unwrap();
    cli.variables = vec![
        ("WANDB_ENTITY", "acme".into()),
        ("WANDB_PROJECT", "ignored".into()),
        ("WANDB_BASE_URL", server.base_url()),
    ];
    let ended = cli.sync();
    assert_eq!(ended.code, 0, "{ended:?}");
    // The file goes before the environment, the environment before netrc.
    cli.variables.push(("WANDB_API_KEY", "wrong".into()));
    assert_eq!(cli.sync().code, 3);
}

#[test]
fn every_problem_of_a_configuration_is_named_and_the_exit_is_2() {
    let cli = CliDriver::new(&json!({"api_key": "", "page_size": "many", "projct": "demo", "base_url": "ftp://x"}));
    let ended = cli.sync();
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(ended.json()["status"], "failed");
    for name in ["api_key", "entity", "project", "page_size", "projct", "base_url", "/authorize"] {
        assert!(ended.stderr.contains(name), "{name}: {}", ended.stderr);
    }
    assert!(!cli.path("warehouse.db").exists() || fs::metadata(cli.path("warehouse.db")).unwrap().len() == 0);
}

#[test]
fn a_wrong_key_is_3_and_a_missing_project_2() {
    let server = serve(Project::new([Run::new("a")]));
    for api in ["auto", "rest", "graphql"] {
        let mut config = with(&server, "api", json!(api));
        config["project"] = json!("nope");
        let ended = CliDriver::new(&config).sync();
        assert_eq!(ended.code, 2, "{api}: {ended:?}");
        assert!(ended.json()["error"].as_str().unwrap().contains("acme/nope"), "{ended:?}");
        config["api_key"] = json!("0000000000000000000000000000000000000000");
        let ended = CliDriver::new(&config).sync();
        assert_eq!(ended.code, 3, "{api}: {ended:?}");
        let error = ended.json()["error"].as_str().unwrap().to_owned();
        let (url, file) = (server.base_url(), "configuration file configuration.json");
        assert!(error.contains(&format!("{url}/authorize")) && !error.contains("wandb.ai/authorize"), "{error}");
        assert!(error.contains(&format!("the key for {url} came from the {file}")), "{error}");
    }
}

#[test]
fn a_server_that_is_down_is_5_after_the_retries() {
    let server = serve(Project::default());
    let cli = CliDriver::of(&server);
    let started = Instant::now();
    drop(server);
    let ended = cli.sync();
    assert_eq!(ended.code, 5, "{ended:?}");
    assert_eq!(ended.json()["retries"], 5);
    assert_eq!(ended.stderr.matches("Retrying in").count(), 5, "{}", ended.stderr);
    assert!(started.elapsed() > Duration::from_secs(15), "the waits grow");
}

#[test]
fn the_flag_for_deleted_runs_goes_before_the_configuration() {
    let server = serve(generate::realistic(4, 1));
    let mut cli = CliDriver::new(&with(&server, "deletes", json!("mark")));
    assert_eq!(cli.sync().code, 0);
    let id = server.world().project("acme", "demo").unwrap().runs[1].id.clone();
    let (entity, project, run) = ("acme".to_owned(), "demo".to_owned(), id.clone());
    server.mutate(&Mutation::Delete { entity, project, run }).unwrap();
    let sync = ["sync", "--config", "configuration.json", "--format", "json"];

    let ended = cli.run(&[&sync[..], &["--deletes", "keep"]].concat());
    assert_eq!((ended.code, &ended.json()["runs"]["deleted"]), (0, &json!(1)), "{ended:?}");
    assert!(
        ended.stderr.contains(&format!("WARNING: Deleted at W&B: 1 run ({id}); what is stored of it stays")),
        "{ended:?}"
    );
    cli.variables.push(("WANDB_CONNECTOR_DELETES", "remove".into()));
    let ended = cli.run(&sync);
    assert_eq!((ended.code, &ended.json()["runs"]["deleted"]), (0, &json!(1)), "{ended:?}");
    assert_stored(&cli, &server, Dialect::Graphql);
    assert_eq!(cli.run(&[&sync[..], &["--deletes", "some"]].concat()).code, 2);
}

#[test]
fn rate_limits_are_waited_out() {
    let server = serve(generate::realistic(4, 1));
    server.fault(Matcher::any().when(wandb_connector_tests::local_wandb::When::Nth(2)), Fault::rate_limited(Some("1")));
    server.fault(Matcher::any().when(wandb_connector_tests::local_wandb::When::Nth(3)), Fault::status(503));
    let cli = CliDriver::of(&server);
    let ended = cli.sync();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json()["retries"], 2);
    // Both meet the one request that all runs come in.
    for (status, wait) in [("429", "1s"), ("503", "2s")] {
        let url = server.base_url();
        let line = format!("WARNING: Rate-limit/server error {status} for {url}/graphql. Retrying in {wait}...");
        assert!(ended.stderr.contains(&line), "{}", ended.stderr);
    }
    assert_stored(&cli, &server, Dialect::Graphql);
}

#[test]
fn a_poisoned_run_makes_every_sync_partial_until_it_can_be_read() {
    let server = serve(generate::realistic(4, 1));
    let id = server.world().project("acme", "demo").unwrap().runs[1].id.clone();
    let cli = CliDriver::of(&server);
    for (fault, reason) in [(Fault::malformed_json(), "malformed response"), (Fault::status(410), "HTTP 410")] {
        server.clear_faults();
        server.fault(Matcher::history().run(&id), fault);
        let ended = cli.sync();
        assert_eq!(ended.code, 4, "{ended:?}");
        let summary = ended.json();
        assert_eq!((summary["status"].as_str(), &summary["runs"]["quarantined"]), (Some("partial"), &json!(1)));
        let severe: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("SEVERE: ")).collect();
        assert!(severe.len() == 1 && severe[0].contains(&id) && severe[0].contains(reason), "{}", ended.stderr);
    }
    server.clear_faults();
    let ended = cli.sync();
    assert_eq!((ended.code, &ended.json()["runs"]["synced"]), (0, &json!(1)), "{ended:?}");
    assert_stored(&cli, &server, Dialect::Graphql);
}

#[test]
fn a_key_that_is_revoked_midway_is_3_and_what_was_complete_stays() {
    let server =
        serve(Project::new((0..20).map(|n| Run::new(format!("run{n}")).with_history([r#"{"_step":0,"a":1}"#]))));
    // The listing and nine runs come before.
    server.fault(Matcher::any().when(wandb_connector_tests::local_wandb::When::After(10)), Fault::status(401));
    let mut config = run_by_run(&server);
    config["concurrency"] = json!(1);
    let mut cli = CliDriver::new(&config);
    let ended = cli.sync();
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_eq!(ended.json()["rows"]["runs"], 9);
    server.clear_faults();
    server.log().clear();
    cli.variables.clear();
    let ended = cli.sync();
    assert_eq!((ended.code, &ended.json()["runs"]["synced"]), (0, &json!(11)), "{ended:?}");
    assert_stored(&cli, &server, Dialect::Rest);
}

#[test]
fn destinations_that_cannot_be_used_are_6_and_stay_as_they_are() {
    let server = serve(generate::realistic(2, 1));
    let cli = CliDriver::of(&server);
    let sync = |destination: &str| {
        cli.run(&["sync", "--config", "configuration.json", "--destination", destination, "--format", "json"])
    };

    fs::write(cli.path("letter.db"), "Dear Ada, this is no database at all. ".repeat(50)).unwrap();
    assert_eq!(sync("sqlite:letter.db").code, 6);
    assert!(fs::read_to_string(cli.path("letter.db")).unwrap().starts_with("Dear Ada"));

    let other = rusqlite::Connection::open(cli.path("other.db")).unwrap();
    other
        .execute_batch(
            "CREATE TABLE runs (run_id INTEGER PRIMARY KEY, colour TEXT NOT NULL); INSERT INTO runs VALUES (1, 'red');",
        )
        .unwrap();
    drop(other);
    let ended = sync("sqlite:other.db");
    assert_eq!(ended.code, 6, "{ended:?}");
    let other = rusqlite::Connection::open(cli.path("other.db")).unwrap();
    let tables: i64 =
        other.query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);

    for (destination, code) in [("sqlite:no/such/folder/x.db", 6), ("oracle:x", 2), ("warehouse.db", 2), ("sqlite:", 2)]
    {
        let ended = sync(destination);
        assert_eq!(ended.code, code, "{destination}: {ended:?}");
    }

    let locked = rusqlite::Connection::open(cli.path("locked.db")).unwrap();
    locked.execute_batch("CREATE TABLE x (y); BEGIN EXCLUSIVE").unwrap();
    let ended = sync("sqlite:locked.db");
    assert_eq!(ended.code, 6, "{ended:?}");
    assert_eq!(server.log().len(), 0, "nothing was asked of W&B");
}

#[test]
fn a_destination_of_another_project_is_refused() {
    let server = serve(generate::realistic(2, 1));
    server.project_mut("acme", "second", |project| project.runs.push(Run::new("x").into()));
    let cli = CliDriver::of(&server);
    assert_eq!(cli.sync().code, 0);
    fs::write(cli.path("configuration.json"), with(&server, "project", json!("second")).to_string()).unwrap();
    let ended = cli.sync();
    assert_eq!(ended.code, 6, "{ended:?}");
    assert!(ended.stderr.contains("acme/demo") && ended.stderr.contains("--full-refresh"), "{}", ended.stderr);
    assert_stored(&cli, &server, Dialect::Graphql);
    let ended = cli.run(&["sync", "--config", "configuration.json", "--full-refresh", "--format", "json"]);
    assert_eq!((ended.code, &ended.json()["runs"]["seen"]), (0, &json!(1)), "{ended:?}");
    let truth = server.truth(Dialect::Graphql, "acme", "second");
    assert!(compare_sqlite(cli.path("warehouse.db"), &truth).unwrap().is_empty());
}

#[test]
fn an_interrupted_sync_keeps_what_is_complete_and_the_next_one_goes_on() {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = generate::bench(60, 200, 3, 1);
    let options = Options { latency: Duration::from_millis(60), ..Options::with_world(world) };
    let server = LocalWandb::start_blocking(options).unwrap();
    let cli = CliDriver::new(&run_by_run(&server));
    let ended = interrupt(cli.start(&server, "sync", 12));
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    let summary = ended.json();
    assert_eq!(summary["status"], "interrupted");
    let stored = summary["rows"]["runs"].as_u64().unwrap();
    assert!((5..60).contains(&stored), "{summary}");
    let ended = cli.sync();
    assert_eq!(ended.json()["runs"]["unchanged"].as_u64(), Some(stored), "what was complete is not read again");
    assert_stored(&cli, &server, Dialect::Rest);
}

#[test]
fn state_can_be_shown_taken_along_and_forgotten() {
    let server = serve(generate::realistic(3, 1));
    let cli = CliDriver::of(&server);
    assert_eq!(cli.sync().code, 0);
    let shown = cli.run(&["state", "show"]);
    let state: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert!(state["runs_hwm_utc"].is_string(), "{shown:?}");
    assert_eq!(cli.run(&["state", "export", "--config", "configuration.json", "state.json"]).code, 0);
    assert_eq!(cli.run(&["state", "reset", "--yes"]).code, 0);
    assert_eq!(serde_json::from_str::<Value>(&cli.run(&["state", "show"]).stdout).unwrap(), json!({}));
    assert_eq!(cli.run(&["state", "import", "state.json"]).code, 0);
    assert_eq!(serde_json::from_str::<Value>(&cli.run(&["state", "show"]).stdout).unwrap(), state);
    assert_eq!(cli.sync().json()["runs"]["unchanged"], 3);
}

#[test]
fn looking_writes_nothing() {
    let server = serve(generate::realistic(5, 1));
    let cli = CliDriver::of(&server);
    let check = cli.run(&["check", "--config", "configuration.json"]);
    assert!(check.code == 0 && check.stdout.contains("acme/demo"), "{check:?}");
    let preview = cli.run(&["preview", "--config", "configuration.json", "--rows", "3"]);
    assert!(
        preview.code == 0 && preview.stdout.contains("metric_name") && preview.stdout.contains("run_id"),
        "{preview:?}"
    );
    let schema = cli.run(&["schema", "--config", "configuration.json"]);
    assert!(schema.code == 0 && schema.stdout.contains("metric_objects"), "{schema:?}");
    let spec = cli.run(&["spec"]);
    assert_eq!(serde_json::from_str::<Value>(&spec.stdout).unwrap()["properties"]["api_key"]["writeOnly"], true);
    let mut names: Vec<_> = fs::read_dir(cli.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["configuration.json"]);
}

#[test]
fn the_component_asks_for_nothing_but_what_the_contract_allows() {
    let cli = CliDriver::new(&json!({}));
    let inspect = cli.run(&["inspect", "--format", "json"]);
    let facts: Value = serde_json::from_str(&inspect.stdout).unwrap();
    let names = |key: &str| -> Vec<String> {
        let mut names: Vec<_> =
            facts[key].as_array().unwrap().iter().map(|name| name["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(
        names("imports"),
        [
            "elt:connector/destination@0.1.0",
            "elt:connector/log@0.1.0",
            "elt:connector/progress@0.1.0",
            "elt:connector/types@0.1.0",
            "wasi:clocks/monotonic-clock@0.2.12",
            "wasi:clocks/wall-clock@0.2.12",
            "wasi:http/outgoing-handler@0.2.12",
            "wasi:http/types@0.2.12",
            "wasi:io/error@0.2.12",
            "wasi:io/poll@0.2.12",
            "wasi:io/streams@0.2.12",
            "wasi:random/random@0.2.12",
        ]
    );
    assert_eq!(names("exports"), ["elt:connector/source@0.1.0"]);
    assert!(facts["imports"].as_array().unwrap().iter().all(|import| import["refused"] == false), "{facts}");
}

#[test]
fn the_component_says_what_it_is() {
    let cli = CliDriver::new(&json!({}));
    let facts = cli.run(&["inspect", "--format", "json"]).json();
    let metadata = &facts["metadata"];
    assert_eq!(metadata["name"], "wandb-connector");
    assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(metadata["licenses"], "MIT OR Apache-2.0");
    assert!(metadata["description"].as_str().unwrap().contains("Weights & Biases"), "{metadata}");
    let shown = cli.run(&["inspect"]).stdout;
    assert!(shown.contains("\nname          wandb-connector\n"), "{shown}");
}

#[test]
fn the_server_that_wandb_login_has_written_down_is_asked() {
    let server = serve(Project::new([Run::new("a")]));
    let cli = CliDriver::new(&json!({"api_key": KEY, "entity": "acme", "project": "demo"}));
    let settings = cli.path(".config/wandb/settings");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    fs::write(&settings, format!("[default]\nbase_url = {}\n\n", server.base_url())).unwrap();
    let ended = cli.sync();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains(&format!("the server is {}, as", server.base_url())), "{ended:?}");
    assert_stored(&cli, &server, Dialect::Graphql);
}

#[test]
fn quotes_around_a_key_are_named_before_anything_is_asked() {
    let server = serve(Project::new([Run::new("a")]));
    let mut config = with(&server, "api", json!("graphql"));
    config.as_object_mut().unwrap().remove("api_key");
    let mut cli = CliDriver::new(&config);
    for (key, told) in [(format!("\"{KEY}\""), "quotes"), (format!("Bearer {KEY}"), "`Bearer`")] {
        cli.variables = vec![("WANDB_API_KEY", key)];
        let ended = cli.sync();
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(told) && ended.stderr.contains("WANDB_API_KEY"), "{ended:?}");
    }
    assert!(server.log().is_empty());
}

#[test]
fn a_key_that_is_refused_to_a_tenant_is_named_with_its_server_and_its_source() {
    let server = serve(Project::new([Run::new("a")]));
    let cli = CliDriver::of(&server);
    let url = server.base_url();
    let sources = [("variable", "{ env = \"TENANT_KEY\" }"), ("file", "{ file = \"key.txt\" }")];
    let tenants = sources.map(|(id, source)| {
        format!(
            "[[tenant]]\nid = \"{id}\"\ndestination = \"null:\"\npolicy.allow_networks = [\"127.0.0.0/8\"]\n\
             [tenant.config]\nentity = \"acme\"\nproject = \"demo\"\nbase_url = \"{url}\"\napi_key = {source}\n"
        )
    });
    fs::write(cli.path("tenants.toml"), tenants.concat()).unwrap();
    fs::write(cli.path("key.txt"), "0000000000000000000000000000000000000000").unwrap();
    let mut command = cli.command(&["serve", "--once", "--format", "json"]);
    let output = command.env("TENANT_KEY", "Bearer 1111").output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    for sync in said["syncs"].as_array().unwrap() {
        let message = sync["message"].as_str().unwrap();
        let source = match sync["tenant"].as_str() {
            Some("variable") => "the environment variable TENANT_KEY".to_owned(),
            _ => format!("the file {}", cli.folder().canonicalize().unwrap().join("key.txt").display()),
        };
        assert!(message.contains(&format!("the key for {url} came from {source}")), "{message}");
        assert!(!message.contains("0000000") && !message.contains("1111"), "{message}");
    }
    assert_eq!(said["syncs"].as_array().unwrap().len(), 2);
}
