//! Tenants that are made up, a server that shows them, and a client that says byte by byte what it asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use elt_host::CancellationToken;
use elt_serve::metrics::Metrics;
use elt_serve::overview::{RunningSync, Slots, TenantOverview, Watch};
use elt_serve::record::{SyncEnd, SyncRecord};
use elt_serve::status::Server;
use elt_serve::status::token::Token;
use elt_serve::tenant::TenantId;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The token of every server here that has one.
pub(crate) const TOKEN: &str = "t0ken-of-the-tests-0123456789";
/// Enough for whatever should happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a scheduler would show.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) tenants: Mutex<Vec<TenantOverview>>,
    pub(crate) history: Mutex<BTreeMap<TenantId, Vec<SyncRecord>>>,
    pub(crate) problems: Mutex<Vec<String>>,
    pub(crate) is_ready: AtomicBool,
}

impl Watch for Fake {
    fn tenants(&self) -> Vec<TenantOverview> {
        self.tenants.lock().unwrap().clone()
    }

    fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }

    fn history(&self, tenant: &TenantId, most: usize) -> Vec<SyncRecord> {
        let history = self.history.lock().unwrap();
        history.get(tenant).map(|records| records.iter().take(most).cloned().collect()).unwrap_or_default()
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    fn slots(&self) -> Slots {
        let running = self.tenants.lock().unwrap().iter().filter(|tenant| tenant.running.is_some()).count();
        Slots { taken: running, all: 16 }
    }
}

impl Fake {
    /// Adds a tenant whose syncs ended like that, the newest first.
    pub(crate) fn add(&self, id: &str, outcomes: &[&str]) {
        let (id, now) = (id.parse::<TenantId>().unwrap(), Utc::now());
        let ago = |minutes| now - TimeDelta::minutes(minutes);
        let history: Vec<SyncRecord> = (0..)
            .zip(outcomes)
            .map(|(nth, outcome)| record(&id, ago(10 * (nth + 1)), TimeDelta::seconds(3 + nth % 7), outcome))
            .collect();
        let fresh_as_of = history.iter().find(|record| record.is_complete()).map(|record| record.started);
        let (labels, next) = (BTreeMap::from([("plan".into(), "basic".into())]), Some(now + TimeDelta::minutes(5)));
        let last = history.first().cloned();
        let tenant = TenantOverview { id: id.clone(), labels, next, waits: None, running: None, last, fresh_as_of };
        self.tenants.lock().unwrap().push(tenant);
        self.history.lock().unwrap().insert(id, history);
    }

    /// Changes a tenant.
    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut TenantOverview)) {
        let mut tenants = self.tenants.lock().unwrap();
        change(tenants.iter_mut().find(|tenant| tenant.id.as_str() == id).unwrap());
    }

    /// Has a sync run.
    pub(crate) fn run(&self, id: &str, rows: u64, throttled: bool) {
        let running = RunningSync { started: Utc::now() - TimeDelta::seconds(30), rows, throttled };
        self.change(id, |tenant| (tenant.running, tenant.next) = (Some(running), None));
    }

    /// Gives the last sync a message.
    pub(crate) fn say(&self, id: &str, message: &str) {
        let mut history = self.history.lock().unwrap();
        let record = &mut history.get_mut(&id.parse::<TenantId>().unwrap()).unwrap()[0];
        record.end.as_mut().unwrap().message = Some(message.to_owned());
        let last = Some(record.clone());
        self.change(id, |tenant| tenant.last = last);
    }
}

/// A sync that was two seconds late.
pub(crate) fn record(tenant: &TenantId, started: DateTime<Utc>, took: TimeDelta, outcome: &str) -> SyncRecord {
    let end = SyncEnd {
        at: started + took,
        outcome: outcome.to_owned(),
        message: (outcome != "ok").then(|| format!("it ended as {outcome}")),
        rows: 1234,
        items: (7, u64::from(outcome == "partial")),
        requests: 20,
        retries: 2,
        throttled: Duration::from_millis(1500),
        memory: 3 << 20,
    };
    SyncRecord { tenant: tenant.clone(), due: started - TimeDelta::seconds(2), started, end: Some(end) }
}

/// A status server that runs.
pub(crate) struct Running {
    pub(crate) watch: Arc<Fake>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    stopped: Option<tokio::task::JoinHandle<()>>,
}

impl Running {
    /// One without a token.
    pub(crate) async fn open() -> Self {
        Self::start(None).await
    }

    /// One that asks for [`TOKEN`].
    pub(crate) async fn closed() -> Self {
        Self::start(Token::new(TOKEN)).await
    }

    async fn start(token: Option<Token>) -> Self {
        let (watch, metrics) = (Arc::new(Fake::default()), Arc::new(Metrics::default()));
        watch.is_ready.store(true, Ordering::Relaxed);
        let server = Server::bind(([127, 0, 0, 1], 0).into(), token, watch.clone(), metrics.clone()).await.unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        let stopped = tokio::spawn(server.run(stop.clone().cancelled_owned()));
        Self { watch, metrics, address, stop, stopped: Some(stopped) }
    }

    /// Stops the server and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.stopped.take().unwrap()).await.unwrap().unwrap();
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// `GET` with these headers more, each a line.
    pub(crate) async fn get(&self, path: &str, headers: &[&str]) -> Reply {
        self.ask("GET", path, headers, "").await
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|line| line.starts_with("host:")) {
            head += &format!("host: {}\r\n", self.address);
        }
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        headers.iter().for_each(|line| head += &format!("{line}\r\n"));
        self.send(format!("{head}\r\n{body}").as_bytes()).await
    }

    /// Sends bytes, and reads until the server closes.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect().await;
        // A server that has heard enough may be gone already.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        Reply::parse(&answer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An answer. Status 0 is none.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head, body: bytes.get(end + 4..).unwrap_or_default().to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}
