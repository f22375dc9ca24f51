//! An [`Exchange`] over hyper and tokio.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use wandb_connector::api::exchange::{Exchange, Method, Request, Response, TransportError};

/// Plain HTTP with pooled connections.
pub type PlainClient = Client<HttpConnector, Full<Bytes>>;

/// A new one, with a pool of its own.
pub fn client() -> PlainClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// A request of the connector as the client sends it.
///
/// # Errors
/// Its URL or a header can't be sent.
pub fn outgoing(request: &Request) -> http::Result<http::Request<Full<Bytes>>> {
    let method = match request.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
    };
    let mut builder = http::Request::builder().method(method).uri(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    builder.body(Full::from(request.body.clone()))
}

/// HTTP as the sync logic asks for it.
#[derive(Debug)]
pub struct NativeExchange {
    client: PlainClient,
    started: Instant,
}

impl NativeExchange {
    /// With real time.
    pub fn new() -> Self {
        Self { client: client(), started: Instant::now() }
    }
}

impl Default for NativeExchange {
    fn default() -> Self {
        Self::new()
    }
}

/// An error with its causes, as one line.
fn failed(error: &dyn std::error::Error) -> TransportError {
    let causes = std::iter::successors(Some(error), |error| error.source());
    TransportError::Failed(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

impl Exchange for NativeExchange {
    async fn send(&self, request: &Request, limit: usize) -> Result<Response, TransportError> {
        let outgoing = outgoing(request).map_err(|error| failed(&error))?;
        let response = self.client.request(outgoing).await.map_err(|error| failed(&error))?;
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| failed(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(TransportError::TooLarge(limit));
            }
            bytes.extend_from_slice(&data);
        }
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Ok(Response { status: parts.status.as_u16(), headers: headers.collect(), body: bytes })
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall_clock(&self) -> DateTime<Utc> {
        DateTime::from(std::time::SystemTime::now())
    }

    fn random(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }
}
