//! The status page, its API, and what machines ask a process for.
//!
//! | path | what | token |
//! |---|---|---|
//! | `/healthz` | the process lives | no |
//! | `/readyz` | syncs are being started; else 503 | no |
//! | `/metrics` | numbers for Prometheus ([`super::metrics`]) | yes |
//! | `/` `/tenants/{id}` | pages for people | yes |
//! | `/api/tenants` `/api/tenants/{id}` `/api/tenants/{id}/history` | the same as JSON | yes |
//! | `/sign-in` `/sign-out` | a browser's way to give the token, and to forget it | |
//!
//! | module | concern |
//! |---|---|
//! | [`token`] | the secret that opens the page and the API |
//! | `sessions` | browsers that have given it |
//! | `connection` | how long and how much a client may ask |
//! | `routes` | who may ask for what |
//! | `answer` | responses, and the headers that all of them have |
//! | `state` | how a tenant is doing |
//! | `api`, `pages` | the same for programs and for people |
//!
//! Nothing here knows a configuration: all that can be shown comes from [`Watch`]. The pages need no script and nothing from elsewhere,
//! and their policy lets a browser load nothing.

mod answer;
mod api;
mod connection;
mod pages;
mod routes;
mod sessions;
mod state;
pub mod token;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::overview::Watch;
use sessions::Sessions;
use token::Token;

/// Connections that are open at once. Further ones wait until one is closed.
const CONNECTIONS: usize = 128;
/// Rendered answers that are in memory at once, until their clients have them: with 10,000 tenants one can be 25 MB.
const RENDERED: usize = 8;
/// After the system refused to accept a connection (no file descriptors are left), a moment for that to change.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What open connections have to end in when the server is stopped.
const CLOSING: Duration = Duration::from_secs(2);

/// Why there is no status server.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Anybody who reaches the address could look.
    #[error(
        "the status page at {0} could be read by whoever reaches that address: give it a token, or bind it to this machine \
         alone, such as 127.0.0.1:{port}", port = .0.port()
    )]
    Open(SocketAddr),
    /// The address can't be had.
    #[error("the status page can't be at {0}: {1}")]
    Bind(SocketAddr, io::Error),
}

/// Shows tenants over HTTP.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections share.
struct Shared {
    token: Option<Token>,
    sessions: Sessions,
    watch: Arc<dyn Watch>,
    metrics: Arc<Metrics>,
    /// Only this machine reaches the server; so requests name it by a name of this machine, or come from a page of somebody else's
    /// whose name was made to resolve to it.
    is_loopback: bool,
    rendered: Arc<Semaphore>,
}

impl Server {
    /// Takes an address; connections wait until [`run`](Self::run). What `token` opens needs none when there is none.
    ///
    /// # Errors
    /// The address is in use; or it can be reached from other machines and there is no token.
    pub async fn bind(
        address: SocketAddr,
        token: Option<Token>,
        watch: Arc<dyn Watch>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BindError> {
        let is_loopback = address.ip().to_canonical().is_loopback();
        if !is_loopback && token.is_none() {
            return Err(BindError::Open(address));
        }
        let failed = |why| BindError::Bind(address, why);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (sessions, rendered) = (Sessions::default(), Arc::new(Semaphore::new(RENDERED)));
        let shared = Shared { token, sessions, watch, metrics, is_loopback, rendered };
        Ok(Self { listener, address, shared: Arc::new(shared) })
    }

    /// Where it is: the port that was chosen, if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`, then lets open connections end within two seconds.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, shared, .. } = self;
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        let closing = CancellationToken::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let next = async {
                let place = room.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                (place, accepted) = next => match accepted {
                    Ok((stream, _)) => {
                        let serving = connection::serve(stream, shared.clone(), closing.clone());
                        connections.spawn(async move {
                            serving.await;
                            drop(place);
                        });
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
        drop(listener);
        closing.cancel();
        let ended = async { while connections.join_next().await.is_some() {} };
        // Dropped are those that did not end.
        tokio::time::timeout(CLOSING, ended).await.ok();
    }
}
