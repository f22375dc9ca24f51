//! Connections: a name is resolved, its addresses are checked, and exactly a checked address is dialled.
//!
//! Resolving and dialling are two small traits, so that tests can say what a name resolves to and see what is dialled
//! without reaching for any network.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tower_service::Service;

use elt_support::address;
use elt_support::origin::{Host, Origin};

/// A future in a box.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The longest that one connection may take; a guest can ask for less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an address may keep the next one waiting ("happy eyeballs", RFC 8305).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Finds a name's addresses.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, in the order of preference.
    fn resolve<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<IpAddr>>>;
}

/// Opens connections.
pub trait Dial: Send + Sync {
    /// Connects to `address`.
    fn dial(&self, address: SocketAddr) -> Boxed<'_, io::Result<TcpStream>>;
}

/// The system's resolver and TCP.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

impl Dial for System {
    fn dial(&self, address: SocketAddr) -> Boxed<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The URL has no usable origin. Requests are checked earlier, so this is never seen.
    #[error("the URL has no host")]
    Malformed,
    /// The name has no address.
    #[error("`{host}` was not found: {why}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        why: io::Error,
    },
    /// The name resolves to addresses that may not be dialled.
    #[error(
        "`{host}` resolves to {address}, {kind} address; if that is meant, allow it with `--allow-network {address}`"
    )]
    Prohibited {
        /// The name.
        host: String,
        /// The first of the addresses.
        address: IpAddr,
        /// What is special about it.
        kind: &'static str,
    },
    /// No address answered.
    #[error("`{host}` can't be reached: {why}")]
    Connect {
        /// The host that was dialled: the origin's, or the proxy's.
        host: String,
        /// What the last address answered.
        why: io::Error,
    },
    /// Nothing answered in time.
    #[error("connecting to `{host}` took too long")]
    Timeout {
        /// The host.
        host: String,
    },
    /// The proxy did not let the connection through.
    #[error("the proxy {proxy} does not connect: {why}")]
    Proxy {
        /// The proxy's URL, without credentials.
        proxy: String,
        /// What it says.
        why: String,
    },
    /// The proxy wants to know who asks (HTTP 407).
    #[error("the proxy {proxy} {}", demand(*.given))]
    ProxyCredentials {
        /// The proxy's URL, without credentials.
        proxy: String,
        /// Whether its variable holds a user.
        given: bool,
    },
}

impl DialError {
    /// A proxy answered 407.
    pub(crate) fn proxy_credentials(proxy: &Intercept) -> Self {
        Self::ProxyCredentials { proxy: proxy.uri().to_string(), given: proxy.basic_auth().is_some() }
    }
}

fn demand(given: bool) -> &'static str {
    match given {
        true => "does not accept the user and the password in its variable (HTTP 407 of the proxy, not of the server)",
        false => {
            "wants a user and a password (HTTP 407 of the proxy, not of the server); write them into its variable: \
             HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
        }
    }
}

/// Makes connections for a pooled client; cheap to clone.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) resolve: Arc<dyn Resolve>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) networks: Arc<[IpNet]>,
    pub(crate) proxy: Arc<Matcher>,
}

