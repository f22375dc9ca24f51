//! `http-error-code`: why the body of a response broke off.
//!
//! wasmtime 48 keeps the reason as its own error type and looks for another one when the guest asks, so a guest would never
//! learn why. This function takes the place of wasmtime's and looks for both.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::Error as WasiError;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, IoError};

use super::Guest;
use super::http_texts::TYPES;

/// Replaces the function; wasi:http must be linked already.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("http-error-code", |store: StoreContextMut<'_, Guest>, (error,): (Resource<IoError>,)| {
        let error = store.data().table.get(&error)?;
        let own = || error.downcast_ref::<WasiError>().map(code);
        Ok((error.downcast_ref::<ErrorCode>().cloned().or_else(own),))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The codes that [`crate::http::body::limited`] and [`crate::http::body::gzip`] give.
fn code(error: &WasiError) -> ErrorCode {
    match error {
        WasiError::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        WasiError::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        WasiError::HttpProtocolError => ErrorCode::HttpProtocolError,
        WasiError::HttpResponseBodySize(size) => ErrorCode::HttpResponseBodySize(*size),
        WasiError::HttpResponseContentCoding(coding) => ErrorCode::HttpResponseContentCoding(coding.clone()),
        WasiError::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        WasiError::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        other => ErrorCode::InternalError(Some(other.to_string())),
    }
}
