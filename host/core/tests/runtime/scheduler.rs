//! Syncs of several tenants in one process, each doing as its script says.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elt_host::{Cache, Event, Level, Policy};
use elt_serve::components::Components;
use elt_serve::history::History;
use elt_serve::overview::Watch;
use elt_serve::record::SyncRecord;
use elt_serve::registry::Registry;
use elt_serve::scheduler::{Listener, Scheduler, SchedulerOptions};
use elt_serve::tenant::TenantId;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::support::{connector, engine, until};

/// What happened, in its order.
#[derive(Default)]
struct Heard {
    all: Mutex<Vec<String>>,
    more: Notify,
}

impl Heard {
    fn note(&self, what: String) {
        self.all.lock().unwrap().push(what);
        self.more.notify_waiters();
    }

    fn all(&self) -> Vec<String> {
        self.all.lock().unwrap().clone()
    }

    fn position(&self, what: &str) -> usize {
        let all = self.all();
        all.iter().position(|it| it == what).unwrap_or_else(|| panic!("no {what} in {all:?}"))
    }
}

impl Listener for Heard {
    fn event(&self, tenant: &TenantId, event: Event) {
        if let Event::Log { message, .. } = event {
            assert!(message != "panic", "as the script says");
            let message = match message.as_str() {
                // It is heard on the thread that the guest computes on.
                "where" => format!("is {}", std::thread::current().name().unwrap_or("nowhere")),
                _ => message,
            };
            self.note(format!("{tenant}: {message}"));
        }
    }

    fn started(&self, record: &SyncRecord) {
        self.note(format!("{} started", record.tenant));
    }

    fn ended(&self, record: &SyncRecord) {
        self.note(format!("{} {}", record.tenant, record.end.as_ref().unwrap().outcome));
        assert!(record.tenant.as_str() != "panicking", "as its name says");
    }

    fn log(&self, _: Level, _: String) {}
}

/// A folder with a file of scripted tenants, and a scheduler.
struct Stage {
    folder: TempDir,
    text: String,
    heard: Arc<Heard>,
}

impl Stage {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), text: String::new(), heard: Arc::default() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("tenants.toml")
    }

    fn tenant(mut self, id: &str, schedule: &str, script: &Value) -> Self {
        let script = script.to_string();
        self.text += &format!(
            "[[tenant]]\nid = \"{id}\"\ndestination = \"sqlite:{id}.db\"\nschedule = {schedule}\n[tenant.config]\nscript = {script}\n"
        );
        std::fs::write(self.file(), &self.text).unwrap();
        self
    }

    fn scheduler(&self, slots: usize, once: bool) -> Scheduler {
        let components = Components::new(engine(), connector(), Cache::none());
        let history = History::open(&self.folder.path().join("history.db")).unwrap();
        Scheduler::new(SchedulerOptions { slots, once }, components, history, self.heard.clone()).unwrap()
    }

    async fn once(&self, slots: usize) -> Vec<SyncRecord> {
        let registry = Registry::new(&self.file(), Policy::default(), None);
        let scheduler = self.scheduler(slots, true);
        let run = scheduler.run(registry);
        tokio::time::timeout(Duration::from_secs(120), async { run.await.unwrap() }).await.unwrap()
    }
}

