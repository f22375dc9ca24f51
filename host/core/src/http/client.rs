//! The HTTP client that a tenant's syncs share: one pool of connections, HTTP/2 where the server offers it.
//!
//! It follows no redirect, keeps no cookie, and dials checked addresses only ([`crate::http::egress::dial`]). The wasi:http
//! implementation of wasmtime would open a connection, with its TLS handshake, for each request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use elt_support::certificates;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody};

use crate::http::egress::dial::{Dial, DialError, Dialler, Resolve, System};
use crate::http::error as http_error;
use crate::http::proxy;
use crate::http::rate_gate::{RateGate, Ungated};

/// How long an unused connection is kept. Shorter than most servers keep theirs.
const IDLE: Duration = Duration::from_secs(50);
/// Connections to one origin that are kept although unused; a connector has fewer requests in flight.
const IDLE_CONNECTIONS: usize = 64;

/// How long the parts of an exchange may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until there is a connection.
    pub connect: Duration,
    /// From then until the response's head.
    pub first_byte: Duration,
    /// Between two parts of the response's body. As the longest that a guest may ask for it is also how long requests wait for one of
    /// [`open_requests`](crate::runtime::policy::Limits::open_requests) while the guest reads none of those.
    pub between_bytes: Duration,
}

impl Timeouts {
    /// What a guest may ask for at most, unless its host says otherwise.
    pub const LONGEST: Self = Self {
        connect: Duration::from_secs(60),
        first_byte: Duration::from_secs(600),
        between_bytes: Duration::from_secs(300),
    };

    /// What the guest asks for, or the defaults where it asks for nothing; never more than `longest`.
    pub fn for_guest(asked: Option<RequestOptions>, longest: Self) -> Self {
        let choose = |asked: Option<Duration>, default, longest| {
            // A timeout of zero would fail every request; the smallest that a timer can keep is meant.
            asked.unwrap_or(Duration::from_secs(default)).min(longest).max(Duration::from_millis(1))
        };
        let asked = asked.unwrap_or_default();
        Self {
            connect: choose(asked.connect_timeout, 10, longest.connect),
            first_byte: choose(asked.first_byte_timeout, 60, longest.first_byte),
            between_bytes: choose(asked.between_bytes_timeout, 30, longest.between_bytes),
        }
    }
}

/// What an [`HttpClient`] is made of. The default is the system's resolver, TCP, root certificates and proxy variables.
#[derive(Clone)]
pub struct HttpOptions {
    /// Finds addresses.
    pub resolve: Arc<dyn Resolve>,
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// Which proxy to use for what.
    pub proxy: Arc<Matcher>,
    /// How to speak TLS; none for what this process trusts ([`elt_support::certificates`]).
    pub tls: Option<rustls::ClientConfig>,
    /// No guest is given more time than this, whatever it asks for.
    pub longest: Timeouts,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            resolve: Arc::new(System),
            dial: Arc::new(System),
            proxy: Arc::new(proxy::from_environment()),
            tls: None,
            longest: Timeouts::LONGEST,
        }
    }
}

type Pool = Client<HttpsConnector<Dialler>, WasiBody>;

/// The way of a tenant's syncs to the network: one pool of connections, HTTP/2 where the server offers it, the proxies and certificates of
/// the environment. Cheap to clone; clones share connections. One for each tenant: what is shared is also told apart by none.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
    gate: Arc<dyn RateGate>,
}

struct Shared {
    options: HttpOptions,
    tls: std::sync::OnceLock<rustls::ClientConfig>,
    /// A connection that one policy allowed must not serve a request under another, so each has a pool of its own.
    pools: Mutex<HashMap<Vec<IpNet>, Pool>>,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new(HttpOptions::default())
    }
}

impl HttpClient {
    /// Connects to nothing yet.
    pub fn new(options: HttpOptions) -> Self {
        let shared = Shared { options, tls: std::sync::OnceLock::new(), pools: Mutex::default() };
        Self { shared: Arc::new(shared), gate: Arc::new(Ungated) }
    }

    /// The same connections, with requests that wait for `gate`.
    #[must_use]
    pub fn gated(&self, gate: Arc<dyn RateGate>) -> Self {
        Self { shared: self.shared.clone(), gate }
    }

    /// What its requests wait for.
    pub(crate) fn gate(&self) -> &Arc<dyn RateGate> {
        &self.gate
    }

    /// How long a request of a guest may take that asks for `asked`.
    pub(crate) fn timeouts(&self, asked: Option<RequestOptions>) -> Timeouts {
        Timeouts::for_guest(asked, self.shared.options.longest)
    }

    /// No guest is given more time than this.
    pub(crate) fn longest(&self) -> Timeouts {
        self.shared.options.longest
    }

