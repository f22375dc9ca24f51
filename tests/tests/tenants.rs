//! Many tenants in one process: each brings its own key, project and destination, and perhaps its own component, and none disturbs another.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use wandb_connector_tests::local_wandb::{Dialect, Fault, LocalWandb, TEST_KEY, generate};
use wandb_connector_tests::platform::{PATIENCE, Platform, count, held, outcomes, server, wait_until};

const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210fedcba98";

#[test]
fn each_tenant_is_synced_with_its_own_key_project_and_dialect() {
    let first =
        server(TEST_KEY, [("vision".into(), generate::realistic(6, 1)), ("audio".into(), generate::realistic(5, 2))]);
    let second = server(OTHER_KEY, [("vision".into(), generate::realistic(4, 3))]);
    let mut platform = Platform::new();
    let key = platform.cli.path("other.key");
    fs::write(&key, format!("{OTHER_KEY}\n")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    platform.tenant("vision", &first, "vision", "");
    platform.tenant("audio", &first, "audio", "");
    platform.say("api = \"rest\"");
    platform.tenant_with_key("by-file", &second, "vision", "{ file = \"other.key\" }", "");
    platform.tenant_with_key("by-command", &second, "vision", "{ command = [\"cat\", \"other.key\"] }", "");
    let ended = platform.once();
    assert_eq!(ended.code, 0, "{ended:?}");
    let all = ["audio", "by-command", "by-file", "vision"].map(|id| (id.to_owned(), "ok".to_owned()));
    assert_eq!(outcomes(&ended), all);
    platform.assert_equal("vision", &first, Dialect::Graphql, "vision");
    platform.assert_equal("audio", &first, Dialect::Rest, "audio");
    platform.assert_equal("by-file", &second, Dialect::Graphql, "vision");
    platform.assert_equal("by-command", &second, Dialect::Graphql, "vision");
    assert!(!ended.stderr.contains(OTHER_KEY) && !ended.stdout.contains(OTHER_KEY));
    for line in ["INFO: [vision] Synced 6 runs from W&B", "INFO: [by-file] Synced 4 runs from W&B"] {
        assert!(ended.stderr.lines().any(|said| said == line), "{}", ended.stderr);
    }
    // Nothing is due any more: the history knows.
    let ended = platform.once();
    assert_eq!((ended.code, outcomes(&ended)), (0, vec![]), "{ended:?}");
}

#[test]
fn a_bad_entry_is_reported_and_the_others_run() {
    let server = server(TEST_KEY, [("vision".into(), generate::realistic(3, 1))]);
    let mut platform = Platform::new();
    platform.tenant("good", &server, "vision", "");
    platform.tenant_with_key("plain", &server, "vision", &format!("\"{TEST_KEY}\""), "");
    platform.tenant("unknown", &server, "vision", "destinaton = \"null:\"");
    platform.say("[[tenant]]\nid = \"thief\"\ndestination = \"sqlite:./good.db\"");
    platform.tenant("good", &server, "vision", "");
    platform.say("[[tenant]]\nid = \"broken\"\nthis is no TOML");
    platform.tenant("other", &server, "vision", "");
    let (ended, checked) = (platform.once(), platform.cli.run(&["tenants", "check"]));
    for (ended, said) in [(&ended, &ended.stderr), (&checked, &checked.stdout)] {
        assert_eq!(ended.code, 2, "{ended:?}");
        for (tenant, why) in [
            ("tenant `plain`: ", "`api_key` is a secret and must not stand in the file"),
            ("tenant `unknown`: ", "`destinaton` means nothing here; known are `id`, `labels`, `destination`"),
            ("tenant `thief`: ", "belongs to tenant `good`"),
            ("tenant `good`: ", "the id is taken"),
            ("", "key with no value, expected `=`"),
        ] {
            let line = said.lines().find(|line| line.contains(why)).unwrap_or_else(|| panic!("{why}: {said}"));
            let place = line.split_once("tenants.toml:").unwrap().1;
            let numbers: Vec<&str> = place.splitn(3, ':').collect();
            assert!(numbers[0].parse::<u32>().is_ok() && numbers[1].parse::<u32>().is_ok(), "{line}");
            assert!(numbers[2].trim_start().starts_with(tenant), "{line}");
        }
    }
    platform.assert_equal("good", &server, Dialect::Graphql, "vision");
    platform.assert_equal("other", &server, Dialect::Graphql, "vision");
    for id in ["plain", "unknown", "thief", "broken"] {
        assert!(!platform.cli.path(&format!("{id}.db")).exists(), "{id}");
    }
}

#[test]
fn a_changed_file_is_followed_without_a_restart() {
    let server =
        server(TEST_KEY, [("vision".into(), generate::realistic(3, 1)), ("audio".into(), generate::realistic(3, 2))]);
    let mut platform = Platform::new();
    platform.tenant("first", &server, "vision", "schedule = { every = \"1h\" }");
    let serving = platform.serve(&[]);
    wait_until("the first tenant is synced", || platform.states()["first"] == "ok");
    let refused = platform.cli.run(&["serve"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("another process is serving with the history"), "{refused:?}");

    platform.tenant("second", &server, "audio", "");
    wait_until("the second tenant is synced", || platform.states()["second"] == "ok");
    let started = |platform: &Platform| platform.list()["first"]["last"]["started"].clone();
    let before = started(&platform);
    platform.text = platform.text.replace("every = \"1h\"", "every = \"1s\"").replace("vision", "audio");
    platform.say("");
    wait_until("the new schedule takes effect", || started(&platform) != before);
    // The destination belongs to the old project: so the entry of now is what was used.
    wait_until("the new project takes effect", || platform.states()["first"] == "failed");
    let last = platform.list()["first"]["last"].clone();
    assert_eq!(last["outcome"], "destination", "{last}");
    assert_eq!(platform.list()["second"]["schedule"], "every 1h");

    let end = platform.text.find("[[tenant]]").unwrap();
    platform.text.truncate(end);
    platform.say("");
    wait_until("no tenant is left", || serving.has_said("0 tenants"));
    serving.stop().unwrap();
    let ended = serving.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.contains("INFO: [second] ok after"), "{}", ended.stderr);
    platform.assert_equal("second", &server, Dialect::Graphql, "audio");
}

#[test]
fn hostile_components_harm_nobody_but_themselves() {
    const ORDINARY: usize = 12;
    let projects = (0..ORDINARY).map(|n| (format!("p{n}"), generate::realistic(4, n as u64)));
    let server = server(TEST_KEY, projects);
    let mut platform = Platform::new();
    platform.text += "policy.limits = { wall_time = \"20s\", memory = \"64MiB\", batch_bytes = \"4MiB\", group_bytes = \"8MiB\", \
                      state_bytes = \"10MiB\", rows = 1_000_000, log_lines = 100 }\n";
    let (short, honest) =
        ("[tenant.policy.limits]\nwall_time = \"2s\"", "[\"rows\", 0, 2], [\"checkpoint\", { a = \"1\" }]");
    let acts = [
        ("memory", "[\"memory\"]", "", "limit"),
        ("loop", "[\"loop\"]", short, "limit"),
        ("sleep", "[\"sleep\", 1_000_000_000]", short, "limit"),
        ("lines", "[\"log-forever\"]", short, "limit"),
        ("progress", "[\"progress-forever\"]", short, "limit"),
        ("panic", "[\"panic\"]", "", "internal"),
        ("recurse", "[\"recurse\"]", "", "internal"),
        ("random", "[\"random\"]", "", "internal"),
        ("ragged", "[\"batch\", \"ragged\"]", "", "contract"),
        ("large", "[\"batch\", \"large\"]", "[tenant.policy.limits]\nmemory = \"512MiB\"", "limit"),
        ("other-table", "[\"rows-of\", \"sqlite_master\"]", "", "contract"),
        ("rows", "[\"rows-forever\", 100_000]", "", "limit"),
        ("deletes", "[\"deletes-forever\"]", "", "limit"),
        ("state", "[\"state\"]", "", "limit"),
        ("checkpoints", "[\"checkpoints-forever\", 100_000]", "", "limit"),
        ("empty", "[\"checkpoints-forever\", 0]", short, "limit"),
        ("handles", "[\"timers\", 1_000_000]", "", "limit"),
        ("fields", "[\"fields\", 100_000, 10]", "[tenant.policy.limits]\nmemory = \"256MiB\"", "limit"),
        ("headers", "[\"headers\", 100_000, 4]", "", "limit"),
        ("throttled", "[\"throttled\", 1_000_000], [\"sleep\", 1_000_000_000]", short, "limit"),
        ("interrupted", "[\"fail\", \"interrupted\", \"so it says\"]", "", "contract"),
    ];
    for (n, (id, act, limits, _)) in acts.iter().enumerate() {
        platform.scripted(id, &server, &format!("[{honest}, [\"rows\", 2, 2], {act}]"), limits);
        if n < ORDINARY {
            platform.tenant(&format!("ordinary-{n}"), &server, &format!("p{n}"), "");
        }
    }
    fs::write(platform.cli.path("broken.wasm"), "\0asm, but no more than that").unwrap();
    platform.tenant("broken", &server, "p0", "component = \"broken.wasm\"");
    platform.tenant("absent", &server, "p0", "component = \"absent.wasm\"");
    let ended = platform.cli.run(&["serve", "--once", "--format", "json", "--syncs", "4"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    let outcomes: BTreeMap<_, _> = outcomes(&ended).into_iter().collect();
    for n in 0..ORDINARY {
        let id = format!("ordinary-{n}");
        assert_eq!(outcomes[&id], "ok", "{ended:?}");
        platform.assert_equal(&id, &server, Dialect::Graphql, &format!("p{n}"));
    }
    for (id, _, _, outcome) in acts {
        assert_eq!(outcomes[id], outcome, "{id}: {ended:?}");
        let database = rusqlite::Connection::open(platform.cli.path(&format!("{id}.db"))).unwrap();
        let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert!(count("SELECT count(*) FROM events") >= 2, "{id}: what was complete is kept");
    }
    assert_eq!((outcomes["broken"].as_str(), outcomes["absent"].as_str()), ("internal", "internal"));
}

/// Runs whose history is waited for.
fn hanging(server: &LocalWandb) -> usize {
    let runs: BTreeSet<_> = server.log().matching(|it| it.fault.is_some()).into_iter().map(|it| it.run_ids).collect();
    runs.len()
}

#[test]
fn a_killed_host_completes_everything_after_a_restart() {
    const TENANTS: usize = 108;
    let (server, platform) = held(TENANTS, 4, &Fault::Stall(PATIENCE));
    let mut serving = platform.serve(&["--syncs", "100"]);
    wait_until("all slots hang", || hanging(&server) == 100);
    wait_until("some are done", || count(&platform.states(), "ok") == 4);
    serving.kill().unwrap();
    serving.end().unwrap();
    let left = platform.states();
    let counts = ["ok", "interrupted", "never synced"].map(|state| count(&left, state));
    assert_eq!(counts, [4, 100, 4], "{left:?}");
    server.clear_faults();

    let ended = platform.once();
    assert_eq!(ended.code, 0, "{ended:?}");
    let again: Vec<_> = outcomes(&ended).into_iter().map(|(id, _)| id).collect();
    let not_done: Vec<_> = left.into_iter().filter(|(_, state)| state != "ok").map(|(id, _)| id).collect();
    assert_eq!(again, not_done, "what was complete is not due yet");
    for n in 0..TENANTS {
        platform.assert_equal(&format!("t{n}"), &server, Dialect::Graphql, &format!("p{n}"));
    }
}

#[test]
fn a_host_that_is_told_to_end_lets_syncs_end_and_starts_none() {
    let gate = Arc::new(Semaphore::new(0));
    let (server, platform) = held(3, 0, &Fault::Hold(gate.clone()));
    let serving = platform.serve(&["--syncs", "2", "--drain", "10m"]);
    wait_until("two run", || hanging(&server) == 2);
    serving.stop().unwrap();
    wait_until("it was told", || serving.has_said("no further syncs start"));
    gate.close();
    let ended = serving.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let states = platform.states();
    assert_eq!((count(&states, "ok"), count(&states, "never synced")), (2, 1), "{states:?}");
}

#[test]
fn syncs_that_take_too_long_to_end_are_stopped_and_completed_by_the_next_process() {
    let (server, platform) = held(2, 0, &Fault::Stall(PATIENCE));
    let serving = platform.serve(&["--drain", "1s"]);
    wait_until("all hang", || hanging(&server) == 2);
    serving.stop().unwrap();
    let ended = serving.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(count(&platform.states(), "interrupted"), 2, "{ended:?}");
    server.clear_faults();
    let ended = platform.once();
    assert_eq!((ended.code, outcomes(&ended).len()), (0, 2), "{ended:?}");
    for n in 0..2 {
        platform.assert_equal(&format!("t{n}"), &server, Dialect::Graphql, &format!("p{n}"));
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let (server, platform) = held(1, 0, &Fault::Stall(PATIENCE));
    let serving = platform.serve(&["--drain", "10m"]);
    wait_until("it hangs", || hanging(&server) == 1);
    serving.stop().unwrap();
    wait_until("it was told", || serving.has_said("no further syncs start"));
    serving.stop().unwrap();
    assert_eq!(serving.end().unwrap().code(), Some(130));
    assert_eq!(count(&platform.states(), "interrupted"), 1);
}

#[test]
fn a_tenants_component_reaches_nothing_of_another_tenant() {
    let (own, other) = (server(OTHER_KEY, []), server(TEST_KEY, [("vision".into(), generate::realistic(2, 1))]));
    let mut platform = Platform::new();
    platform.tenant("victim", &other, "vision", "schedule = { every = \"1s\" }");
    let reversed: String = TEST_KEY.chars().rev().collect();
    let url = format!("{}/graphql", other.base_url());
    platform.scripted("spy", &own, &format!("[[\"find\", \"{reversed}\"], [\"get\", \"{url}\"]]"), "");
    platform.text = platform.text.replace("\"spy.db\"", "\"parquet:spy\"");
    platform.say("");
    let ended = platform.cli.run(&["serve", "--once", "--format", "json", "--syncs", "1"]);
    platform.assert_equal("victim", &other, Dialect::Graphql, "vision");
    let said: Vec<_> = ended.stderr.lines().filter(|line| line.contains("[spy]")).collect();
    assert!(said.contains(&"INFO: [spy] found 0"), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("is not an origin that the configuration names")), "{said:#?}");
}

#[test]
fn all_tenants_together_keep_to_the_budget_of_an_origin() {
    let server = server(TEST_KEY, (0..4).map(|n| (format!("p{n}"), generate::realistic(6, n as u64))));
    let mut platform = Platform::new();
    platform.say(&format!("[[budget]]\norigin = \"{}\"\nrequests_per_minute = 120", server.base_url()));
    for n in 0..4 {
        platform.tenant(&format!("t{n}"), &server, &format!("p{n}"), "");
    }
    let started = Instant::now();
    let ended = platform.once();
    assert_eq!(ended.code, 0, "{ended:?}");
    // Two a second, and as many saved up; a slow machine only makes it longer.
    let least = (server.log().len() as f64 - 3.0) / 2.0;
    assert!(
        server.log().len() > 8 && started.elapsed().as_secs_f64() >= least,
        "{} requests in {:?}",
        server.log().len(),
        started.elapsed()
    );
    for n in 0..4 {
        platform.assert_equal(&format!("t{n}"), &server, Dialect::Graphql, &format!("p{n}"));
    }
}

#[test]
fn what_a_component_says_of_its_configuration_is_checked_without_a_request() {
    let server = server(TEST_KEY, []);
    let mut platform = Platform::new();
    platform.tenant("typo", &server, "vision", "");
    platform.say("page_sise = 10");
    platform.scripted("own", &server, "\"no list\"", "");
    platform.tenant_with_key("keyless", &server, "vision", "{ env = \"NOT_SET_HERE\" }", "");
    let ended = platform.cli.run(&["tenants", "check"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    let said: Vec<_> = ended.stdout.lines().collect();
    assert!(said[0].starts_with("tenants.toml:12:1: tenant `typo`: `page_sise`"), "{said:#?}");
    assert!(said[1].contains("tenant `own`: `script` is no list"), "{said:#?}");
    assert_eq!(said[2], "1 tenant fit to be synced, 2 problems");
    assert!(ended.stderr.contains("the environment variable NOT_SET_HERE is not set here"), "{ended:?}");
    assert_eq!(server.log().len(), 0);
}
