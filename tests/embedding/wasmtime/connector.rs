//! Runs a source connector, a component of the contract `elt:connector`.
//!
//! What it reads goes to a *destination* of yours, which implements the contract's imports as they are generated:
//! [`destination::Host`], [`log::Host`] and [`progress::Host`].

use serde_json::Value;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::http::Requests;

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "elt:connector/connector",
        with: {
            "wasi:clocks": wasmtime_wasi::p2::bindings::sync::clocks,
            "wasi:http": wasmtime_wasi_http::p2::bindings::sync::http,
            "wasi:io": wasmtime_wasi::p2::bindings::sync::io,
            "wasi:random": wasmtime_wasi::p2::bindings::sync::random,
        },
        require_store_data_send: true,
    });
}

pub(crate) use bindings::elt::connector::{destination, log, progress, types};

/// What a component calls.
pub(crate) trait Destination: destination::Host + log::Host + progress::Host + Send + 'static {}

impl<T: destination::Host + log::Host + progress::Host + Send + 'static> Destination for T {}

/// What the imports of one instance work on.
struct Guest<D> {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    requests: Requests,
    types: Types,
    destination: D,
}

struct Types;

// The interface has types and no functions.
impl types::Host for Types {}

impl<D: Send> WasiView for Guest<D> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl<D: Send> WasiHttpView for Guest<D> {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.requests, table: &mut self.table, ctx: &mut self.http }
    }
}

/// A component, compiled once. Every call runs in a fresh instance with memory of its own.
pub(crate) struct Connector {
    engine: Engine,
    component: Component,
    requests: Requests,
}

impl Connector {
    /// Compiles a component. (Keep what `Component::serialize` gives, if programs start often.)
    pub(crate) fn load(file: &str) -> Result<Self> {
        let engine = Engine::default();
        let component = Component::from_file(&engine, file)?;
        Ok(Self { engine, component, requests: Requests::new() })
    }

    /// The JSON Schema of the configuration.
    pub(crate) fn spec(&self) -> Result<String> {
        let (mut store, connector) = self.instance(Nowhere)?;
        connector.elt_connector_source().call_spec(&mut store)
    }

    /// Tries a configuration against the source. Returns a sentence for people.
    pub(crate) fn check(&self, config: &Value) -> Result<Result<String, types::Error>> {
        let (mut store, connector) = self.instance(Nowhere)?;
        connector.elt_connector_source().call_check(&mut store, &config.to_string())
    }

    /// The tables that a sync writes.
    pub(crate) fn schema(&self, config: &Value) -> Result<Result<Vec<types::TableSchema>, types::Error>> {
        let (mut store, connector) = self.instance(Nowhere)?;
        connector.elt_connector_source().call_schema(&mut store, &config.to_string())
    }

    /// Brings a destination up to date, and gives it back. `state` is what all patches so far made.
    pub(crate) fn sync<D: Destination>(
        &self,
        config: &Value,
        state: &[(String, String)],
        destination: D,
    ) -> Result<(D, Result<types::Summary, types::Error>)> {
        let (mut store, connector) = self.instance(destination)?;
        let result = connector.elt_connector_source().call_sync(&mut store, &config.to_string(), state)?;
        Ok((store.into_data().destination, result))
    }

    fn instance<D: Destination>(&self, destination: D) -> Result<(Store<Guest<D>>, bindings::Connector)> {
        let mut linker = Linker::<Guest<D>>::new(&self.engine);
        wasmtime_wasi_http::p2::add_to_linker_sync(&mut linker)?;
        types::add_to_linker::<_, HasSelf<Types>>(&mut linker, |guest| &mut guest.types)?;
        destination::add_to_linker::<_, HasSelf<D>>(&mut linker, |guest| &mut guest.destination)?;
        log::add_to_linker::<_, HasSelf<D>>(&mut linker, |guest| &mut guest.destination)?;
        progress::add_to_linker::<_, HasSelf<D>>(&mut linker, |guest| &mut guest.destination)?;
        let guest = Guest {
            table: ResourceTable::new(),
            wasi: WasiCtx::default(), // No files, no environment, no arguments.
            http: WasiHttpCtx::new(),
            requests: self.requests.clone(),
            types: Types,
            destination,
        };
        let mut store = Store::new(&self.engine, guest);
        let connector = bindings::Connector::instantiate(&mut store, &self.component, &linker)?;
        Ok((store, connector))
    }
}

/// For calls that have nothing to store.
struct Nowhere;

impl destination::Host for Nowhere {
    fn upsert(&mut self, _: String, _: types::Batch) -> Result<(), destination::DestinationError> {
        Err(nowhere())
    }

    fn delete(&mut self, _: String, _: types::Batch) -> Result<(), destination::DestinationError> {
        Err(nowhere())
    }

    fn checkpoint(&mut self, _: destination::StatePatch) -> Result<(), destination::DestinationError> {
        Err(nowhere())
    }
}

fn nowhere() -> destination::DestinationError {
    destination::DestinationError::Invalid("rows can be sent in `sync` only".to_owned())
}

impl log::Host for Nowhere {
    fn write(&mut self, _: log::Level, _: String) {}
}

impl progress::Host for Nowhere {
    fn report(&mut self, _: String, _: u64, _: Option<u64>) {}

    fn throttled(&mut self, _: u64) {}
}
