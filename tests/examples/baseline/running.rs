//! What a running sync of a small project takes of the process's memory, when many run at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use elt_destinations::url;
use elt_host::{
    Cache, CancellationToken, Connector, Engine, EngineOptions, Event, HttpClient, Observer, Outcome, RateGate,
    SyncRequest,
};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Holds the syncs at one of their requests, until all are there.
struct Hold {
    at: u64,
    arrived: Arc<Semaphore>,
    go: Arc<Semaphore>,
    seen: AtomicU64,
}

impl RateGate for Hold {
    fn before_request<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
                self.arrived.add_permits(1);
                if let Ok(go) = self.go.acquire().await {
                    go.forget();
                }
            }
        })
    }

    fn throttled(&self, _: Duration) {}
}

struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}

/// Bytes of the process: its share of what is resident. Pages that instances have in common count once.
fn resident() -> anyhow::Result<u64> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").context("reading this process's memory")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// Runs `count` syncs at once, and stops all of them at their first request, then at their second, and so on.
pub(crate) async fn running(component: &[u8], config: &Value, kind: &str, count: u32) -> anyhow::Result<Value> {
    let pooling = EngineOptions::default().pool(count, 512 << 20);
    let load = || Connector::load(&Engine::new(&pooling)?, component, &Cache::none());
    let config = config.as_object().context("the configuration is no object")?.clone();
    let folder = std::env::temp_dir().join(format!("baseline-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let destination = |name: &str| match kind {
        "sqlite" => format!("sqlite:{}", folder.join(name).display()),
        other => format!("{other}:"),
    };
    let closed = || Arc::new(Semaphore::new(0));
    let never = Hold { at: 0, arrived: closed(), go: closed(), seen: AtomicU64::new(0) };
    let connector = load()?;
    let first = sync(connector, config.clone(), destination("first.db"), never).await?;
    let mut held = Vec::new();
    let mut idle = Vec::new();
    let mut linear = first.memory;
    for at in 1..=first.requests {
        // A pool that nobody has used.
        let connector = load()?;
        connector.spec().await?;
        let base = resident()?;
        let (arrived, go) = (closed(), closed());
        let mut syncs = JoinSet::new();
        for n in 0..count {
            let hold = Hold { at, arrived: arrived.clone(), go: go.clone(), seen: AtomicU64::new(0) };
            syncs.spawn(sync(connector.clone(), config.clone(), destination(&format!("{at}-{n}.db")), hold));
        }
        arrived.acquire_many(count).await?.forget();
        held.push(resident()?.saturating_sub(base) / u64::from(count));
        go.add_permits(count as usize);
        while let Some(outcome) = syncs.join_next().await {
            linear = linear.max(outcome??.memory);
        }
        idle.push(resident()?.saturating_sub(base) / u64::from(count));
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(json!({
        "syncs": count, "destination": kind, "linear_memory_bytes": linear,
        "bytes_per_sync_at_request": held, "bytes_kept_per_place": idle,
    }))
}

/// One sync as a tenant's: its own client, its own destination.
async fn sync(
    connector: Connector,
    config: Map<String, Value>,
    destination: String,
    hold: Hold,
) -> anyhow::Result<Outcome> {
    let destination = url::open(&destination.parse()?, url::Access::ReadWrite)?;
    let request = SyncRequest::new(connector.spec().await?, config);
    let client = HttpClient::default().gated(Arc::new(hold));
    let outcome = connector.sync(request, destination, &client, Arc::new(Silent), &CancellationToken::new()).await;
    match outcome.error {
        Some(error) => Err(error.into()),
        None => Ok(outcome),
    }
}
