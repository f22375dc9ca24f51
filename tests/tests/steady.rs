//! What a sync takes of the machine does not grow with its length, nor with what a component rewrites.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elt_destinations::null::Null;
use elt_host::{CancellationToken, Event, HttpClient, Limits, Observer, Policy, SyncRequest};
use serde_json::{Value, json};
use wandb_connector_tests::plain_http::{PlainServer, Request, answer};
use wandb_connector_tests::product::{binary, connector, target_dir};

/// As many as the connector reads at once.
const RUNS: u64 = 16;
/// By then each run has had more pages than the connector remembers of it.
const EARLY: u64 = 20_000;
const LATE: u64 = 50_000;

/// KiB of memory that a process has in use (`VmRSS`), or had at most (`VmHWM`). None when it has ended.
fn memory_of(process: &str, what: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// A project in the `rest` dialect whose runs have so many pages of a row each. Notes the memory of this process, which runs the sync too, at
/// some of the requests.
struct Site {
    pages: u64,
    asked: AtomicU64,
    noted: Mutex<Vec<u64>>,
}

impl Site {
    fn answer(&self, request: &Request) -> Value {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if [EARLY, LATE].contains(&asked) {
            self.noted.lock().unwrap().extend(memory_of("self", "VmRSS"));
        }
        if request.path.starts_with("/projects/") {
            let run = |n| json!({"id": format!("run{n}"), "name": format!("run{n}"), "state": "running", "updatedAt": "2025-06-15T15:06:40Z"});
            return json!({"runs": (0..RUNS).map(run).collect::<Vec<_>>()});
        }
        let page: u64 = request.path.split_once("page=").and_then(|(_, page)| page.parse().ok()).unwrap_or(0);
        let next = (page + 1 < self.pages).then(|| format!("history?page={}", page + 1));
        // Rows without metrics, of which the connector gathers nothing.
        json!({"history": [{"_step": page, "_timestamp": 1_750_000_000 + page}], "nextUrl": next})
    }
}

struct Deaf;

impl Observer for Deaf {
    fn event(&self, _: Event) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_requests_take_no_more_memory_than_twenty_thousand() {
    let site = Arc::new(Site { pages: LATE.div_ceil(RUNS), asked: AtomicU64::new(0), noted: Mutex::default() });
    let shared = site.clone();
    let server = PlainServer::start(move |request, to| {
        let body = shared.answer(request).to_string();
        answer(to, "200 OK", "content-type: application/json\r\n", body.as_bytes()).map(|()| true)
    })
    .unwrap();
    let config = json!({
        "api_key": "k".repeat(40), "entity": "acme", "project": "demo", "base_url": server.base_url(), "api": "rest",
    });
    // A dozen for each request under way, and none for those that are over.
    let policy = Policy::default().limits(Limits::default().handles(256));
    let spec = connector().spec().await.unwrap();
    let request = SyncRequest::new(spec, config.as_object().unwrap().clone()).policy(policy);
    let (destination, client) = (Box::new(Null::new()), HttpClient::default());
    let outcome = connector().sync(request, destination, &client, Arc::new(Deaf), &CancellationToken::new()).await;
    assert!(outcome.error.is_none() && outcome.quarantined.is_empty(), "{:?} {:?}", outcome.error, outcome.quarantined);
    assert!(outcome.requests > LATE, "{}", outcome.requests);
    let [early, late] = site.noted.lock().unwrap()[..] else { panic!("{:?}", site.noted) };
    // An allocator keeps a little here and there; 100 bytes left behind by each request would be 3 MiB.
    assert!(late < early + (3 << 10), "the process grew from {early} to {late} KiB");
    assert!(outcome.memory < 16 << 20, "the component took {} bytes", outcome.memory);
}

/// The most memory that the command line tool has, in KiB, while the scripted guest does `steps`; and what it says.
fn most_memory(destination: &str, steps: &Value) -> (u64, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("configuration.json");
    fs::write(&file, json!({"api_key": "k".repeat(40), "script": steps}).to_string()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut child = Command::new(binary())
        .args([
            "sync",
            "--config",
            "configuration.json",
            "--format",
            "json",
            "--destination",
            destination,
            "--component",
        ])
        .arg(target_dir().join("wasm32-unknown-unknown/component/scripted_guest.wasm"))
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .env("XDG_CACHE_HOME", target_dir().join("component-cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(memory_of(&child.id().to_string(), "VmHWM").unwrap_or(0));
        if most > 3 << 20 {
            child.kill().unwrap();
        }
        // The size of another process is looked at again and again.
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (most, String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_key_that_is_rewritten_again_and_again_takes_the_memory_of_a_few() {
    for destination in ["null:", "sqlite:warehouse.db"] {
        let (most, said) = most_memory(destination, &json!([["rewrite", 30_000_000, 60]]));
        assert!(said.contains(r#""status":"ok""#) && said.contains(r#""checkpoints":60"#), "{destination}: {said}");
        // As many as are under way somewhere, the component's own copies among them; all of them would be 1.8 GB.
        assert!(most < 600 << 10, "{destination}: {most} KiB");
    }
}

#[test]
fn millions_of_keys_without_values_meet_the_limit_of_the_state() {
    let (most, said) = most_memory("null:", &json!([["empty-values", 100_000]]));
    assert!(said.contains("`state_bytes`"), "{said}");
    assert!(most < 1600 << 10, "{most} KiB");
}
