//! The host's side of every import: what a guest can do to the world. One file for each interface of `wit/`.

pub(crate) mod convert;
pub(crate) mod destination;
pub(crate) mod http;
mod http_codes;
pub(crate) mod http_failures;
mod http_handle;
mod http_texts;
mod log;
mod progress;
pub(crate) mod refused;

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings;
use crate::runtime::limits::{MemoryLimit, StopSignal};
use crate::runtime::policy::Limits;
use crate::runtime::report::Reporter;

/// Bytes of random data for one call.
const RANDOM_BYTES: u64 = 1 << 16;

/// What an instance's imports work on.
pub(crate) struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: http::Hooks,
    pub(crate) memory: MemoryLimit,
    pub(crate) report: Arc<Reporter>,
    pub(crate) stop: StopSignal,
    /// Only `sync` has somewhere to send rows to.
    pub(crate) sink: Option<destination::Sink>,
}

impl Guest {
    /// A guest that works within `limits`, with at most `memory` bytes of linear memory, and sends requests through `gate`.
    pub(crate) fn new(
        limits: &Limits,
        memory: usize,
        gate: Arc<http::Gate>,
        report: Arc<Reporter>,
        stop: StopSignal,
        sink: Option<destination::Sink>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.header_bytes);
        Self {
            table,
            // Neither arguments nor environment, files, standard streams or sockets; those interfaces are not linked either.
            wasi: WasiCtx::builder().max_random_size(RANDOM_BYTES).build(),
            http,
            hooks: http::Hooks { gate },
            memory: MemoryLimit::new(memory),
            report,
            stop,
            sink,
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

// The interface has types and no functions.
impl bindings::types::Host for Guest {}

/// Links the imports of the world `connector`, and no other.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings::{clocks, io, random};
    struct Table;
    impl wasmtime::component::HasData for Table {
        type Data<'a> = &'a mut ResourceTable;
    }

    io::error::add_to_linker::<_, Table>(linker, |guest| &mut guest.table)?;
    io::poll::add_to_linker::<_, Table>(linker, |guest| &mut guest.table)?;
    io::streams::add_to_linker::<_, Table>(linker, |guest| &mut guest.table)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks)?;
    random::random::add_to_linker::<_, WasiRandom>(linker, Guest::random)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    http_texts::link(linker)?;
    http_codes::link(linker)?;
    http_handle::link(linker)?;
    bindings::types::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    bindings::destination::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    bindings::log::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    bindings::progress::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    Ok(())
}
