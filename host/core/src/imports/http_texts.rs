//! The texts of a request that a guest is building: of a sensible length.
//!
//! wasmtime's wasi:http keeps method, scheme, authority and path of any length for as long as the guest holds the request.
//! A guest with few megabytes of its own could so fill the host's memory: these functions take the place of wasmtime's,
//! refuse long texts as the contract allows (`result<_, _>`), and leave the rest to wasmtime.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as _, Method, Scheme};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use super::Guest;

/// The interface, as wasmtime has linked it.
pub(super) const TYPES: &str = "wasi:http/types@0.2.12";
/// Bytes of a method or a scheme.
const WORD: usize = 32;
/// Bytes of a host name (253) with a port.
const AUTHORITY: usize = 512;
/// Bytes of a path with a query: signed URLs have some kilobytes.
const PATH: usize = 32 << 10;

type Answer = wasmtime::Result<(Result<(), ()>,)>;
type Store<'a> = StoreContextMut<'a, Guest>;
type Request = Resource<HostOutgoingRequest>;

/// Replaces the four functions; wasi:http must be linked already.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: Store<'_>, (request, method): (Request, Method)| {
            let long = matches!(&method, Method::Other(name) if name.len() > WORD);
            answer(long, || store.data_mut().http().set_method(request, method))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut store: Store<'_>, (request, scheme): (Request, Option<Scheme>)| {
            let long = matches!(&scheme, Some(Scheme::Other(name)) if name.len() > WORD);
            answer(long, || store.data_mut().http().set_scheme(request, scheme))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: Store<'_>, (request, text): (Request, Option<String>)| {
            answer(longer(&text, AUTHORITY), || store.data_mut().http().set_authority(request, text))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: Store<'_>, (request, text): (Request, Option<String>)| {
            answer(longer(&text, PATH), || store.data_mut().http().set_path_with_query(request, text))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn longer(text: &Option<String>, most: usize) -> bool {
    text.as_ref().is_some_and(|text| text.len() > most)
}

fn answer(refuse: bool, set: impl FnOnce() -> wasmtime::Result<Result<(), ()>>) -> Answer {
    if refuse { Ok((Err(()),)) } else { Ok((set()?,)) }
}
