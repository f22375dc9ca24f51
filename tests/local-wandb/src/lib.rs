//! A local W&B server: both dialects, made-up data of any size, the ground truth to compare a sync with, changes while it
//! runs, faults, and a record of what clients asked.
//!
//! ```no_run
//! # use local_wandb::{LocalWandb, Options, World, generate};
//! # async fn example() -> std::io::Result<()> {
//! let mut world = World::default();
//! *world.project_mut("acme", "demo") = generate::realistic(20, 7);
//! let server = LocalWandb::start(Options::with_world(world)).await?;
//! println!("{}", server.base_url());
//! # Ok(())
//! # }
//! ```
//!
//! What it imitates is what the official SDK was seen to send and to accept, and what W&B's public documents say.

#![forbid(unsafe_code)]

pub mod awkward;
pub mod clock;
mod connection;
mod control;
pub mod export;
mod fault_wire;
mod faults;
mod file_stream;
pub mod generate;
mod graphql;
mod history;
mod history_keys;
mod http;
pub mod json;
mod log;
mod mutate;
mod options;
mod project;
mod random;
mod rate_limit;
mod rest;
mod sampled;
mod server;
mod storage;
pub mod truth;
pub mod unions;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};

pub use clock::{Clock, Micros, SECOND, START, TimestampStyle};
pub use faults::{Fault, Matcher, When};
pub use history::History;
pub use log::{HistoryRead, LoggedRequest, RequestKind, RequestLog};
pub use mutate::{Mutation, NotFound};
pub use options::{BadKey, Options, ParquetCodec, ParquetOptions, TEST_KEY};
pub use project::{Project, RestHistory, Run, STATES, User, World};
pub use random::Random;
pub use rate_limit::{RateLimit, Time, VirtualTime};
pub use truth::{Dialect, Difference, Truth, compare_sqlite};

use faults::Hook;
use server::Shared;

/// A running server on 127.0.0.1, with its own threads. It ends when dropped.
pub struct LocalWandb {
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl LocalWandb {
    /// Starts a server.
    pub async fn start(options: Options) -> io::Result<Self> {
        Self::start_blocking(options)
    }

    /// Starts a server, for callers without a runtime.
    pub fn start_blocking(options: Options) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("local-wandb")
            .enable_all()
            .build()?;
        let listener = server::bind(options.port)?;
        let shared = Arc::new(Shared::new(options, listener.local_addr()?));
        runtime.spawn(server::serve(listener, shared.clone()));
        Ok(LocalWandb { shared, runtime: Some(runtime) })
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> String {
        self.shared.base_url()
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The key that it accepts.
    pub fn api_key(&self) -> &str {
        &self.shared.options.api_key
    }

    /// Everything it holds, to read or change directly; requests wait while this is kept.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Reads or changes a project (made when it does not exist). Timestamps stay as they are.
    pub fn project_mut<T>(&self, entity: &str, project: &str, change: impl FnOnce(&mut Project) -> T) -> T {
        change(self.world().project_mut(entity, project))
    }

    /// A run as it is now.
    pub fn run(&self, entity: &str, project: &str, id: &str) -> Option<Arc<Run>> {
        self.world().run(entity, project, id)
    }

    /// Makes a change, with the timestamps that the real service would move; says which runs it touched.
    pub fn mutate(&self, mutation: &Mutation) -> Result<Vec<String>, NotFound> {
        mutation.apply(&self.shared)
    }

    /// The clock that mutations read and move.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The record of requests.
    pub fn log(&self) -> &RequestLog {
        &self.shared.log
    }

    /// What a sync of the project should bring now.
    pub fn truth(&self, dialect: Dialect, entity: &str, project: &str) -> Truth {
        let runs = self.world().project(entity, project).map(|it| it.runs.clone()).unwrap_or_default();
        Truth::of(dialect, runs.iter().map(Arc::as_ref).filter(|run| !run.hidden))
    }

    /// Makes matching requests go wrong; of several rules that fire, the first decides.
    pub fn fault(&self, matcher: Matcher, fault: Fault) {
        self.shared.faults().add(matcher, fault);
    }

    /// Makes a change before a matching request is answered: with [`When::Nth`], between two pages of a listing.
    pub fn mutate_before(&self, matcher: Matcher, mutation: Mutation) {
        let hook = Hook::new(move |shared| {
            // A run that is gone already needs no change.
            let _ = mutation.apply(shared);
        });
        self.shared.faults().add_hook(matcher, hook);
    }

    /// Removes every fault and pending change.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }
}

impl Drop for LocalWandb {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Unlike a plain drop, this may happen inside another runtime.
            runtime.shutdown_background();
        }
    }
}
