//! The one place where the command line calls the runtime.

use std::sync::Arc;

use elt_destinations::url;
use elt_destinations::url::DestinationUrl;
use elt_host::state::StateKeys;
use elt_host::wandb;
use elt_host::{
    Cache, CancellationToken, ComponentInfo, Connector, Destination, DestinationError, Engine, EngineOptions, Error,
    HttpClient, Level, Observer, Outcome, Policy, Spec, SyncRequest, Table,
};
use elt_support::certificates;
use elt_verify::{Verification, VerifyRequest};
use serde_json::{Map, Value};

use crate::args::SandboxArgs;
use crate::output::console::Console;
use crate::sandbox;
use crate::wandb::configuration;

pub(crate) use elt_destinations::url::Access;

/// A loaded component, and what it needs to run.
pub(crate) struct Runner {
    pub(crate) policy: Policy,
    pub(crate) bytes: Vec<u8>,
    /// Known of the built-in component's state only.
    state_keys: Option<StateKeys>,
    connector: Connector,
    client: HttpClient,
    console: Arc<Console>,
}

/// The destination that `text` names. A text that names none is wrong usage, not a fault of a destination.
pub(crate) fn parse(text: &str) -> Result<DestinationUrl, Error> {
    text.parse().map_err(|error: DestinationError| configuration::problem(error.to_string()))
}

/// Opens the destination that `text` names.
pub(crate) fn open(text: &str, access: Access) -> Result<Box<dyn Destination>, Error> {
    url::open(&parse(text)?, access).map_err(|error| Error::Destination(error.to_string()))
}

impl Runner {
    /// Compiles the component, or loads what an earlier run compiled.
    pub(crate) fn load(sandbox: &SandboxArgs, console: &Arc<Console>, base_url: &str) -> Result<Self, Error> {
        let bytes = sandbox::component(sandbox)?;
        let engine = Engine::new(&EngineOptions::default())?;
        let connector = Connector::load(&engine, &bytes, &Cache::for_user())?;
        console.log(Level::Debug, connector.cache_note());
        for problem in certificates::problems() {
            console.log(Level::Warning, problem);
        }
        let client = HttpClient::default();
        let mut policy = sandbox::policy(sandbox);
        policy.download_origins.extend(wandb::download_origin(base_url));
        let state_keys = sandbox.component.is_none().then_some(wandb::STATE_KEYS);
        Ok(Self { policy, bytes, state_keys, connector, client, console: Arc::clone(console) })
    }

    pub(crate) fn info(&self) -> &ComponentInfo {
        self.connector.info()
    }

    pub(crate) async fn spec(&self) -> Result<&Spec, Error> {
        self.connector.spec().await
    }

    pub(crate) async fn check(&self, config: &Map<String, Value>, token: &CancellationToken) -> Result<String, Error> {
        self.connector.check(config, &self.policy, &self.client, self.observer(), token).await
    }

    pub(crate) async fn schema(&self, config: &Map<String, Value>) -> Result<Vec<Table>, Error> {
        self.connector.schema(config).await
    }

    pub(crate) async fn sync(
        &self,
        config: Map<String, Value>,
        destination: Box<dyn Destination>,
        full_refresh: bool,
        token: &CancellationToken,
    ) -> Outcome {
        let spec = match self.spec().await {
            Ok(spec) => spec,
            Err(why) => return Outcome::failed(why),
        };
        let request = SyncRequest::new(spec, config).full_refresh(full_refresh).policy(self.policy.clone());
        let request = request.state_keys(self.state_keys);
        self.connector.sync(request, destination, &self.client, self.observer(), token).await
    }

    pub(crate) async fn verify(
        &self,
        config: Map<String, Value>,
        destination: DestinationUrl,
        token: &CancellationToken,
    ) -> Result<Verification, Error> {
        let request = VerifyRequest { config, destination, policy: self.policy.clone(), keys: wandb::STATE_KEYS };
        elt_verify::verify(&self.connector, request, &self.client, self.observer(), token).await
    }

    fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.console) as _
    }
}
