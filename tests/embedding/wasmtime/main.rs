//! A host of its own for source connectors: wasmtime, its WASI crates, and bindings made of `wit/`. Nothing of this project's host.
//!
//! ```text
//! wasmtime-host sync wandb_connector.wasm configuration.json warehouse.db
//! wasmtime-host conformance conformance.wasm http://127.0.0.1:PORT warehouse.db ACT…
//! ```
//!
//! | file | what |
//! |---|---|
//! | `connector.rs` | the contract: a component, compiled once, and its calls |
//! | `http.rs` | how requests are sent |
//! | `warehouse.rs` | rows and state in SQLite |
//! | `sync.rs`, `far.rs` | a sync, with logs and progress on standard error |
//! | `conformance.rs` | what the conformance kit wants to know of a host |

#![forbid(unsafe_code)]

mod conformance;
mod connector;
mod far;
mod http;
mod sync;
mod warehouse;

use std::process::ExitCode;

use wasmtime::Result;
use wasmtime::error::Context as _;

fn main() -> Result<ExitCode> {
    // Timers and requests of `wasmtime-wasi` run in it, while the guest runs in this thread.
    let runtime = tokio::runtime::Runtime::new()?;
    let _entered = runtime.enter();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["sync", component, configuration, database] => sync::main(component, configuration, database),
        ["conformance", component, base_url, database, acts @ ..] => {
            conformance::main(component, base_url, database, acts).map(|()| ExitCode::SUCCESS)
        }
        _ => None.context("usage: wasmtime-host sync COMPONENT CONFIGURATION DATABASE"),
    }
}
