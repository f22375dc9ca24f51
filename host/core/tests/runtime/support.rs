//! A connector, a destination and an observer that tests can look into.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use elt_host::state::apply;
use elt_host::test_support::network::Boxed;
use elt_host::test_support::network::Dial;
use elt_host::test_support::network::HttpOptions;
use elt_host::test_support::network::Resolve;
use elt_host::test_support::network::Timeouts;
use elt_host::{
    Cache, Change, Connector, Destination, DestinationError, Engine, EngineOptions, Event, Group, HttpClient, Limits,
    Observer, Outcome, Policy, Preparation, State, SyncRequest,
};
use hyper_util::client::proxy::matcher::Matcher;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The secret in every configuration.
pub(crate) const KEY: &str = "k3y-of-the-tests-0123456789";

/// The scripted guest, compiled once for all tests.
pub(crate) fn connector() -> Connector {
    static CONNECTOR: OnceLock<Connector> = OnceLock::new();
    let load = || Connector::load(&engine(), &guest(), &Cache::none()).unwrap();
    CONNECTOR.get_or_init(load).clone()
}

pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(&EngineOptions::default()).unwrap()).clone()
}

/// The scripted guest's bytes.
pub(crate) fn guest() -> Vec<u8> {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("..");
    let built = target.join("wasm32-unknown-unknown/component/scripted_guest.wasm");
    let path = std::env::var_os("SCRIPTED_GUEST").map_or(built, PathBuf::from);
    std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}; run `make component` first", path.display()))
}

/// What a [`Memory`] destination holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) groups: Vec<Group>,
    pub(crate) state: State,
    pub(crate) prepared: bool,
    pub(crate) finished: bool,
    /// The most bytes that waited for a commit.
    pub(crate) most_pending: usize,
    pending: Vec<Group>,
}

impl Contents {
    /// Rows upserted, committed ones only.
    pub(crate) fn rows(&self) -> usize {
        let rows = |change: &Change| match change {
            Change::Upsert { rows, .. } => rows.num_rows(),
            Change::Delete { .. } => 0,
        };
        self.groups.iter().flat_map(|group| &group.changes).map(rows).sum()
    }
}

/// Stores groups where the test can see them.
#[derive(Default)]
pub(crate) struct Memory {
    contents: Arc<Mutex<Contents>>,
    refuse: Option<DestinationError>,
    fail: Option<DestinationError>,
    slow: Duration,
}

impl Destination for Memory {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        if let Some(why) = self.refuse.take() {
            return Err(why);
        }
        let mut contents = self.contents.lock().unwrap();
        contents.prepared = true;
        if preparation.full_refresh {
            contents.state.clear();
        }
        Ok(contents.state.clone())
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        std::thread::sleep(self.slow);
        let mut contents = self.contents.lock().unwrap();
        contents.pending.push(group);
        contents.most_pending = contents.most_pending.max(contents.pending.iter().map(Group::bytes).sum());
        drop(contents);
        self.fail.take().map_or(Ok(()), Err)
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        let mut contents = self.contents.lock().unwrap();
        let pending = std::mem::take(&mut contents.pending);
        for group in &pending {
            apply(&mut contents.state, group.patch.clone());
        }
        contents.groups.extend(pending);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.contents.lock().unwrap().finished = true;
        Ok(())
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        Ok(self.contents.lock().unwrap().state.clone())
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        self.contents.lock().unwrap().state.clone_from(state);
        Ok(())
    }
}

/// Remembers every event.
#[derive(Default)]
pub(crate) struct Recorder {
    events: Mutex<Vec<Event>>,
}