const HOURLY: &str = "{ every = \"1h\" }";

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_waits_for_a_rate_limit_lets_others_work() {
    let waits = json!([["log", "waits"], ["throttled", 60_000], ["sleep", 2000], ["log", "goes on"]]);
    let stage =
        Stage::new().tenant("a", HOURLY, &waits).tenant("b", HOURLY, &json!([["rows", 0, 5], ["checkpoint", {}]]));
    let ended = stage.once(1).await;
    assert!(ended.iter().all(SyncRecord::is_complete), "{ended:?}");
    let heard = &stage.heard;
    assert!(heard.position("a: waits") < heard.position("b started"), "there is one slot: {:?}", heard.all());
    assert!(heard.position("b ok") < heard.position("a: goes on"), "{:?}", heard.all());
    let a = ended.iter().find(|record| record.tenant.as_str() == "a").unwrap();
    assert_eq!(a.end.as_ref().unwrap().throttled, Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_syncs_work_than_there_are_slots() {
    let works = json!([["sleep", 50]]);
    let stage = (0..9).fold(Stage::new(), |stage, n| stage.tenant(&format!("t{n}"), HOURLY, &works));
    stage.once(2).await;
    let (mut working, mut most) = (0, 0);
    for what in stage.heard.all() {
        if what.ends_with(" started") {
            working += 1;
        } else if what.ends_with(" ok") {
            working -= 1;
        }
        most = most.max(working);
    }
    assert_eq!((working, most), (0, 2), "{:?}", stage.heard.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_computes_for_long_goes_on_on_threads_of_lower_priority_and_its_next_sync_begins_there() {
    let computes = json!([["log", "where"], ["spin", 1500], ["log", "where"]]);
    let waits = json!([["log", "where"], ["sleep", 300], ["log", "where"]]);
    let every = "{ every = \"1s\" }";
    let stage = Stage::new().tenant("a", every, &computes).tenant("b", every, &waits);
    let scheduler = stage.scheduler(4, false);
    let (running, registry) = (scheduler.clone(), Registry::new(&stage.file(), Policy::default(), None));
    let task = tokio::spawn(async move { running.run(registry).await.unwrap() });
    let places = |id: &str| {
        let all = stage.heard.all();
        let prefix = format!("{id}: is ");
        all.iter().filter_map(|what| what.strip_prefix(&prefix)).map(|it| it == "background").collect::<Vec<_>>()
    };
    until(&stage.heard.more, || places("a").len() >= 3 && places("b").len() >= 3).await;
    scheduler.stop();
    task.await.unwrap();
    assert_eq!((&places("a")[..3], &places("b")[..3]), (&[false, true, true][..], &[false; 3][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_one_sync_touches_no_other() {
    let fine = json!([["rows", 0, 5], ["checkpoint", {}], ["sleep", 200]]);
    let stage = Stage::new()
        .tenant("a", HOURLY, &json!([["log", "panic"]]))
        .tenant("b", HOURLY, &fine)
        .tenant("c", HOURLY, &fine)
        .tenant("panicking", HOURLY, &fine);
    let ended = stage.once(4).await;
    let mut outcomes: Vec<_> =
        ended.iter().map(|record| (record.tenant.as_str(), record.end.as_ref().unwrap().outcome.as_str())).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [("a", "internal"), ("b", "ok"), ("c", "ok"), ("panicking", "ok")]);
    // And each can sync again.
    assert_eq!(stage.once(4).await.len(), 0, "nothing is due");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_of_tenants_is_what_they_do() {
    let stage = Stage::new()
        .tenant("a", "{ every = \"1s\" }", &json!([["rows", 0, 5], ["checkpoint", {}]]))
        .tenant("b", HOURLY, &json!([["rows", 0, 3], ["checkpoint", {}], ["throttled", 1], ["sleep", 1_000_000]]))
        .tenant("c", HOURLY, &json!([["fail", "permission", "no"]]));
    let scheduler = stage.scheduler(4, false);
    assert!(!scheduler.is_ready());
    let (running, registry) = (scheduler.clone(), Registry::new(&stage.file(), Policy::default(), None));
    let task = tokio::spawn(async move { running.run(registry).await.unwrap() });
    let seen = |id: &str| scheduler.tenants().into_iter().find(|it| it.id.as_str() == id);
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    let rows = |id: &str| seen(id).and_then(|it| it.running).map(|it| (it.rows, it.throttled));
    let a: TenantId = "a".parse().unwrap();
    while rows("b") != Some((3, true)) || scheduler.history(&a, 10).len() < 3 || seen("c").unwrap().last.is_none() {
        assert!(tokio::time::Instant::now() < until, "{:?}", scheduler.tenants());
        // What is shown is looked up; it tells nobody that it has changed.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(scheduler.is_ready());
    let (b, c) = (seen("b").unwrap(), seen("c").unwrap());
    assert_eq!((b.next, b.last), (None, None));
    assert_eq!(c.fresh_as_of, None);
    let end = c.last.unwrap().end.unwrap();
    assert_eq!((end.outcome.as_str(), end.message.as_deref()), ("permission", Some("no")));
    assert!(c.next.unwrap() > end.at);
    assert!(seen("a").unwrap().fresh_as_of.is_some());
    assert!(scheduler.history(&a, 2).len() == 2);
    scheduler.stop();
    assert!(!scheduler.is_ready());
    task.await.unwrap();
    let b = seen("b").unwrap().last.unwrap().end.unwrap();
    assert_eq!((b.outcome.as_str(), b.rows), ("interrupted", 3), "what was complete is stored");
}
