//! The one place where the command line calls the runtime.

use std::sync::Arc;

use elt_destinations::url;
use elt_destinations::url::DestinationUrl;
use elt_host::{
    Cache, CancellationToken, ComponentInfo, Connector, Destination, DestinationError, Engine, EngineOptions, Error,
    HttpClient, Level, Observer, Outcome, Policy, Spec, SyncRequest, Table,
};
use elt_support::certificates;
use elt_verify::{Verification, VerifyRequest};
use serde_json::{Map, Value};

use crate::args::SandboxArgs;
use crate::output::console::Console;
use crate::output::vocabulary::Vocabulary;
use crate::wandb::configuration;
use crate::{PROGRAM, sandbox};

pub(crate) use elt_destinations::url::Access;

/// A loaded component, and what it needs to run.
pub(crate) struct Runner {
    pub(crate) policy: Policy,
    pub(crate) bytes: Vec<u8>,
    is_built_in: bool,
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
    pub(crate) fn load(sandbox: &SandboxArgs, console: &Arc<Console>) -> Result<Self, Error> {
        let bytes = sandbox::component(sandbox)?;
        let engine = Engine::new(&EngineOptions::default())?;
        let connector = Connector::load(&engine, &bytes, &Cache::for_user(PROGRAM))?;
        console.log(Level::Debug, connector.cache_note());
        for problem in certificates::problems() {
            console.log(Level::Warning, problem);
        }
        let client = HttpClient::default();
        let (policy, is_built_in) = (sandbox::policy(sandbox), sandbox.component.is_none());
        Ok(Self { policy, bytes, is_built_in, connector, client, console: Arc::clone(console) })
    }

    /// Allows what the built-in component says of its downloads with `config`. Other components get what `--allow-origin` names.
    pub(crate) async fn allow_downloads(&mut self, config: &Map<String, Value>) -> Result<(), Error> {
        if self.is_built_in {
            self.policy.download_origins.extend(self.connector.spec().await?.downloads(config));
        }
        Ok(())
    }

    /// What the component calls things.
    pub(crate) async fn vocabulary(&self) -> Vocabulary {
        Vocabulary::of(self.spec().await.ok(), self.is_built_in)
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

    /// The tables, with something in the place of values that are missing and that nobody gave: they do not depend on a key or a name.
    pub(crate) async fn schema_despite_gaps(&self, config: &Map<String, Value>) -> Result<Vec<Table>, Error> {
        let problems = match self.schema(config).await {
            Err(Error::Configuration(problems)) => problems,
            other => return other,
        };
        let properties = &self.spec().await?.schema()["properties"];
        let mut filled = config.clone();
        let missing = problems.into_iter().filter_map(|problem| problem.key);
        for key in missing.filter(|key| !configuration::is_given(config, key)) {
            let is_origin = properties[&key]["x-elt-origin"] == true;
            filled.insert(key, if is_origin { "https://source.invalid" } else { "-" }.into());
        }
        self.schema(&filled).await
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
        self.connector.sync(request, destination, &self.client, self.observer(), token).await
    }

    pub(crate) async fn verify(
        &self,
        config: Map<String, Value>,
        destination: DestinationUrl,
        token: &CancellationToken,
    ) -> Result<Verification, Error> {
        let request = VerifyRequest { config, destination, policy: self.policy.clone() };
        elt_verify::verify(&self.connector, request, &self.client, self.observer(), token).await
    }

    fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.console) as _
    }
}
