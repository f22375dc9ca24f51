//! The one place where the command line calls the runtime.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use wandb_connector_host::destination::Destination;
use wandb_connector_host::error::Error;
use wandb_connector_host::policy::Policy;
use wandb_connector_host::schema::Table;
use wandb_connector_host::sync::{Observer, Outcome, SyncRequest};

use super::args::SandboxArgs;
use super::console::Console;
use super::sandbox;

/// A loaded component, and what it needs to run.
pub(crate) struct Runner {
    pub(crate) policy: Policy,
    pub(crate) bytes: Vec<u8>,
    console: Arc<Console>,
}

/// What a component needs and offers.
pub(crate) struct Interfaces {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// What a person means to do with a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// Opens the destination that `url` names.
pub(crate) fn open(url: &str, access: Access) -> Result<Box<dyn Destination>, Error> {
    let _ = (url, access);
    Err(Error::Destination("destinations are not part of this build".into()))
}

impl Runner {
    /// Compiles the component, or loads what an earlier run compiled.
    pub(crate) fn load(sandbox: &SandboxArgs, console: &Arc<Console>) -> Result<Self, Error> {
        let bytes = sandbox::component(sandbox)?;
        Ok(Self { policy: sandbox::policy(sandbox), bytes, console: Arc::clone(console) })
    }

    pub(crate) fn interfaces(&self) -> Interfaces {
        Interfaces { imports: Vec::new(), exports: Vec::new() }
    }

    pub(crate) async fn spec(&self) -> Result<Value, Error> {
        Err(missing())
    }

    pub(crate) async fn check(&self, config: &Map<String, Value>) -> Result<String, Error> {
        let _ = config;
        Err(missing())
    }

    pub(crate) async fn schema(&self, config: &Map<String, Value>) -> Result<Vec<Table>, Error> {
        let _ = config;
        Err(missing())
    }

    pub(crate) async fn sync(
        &self,
        config: Map<String, Value>,
        destination: Box<dyn Destination>,
        full_refresh: bool,
        token: CancellationToken,
    ) -> Outcome {
        let request = SyncRequest { config, destination, full_refresh, policy: self.policy.clone() };
        let observer: Arc<dyn Observer> = Arc::clone(&self.console) as _;
        let _ = (request, observer, token);
        Outcome { error: Some(missing()), ..Outcome::default() }
    }
}

fn missing() -> Error {
    Error::Internal("the runtime is not part of this build".into())
}