    /// Sends one request, whose origin was allowed already, and waits for the head of the response. Special addresses are
    /// dialled only in `networks`.
    pub(crate) async fn send(
        &self,
        networks: &[IpNet],
        mut request: Request<WasiBody>,
        timeouts: Timeouts,
    ) -> Result<Response<Incoming>, http_error::Failure> {
        let (pool, dialler) = self.pool(networks);
        // Through a tunnel a proxy sees no request.
        let proxy = dialler.proxy(request.uri()).filter(|_| request.uri().scheme_str() == Some("http"));
        if let Some(credentials) = proxy.as_ref().and_then(|proxy| proxy.basic_auth()) {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, credentials.clone());
        }
        let host = request.uri().host().unwrap_or_default().to_owned();
        let failed = |why| http_error::Failure::of(why, &host);
        let mut connection = capture_connection(&mut request);
        let mut exchange = std::pin::pin!(pool.request(request));
        let connected = async {
            // Never resolves when connecting fails; the exchange does then.
            drop(connection.wait_for_connection_metadata().await);
        };
        tokio::select! {
            biased;
            answer = &mut exchange => return answer.map_err(failed).and_then(|answer| answered(answer, proxy.as_ref())),
            late = tokio::time::timeout(timeouts.connect, connected) => {
                late.map_err(|_| http_error::Failure::from(WasiError::ConnectionTimeout))?;
            }
        }
        match tokio::time::timeout(timeouts.first_byte, exchange).await {
            Ok(answer) => answer.map_err(failed).and_then(|answer| answered(answer, proxy.as_ref())),
            Err(_) => Err(WasiError::ConnectionReadTimeout.into()),
        }
    }

    fn pool(&self, networks: &[IpNet]) -> (Pool, Dialler) {
        let Shared { options, tls, pools } = &*self.shared;
        let dialler = Dialler {
            resolve: options.resolve.clone(),
            dial: options.dial.clone(),
            networks: networks.into(),
            proxy: options.proxy.clone(),
        };
        let mut pools = pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.entry(networks.to_vec()).or_insert_with(|| {
            let tls = tls.get_or_init(|| own_tls(options.tls.as_ref())).clone();
            build(dialler.clone(), tls)
        });
        (pool.clone(), dialler)
    }
}

/// The answer, unless it is the proxy's own demand for credentials.
fn answered(answer: Response<Incoming>, proxy: Option<&Intercept>) -> Result<Response<Incoming>, http_error::Failure> {
    match proxy {
        Some(proxy) if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Err(http_error::Failure::of_dial(&DialError::proxy_credentials(proxy)))
        }
        _ => Ok(answer),
    }
}

fn build(dialler: Dialler, tls: rustls::ClientConfig) -> Pool {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(dialler);
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        // Pages of a few MiB over a long way: the default windows (64 KiB) would be waited for all the time.
        .http2_adaptive_window(true)
        .build(connector)
}

/// TLS as `given`, or as the system's. Sessions are remembered by this client alone: clones of a configuration would share them, and
/// a server could tell by them that two tenants are one process.
fn own_tls(given: Option<&rustls::ClientConfig>) -> rustls::ClientConfig {
    let mut own = given.cloned().unwrap_or_else(certificates::system_tls);
    own.resumption = rustls::client::Resumption::default();
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_may_ask_for_shorter_waits_and_not_for_endless_ones() {
        let seconds = Duration::from_secs;
        let asked = |connect, first_byte, between_bytes| {
            let asked = RequestOptions {
                connect_timeout: connect,
                first_byte_timeout: first_byte,
                between_bytes_timeout: between_bytes,
            };
            let timeouts = Timeouts::for_guest(Some(asked), Timeouts::LONGEST);
            (timeouts.connect, timeouts.first_byte, timeouts.between_bytes)
        };
        assert_eq!(asked(None, None, None), (seconds(10), seconds(60), seconds(30)));
        assert_eq!(asked(Some(seconds(1)), Some(seconds(2)), Some(seconds(3))), (seconds(1), seconds(2), seconds(3)));
        let (forever, never) = (Some(Duration::MAX), Some(Duration::ZERO));
        assert_eq!(asked(forever, forever, forever), (seconds(60), seconds(600), seconds(300)));
        assert!(asked(never, never, never).0 > Duration::ZERO);
        assert_eq!(Timeouts::for_guest(None, Timeouts::LONGEST).connect, seconds(10));
        let short = Timeouts { connect: seconds(2), ..Timeouts::LONGEST };
        assert_eq!(Timeouts::for_guest(None, short).connect, seconds(2), "whatever the guest asks for");
    }
}
