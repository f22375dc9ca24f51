//! What `serve` does when something changes under it: keys, entries and files of tenants, and signals; and what it does while nothing does.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use tokio::sync::Semaphore;
use wandb_connector::records::time;
use wandb_connector_tests::crash_oracle::Running;
use wandb_connector_tests::local_wandb::{Dialect, Fault, TEST_KEY, generate};
use wandb_connector_tests::platform::{Platform, held, outcomes, server, wait_until};

const WRONG: &str = "fedcba9876543210fedcba9876543210fedcba98";
const HOURLY: &str = "schedule = { every = \"1h\" }";

fn write_key(platform: &Platform, key: &str) {
    let file = platform.cli.path("tenant.key");
    fs::write(&file, key).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn hang_up(serving: &Running) {
    assert!(Command::new("kill").args(["-HUP", &serving.id().to_string()]).status().unwrap().success());
}

fn stop(serving: Running) -> String {
    serving.stop().unwrap();
    let ended = serving.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(!ended.stderr.contains(TEST_KEY) && !ended.stderr.contains(WRONG), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn who_failed_for_a_reason_that_lasts_is_tried_at_once_when_its_secret_or_its_entry_changes() {
    let server = server(TEST_KEY, [("vision".into(), generate::realistic(3, 1))]);
    let mut platform = Platform::new();
    write_key(&platform, WRONG);
    platform.tenant_with_key("by-secret", &server, "vision", "{ file = \"tenant.key\" }", HOURLY);
    platform.tenant("by-entry", &server, "no-such-project", HOURLY);
    let serving = platform.serve(&[]);
    let all = |state: &str| platform.states().values().filter(|it| *it == state).count();
    wait_until("both have failed", || all("failed") == 2);
    let listed = platform.list();
    for (id, outcome) in [("by-secret", "authentication"), ("by-entry", "not-found")] {
        let waits = listed[id]["waits"].as_str().unwrap();
        assert!(waits.contains(&format!("it failed once ({outcome})")), "{waits}");
    }
    let shown = platform.cli.run(&["tenants", "list"]).stdout;
    assert!(shown.contains("by-secret: next try at 20") && shown.contains("(authentication)"), "{shown}");

    write_key(&platform, TEST_KEY);
    wait_until("the new key is tried", || platform.states()["by-secret"] == "ok");
    platform.text = platform.text.replace("no-such-project", "vision");
    platform.say("");
    wait_until("the new project is tried", || platform.states()["by-entry"] == "ok");
    let said = stop(serving);
    assert!(said.contains("WARNING: [by-secret] next try at 20"), "{said}");
    for id in ["by-secret", "by-entry"] {
        platform.assert_equal(id, &server, Dialect::Graphql, "vision");
    }
}

#[test]
fn who_keeps_failing_is_asked_for_less_and_less_often() {
    let server = server(TEST_KEY, [("vision".into(), generate::realistic(3, 1))]);
    let mut platform = Platform::new();
    write_key(&platform, WRONG);
    platform.tenant_with_key("a", &server, "vision", "{ file = \"tenant.key\" }", "schedule = { every = \"1s\" }");
    let serving = platform.serve(&[]);
    let waits = || platform.list()["a"]["waits"].as_str().unwrap_or_default().to_owned();
    wait_until("it has failed for the fourth time", || waits().contains("it failed 4 times in a row"));
    let row = platform.list()["a"].clone();
    let at = |value: &serde_json::Value| time::parse(value.as_str().unwrap()).unwrap();
    // 1 s, 2 s, 4 s and then 8 s; the list shows whole seconds.
    let pause = at(&row["next"]) - at(&row["last"]["started"]);
    assert!((7_000_000..=9_000_000).contains(&pause), "{row}");
    stop(serving);
}

#[test]
fn a_restart_neither_forgets_who_keeps_failing_nor_misses_what_has_changed_meanwhile() {
    let server = server(TEST_KEY, [("vision".into(), generate::realistic(3, 1))]);
    let mut platform = Platform::new();
    write_key(&platform, WRONG);
    platform.tenant_with_key("a", &server, "vision", "{ file = \"tenant.key\" }", HOURLY);
    let failed = vec![("a".to_owned(), "authentication".to_owned())];
    assert_eq!(outcomes(&platform.once()), failed);
    assert_eq!(outcomes(&platform.once()), [], "it is not due");
    write_key(&platform, TEST_KEY);
    assert_eq!(outcomes(&platform.once()), [("a".to_owned(), "ok".to_owned())]);
    let history = fs::read(platform.cli.path("tenants-history.db")).unwrap();
    for key in [TEST_KEY, WRONG] {
        assert!(!history.windows(key.len()).any(|part| part == key.as_bytes()), "the history knows a key");
    }
}

#[test]
fn a_hangup_has_the_files_read_again_and_ends_nothing() {
    let gate = Arc::new(Semaphore::new(0));
    let (server, mut platform) = held(2, 1, &Fault::Hold(gate.clone()));
    let serving = platform.serve(&["--drain", "10m"]);
    wait_until("one is done and one runs", || {
        let states = platform.states();
        states["t0"] == "ok" && states["t1"] == "running"
    });
    hang_up(&serving);
    wait_until("it was heard", || serving.has_said("SIGHUP: the files of tenants are read again"));
    platform.tenant("more", &server, "p0", "");
    hang_up(&serving);
    wait_until("the new tenant is synced", || platform.states()["more"] == "ok");
    serving.stop().unwrap();
    wait_until("it was told", || serving.has_said("no further syncs start"));
    hang_up(&serving);
    gate.close();
    let ended = serving.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(platform.states().values().all(|state| state == "ok"), "{:?}", platform.states());
    platform.assert_equal("t1", &server, Dialect::Graphql, "p1");
}

#[test]
fn a_slip_in_the_file_keeps_those_that_ran_on_their_schedules() {
    let server = server(TEST_KEY, [("vision".into(), generate::realistic(3, 1))]);
    let mut platform = Platform::new();
    let often = "schedule = { every = \"1s\" }";
    platform.tenant("first", &server, "vision", often);
    let serving = platform.serve(&[]);
    wait_until("it is synced", || platform.states()["first"] == "ok");
    let good = platform.text.clone();
    let slips = [
        ("in its entry", good.replace("\"sqlite:first.db\"", "\"sqlite:first.db")),
        ("before the entries", good.replace("[defaults]", "[defaults")),
    ];
    for (where_it_is, slip) in slips {
        platform.text = slip;
        let before = serving.lines_with("`first` goes on as the file said before");
        platform.say("");
        wait_until("the slip is named", || serving.lines_with("`first` goes on as the file said before") > before);
        server.log().clear();
        // At most one of these was under way before.
        wait_until(where_it_is, || server.log().listing_requests().len() > 3);
        platform.text.clone_from(&good);
        let before = serving.lines_with("INFO: 1 tenant");
        platform.say("");
        wait_until("it is mended", || serving.lines_with("INFO: 1 tenant") > before);
    }
    let end = platform.text.find("[[tenant]]").unwrap();
    platform.text.truncate(end);
    platform.say("");
    wait_until("who is taken out of a file without slips is gone", || serving.has_said("0 tenants"));
    stop(serving);
}

#[test]
fn what_tenants_have_in_common_is_said_once_but_for_secrets() {
    let server = server(TEST_KEY, ["vision", "audio"].map(|name| (name.into(), generate::realistic(3, 1))));
    let mut platform = Platform::new();
    platform.say(&format!(
        "[defaults.config]\nentity = \"acme\"\nproject = \"vision\"\nbase_url = \"{}\"",
        server.base_url()
    ));
    platform.say("[[tenant]]\nid = \"a\"\ndestination = \"sqlite:a.db\"\nconfig.api_key = { env = \"TENANT_KEY\" }");
    platform.say("[[tenant]]\nid = \"b\"\ndestination = \"sqlite:b.db\"\n[tenant.config]\nproject = \"audio\"\napi_key = { env = \"TENANT_KEY\" }");
    let ended = platform.once();
    assert_eq!(ended.code, 0, "{ended:?}");
    platform.assert_equal("a", &server, Dialect::Graphql, "vision");
    platform.assert_equal("b", &server, Dialect::Graphql, "audio");

    platform.text =
        platform.text.replace("project = \"vision\"", &format!("project = \"vision\"\napi_key = \"{WRONG}\""));
    platform.text = platform.text.replace("config.api_key = { env = \"TENANT_KEY\" }", "");
    platform.say("[[tenant]]\nid = \"c\"\ndestination = \"sqlite:c.db\"");
    let checked = platform.cli.run(&["tenants", "check"]);
    assert_eq!(checked.code, 2, "{checked:?}");
    let lines: Vec<_> = checked.stdout.lines().filter(|line| line.contains("`api_key` is a secret")).collect();
    assert!(lines.len() == 1 && lines[0].contains("in each tenant's own `config`"), "{checked:?}");
    assert!(checked.stdout.contains("1 tenant fit to be synced, 1 problem"), "{checked:?}");
    assert!(!checked.stdout.contains(WRONG) && !checked.stderr.contains(WRONG));
}
