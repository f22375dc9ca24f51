//! Honest syncs, and honest failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use elt_destinations::null::Null;
use elt_host::{Change, Error, Event, HttpClient, Observer, Policy, SyncRequest};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{KEY, Recorder, Script, connector, engine, guest};

#[tokio::test]
async fn rows_deletions_and_checkpoints_arrive_in_order() {
    let run = Script::new(json!([
        ["log-state"],
        ["delete", "old"],
        ["rows", 0, 10],
        ["checkpoint", {"a": "1", "before": null}],
        ["rows", 10, 5],
        ["checkpoint", {"a": "2"}],
        ["progress", "events", 1, 2],
        ["throttled", 1500],
    ]))
    .state(&[("before", "x")])
    .run()
    .await;
    assert!(run.outcome.error.is_none(), "{}", run.error());
    assert_eq!(run.log(), [r#"[("before", "x")]"#]);
    assert!(run.contents.finished);
    assert_eq!(run.contents.groups.len(), 2);
    assert!(matches!(
        run.contents.groups[0].changes[..],
        [Change::Delete { table: 0, .. }, Change::Upsert { table: 0, .. }]
    ));
    assert_eq!(run.contents.state, [("a".to_owned(), "2".to_owned())].into());
    assert_eq!(run.outcome.state, run.contents.state);
    assert_eq!(run.outcome.rows["events"], 15);
    assert_eq!((run.outcome.deletes["events"], run.outcome.checkpoints, run.outcome.retries), (1, 2, 4));
    let items = &run.outcome.items;
    assert_eq!((items.unit.as_str(), items.seen, items.synced, items.unchanged), ("event", 3, 2, 1));
    let throttled = |event: &Event| matches!(event, Event::Throttled(wait) if wait.as_millis() == 1500);
    assert!(run.events.iter().any(throttled));
    assert!(run.events.iter().any(|event| matches!(event, Event::Committed { rows, .. } if rows["events"] == 15)));
}

#[tokio::test]
async fn rows_after_the_last_checkpoint_count_only_when_the_sync_went_through() {
    let run = Script::new(json!([["rows", 0, 3], ["checkpoint", {"a": "1"}], ["rows", 3, 4]])).run().await;
    assert_eq!((run.contents.rows(), run.contents.groups.len()), (7, 2));
    let run =
        Script::new(json!([["rows", 0, 3], ["checkpoint", {"a": "1"}], ["rows", 3, 4], ["fail", "not-found", "gone"]]))
            .run()
            .await;
    assert!(matches!(&run.outcome.error, Some(Error::NotFound(why)) if why == "gone"));
    assert_eq!((run.contents.rows(), run.outcome.rows["events"]), (3, 3));
    assert_eq!(run.outcome.state["a"], "1");
}

#[tokio::test]
async fn a_full_refresh_starts_without_state() {
    let mut script = Script::new(json!([["log-state"]])).state(&[("a", "1")]);
    script.full_refresh = true;
    assert_eq!(script.run().await.log(), ["[]"]);
}

#[tokio::test]
async fn a_failed_sync_is_summed_up_from_its_progress() {
    let run = Script::new(json!([
        ["progress", "events", 5, 9],
        ["progress", "events synced", 3, null],
        ["progress", "events unchanged", 1, null],
        ["progress", "events quarantined", 1, null],
        ["progress", "retries", 6, null],
        ["fail", "upstream", "it is down"],
    ]))
    .run()
    .await;
    let items = &run.outcome.items;
    assert_eq!(
        (items.unit.as_str(), items.seen, items.synced, items.unchanged, items.quarantined),
        ("event", 9, 3, 1, 1)
    );
    assert_eq!(run.outcome.retries, 6);
}

#[tokio::test]
async fn a_destination_that_refuses_keeps_the_guest_from_starting() {
    let run = Script::new(json!([["log", "started"]])).refusing("it is locked").run().await;
    assert!(matches!(&run.outcome.error, Some(Error::Destination(why)) if why == "it is locked"));
    assert_eq!(run.log(), [""; 0]);
}

#[tokio::test]
async fn a_destination_that_fails_ends_the_sync_with_its_own_error() {
    let steps: Vec<_> =
        (0..50).flat_map(|n| [json!(["rows", n, 1]), json!(["checkpoint", {}]), json!(["sleep", 5])]).collect();
    let run = Script::new(json!(steps)).failing("the disk is full").run().await;
    assert!(
        matches!(&run.outcome.error, Some(Error::Destination(why)) if why == "the disk is full"),
        "{}",
        run.error()
    );
    assert_eq!(run.contents.rows(), 0);
}

#[tokio::test]
async fn a_slow_destination_holds_the_guest_back() {
    /// Counts groups that were sent and not taken yet.
    struct Ahead<T> {
        inner: Arc<dyn Observer>,
        taken: T,
        sent: AtomicUsize,
        most: Arc<AtomicUsize>,
    }

    impl<T: Fn() -> usize + Send + Sync> Observer for Ahead<T> {
        fn event(&self, event: Event) {
            if matches!(&event, Event::Progress { what, .. } if what == "groups") {
                let sent = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(sent.saturating_sub((self.taken)()), Ordering::SeqCst);
            }
            self.inner.event(event);
        }
    }

    // 20 groups of about 2 MiB: far more than may wait, and made much faster than they are taken.
    let steps: Vec<_> = (0..20)
        .flat_map(|_| [json!(["rows", 0, 100_000]), json!(["checkpoint", {}]), json!(["progress", "groups", 1, null])])
        .collect();
    let script = Script::new(json!(steps)).slow(Duration::from_millis(100));
    let (taken, most) = (script.taken(), Arc::<AtomicUsize>::default());
    let counted = most.clone();
    let watch = |inner| Arc::new(Ahead { inner, taken, sent: AtomicUsize::new(0), most: counted }) as Arc<dyn Observer>;
    let run = script.run_watched(&connector(), watch).await;
    assert!(run.outcome.error.is_none(), "{}", run.error());
    assert_eq!((run.contents.rows(), run.outcome.checkpoints), (2_000_000, 20));
    // Of 8 MiB in the queue, and the one that is being taken.
    let most = most.load(Ordering::SeqCst);
    assert!((1..=6).contains(&most), "{most} groups were ahead of the destination");
}

#[tokio::test]
async fn cancelling_stores_what_was_complete() {
    for endless in [json!(["sleep", 600_000]), json!(["loop"])] {
        let script =
            Script::new(json!([["rows", 0, 3], ["checkpoint", {"a": "1"}], ["rows", 3, 3], ["log", "now"], endless]));
        let cancel = script.cancel.clone();
        let (run, logged) = script.start_and_tell(connector(), "now");
        logged.await.unwrap();
        cancel.cancel();
        let run = tokio::time::timeout(Duration::from_secs(5), run).await.unwrap().unwrap();
        assert!(matches!(run.outcome.error, Some(Error::Interrupted)), "{}", run.error());
        assert_eq!((run.contents.rows(), run.outcome.state["a"].as_str(), run.contents.finished), (3, "1", true));
    }
}

#[tokio::test]
async fn a_connector_that_was_not_interrupted_may_not_say_so() {
    let run = Script::new(json!([["fail", "interrupted", ""]])).run().await;
    assert!(matches!(run.outcome.error, Some(Error::Contract(_))));
}

#[tokio::test]
async fn problems_of_host_and_connector_are_reported_together() {
    let run = Script::new(json!("no list"))
        .with("base_url", json!("ftp://x"))
        .with("api_key", json!("line\nbreak"))
        .run()
        .await;
    let Some(Error::Configuration(problems)) = run.outcome.error else { panic!("{}", run.error()) };
    let keys: Vec<_> = problems.iter().filter_map(|problem| problem.key.as_deref()).collect();
    assert_eq!(keys, ["script", "api_key", "base_url"]);
    assert!(!run.contents.prepared);
}

#[tokio::test]
async fn a_schema_that_no_destination_can_have_breaks_the_contract() {
    for table in ["Robert'); DROP TABLE runs;--", "", "events", "_own", "sqlite_events"] {
        let run = Script::new(json!([])).with("table", json!(table)).run().await;
        assert!(matches!(run.outcome.error, Some(Error::Contract(_))), "{table}: {}", run.error());
        assert!(!run.contents.prepared);
    }
}

#[tokio::test]
async fn check_schema_and_spec_answer_without_a_destination() {
    let connector = connector();
    assert_eq!(connector.spec().await.unwrap().secrets(), ["api_key"]);
    let config = json!({"check": [["log", "checking"]]}).as_object().unwrap().clone();
    let tables = connector.schema(&config).await.unwrap();
    assert_eq!((tables.len(), tables[0].name()), (1, "events"));
    let (client, policy, cancel) = (HttpClient::default(), Policy::default(), CancellationToken::new());
    let check = |config| {
        let observer = Arc::new(Recorder::default());
        let (connector, client, policy, cancel) = (connector.clone(), client.clone(), policy.clone(), cancel.clone());
        async move { connector.check(&config, &policy, &client, observer, &cancel).await }
    };
    assert_eq!(check(config).await.unwrap(), "event");
    let denied = json!({"check": [["fail", "authentication", "the key is not valid"]]});
    assert!(matches!(check(denied.as_object().unwrap().clone()).await, Err(Error::Authentication(_))));
    let emitting = json!({"check": [["rows", 0, 1]]});
    assert!(check(emitting.as_object().unwrap().clone()).await.is_err());
    cancel.cancel();
    assert!(matches!(check(json!({"check": [["loop"]]}).as_object().unwrap().clone()).await, Err(Error::Interrupted)));
}

#[test]
fn a_components_interfaces_are_those_of_the_contract() {
    let connector = connector();
    let info = connector.info();
    let exports: Vec<_> = info.exports.iter().map(|export| export.name.as_str()).collect();
    assert_eq!(exports, ["elt:connector/source@0.1.0"]);
    assert_eq!(info.exports[0].functions.len(), 4);
    assert!(
        info.imports
            .iter()
            .any(|import| import.name == "elt:connector/destination@0.1.0" && import.functions.len() == 3)
    );
    assert_eq!(info.component_bytes, guest().len());
    assert!(info.code_bytes > 0);
}

#[test]
fn what_is_no_connector_is_not_loaded() {
    use elt_host::{Cache, Connector};
    let load =
        |bytes: &[u8]| Connector::load(&engine(), bytes, &Cache::none()).err().map(|why| why.to_string()).unwrap();
    for bytes in [&b""[..], b"not wasm", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0", &guest()[..1000]] {
        assert!(load(bytes).contains("the component can't be used"), "{}", load(bytes));
    }
}

#[tokio::test]
async fn instances_from_a_pool_are_as_fresh_as_others() {
    use elt_host::{Cache, Engine, EngineOptions};
    let options = EngineOptions::default().pool(2, 64 << 20);
    let connector = elt_host::Connector::load(&Engine::new(&options).unwrap(), &guest(), &Cache::none()).unwrap();
    let script = |steps| Script::new(steps).with("marker", json!("left-by-the-first-instance"));
    let reversed: String = "left-by-the-first-instance".chars().rev().collect();
    let limits = elt_host::Limits::default().memory(32 << 20);
    for _ in 0..8 {
        let run =
            script(json!([["rows", 0, 1000], ["checkpoint", {}]])).limits(limits.clone()).run_in(&connector).await;
        assert_eq!((run.error().as_str(), run.contents.rows()), ("", 1000));
        let run = Script::new(json!([["find", reversed]])).limits(limits.clone()).run_in(&connector).await;
        assert_eq!(run.log(), ["found 0"]);
    }
    let run = script(json!([["memory"]])).limits(limits).run_in(&connector).await;
    assert!(matches!(run.outcome.error, Some(Error::Limit { limit: "memory", .. })), "{}", run.error());
}

#[tokio::test]
async fn what_is_written_down_of_a_sync_holds_no_secret() {
    let steps = json!([["log", "config"], ["rows", 0, 5], ["checkpoint", {"a": "1"}]]);
    let script = Script::new(steps).with("project", json!("demo"));
    let connector = connector();
    let request = SyncRequest::new(connector.spec().await.unwrap(), script.config.clone());
    let written = serde_json::to_string(&request).unwrap();
    assert!(written.contains("demo") && !written.contains(KEY), "{written}");

    let read: SyncRequest = serde_json::from_str(&written).unwrap();
    let secrets =
        script.config.iter().filter(|(key, _)| *key == "api_key").map(|(key, value)| (key.clone(), value.clone()));
    let (destination, client, cancel) = (Box::new(Null::new()), HttpClient::default(), CancellationToken::new());
    let run =
        connector.sync(read.secrets(secrets.collect()), destination, &client, Arc::new(Recorder::default()), &cancel);
    let outcome = run.await;
    assert_eq!((outcome.error.is_none(), outcome.rows.values().sum()), (true, 5), "{:?}", outcome.error);
    let written = serde_json::to_string(&outcome).unwrap();
    assert!(!written.contains(KEY) && !written.contains("elt-secret-"), "{written}");
}
