//! How long the component and the destination, which run concurrently, are busy in a sync. The one that is busy all the time is its bottleneck.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use elt_destinations::url;
use elt_host::{
    Cache, CancellationToken, Connector, Destination, DestinationError, Engine, EngineOptions, Event, Group,
    HttpClient, Observer, Preparation, State, SyncRequest,
};
use serde_json::{Value, json};

struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}

/// A destination whose work is timed.
struct Timed {
    inner: Box<dyn Destination>,
    nanoseconds: Arc<AtomicU64>,
}

impl Timed {
    fn time<R>(&mut self, work: impl FnOnce(&mut dyn Destination) -> R) -> R {
        let began = Instant::now();
        let done = work(&mut *self.inner);
        self.nanoseconds.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        done
    }
}

impl Destination for Timed {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        self.time(|inner| inner.prepare(preparation))
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        self.time(|inner| inner.apply(group))
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        self.time(|inner| inner.commit())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.time(|inner| inner.finish())
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        self.inner.state()
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        self.inner.replace_state(state)
    }
}

/// One sync into an empty destination. Seconds from its start to its end, of the component's processor time, and within calls of the
/// destination.
pub(crate) async fn profile(config: &Value, destination: &str, component: &str) -> anyhow::Result<Value> {
    let config = config.as_object().context("the configuration is no object")?.clone();
    let connector =
        Connector::load_file(&Engine::new(&EngineOptions::default())?, Path::new(component), &Cache::none())?;
    let nanoseconds = Arc::new(AtomicU64::new(0));
    let inner = url::open(&destination.parse()?, url::Access::ReadWrite)?;
    let destination = Box::new(Timed { inner, nanoseconds: nanoseconds.clone() });
    let request = SyncRequest::new(connector.spec().await?, config);
    let client = HttpClient::default();
    let outcome = connector.sync(request, destination, &client, Arc::new(Silent), &CancellationToken::new()).await;
    if let Some(error) = outcome.error {
        return Err(error.into());
    }
    Ok(json!({
        "seconds": outcome.elapsed.as_secs_f64(),
        "component_seconds": outcome.cpu_time.as_secs_f64(),
        "destination_seconds": Duration::from_nanos(nanoseconds.load(Ordering::Relaxed)).as_secs_f64(),
    }))
}
