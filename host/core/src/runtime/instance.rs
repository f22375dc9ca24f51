//! What one call of a connector runs with: its configuration without secrets, its way to the network, and an instance that is
//! stopped when it has to be.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTableError;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi_http::FieldMapError;

use crate::bindings::World;
use crate::component::connector::Connector;
use crate::component::spec::Spec;
use crate::error::{ConfigurationProblem, Error};
use crate::http::client::HttpClient;
use crate::http::egress::{Egress, Origin, OriginPattern};
use crate::http::rate_gate::{RateGate, Ungated};
use crate::http::secrets::{Extracted, Secrets};
use crate::imports::Guest;
use crate::imports::destination::Sink;
use crate::imports::http::Gate;
use crate::runtime::limits::{StopSignal, Usage, breach, too_much_computed};
use crate::runtime::machine;
use crate::runtime::policy::{Limits, Policy};
use crate::runtime::report::Reporter;
use crate::runtime::scheduling::SchedulingClass;
use crate::runtime::sync::Observer;
use crate::runtime::thread_clock::cpu_time;

/// How long a guest may take to return after it was told to.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// What wasmtime calls the error of a call whose arguments are more than its store allows. The type is private, and its name is the only
/// thing that tells it apart; a test sees to it that the name is right.
const HELD_TOO_MUCH: &str = "HostcallFuelExhausted";

/// A call of an export.
pub(crate) type Call<R> = Box<
    dyn for<'a> FnOnce(World, &'a mut Store<Guest>) -> Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>
        + Send,
>;

/// Everything that belongs to one sync, or to one question.
pub(crate) struct Session {
    started: Instant,
    policy: Policy,
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
    /// Takes the secrets out of `config` and opens the way to the origins that it names. What its guests compute counts in `scheduling`.
    pub(crate) fn open(
        spec: &Spec,
        config: &Map<String, Value>,
        policy: &Policy,
        client: &HttpClient,
        rate_gate: Arc<dyn RateGate>,
        scheduling: SchedulingClass,
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
        Ok(Self {
            config: shown,
            problems,
            ..Self::with(secrets, egress, policy.clone(), client, rate_gate, scheduling, observer)
        })
    }

    /// For questions that need neither configuration nor network.
    pub(crate) fn without_network(policy: Policy, client: &HttpClient, observer: Arc<dyn Observer>) -> Self {
        Self::with(
            Secrets::default(),
            Egress::default(),
            policy,
            client,
            Arc::new(Ungated),
            SchedulingClass::default(),
            observer,
        )
    }

    fn with(
        secrets: Secrets,
        egress: Egress,
        policy: Policy,
        client: &HttpClient,
        rate_gate: Arc<dyn RateGate>,
        scheduling: SchedulingClass,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let (stop, usage) = (StopSignal::default(), Arc::new(Usage::new(scheduling)));
        let report = Arc::new(Reporter::new(observer, secrets.redactor(), &policy.limits));
        let (client, heard) = (client.clone(), report.clone());
        let gate = Gate::new(client, egress, secrets, &policy, rate_gate, heard, usage.clone(), stop.clone());
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
    async fn stop(&self, cancel: &CancellationToken) -> Error {
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

impl Connector {
    /// Runs `call` in a new instance until it returns, or has to be stopped. Gives back the sink, which holds what came after the
    /// last checkpoint.
    pub(crate) async fn call<R>(
        &self,
        session: &Session,
        sink: Option<Sink>,
        cancel: &CancellationToken,
        call: Call<R>,
    ) -> (Result<R, Error>, Option<Sink>) {
        let limits = &session.policy.limits;
        let instance = tokio::select! {
            biased;
            reason = session.stop(cancel) => return (Err(reason), sink),
            instance = self.engine().instance() => instance,
        };
        let memory = limits.memory.min(self.engine().most_memory());
        let guest =
            Guest::new(limits, memory, session.gate.clone(), session.report.clone(), session.stop.clone(), sink);
        let mut store = Store::new(self.engine().wasmtime(), guest);
        store.limiter(|guest| &mut guest.memory);
        // Bounds what one call can make the host allocate: a list can name the same long text a million times. Texts take more room
        // than in an array, so a batch within its limit can need up to twice as much.
        store.set_hostcall_fuel(limits.batch_bytes.saturating_mul(2).saturating_add(1 << 20));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))));
        let returned = {
            let work = async {
                let world = self.pre().instantiate_async(&mut store).await?;
                call(world, &mut store).await
            };
            let mut work = std::pin::pin!(work);
            // The guest gives way with every tick, so that a poll is short and this is asked often.
            let work = poll_fn(|context| {
                let began = cpu_time();
                let polled = work.as_mut().poll(context).map_err(Stopped::Trap);
                let used = session.usage.computed(cpu_time().saturating_sub(began));
                if polled.is_pending() && used > limits.cpu_time {
                    return Poll::Ready(Err(Stopped::ByHost(too_much_computed(limits.cpu_time))));
                }
                polled
            });
            tokio::select! {
                biased;
                reason = session.stop(cancel) => Err(Stopped::ByHost(reason)),
                returned = work => returned,
            }
        };
        let guest = store.into_data();
        drop(instance);
        session.usage.held(guest.memory.used());
        let result = match (session.stop.reason(), returned) {
            (Some(reason), _) => Err(reason),
            (None, Ok(returned)) => Ok(returned),
            (None, Err(Stopped::ByHost(reason))) => Err(reason),
            (None, Err(Stopped::Trap(trap))) => Err(guest.memory.breach().unwrap_or_else(|| crash(&trap, limits))),
        };
        (result, guest.sink)
    }
}

enum Stopped {
    ByHost(Error),
    Trap(wasmtime::Error),
}

/// What to call a trap.
fn crash(trap: &wasmtime::Error, limits: &Limits) -> Error {
    let cause = trap.root_cause();
    if format!("{cause:?}") == HELD_TOO_MUCH {
        return breach(
            "batch_bytes",
            format!("{} bytes allowed in a batch; one call held far more", limits.batch_bytes),
        );
    }
    if let Some(ResourceTableError::Full) = cause.downcast_ref() {
        return breach("handles", format!("{} allowed at once", limits.handles));
    }
    if let Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) = cause.downcast_ref() {
        return breach("header_bytes", format!("{} bytes allowed in one request", limits.header_bytes));
    }
    if let Some(refusal) = machine::refusal(trap) {
        return refusal;
    }
    let what = match trap.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::UnreachableCodeReached) => "it panicked, or had no memory left".to_owned(),
        Some(wasmtime::Trap::StackOverflow) => "its stack overflowed".to_owned(),
        _ => cause.to_string(),
    };
    Error::Internal(format!("the connector crashed: {what}"))
}