impl Dialler {
    /// The proxy for a URL. What is on this machine is never asked for from another one.
    pub(crate) fn proxy(&self, uri: &Uri) -> Option<Intercept> {
        let local = Origin::of(uri).is_ok_and(|origin| origin.host().names_loopback());
        if local { None } else { self.proxy.intercept(uri) }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, DialError> {
        let origin = Origin::of(&uri).map_err(|_| DialError::Malformed)?;
        let host = origin.host().to_string();
        let connecting = async {
            match self.proxy(&uri) {
                Some(proxy) => self.through(&proxy, uri).await,
                None => self.direct(&origin).await.map(|tcp| Stream { tcp: TokioIo::new(tcp), proxied: false }),
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or(Err(DialError::Timeout { host }))
    }

    /// Dials an address of the origin itself.
    async fn direct(&self, origin: &Origin) -> Result<TcpStream, DialError> {
        let addresses = match origin.host() {
            // Whoever wrote the configuration wrote this address.
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.checked(name).await?,
        };
        self.first_to_answer(&origin.host().to_string(), &addresses, origin.port()).await
    }

    /// The addresses of a name that may be dialled.
    async fn checked(&self, name: &str) -> Result<Vec<IpAddr>, DialError> {
        let found = self.resolve.resolve(name).await;
        let found = found.map_err(|why| DialError::Resolve { host: name.to_owned(), why })?;
        // `localhost` names this machine, and nothing else.
        let allowed = |address: &IpAddr| match name {
            "localhost" => address.to_canonical().is_loopback(),
            _ => address::is_allowed(*address, &self.networks),
        };
        let checked: Vec<IpAddr> = found.iter().copied().filter(allowed).collect();
        match found.first() {
            Some(_) if !checked.is_empty() => Ok(checked),
            Some(&address) => {
                let kind = address::special(address).unwrap_or("another");
                Err(DialError::Prohibited { host: name.to_owned(), address, kind })
            }
            None => {
                let why = io::Error::new(io::ErrorKind::NotFound, "it has no address");
                Err(DialError::Resolve { host: name.to_owned(), why })
            }
        }
    }

    /// Dials address after address, without waiting long for one, and takes the first that answers.
    async fn first_to_answer(&self, host: &str, addresses: &[IpAddr], port: u16) -> Result<TcpStream, DialError> {
        let mut attempts = FuturesUnordered::new();
        let mut waiting = addresses.iter();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        loop {
            if let Some(address) = waiting.next() {
                attempts.push(self.dial.dial(SocketAddr::new(*address, port)));
            }
            let next = match waiting.len() {
                0 => attempts.next().await,
                _ => match tokio::time::timeout(NEXT_ADDRESS, attempts.next()).await {
                    Ok(answered) => answered,
                    Err(_) => continue,
                },
            };
            match next {
                Some(Ok(tcp)) => {
                    // Requests are written whole; waiting to join small packets would only delay them.
                    tcp.set_nodelay(true).ok();
                    return Ok(tcp);
                }
                Some(Err(why)) => last = why,
                None if waiting.len() == 0 => {
                    return Err(DialError::Connect { host: host.to_owned(), why: last });
                }
                None => {}
            }
        }
    }

    /// Goes through a proxy: a tunnel for `https`, and for `http` requests that name their whole URL.
    async fn through(&self, proxy: &Intercept, uri: Uri) -> Result<Stream, DialError> {
        let shown = proxy.uri().to_string();
        let failed = |why: &dyn std::error::Error| DialError::Proxy { proxy: shown.clone(), why: with_sources(why) };
        let to_proxy = ToProxy { dialler: self.clone() };
        match (proxy.uri().scheme_str(), uri.scheme_str()) {
            (Some("http"), Some("https")) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
                if let Some(credentials) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                let tcp = tunnel.call(uri).await.map_err(|why| match why {
                    TunnelError::ProxyAuthRequired => DialError::proxy_credentials(proxy),
                    why => failed(&why),
                })?;
                Ok(Stream { tcp, proxied: false })
            }
            (Some("http"), _) => {
                let tcp = self.to_proxy(proxy.uri()).await?;
                Ok(Stream { tcp: TokioIo::new(tcp), proxied: true })
            }
            (Some("socks5" | "socks5h"), _) => {
                let mut socks = SocksV5::new(proxy.uri().clone(), to_proxy);
                if let Some((user, password)) = proxy.raw_auth() {
                    socks = socks.with_auth(user.to_owned(), password.to_owned());
                }
                let tcp = socks.call(uri).await.map_err(|why| failed(&why))?;
                Ok(Stream { tcp, proxied: false })
            }
            _ => {
                let why = "only `http://` and `socks5h://` proxies are supported".to_owned();
                Err(DialError::Proxy { proxy: shown, why })
            }
        }
    }

    /// Dials the proxy itself, which the environment names: no address of it is special.
    async fn to_proxy(&self, proxy: &Uri) -> Result<TcpStream, DialError> {
        let host = proxy.host().and_then(Host::parse).ok_or(DialError::Malformed)?;
        let name = host.to_string();
        let addresses = match &host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let found = self.resolve.resolve(name).await;
                found.map_err(|why| DialError::Resolve { host: name.clone(), why })?
            }
        };
        let own_port = if proxy.scheme_str() == Some("http") { 80 } else { 1080 };
        self.first_to_answer(&name, &addresses, proxy.port_u16().unwrap_or(own_port)).await
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Service<Uri> for Dialler {
    type Response = Stream;
    type Error = DialError;
    type Future = Boxed<'static, Result<Stream, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// The library does not name it.
type TunnelError = <Tunnel<ToProxy> as Service<Uri>>::Error;

/// The inner service of a tunnel: whatever it is asked for, it is the proxy.
#[derive(Clone)]
struct ToProxy {
    dialler: Dialler,
}

impl Service<Uri> for ToProxy {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Boxed<'static, Result<TokioIo<TcpStream>, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let dialler = self.dialler.clone();
        Box::pin(async move { dialler.to_proxy(&proxy).await.map(TokioIo::new) })
    }
}

/// A connection, and whether requests on it are for a proxy.
pub(crate) struct Stream {
    tcp: TokioIo<TcpStream>,
    proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
