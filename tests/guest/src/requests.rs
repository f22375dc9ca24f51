//! Requests, honest and other. What came of one is logged: `200 body` or the error.

use serde_json::Value;

use crate::bindings::elt::connector::log;
use crate::bindings::wasi::http::outgoing_handler::handle;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme, http_error_code,
};
use crate::bindings::wasi::io::streams::StreamError;

/// `["get", url, {header: value or values}, timeout in ms]`, for `post` then the size of its body; `KEY` in a header, a body or the URL is the `api_key` that the guest was given, and
/// `BASIC` the Basic credentials with it.
pub(crate) fn exchange(verb: &str, url: &str, step: &Value, config: &Value) {
    let key = config["api_key"].as_str().unwrap_or_default();
    let basic = base64(format!("api:{key}").as_bytes());
    let fill = |text: &str| text.replace("KEY", key).replace("BASIC", &basic);
    let headers = step[2].as_object().into_iter().flatten();
    let values = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        one => vec![one.clone()],
    };
    let headers = headers.flat_map(|(name, value)| values(value).into_iter().map(move |value| (name, value)));
    let headers: Vec<(String, String)> =
        headers.map(|(name, value)| (fill(name), fill(value.as_str().unwrap_or_default()))).collect();
    let body = verb.starts_with("post").then(|| match step[4].as_u64() {
        Some(bytes) => "x".repeat(usize::try_from(bytes).unwrap_or_default()),
        None => fill("body with KEY"),
    });
    let trailers = (verb == "post-trailers").then(|| ["authorization", "x-key"].map(|name| (name, fill("Bearer KEY"))));
    let shown = match send(&fill(url), &headers, body.as_deref(), trailers, step[3].as_u64(), verb == "get-all") {
        Ok(text) => text,
        Err(why) => format!("error {why}"),
    };
    log::write(log::Level::Info, &shown);
}

fn send(
    url: &str,
    headers: &[(String, String)],
    body: Option<&str>,
    trailers: Option<[(&str, String); 2]>,
    timeout: Option<u64>,
    all: bool,
) -> Result<String, String> {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).map_err(|why| format!("header {why:?}"))?;
    }
    // With trailers the body is sent in chunks.
    if let (Some(body), None) = (body, &trailers) {
        fields.append("content-length", body.len().to_string().as_bytes()).map_err(|why| format!("header {why:?}"))?;
    }
    let request = request(url, fields)?;
    let options = RequestOptions::new();
    if let Some(milliseconds) = timeout {
        let nanoseconds = Some(milliseconds * 1_000_000);
        let set = [
            options.set_connect_timeout(nanoseconds),
            options.set_first_byte_timeout(nanoseconds),
            options.set_between_bytes_timeout(nanoseconds),
        ];
        if set.iter().any(Result::is_err) {
            return Err("timeouts".into());
        }
    }
    let outgoing = match body {
        Some(_) => {
            request.set_method(&Method::Post).map_err(|()| "method")?;
            Some(request.body().map_err(|()| "body")?)
        }
        None => None,
    };
    let future = handle(request, Some(options)).map_err(|code| format!("{code:?}"))?;
    if let (Some(outgoing), Some(body)) = (outgoing, body) {
        let stream = outgoing.write().map_err(|()| "write")?;
        for part in body.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(part).map_err(|why| format!("{why:?}"))?;
        }
        drop(stream);
        let trailers = trailers.map(|trailers| {
            let fields = Fields::new();
            for (name, value) in &trailers {
                fields.append(name, value.as_bytes()).ok();
            }
            fields
        });
        OutgoingBody::finish(outgoing, trailers).map_err(|why| format!("{why:?}"))?;
    }
    read(&future, all).map_err(|code| format!("{code:?}"))
}

pub(crate) fn request(url: &str, fields: Fields) -> Result<OutgoingRequest, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let request = OutgoingRequest::new(fields);
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "authority")?;
    request.set_path_with_query(Some(path)).map_err(|()| "path")?;
    Ok(request)
}

fn said(fields: &[(String, Vec<u8>)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {}; ", String::from_utf8_lossy(value))).collect()
}

/// `all`: with the headers and trailers.
fn read(future: &FutureIncomingResponse, all: bool) -> Result<String, ErrorCode> {
    future.subscribe().block();
    let internal = || ErrorCode::InternalError(None);
    let response = future.get().ok_or_else(internal)?.map_err(|()| internal())??;
    let body = response.consume().map_err(|()| internal())?;
    let stream = body.stream().map_err(|()| internal())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(1 << 20) {
            Ok(part) => bytes.extend(part),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(http_error_code(&error).unwrap_or_else(internal));
            }
        }
    }
    drop(stream);
    let future = IncomingBody::finish(body);
    future.subscribe().block();
    let trailers = match future.get() {
        Some(Ok(Ok(Some(trailers)))) => trailers.entries(),
        _ => Vec::new(),
    };
    let text = String::from_utf8_lossy(&bytes);
    let shown: String = text.chars().take(2000).collect();
    let shown = format!("{} {shown}", response.status());
    Ok(if all { format!("{shown} {:?} {}", response.headers().entries(), said(&trailers)) } else { shown })
}

/// Asks, and reads no byte of the response: the host does, on its way to the trailers.
pub(crate) fn skip(url: &str) {
    let Some(future) = request(url, Fields::new()).ok().and_then(|request| handle(request, None).ok()) else { return };
    future.subscribe().block();
    let Some(Ok(Ok(response))) = future.get() else { return };
    let Ok(body) = response.consume() else { return };
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    log::write(log::Level::Info, &format!("skipped, trailers {:?}", trailers.get().map(|got| got.is_ok())));
}

/// Opens many requests at once, then reads one response after the other.
pub(crate) fn open_and_read(url: &str, count: u64) {
    let open = |_| request(url, Fields::new()).ok().and_then(|request| handle(request, None).ok());
    let requests: Vec<_> = (0..count).map(open).collect();
    for future in requests.iter().flatten() {
        let shown = read(future, false).unwrap_or_else(|code| format!("error {code:?}"));
        log::write(log::Level::Info, &shown);
    }
}

/// Opens many requests, waits until each is answered, and reads no response.
pub(crate) fn open(url: &str, count: u64) {
    let open = |_| request(url, Fields::new()).ok().and_then(|request| handle(request, None).ok());
    let requests: Vec<_> = (0..count).map(open).collect();
    for future in requests.iter().flatten() {
        future.subscribe().block();
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| (group << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (group >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}
