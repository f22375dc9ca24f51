//! What the component in its host is measured against: `make bench` calls this.
//!
//! ```text
//! baseline sync CONFIGURATION DESTINATION    the same sync, natively: no WebAssembly, no policy
//! baseline limits CONFIGURATION              what no sync can beat: the download alone, the insertion alone
//! baseline store CONFIGURATION DESTINATION…  the same rows from memory into destinations
//! baseline profile CONFIGURATION DESTINATION COMPONENT   who works how long in a sync
//! baseline start COMPONENT                   compiling a component, starting instances of it
//! baseline parse COMPONENT                   reading JSON alone, natively and as a component
//! baseline running COMPONENT CONFIGURATION KIND COUNT   the memory of syncs that run at once, to `sqlite` or `null`
//! ```
//! Each prints one JSON object. Times are seconds.

mod arrow;
mod download;
mod insert;
mod native;
mod parse;
mod profile;
mod running;
mod start;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use elt_destinations::url;
use elt_host::test_support::writer::Writer;
use elt_host::test_support::writer::WriterOptions;
use elt_host::{Group, Preparation};
use serde_json::{Value, json};

use native::Collected;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let printed = match arguments.as_slice() {
        ["sync", config, destination] => sync(&read(config)?, destination).await?,
        ["limits", config] => limits(&read(config)?).await?,
        ["store", config, destinations @ ..] => store(&read(config)?, destinations).await?,
        ["profile", config, destination, component] => profile::profile(&read(config)?, destination, component).await?,
        ["start", component] => {
            start::start(&std::fs::read(component)?).await.map_err(|why| anyhow::anyhow!("{why:#}"))?
        }
        ["parse", component] => parse::parse(&std::fs::read(component)?).map_err(|why| anyhow::anyhow!("{why:#}"))?,
        ["running", component, config, kind, count] => {
            running::running(&std::fs::read(component)?, &read(config)?, kind, count.parse()?).await?
        }
        _ => anyhow::bail!(
            "usage: baseline sync|limits|store CONFIGURATION [DESTINATION…], or baseline start|parse COMPONENT, \
             or baseline profile CONFIGURATION DESTINATION COMPONENT, \
             or baseline running COMPONENT CONFIGURATION KIND COUNT"
        ),
    };
    println!("{printed}");
    Ok(())
}

fn read(path: &str) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Ok(serde_json::from_str(&text)?)
}

/// Opens a destination and the thread that writes to it, as the host does.
async fn writer(destination: &str) -> anyhow::Result<Writer> {
    let destination = url::open(&destination.parse()?, url::Access::ReadWrite)?;
    let preparation = Preparation { tables: arrow::tables()?, synced_at: 0, full_refresh: true };
    let (writer, prepared) = Writer::start(destination, preparation, WriterOptions::default());
    prepared.await??;
    Ok(writer)
}

async fn sync(config: &Value, destination: &str) -> anyhow::Result<Value> {
    let began = Instant::now();
    let writer = writer(destination).await?;
    let requests = native::sync(config, |group| {
        // The sync logic hands groups over without waiting; the writer's queue is what holds it back.
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(writer.send(group)))?;
        Ok(())
    })
    .await?
    .len();
    let (report, stored) = writer.close().await;
    stored?;
    Ok(json!({ "seconds": began.elapsed().as_secs_f64(), "rows": report.rows, "requests": requests }))
}

async fn collect(config: &Value) -> anyhow::Result<Collected> {
    let mut groups: Vec<Group> = Vec::new();
    let requests = native::sync(config, |group| {
        groups.push(group);
        Ok(())
    })
    .await?;
    Ok(Collected { requests, groups })
}

async fn limits(config: &Value) -> anyhow::Result<Value> {
    let Collected { requests, groups } = collect(config).await?;
    let concurrency = config["concurrency"].as_u64().unwrap_or(16) as usize;
    let (mut download, mut insert) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..3 {
        let began = Instant::now();
        bytes = download::replay(&requests, concurrency).await?;
        download.push(began.elapsed());
        let began = Instant::now();
        insert::insert(&groups)?;
        insert.push(began.elapsed());
    }
    Ok(json!({
        "requests": requests.len(), "bytes": bytes,
        "download_seconds": median(download), "insert_seconds": median(insert),
    }))
}

async fn store(config: &Value, destinations: &[&str]) -> anyhow::Result<Value> {
    let Collected { groups, .. } = collect(config).await?;
    let mut seconds = serde_json::Map::new();
    for destination in destinations {
        let began = Instant::now();
        let writer = writer(destination).await?;
        for group in &groups {
            writer.send(group.clone()).await?;
        }
        writer.close().await.1?;
        seconds.insert((*destination).to_owned(), json!(began.elapsed().as_secs_f64()));
    }
    Ok(Value::Object(seconds))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}
