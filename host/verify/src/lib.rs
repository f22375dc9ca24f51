//! Compares what a destination holds with what its source holds, and writes nothing to either.
//!
//! The source is read whole, as a first sync reads it, into a scratch database that keeps of each row its key and a
//! digest of its values. Then both sides are walked through in the order of their keys, table
//! by table, one row at a time. So every value is compared, JSON by what it says and not by how, and memory is bounded by the number of items, as it is
//! for a sync. An item is what the first column of a primary key names.
//!
//! Nobody syncs into the destination meanwhile: its lock is held, so a sync is refused with a message. The source may go
//! on changing. The connector's state tells what the last sync saw of an item, so what has changed since is told from
//! what is wrong.
#![forbid(unsafe_code)]

mod compare;
mod digest;
mod document;
mod entry;
mod known;
mod scratch;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use elt_destinations::reader::Reader;
use elt_destinations::url::DestinationUrl;
use elt_host::destination::lost;
use elt_host::{
    ConfigurationProblem, Connector, DestinationError, Error, Event, HttpClient, Level, LostTable, Observer, Policy,
    SyncRequest, Table,
};

use compare::Comparison;
use known::Known;
use scratch::{Scratch, ScratchDestination};

/// What a caller gives for one verification.
pub struct VerifyRequest {
    /// The connector's configuration, secrets included; what a sync of the same would get.
    pub config: Map<String, Value>,
    /// What to compare. It must exist.
    pub destination: DestinationUrl,
    /// What the connector may reach and use.
    pub policy: Policy,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// The unit of the items, in the singular and in the plural: what the connector calls them, where its state has an entry for each;
    /// else the name of the first key column, and that with an `s`.
    pub units: (String, String),
    /// Items that were looked at, whatever was found; deleted ones count apart.
    pub items: u64,
    /// Items of which both sides hold the same.
    pub equal: u64,
    /// Rows that both sides hold alike.
    pub equal_rows: u64,
    /// What was found of all other items, by identifier.
    pub findings: BTreeMap<String, Finding>,
    /// Tables that the destination has lost though its state answers for rows in them; the next sync reads these again.
    pub lost: Vec<LostTable>,
    /// HTTP requests made, retries included.
    pub requests: u64,
    /// How many of them were retries.
    pub retries: u64,
    /// From start to end.
    pub elapsed: Duration,
}

/// Why an item is not simply equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The source has it, the destination nothing of it.
    Missing,
    /// The item has changed at the source since the last sync, and what is stored agrees with what that sync saw.
    Behind(Differences),
    /// Something stored is not what it should be.
    Different(Differences),
    /// The item could not be compared; says why.
    Unchecked(String),
    /// The source no longer has it; its rows are in the destination only. Nothing is wrong with that.
    Deleted,
}

impl Finding {
    /// One word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Behind(_) => "behind",
            Self::Different(_) => "different",
            Self::Unchecked(_) => "unchecked",
            Self::Deleted => "deleted",
        }
    }
}

/// Rows of an item that are not the same on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Rows that only the source has.
    pub missing: u64,
    /// Rows that only the destination has.
    pub extra: u64,
    /// Rows whose values differ.
    pub altered: u64,
    /// The first of them, table by table, that the source has not changed since the last sync; else the first.
    pub first: Option<RowKey>,
    /// The item has changed at the source since the last sync, which may be the reason.
    pub changed_since: bool,
}

impl Differences {
    /// All of them.
    pub fn rows(&self) -> u64 {
        self.missing + self.extra + self.altered
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKey {
    /// Its table.
    pub table: String,
    /// Its key after the item's identifier: columns and values.
    pub key: Vec<(String, Value)>,
}

impl Verification {
    /// Whether everything is as it should be.
    pub fn is_ok(&self) -> bool {
        self.findings.values().all(|finding| *finding == Finding::Deleted)
    }

    /// How many items have a finding of that name.
    pub fn count(&self, name: &str) -> u64 {
        self.findings.values().filter(|finding| finding.name() == name).count() as u64
    }
}

/// Opens the destination to be read.
fn open(url: &DestinationUrl) -> Result<Box<dyn Reader>, Error> {
    url.reader().map_err(failed)?.ok_or_else(|| {
        let message = format!("`{url}` stores nothing, so there is nothing to verify; name the destination of a sync");
        Error::Configuration(vec![ConfigurationProblem { key: None, message }])
    })
}

/// Compares a destination with its source, row by row. Nothing is written but a scratch database in the system's temporary folder,
/// which is gone when this returns, and also when the process is killed.
pub async fn verify(
    connector: &Connector,
    request: VerifyRequest,
    client: &HttpClient,
    observer: Arc<dyn Observer>,
    cancel: &CancellationToken,
) -> Result<Verification, Error> {
    let started = Instant::now();
    let VerifyRequest { config, destination, policy } = request;
    let keys = connector.spec().await?.state().cloned().unwrap_or_default();
    let stored = open(&destination)?;
    let state = stored.state().map_err(failed)?;
    let scratch = Arc::new(Mutex::new(Scratch::new(stored.encoding())));
    let reader = ScratchDestination::new(scratch.clone(), known::seed(&state, &keys));
    let sync = SyncRequest::new(connector.spec().await?, config).policy(policy);
    let outcome =
        connector.sync(sync, Box::new(reader), client, Arc::new(ReaderObserver(observer.clone())), cancel).await;
    if let Some(error) = outcome.error {
        return Err(error);
    }
    let tables = scratch.lock().unwrap_or_else(PoisonError::into_inner).tables().to_vec();
    let mut lost = stored.lost_tables(&tables).map_err(failed)?;
    if lost::forget(&state, &lost, Some(&keys)).is_none() {
        lost.clear();
    }
    let known = Known::new(&state, &outcome.state, outcome.quarantined, &keys);
    let units = match (&keys.items, tables.first().and_then(first_key_column)) {
        (None, Some(column)) => (column.to_owned(), format!("{column}s")),
        _ => (outcome.items.unit, outcome.items.units),
    };
    let (cancel, name) = (cancel.clone(), destination.to_string());
    let compared = tokio::task::spawn_blocking(move || {
        let scratch = scratch.lock().unwrap_or_else(PoisonError::into_inner);
        Comparison::new(&scratch, &name, stored.as_ref(), &known, observer.as_ref(), &cancel).run()
    });
    let compared = compared.await.map_err(|why| Error::Internal(format!("the comparison stopped: {why}")))?;
    Ok(Verification {
        units,
        lost,
        requests: outcome.requests,
        retries: outcome.retries,
        elapsed: started.elapsed(),
        ..compared?
    })
}

fn first_key_column(table: &Table) -> Option<&str> {
    let first = table.primary_key().first().and_then(|index| table.columns().get(*index));
    first.map(|column| column.name.as_str())
}

/// Hears the connector that reads the source for a verification. What it says in the ordinary course is about a sync, and there is
/// none.
struct ReaderObserver(Arc<dyn Observer>);

impl Observer for ReaderObserver {
    fn event(&self, event: Event) {
        self.0.event(match event {
            Event::Log { level: Level::Info, message } => Event::Log { level: Level::Debug, message },
            other => other,
        });
    }
}

fn failed(error: DestinationError) -> Error {
    Error::Destination(error.to_string())
}
