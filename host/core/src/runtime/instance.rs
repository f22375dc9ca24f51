//! What one call of a connector runs with: its configuration without secrets, its way to the network, and an instance that is
//! stopped when it has to be.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use wasmtime::Store;

use crate::bindings::World;
use crate::component::spec::Spec;
use crate::error::{ConfigurationProblem, Error};
use crate::http::client::HttpClient;
use crate::http::egress::{Egress, Origin, OriginPattern};
use crate::http::secrets::{Extracted, Secrets};
use crate::imports::Guest;
use crate::imports::http::Gate;
use crate::runtime::events::Observer;
use crate::runtime::limits::{StopSignal, Usage, breach};
use crate::runtime::policy::Policy;
use crate::runtime::report::Reporter;

/// How long a guest may take to return after it was told to.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// A call of an export.
pub(crate) type Call<R> = Box<
    dyn for<'a> FnOnce(World, &'a mut Store<Guest>) -> Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>
        + Send,
>;

/// Everything that belongs to one sync, or to one question.
pub(crate) struct Session {
    started: Instant,
    pub(super) policy: Policy,
    /// The configuration as the guest sees it.
    config: Map<String, Value>,
    /// What the host finds wrong with it.
    pub(crate) problems: Vec<ConfigurationProblem>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) report: Arc<Reporter>,
    pub(crate) stop: StopSignal,
    pub(crate) usage: Arc<Usage>,
}

impl Session {
    /// Takes the secrets out of `config` and opens the way to the origins that it names.
    pub(crate) fn open(
        spec: &Spec,
        config: &Map<String, Value>,
        policy: &Policy,
        client: &HttpClient,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Error> {
        let Extracted { secrets, shown, mut problems } = Secrets::extract(spec, config)?;
        let mut origins = Vec::new();
        for (key, url) in spec.origins(config) {
            match Origin::parse(url) {
                Ok(origin) => origins.push(origin),
                Err(why) => problems.push(ConfigurationProblem { key: Some(key.to_owned()), message: why.to_string() }),
            }
        }
        let mut downloads = Vec::new();
        for text in &policy.download_origins {
            match OriginPattern::parse(text) {
                Ok(pattern) => downloads.push(pattern),
                Err(why) => {
                    problems.push(ConfigurationProblem { key: None, message: format!("a download host: {why}") })
                }
            }
        }
        let egress = Egress::new(origins, downloads);
        Ok(Self { config: shown, problems, ..Self::with(secrets, egress, policy.clone(), client, observer) })
    }

    /// For questions that need neither configuration nor network.
    pub(crate) fn without_network(policy: Policy, client: &HttpClient, observer: Arc<dyn Observer>) -> Self {
        Self::with(Secrets::default(), Egress::default(), policy, client, observer)
    }

    fn with(
        secrets: Secrets,
        egress: Egress,
        policy: Policy,
        client: &HttpClient,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let (stop, usage) = (StopSignal::default(), Arc::new(Usage::new(client.gate().clone())));
        let report = Arc::new(Reporter::new(observer, secrets.redactor(), &policy.limits));
        let (client, heard) = (client.clone(), report.clone());
        let gate = Gate::new(client, egress, secrets, &policy, heard, usage.clone(), stop.clone());
        Self {
            started: Instant::now(),
            policy,
            config: Map::new(),
            problems: Vec::new(),
            gate: Arc::new(gate),
            report,
            stop,
            usage,
        }
    }

    /// The configuration for the guest, as JSON.
    pub(crate) fn config(&self) -> String {
        Value::Object(self.config.clone()).to_string()
    }

    /// How long the session has lasted.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes secrets and control characters out of an error.
    pub(crate) fn clean(&self, error: Error) -> Error {
        self.report.redactor().clean_error(error)
    }

    /// Adds what the host knows about a request that failed without an answer.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match (error, self.gate.cause_of_trouble()) {
            (Error::Upstream { status: None, message }, Some(cause)) => {
                Error::Upstream { status: None, message: format!("{message} ({cause})") }
            }
            (error, _) => error,
        }
    }

    /// Waits for a reason to stop the guest by force.
    pub(super) async fn stop(&self, cancel: &CancellationToken) -> Error {
        let told = async {
            self.stop.given().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            reason = self.end_of_time(cancel) => reason,
            () = told => Error::Interrupted,
        }
    }

    /// Waits until the sync has to end whatever it does.
    pub(crate) async fn end_of_time(&self, cancel: &CancellationToken) -> Error {
        let most = self.policy.limits.wall_time;
        tokio::select! {
            biased;
            () = cancel.cancelled() => Error::Interrupted,
            () = tokio::time::sleep(most.saturating_sub(self.elapsed())) => breach("wall_time", format!("{most:?} allowed")),
        }
    }
}
