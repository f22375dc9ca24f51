//! `wasi:http` and the WASI clocks as an [`Exchange`].

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::api::bodies::Bodies;
use crate::api::exchange::{Exchange, Method, Request, Response, TransportError};

use super::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use super::bindings::wasi::http::outgoing_handler;
use super::bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method as WasiMethod, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use super::bindings::wasi::io::streams::StreamError;
use super::bindings::wasi::random::random;
use super::executor::ready;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(60);
const BETWEEN_BYTES_TIMEOUT: Duration = Duration::from_secs(30);

/// How much is read from a body at once.
const READ_BYTES: u64 = 256 << 10;

/// The host's `wasi:http`.
#[derive(Debug, Default)]
pub(super) struct WasiExchange {
    bodies: Bodies,
}

fn failed(what: impl std::fmt::Display) -> TransportError {
    TransportError::Failed(what.to_string())
}

/// An error code in words, and whether another attempt would end the same way.
fn transport_error(code: &ErrorCode) -> TransportError {
    let text = match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            return TransportError::Denied("the host does not allow this request".to_owned());
        }
        ErrorCode::TlsCertificateError => {
            return TransportError::Denied("the server's certificate is not trusted".to_owned());
        }
        ErrorCode::InternalError(Some(text)) => return failed(text),
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) => "the host name can't be resolved",
        ErrorCode::ConnectionRefused => "the connection was refused",
        ErrorCode::ConnectionTerminated => "the connection broke",
        ErrorCode::ConnectionTimeout => "no connection within the time limit",
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => "no response within the time limit",
        ErrorCode::HttpResponseIncomplete => "the response ended too early",
        ErrorCode::HttpResponseContentCoding(_) => "the response's compression is unknown, damaged or cut short",
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => "TLS failed",
        other => return failed(format!("{other:?}")),
    };
    failed(text)
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, TransportError> {
    let invalid = || failed(format!("{:?} is not a URL that can be asked", request.url));
    let url = fluent_uri::Uri::parse(request.url.as_str()).map_err(|_| invalid())?;
    let authority = url.authority().ok_or_else(invalid)?;
    let mut path = url.path().as_str().to_owned();
    if path.is_empty() {
        path.push('/');
    }
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query.as_str());
    }
    let mut headers: Vec<(String, Vec<u8>)> =
        request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    if request.method == Method::Post {
        headers.push(("content-length".to_owned(), request.body.len().to_string().into_bytes()));
    }
    let headers = Fields::from_list(&headers).map_err(|error| failed(format!("a header is not allowed: {error:?}")))?;
    let outgoing = OutgoingRequest::new(headers);
    let method = match request.method {
        Method::Get => WasiMethod::Get,
        Method::Post => WasiMethod::Post,
    };
    let scheme = if url.scheme().as_str().eq_ignore_ascii_case("http") { Scheme::Http } else { Scheme::Https };
    outgoing.set_method(&method).map_err(|()| invalid())?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid())?;
    outgoing.set_authority(Some(authority.as_str())).map_err(|()| invalid())?;
    outgoing.set_path_with_query(Some(&path)).map_err(|()| invalid())?;
    Ok(outgoing)
}

fn options() -> RequestOptions {
    let options = RequestOptions::new();
    let nanoseconds = |duration: Duration| Some(duration.as_nanos() as u64);
    // A host that has no such timeouts has its own.
    let _ = options.set_connect_timeout(nanoseconds(CONNECT_TIMEOUT));
    let _ = options.set_first_byte_timeout(nanoseconds(FIRST_BYTE_TIMEOUT));
    let _ = options.set_between_bytes_timeout(nanoseconds(BETWEEN_BYTES_TIMEOUT));
    options
}

/// Writes a request's body. What goes wrong here shows in the response, whose error says more.
async fn write(body: OutgoingBody, bytes: &[u8]) {
    let Ok(stream) = body.write() else { return };
    let mut rest = bytes;
    while !rest.is_empty() {
        ready(stream.subscribe()).await;
        let Ok(room) = stream.check_write() else {
            return;
        };
        let (now, later) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        if stream.write(now).is_err() {
            return;
        }
        rest = later;
    }
    if stream.flush().is_err() {
        return;
    }
    ready(stream.subscribe()).await;
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

/// Makes room for `more` bytes: twice what there is, but no more than `limit`, since while a body moves both places are held.
fn make_room(bytes: &mut Vec<u8>, more: usize, limit: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let capacity = bytes.capacity().saturating_mul(2).min(limit).max(needed);
        bytes.reserve_exact(capacity - bytes.len());
    }
}

async fn read(response: &IncomingResponse, limit: usize, bodies: &Bodies) -> Result<Vec<u8>, TransportError> {
    let mut held = bodies.begin();
    let body = response.consume().map_err(|()| failed("the response has no body"))?;
    let stream = body.stream().map_err(|()| failed("the response's body can't be read"))?;
    let mut bytes = Vec::new();
    loop {
        held.turn().await;
        ready(stream.subscribe()).await;
        match stream.read(READ_BYTES) {
            Ok(part) if bytes.len() + part.len() > limit => {
                return Err(TransportError::TooLarge(limit));
            }
            Ok(part) => {
                let room = bytes.capacity();
                if bytes.is_empty() {
                    bytes = part;
                } else {
                    make_room(&mut bytes, part.len(), limit);
                    bytes.extend_from_slice(&part);
                }
                // What it takes of memory, which may be twice what came.
                held.grew(bytes.capacity() - room);
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                let code = super::bindings::wasi::http::types::http_error_code(&error);
                return Err(code.map_or_else(|| failed("the response broke off"), |code| transport_error(&code)));
            }
        }
    }
    drop(stream);
    // A response can look whole and still have ended in an error, which only its trailers tell.
    let trailers = IncomingBody::finish(body);
    ready(trailers.subscribe()).await;
    match trailers.get() {
        Some(Ok(Err(code))) => Err(transport_error(&code)),
        _ => Ok(bytes),
    }
}

impl Exchange for WasiExchange {
    async fn send(&self, request: &Request, limit: usize) -> Result<Response, TransportError> {
        let outgoing = outgoing(request)?;
        // A body that is never asked for can't be lost to a race with the response.
        let body = match request.method {
            Method::Post => Some(outgoing.body().map_err(|()| failed("the request takes no body"))?),
            Method::Get => None,
        };
        let future = outgoing_handler::handle(outgoing, Some(options())).map_err(|code| transport_error(&code))?;
        if let Some(body) = body {
            write(body, &request.body).await;
        }
        ready(future.subscribe()).await;
        let response = match future.get() {
            Some(Ok(Ok(response))) => response,
            Some(Ok(Err(code))) => return Err(transport_error(&code)),
            Some(Err(())) | None => return Err(failed("the host gave no response")),
        };
        let headers =
            response.headers().entries().into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        Ok(Response { status: response.status(), headers, body: read(&response, limit, &self.bodies).await? })
    }

    async fn sleep(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        ready(monotonic_clock::subscribe_duration(nanoseconds)).await;
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(monotonic_clock::now())
    }

    fn wall_clock(&self) -> DateTime<Utc> {
        let now = wall_clock::now();
        i64::try_from(now.seconds)
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, now.nanoseconds))
            .unwrap_or_default()
    }

    fn random(&self) -> u64 {
        random::get_random_u64()
    }
}
