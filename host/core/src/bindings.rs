//! What `wit/` says, as Rust: generated for the world `elt:connector/connector`. The WASI interfaces are those of the
//! crates `wasmtime-wasi` and `wasmtime-wasi-http`.

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "elt:connector/connector",
        imports: {
            "elt:connector/destination": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:http": wasmtime_wasi_http::p2::bindings::http,
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:random": wasmtime_wasi::p2::bindings::random,
        },
        require_store_data_send: true,
    });
}

pub(crate) use generated::elt::connector::{destination, log, progress, types};
pub(crate) use generated::{Connector as World, ConnectorPre as WorldPre};
