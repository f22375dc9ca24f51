//! Requests in every way that a guest can make one and lose interest in it.

use crate::bindings::elt::connector::log;
use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::http::outgoing_handler::handle;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    OutgoingResponse, RequestOptions, http_error_code,
};
use crate::bindings::wasi::io::poll;
use crate::bindings::wasi::io::streams::StreamError;
use crate::{memory, requests};

/// Ways to use a request.
const WAYS: u64 = 14;

/// `["assorted", url, count]`: that many requests, one way after the other. The log says how large the memory was after a tenth of them, and
/// at the end. `url/broken` has to break off in the middle of its body, and `url/trailers` to end with trailers.
pub(crate) fn requests(url: &str, count: u64) {
    for number in 0..count {
        one(url, number % WAYS);
        if number + 1 == count / 10 || number + 1 == count {
            log::write(log::Level::Info, &format!("{} pages after {}", memory::pages(), number + 1));
        }
    }
}

fn one(url: &str, way: u64) {
    match way {
        // Everything as it should be: with options, clones and headers that are looked at.
        0 => {
            if let Some(response) = answer(url) {
                drop((response.headers().clone(), response.headers().entries()));
                whole(&response);
            }
        }
        // As a connector waits: for several things at once.
        1 => {
            let Ok(future) = asked(url) else { return };
            let (answered, timer) = (future.subscribe(), monotonic_clock::subscribe_duration(60_000_000_000));
            poll::poll(&[&answered, &timer, &future.subscribe()]);
            drop((answered, timer));
            if let Some(Ok(Ok(response))) = future.get() {
                whole(&response);
            }
            // A second time there is nothing.
            drop(future.get());
        }
        // A body, and trailers.
        2 => drop(post(url, true, true)),
        3 => drop(post(url, true, false)),
        // A body that is begun and dropped, and one that is never asked for again.
        4 => drop(post(url, false, false)),
        5 => drop(asked(url)),
        // The response is dropped, its body, its stream, its trailers.
        6 => drop(answer(url)),
        7 => drop(answer(url).map(|response| response.consume())),
        8 => {
            let body = answer(url).and_then(|response| response.consume().ok());
            if let Some(body) = body {
                if let Ok(stream) = body.stream() {
                    stream.subscribe().block();
                }
                drop(IncomingBody::finish(body));
            }
        }
        9 => {
            if let Some(response) = answer(&format!("{url}/trailers")) {
                whole(&response);
            }
        }
        // It breaks off, and the guest asks why.
        10 => {
            if let Some(response) = answer(&format!("{url}/broken")) {
                whole(&response);
            }
        }
        // Refused: by the policy, for what it is, for its length.
        11 => drop(asked("http://elsewhere.example/").map(|future| future.subscribe().block())),
        12 => {
            let long = Fields::from_list(&[("content-length".to_owned(), b"5".to_vec())]);
            drop(long.map(|fields| handle(OutgoingRequest::new(fields), Some(RequestOptions::new()))));
        }
        // Never sent.
        _ => {
            let fields = Fields::new();
            drop(OutgoingResponse::new(fields.clone()));
            drop((RequestOptions::new(), fields, requests::request(url, Fields::new())));
        }
    }
}

fn asked(url: &str) -> Result<FutureIncomingResponse, ErrorCode> {
    let request = requests::request(url, Fields::new()).map_err(|why| ErrorCode::InternalError(Some(why)))?;
    handle(request, Some(RequestOptions::new()))
}

fn answer(url: &str) -> Option<IncomingResponse> {
    let future = asked(url).ok()?;
    future.subscribe().block();
    future.get()?.ok()?.ok()
}

/// Reads a response to its end.
fn whole(response: &IncomingResponse) {
    let Ok(body) = response.consume() else { return };
    if let Ok(stream) = body.stream() {
        loop {
            match stream.blocking_read(1 << 16) {
                Ok(_) => {}
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => {
                    drop((http_error_code(&error), error.to_debug_string()));
                    break;
                }
            }
        }
    }
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    drop(trailers.get());
}

fn post(url: &str, finish: bool, trailers: bool) -> Result<(), ErrorCode> {
    let internal = |()| ErrorCode::InternalError(None);
    let request = requests::request(url, Fields::new()).map_err(|why| ErrorCode::InternalError(Some(why)))?;
    request.set_method(&Method::Post).map_err(internal)?;
    let body = request.body().map_err(internal)?;
    let future = handle(request, Some(RequestOptions::new()))?;
    let stream = body.write().map_err(internal)?;
    drop(stream.blocking_write_and_flush(b"a body"));
    drop(stream);
    if !finish {
        drop(body);
    } else {
        OutgoingBody::finish(body, trailers.then(Fields::new))?;
    }
    future.subscribe().block();
    if let Some(Ok(Ok(response))) = future.get() {
        whole(&response);
    }
    Ok(())
}
