//! Syncs whose requests are delayed by a rate gate.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elt_host::{Error, RateGate};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use crate::server::{Server, answer};
use crate::support::{Script, until};

/// Lets as many requests through as it has permits, and remembers what it was told.
struct Toll {
    permits: Semaphore,
    told: Mutex<Vec<String>>,
    visited: Notify,
}

impl Toll {
    fn closed() -> Arc<Self> {
        Arc::new(Self { permits: Semaphore::new(0), told: Mutex::default(), visited: Notify::new() })
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    fn script(self: &Arc<Self>, server: &Server, steps: Value) -> Script {
        let mut script = Script::new(steps).with("base_url", json!(server.url()));
        script.client = script.client.gated(self.clone());
        script
    }

    /// Waits until somebody waits here.
    async fn visited(&self) {
        until(&self.visited, || !self.told().is_empty()).await;
    }
}

impl RateGate for Toll {
    fn before_request<'a>(&'a self, origin: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            self.told.lock().unwrap().push(origin.to_string());
            self.visited.notify_waiters();
            self.permits.acquire().await.unwrap().forget();
        })
    }

    fn throttled(&self, wait: Duration) {
        self.told.lock().unwrap().push(format!("{wait:?}"));
    }
}

#[tokio::test]
async fn a_request_is_sent_when_its_pace_lets_it_and_waits_are_told() {
    let server = Server::start(|_| answer("200 OK", "fine")).await;
    let toll = Toll::closed();
    let steps =
        json!([["get", "http://elsewhere.example"], ["get", server.url()], ["throttled", 1500], ["get", server.url()]]);
    let run = tokio::spawn(toll.script(&server, steps).run());
    toll.visited().await;
    assert_eq!(
        (toll.told(), server.requests().len()),
        (vec![server.url()], 0),
        "only what is allowed asks for its turn"
    );
    toll.permits.add_permits(2);
    let run = run.await.unwrap();
    assert_eq!(run.log()[2..], ["200 fine", "200 fine"], "{:?}", run.log());
    assert_eq!(toll.told(), [server.url(), "1.5s".to_owned(), server.url()]);
}

#[tokio::test]
async fn a_sync_that_is_held_back_can_be_cancelled() {
    let server = Server::start(|_| answer("200 OK", "fine")).await;
    let toll = Toll::closed();
    let script = toll.script(&server, json!([["rows", 0, 1], ["checkpoint", {"a": "1"}], ["get", server.url()]]));
    let cancel = script.cancel.clone();
    let run = tokio::spawn(script.run());
    toll.visited().await;
    cancel.cancel();
    let run = tokio::time::timeout(Duration::from_secs(20), run).await.unwrap().unwrap();
    assert!(matches!(run.outcome.error, Some(Error::Interrupted)), "{}", run.error());
    assert_eq!((run.contents.rows(), server.requests().len()), (1, 0));
}

/// Hears what is computed, and does blocking work itself.
#[derive(Default)]
struct Ledger {
    computed: Mutex<Duration>,
    blocked: Mutex<usize>,
}

impl RateGate for Ledger {
    fn before_request<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }

    fn throttled(&self, _: Duration) {}

    fn computed(&self, time: Duration) {
        *self.computed.lock().unwrap() += time;
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        *self.blocked.lock().unwrap() += 1;
        let done = tokio::task::spawn_blocking(work);
        Box::pin(async move { done.await.unwrap() })
    }
}

#[tokio::test]
async fn who_runs_a_sync_hears_what_it_computes_and_does_what_blocks() {
    let ledger = Arc::new(Ledger::default());
    let mut script = Script::new(json!([["rows", 0, 1000], ["checkpoint", {"a": "1"}]]));
    script.client = script.client.gated(ledger.clone());
    let run = script.run().await;
    assert_eq!((run.error().as_str(), run.contents.rows()), ("", 1000));
    // The destination's computing is in it too, and no part of the sync's own.
    let (computed, blocked) = (*ledger.computed.lock().unwrap(), *ledger.blocked.lock().unwrap());
    assert!(
        computed > run.outcome.cpu_time && run.outcome.cpu_time > Duration::ZERO,
        "{computed:?} {:?}",
        run.outcome.cpu_time
    );
    // Opened, written, ended, and dropped.
    assert!(blocked >= 4, "{blocked}");
}
