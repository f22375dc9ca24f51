//! `outgoing-handler.handle`: a request's options end with it.
//!
//! The contract gives `handle` the guest's `request-options` by value. wasmtime-wasi-http 48.0.8 reads them (`src/p2/http_impl.rs`:
//! `self.table.get(&opts)`, where `delete` is meant) and leaves them in the resource table. The guest has no handle left to drop them by,
//! so that each request with options costs an entry for as long as the instance lives, and a long sync ends at the limit `handles`.
//! This function takes the place of wasmtime's, leaves the work to it, and deletes them. It can go when wasmtime deletes them itself.
//!
//! What else wasi:http, wasi:io and wasi:clocks take by value they do delete (the request, its fields, both kinds of bodies, trailers, the
//! response, pollables with the timers behind them): `tests/runtime/steady.rs` holds all of it to a table of a few entries.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Host as _};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{RequestOptions, WasiHttpView};

use super::Guest;

/// The interface, as wasmtime has linked it.
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

type Arguments = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
type Answer = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

/// Replaces the function; wasi:http must be linked already.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut handler = linker.instance(HANDLER)?;
    handler.func_wrap("handle", |mut store: StoreContextMut<'_, Guest>, (request, options): Arguments| {
        let mut http = store.data_mut().http();
        let spent = options.as_ref().map(|options| Resource::<RequestOptions>::new_own(options.rep()));
        let answer: Answer = match http.handle(request, options) {
            Ok(response) => Ok(response),
            Err(why) => Err(http.convert_error_code(why)?),
        };
        if let Some(spent) = spent {
            http.table.delete(spent)?;
        }
        Ok((answer,))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}
