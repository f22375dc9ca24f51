//! One request and its answer, over `wasi:http`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bindings::wasi::http::outgoing_handler::handle;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme, http_error_code,
};
use crate::bindings::wasi::io::poll::Pollable;
use crate::bindings::wasi::io::streams::{InputStream, StreamError};

static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// How many requests were made.
pub(crate) fn requests() -> u64 {
    REQUESTS.load(Ordering::Relaxed)
}

/// Milliseconds until a connection, and until the first byte of the answer.
pub(crate) type Timeouts = (u64, u64);

/// A request under way.
pub(crate) struct Asked(FutureIncomingResponse);

/// An answer whose body is still to be read. Fields are dropped in this order: a stream before its body.
pub(crate) struct Answer {
    stream: InputStream,
    body: IncomingBody,
    response: IncomingResponse,
}

/// Asks, with a body when there is one.
pub(crate) fn ask(url: &str, body: Option<&[u8]>, timeouts: Timeouts) -> Result<Asked, String> {
    let (authority, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).ok_or("no URL")?;
    let headers = Fields::new();
    headers.append("x-probe", b"one, two").map_err(|why| format!("{why:?}"))?;
    if let Some(body) = body {
        let length = body.len().to_string();
        headers.append("content-length", length.as_bytes()).map_err(|why| format!("{why:?}"))?;
    }
    let request = OutgoingRequest::new(headers);
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| "scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "authority")?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(|()| "path")?;
    let outgoing = match body {
        Some(_) => {
            request.set_method(&Method::Post).map_err(|()| "method")?;
            Some(request.body().map_err(|()| "body")?)
        }
        None => None,
    };
    let options = RequestOptions::new();
    let nanoseconds = |milliseconds| Some(milliseconds * 1_000_000);
    options.set_connect_timeout(nanoseconds(timeouts.0)).map_err(|()| "connect timeout")?;
    options.set_first_byte_timeout(nanoseconds(timeouts.1)).map_err(|()| "first-byte timeout")?;
    options.set_between_bytes_timeout(nanoseconds(timeouts.1)).map_err(|()| "between-bytes timeout")?;
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    let future = handle(request, Some(options)).map_err(|code| format!("{code:?}"))?;
    if let (Some(outgoing), Some(bytes)) = (outgoing, body) {
        write(outgoing, bytes);
    }
    Ok(Asked(future))
}

/// What goes wrong here shows in the answer. (A host may close the stream as soon as it has as many bytes as were announced, before
/// they are flushed.)
fn write(body: OutgoingBody, bytes: &[u8]) {
    let Ok(stream) = body.write() else { return };
    let mut rest = bytes;
    while !rest.is_empty() {
        stream.subscribe().block();
        let Ok(room) = stream.check_write() else { return };
        let (now, later) = rest.split_at(rest.len().min(room as usize));
        if stream.write(now).is_err() {
            return;
        }
        rest = later;
    }
    if stream.blocking_flush().is_ok() {
        drop(stream);
        drop(OutgoingBody::finish(body, None));
    }
}

impl Asked {
    pub(crate) fn subscribe(&self) -> Pollable {
        self.0.subscribe()
    }

    /// The answer, once its head is there.
    pub(crate) fn answer(&self) -> Result<Answer, ErrorCode> {
        self.subscribe().block();
        let none = || ErrorCode::InternalError(Some("no answer".into()));
        let response = self.0.get().ok_or_else(none)?.map_err(|()| none())??;
        let body = response.consume().map_err(|()| none())?;
        let stream = body.stream().map_err(|()| none())?;
        Ok(Answer { stream, body, response })
    }
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status()
    }

    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let entries = self.response.headers().entries().into_iter();
        let named = entries.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| String::from_utf8_lossy(&value).into_owned()).collect()
    }

    /// The next bytes; none at the end of the body.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, String> {
        match self.stream.blocking_read(64 << 10) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StreamError::Closed) => Ok(None),
            // What the code is differs from host to host; asking for it must be possible.
            Err(StreamError::LastOperationFailed(error)) => Err(format!("{:?}", http_error_code(&error))),
        }
    }

    /// The rest of the body.
    pub(crate) fn rest(self) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        while let Some(bytes) = self.read()? {
            all.extend(bytes);
        }
        drop(self.stream);
        let trailers = IncomingBody::finish(self.body);
        trailers.subscribe().block();
        match trailers.get() {
            Some(Ok(Err(code))) => Err(format!("{code:?}")),
            _ => Ok(all),
        }
    }

    pub(crate) fn text(self) -> Result<String, String> {
        self.rest().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}