impl Observer for Recorder {
    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

/// Passes every event on, and tells when a line is logged.
struct Tells {
    inner: Arc<dyn Observer>,
    line: &'static str,
    tell: Mutex<Option<oneshot::Sender<()>>>,
}

impl Observer for Tells {
    fn event(&self, event: Event) {
        let is_it = matches!(&event, Event::Log { message, .. } if message == self.line);
        self.inner.event(event);
        if let Some(tell) = self.tell.lock().unwrap().take_if(|_| is_it) {
            tell.send(()).ok();
        }
    }
}

/// Waits until something is so, of which `changed` tells.
pub(crate) async fn until(changed: &Notify, is_so: impl Fn() -> bool) {
    let wait = async {
        loop {
            let mut next = pin!(changed.notified());
            next.as_mut().enable();
            if is_so() {
                return;
            }
            next.await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it never was so");
}

/// One sync of the scripted guest, and how to run it.
pub(crate) struct Script {
    pub(crate) config: Map<String, Value>,
    pub(crate) policy: Policy,
    pub(crate) client: HttpClient,
    pub(crate) cancel: CancellationToken,
    pub(crate) full_refresh: bool,
    destination: Memory,
}

/// How a sync went.
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) events: Vec<Event>,
    pub(crate) contents: Contents,
}

impl Script {
    /// Does `steps` (see `tests/guest`).
    pub(crate) fn new(steps: Value) -> Self {
        let config = json!({"api_key": KEY, "script": steps});
        Self {
            config: config.as_object().unwrap().clone(),
            policy: Policy::default(),
            client: HttpClient::default(),
            cancel: CancellationToken::new(),
            full_refresh: false,
            destination: Memory::default(),
        }
    }

    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.into(), value);
        self
    }

    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.policy.limits = limits;
        self
    }

    pub(crate) fn state(self, state: &[(&str, &str)]) -> Self {
        let pairs = state.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        self.destination.contents.lock().unwrap().state = pairs.collect();
        self
    }

    /// The destination refuses to be prepared.
    pub(crate) fn refusing(mut self, why: &str) -> Self {
        self.destination.refuse = Some(DestinationError::Refused(why.into()));
        self
    }

    /// The destination fails at the first group.
    pub(crate) fn failing(mut self, why: &str) -> Self {
        self.destination.fail = Some(DestinationError::Failed(why.into()));
        self
    }

    /// The destination takes this long for each group.
    pub(crate) fn slow(mut self, each: Duration) -> Self {
        self.destination.slow = each;
        self
    }

    /// How many groups the destination has taken so far.
    pub(crate) fn taken(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let contents = self.destination.contents.clone();
        move || {
            let contents = contents.lock().unwrap();
            contents.pending.len() + contents.groups.len()
        }
    }

    pub(crate) async fn run(self) -> Run {
        self.run_in(&connector()).await
    }

    /// As a task of its own.
    pub(crate) async fn run_in_owned(self, connector: Connector) -> Run {
        self.run_in(&connector).await
    }

    /// As a task of its own, with what is told when the guest has logged `line`.
    pub(crate) fn start_and_tell(
        self,
        connector: Connector,
        line: &'static str,
    ) -> (JoinHandle<Run>, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        let watch = move |inner| Arc::new(Tells { inner, line, tell: Mutex::new(Some(tell)) }) as Arc<dyn Observer>;
        (tokio::spawn(async move { self.run_watched(&connector, watch).await }), told)
    }

    pub(crate) async fn run_in(self, connector: &Connector) -> Run {
        self.run_watched(connector, |recorder| recorder).await
    }

    /// What the sync reports goes to what `watch` makes of the recorder.
    pub(crate) async fn run_watched(
        self,
        connector: &Connector,
        watch: impl FnOnce(Arc<dyn Observer>) -> Arc<dyn Observer>,
    ) -> Run {
        let (observer, contents) = (Arc::new(Recorder::default()), self.destination.contents.clone());
        let watched = watch(observer.clone());
        let spec = connector.spec().await.unwrap();
        let request = SyncRequest::new(spec, self.config).full_refresh(self.full_refresh).policy(self.policy);
        let outcome = connector.sync(request, Box::new(self.destination), &self.client, watched, &self.cancel).await;
        let contents = std::mem::take(&mut *contents.lock().unwrap());
        let events = std::mem::take(&mut *observer.events.lock().unwrap());
        Run { outcome, events, contents }
    }
}

impl Run {
    /// The log, a line each.
    pub(crate) fn log(&self) -> Vec<&str> {
        let lines = self.events.iter().filter_map(|event| match event {
            Event::Log { message, .. } => Some(message.as_str()),
            _ => None,
        });
        lines.collect()
    }

    pub(crate) fn error(&self) -> String {
        self.outcome.error.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// Nothing that left the host holds the key.
    pub(crate) fn assert_discreet(&self) {
        let everything = format!("{:?} {:?} {:?}", self.outcome, self.events, self.contents);
        assert!(!everything.contains(KEY) && !everything.contains("elt-secret-"), "{everything}");
    }
}

/// A client for which every name has this address, or none; it dials this machine alone.
pub(crate) fn client_that_resolves_to(address: Option<&str>) -> HttpClient {
    struct Fake(Option<IpAddr>);
    impl Resolve for Fake {
        fn resolve<'a>(&'a self, _: &'a str) -> Boxed<'a, std::io::Result<Vec<IpAddr>>> {
            Box::pin(
                async move { self.0.map(|address| vec![address]).ok_or_else(|| std::io::Error::other("no such name")) },
            )
        }
    }
    impl Dial for Fake {
        fn dial(&self, address: SocketAddr) -> Boxed<'_, std::io::Result<TcpStream>> {
            assert!(address.ip().is_loopback(), "{address} was dialled");
            Box::pin(TcpStream::connect(address))
        }
    }
    let fake = || Fake(address.map(|address| address.parse().unwrap()));
    let proxy = Arc::new(Matcher::builder().build());
    HttpClient::new(HttpOptions { resolve: Arc::new(fake()), dial: Arc::new(fake()), proxy, ..HttpOptions::default() })
}

/// A client whose guests may leave a response unread for so long.
pub(crate) fn client_that_waits(longest: Duration) -> HttpClient {
    let longest = Timeouts { between_bytes: longest, ..Timeouts::LONGEST };
    HttpClient::new(HttpOptions { longest, ..HttpOptions::default() })
}

/// A client that asks a proxy for everything that is not on this machine.
pub(crate) fn client_with_proxy(proxy: &str) -> HttpClient {
    HttpClient::new(HttpOptions { proxy: Arc::new(Matcher::builder().all(proxy).build()), ..HttpOptions::default() })
}
