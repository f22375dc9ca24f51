//! Syncs a source into SQLite with this project's host:  embed wandb_connector.wasm configuration.json warehouse.db
//!
//! Ctrl-C stops it; everything that was complete is stored, and the next sync goes on from there.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use elt_destinations::url::{Access, open};
use elt_host::{Cache, CancellationToken, Connector, Engine, EngineOptions, Event, HttpClient, Observer, SyncRequest};
use serde_json::{Value, json};

const PAUSE: Duration = Duration::from_secs(5);

/// Logs and progress, on standard error. Of many reports one is shown now and then.
struct Terminal(Mutex<Instant>);

impl Observer for Terminal {
    fn event(&self, event: Event) {
        match event {
            Event::Log { level, message } => eprintln!("{level:?}: {message}"),
            Event::Progress { what, done, total: Some(total) } => {
                let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if Instant::now() >= *next {
                    *next = Instant::now() + PAUSE;
                    eprintln!("{done} of {total} {what}");
                }
            }
            Event::Throttled(wait) => eprintln!("the source asks to wait for {wait:?}"),
            Event::Committed { rows, .. } => eprintln!("{} rows are stored", rows.values().sum::<u64>()),
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, configuration, database] = arguments.as_slice() else {
        bail!("usage: embed COMPONENT CONFIGURATION DATABASE")
    };
    // One engine for a process, one connector for a component, one client for a tenant.
    let engine = Engine::new(&EngineOptions::default())?;
    let connector = Connector::load_file(&engine, component.as_ref(), &Cache::for_user("wandb-sync"))?;
    let client = HttpClient::default();
    let destination = open(&format!("sqlite:{database}").parse()?, Access::ReadWrite)?;
    let Value::Object(config) = serde_json::from_slice(&std::fs::read(configuration)?)? else {
        bail!("no JSON object")
    };
    let request = SyncRequest::new(connector.spec().await?, config);
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| stop.cancel()) });
    let terminal = Arc::new(Terminal(Mutex::new(Instant::now() + PAUSE)));
    let outcome = connector.sync(request, destination, &client, terminal, &cancel).await;
    if let Some(error) = outcome.error {
        return Err(error).context("the sync ended early");
    }
    let (items, left_out) = (outcome.items, outcome.quarantined);
    println!(
        "{}",
        json!({"synced": items.synced, "unchanged": items.unchanged, "quarantined": left_out, "retries": outcome.retries})
    );
    Ok(())
}
