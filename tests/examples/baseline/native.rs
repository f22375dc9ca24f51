//! The connector's sync logic as native code, and what it asked and emitted.

use std::cell::RefCell;
use std::time::Duration;

use chrono::{DateTime, Utc};
use elt_host::{Change, Group};
use serde_json::Value;
use wandb_connector::api::exchange::{Exchange, Request, Response, TransportError};
use wandb_connector::batch::Batch;
use wandb_connector::config::Config;
use wandb_connector::destination::{Destination, Level, StatePatch};
use wandb_connector::error::Error;
use wandb_connector::sync;
use wandb_connector::sync::state::State;
use wandb_connector::tables::TABLES;
use wandb_connector_tests::native::NativeExchange;

use crate::arrow;

/// A sync that was not stored.
pub(crate) struct Collected {
    /// What was asked, in order.
    pub(crate) requests: Vec<Request>,
    /// What came of it, in order.
    pub(crate) groups: Vec<Group>,
}

/// One sync from nothing; returns its requests.
pub(crate) async fn sync(
    config: &Value,
    store: impl FnMut(Group) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Request>> {
    let config = Config::parse(&config.to_string())?;
    let exchange = Recording { inner: NativeExchange::new(), requests: RefCell::default() };
    let destination = Groups { open: RefCell::default(), store: RefCell::new(store) };
    sync::sync(&exchange, &destination, &config, State::new()).await?;
    Ok(exchange.requests.into_inner())
}

/// Remembers the requests.
struct Recording {
    inner: NativeExchange,
    requests: RefCell<Vec<Request>>,
}

impl Exchange for Recording {
    async fn send(&self, request: &Request, limit: usize) -> Result<Response, TransportError> {
        self.requests.borrow_mut().push(request.clone());
        self.inner.send(request, limit).await
    }

    async fn sleep(&self, duration: Duration) {
        self.inner.sleep(duration).await;
    }

    fn now(&self) -> Duration {
        self.inner.now()
    }

    fn wall_clock(&self) -> DateTime<Utc> {
        self.inner.wall_clock()
    }

    fn random(&self) -> u64 {
        self.inner.random()
    }
}

/// Gathers groups.
struct Groups<S> {
    open: RefCell<Vec<Change>>,
    store: RefCell<S>,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Destination(error.to_string())
}

fn number(table: &str) -> Result<usize, Error> {
    TABLES.iter().position(|known| known.name == table).ok_or_else(|| failed("no such table"))
}

impl<S: FnMut(Group) -> anyhow::Result<()>> Destination for Groups<S> {
    fn upsert(&self, table: &'static str, rows: Batch) -> Result<(), Error> {
        let change = Change::Upsert { table: number(table)?, rows: arrow::batch(rows).map_err(failed)? };
        self.open.borrow_mut().push(change);
        Ok(())
    }

    fn delete(&self, table: &'static str, keys: Batch) -> Result<(), Error> {
        let change = Change::Delete { table: number(table)?, keys: arrow::batch(keys).map_err(failed)? };
        self.open.borrow_mut().push(change);
        Ok(())
    }

    fn checkpoint(&self, patch: StatePatch) -> Result<(), Error> {
        let changes = self.open.take();
        (self.store.borrow_mut())(Group { changes, patch }).map_err(failed)
    }

    fn log(&self, _level: Level, _message: &str) {}

    fn progress(&self, _what: &str, _done: u64, _total: Option<u64>) {}

    fn throttled(&self, _wait: Duration) {}
}
