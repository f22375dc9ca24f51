//! How requests are sent: over plain HTTP, with connections kept for the next request.
//!
//! The crate `wasmtime-wasi-http` brings a client of its own, TLS included, with its feature `default-send-request`; then all of this
//! is `impl WasiHttpHooks for Requests {}`. It is switched off here so that every program of this workspace is built with the same crates.
//! What a host does about requests (which origins it allows, for how long it waits, how much it reads) belongs here as well.

use std::future::ready;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// When the guest asks for no other.
const FIRST_BYTE: Duration = Duration::from_secs(600);
const CONNECT: Duration = Duration::from_secs(10);

type Answer = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// Sends requests. Clones share connections.
#[derive(Clone)]
pub(crate) struct Requests(Client<HttpConnector, WasiBody>);

impl Requests {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let exchange = self.0.request(request);
        let patience = options.and_then(|options| options.first_byte_timeout).unwrap_or(FIRST_BYTE);
        Box::new(async move {
            let answer = timeout(patience, exchange).await.map_err(|_| Error::ConnectionReadTimeout)?;
            let answer = answer.map_err(|error| match error.is_connect() {
                true => Error::ConnectionRefused,
                false => Error::ConnectionTerminated,
            })?;
            let answer = answer.map(|body| body.map_err(Error::from).boxed_unsync());
            Ok((answer, Box::new(ready(Ok(()))) as Box<_>))
        })
    }
}
