//! A connector: a component that was compiled, checked against the contract, and can be asked for what it offers.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Component, Linker};

use crate::bindings::WorldPre;
use crate::component::ComponentInfo;
use crate::component::cache::{Cache, CacheUse};
use crate::component::spec::{Spec, merge_problems};
use crate::error::Error;
use crate::http::client::HttpClient;
use crate::imports as guest;
use crate::imports::Guest;
use crate::imports::convert as wit;
use crate::runtime::engine::Engine;
use crate::runtime::events::{Event, Observer};
use crate::runtime::instance::{Call, Session};
use crate::runtime::machine;
use crate::runtime::policy::Policy;
use crate::schema::Table;

/// A component, ready to run. Cheap to clone; every call gets an instance of its own.
#[derive(Clone)]
pub struct Connector {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    pre: WorldPre<Guest>,
    info: ComponentInfo,
    cache_use: CacheUse,
    spec: OnceCell<Spec>,
}

impl Connector {
    /// Compiles `bytes`, or takes what an earlier run compiled from `cache`. Refuses a component that was made for
    /// another version of the contract, or that needs anything but the imports of `wit/world.wit` (and what the
    /// libraries of its language import in vain, see [`Interface::is_refused`](crate::Interface::is_refused)). Compiling takes
    /// about a second, and is done on the calling thread.
    ///
    /// # Errors
    /// [`Error::Internal`] where the component can't be used or the machine lacks something; [`Error::Destination`] where the machine
    /// allows only small files (`ulimit -f`).
    pub fn load(engine: &Engine, bytes: &[u8], cache: &Cache) -> Result<Self, Error> {
        let unusable = |why: wasmtime::Error| {
            machine::refusal(&why).unwrap_or_else(|| Error::Internal(format!("the component can't be used: {why:#}")))
        };
        let (component, cache_use) = cache.component(engine, bytes).map_err(unusable)?;
        let info = ComponentInfo::of(engine, &component, bytes.len());
        info.check()?;
        let pre = Self::link(engine, &component, &info).map_err(unusable)?;
        let inner = Inner { engine: engine.clone(), pre, info, cache_use, spec: OnceCell::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Reads a file and loads it.
    ///
    /// # Errors
    /// Those of [`Connector::load`]; [`Error::Internal`] where the file can't be read.
    pub fn load_file(engine: &Engine, path: &Path, cache: &Cache) -> Result<Self, Error> {
        let bytes = std::fs::read(path);
        let bytes =
            bytes.map_err(|why| Error::Internal(format!("the component {} can't be read: {why}", path.display())))?;
        Self::load(engine, &bytes, cache)
    }

    fn link(engine: &Engine, component: &Component, info: &ComponentInfo) -> wasmtime::Result<WorldPre<Guest>> {
        let mut linker = Linker::new(engine.wasmtime());
        guest::link(&mut linker)?;
        let refused: Vec<_> = info.imports.iter().filter(|import| import.is_refused()).collect();
        guest::refused::link(&mut linker, component, &refused)?;
        WorldPre::new(linker.instantiate_pre(component)?)
    }

    /// What the component imports and exports, and its sizes.
    pub fn info(&self) -> &ComponentInfo {
        &self.inner.info
    }

    /// Whether the machine code came from the cache, as a line for a log.
    pub fn cache_note(&self) -> String {
        match &self.inner.cache_use {
            CacheUse::Hit => "the compiled component came from the cache".into(),
            CacheUse::Stored => "the component was compiled and stored in the cache".into(),
            CacheUse::NotStored(why) => format!("the component was compiled and not stored in the cache: {why}"),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn pre(&self) -> &WorldPre<Guest> {
        &self.inner.pre
    }

    /// The specification of the configuration. Asked for once.
    ///
    /// # Errors
    /// [`Error::Contract`] where it is none; [`Error::Internal`] where the connector crashes.
    pub async fn spec(&self) -> Result<&Spec, Error> {
        self.inner.spec.get_or_try_init(|| self.ask_spec()).await
    }

    async fn ask_spec(&self) -> Result<Spec, Error> {
        let session = Session::without_network(Policy::default(), &HttpClient::default(), Arc::new(Silent));
        let call: Call<String> =
            Box::new(|world, store| Box::pin(async move { world.elt_connector_source().call_spec(store).await }));
        let (text, _) = self.call(&session, None, &CancellationToken::new(), call).await;
        // Its errors may hold text of the connector.
        text.and_then(|text| Spec::parse(&text)).map_err(|why| session.clean(why))
    }

    /// Tries the configuration against the source; returns a sentence for people. Its time is limited as that of a sync. `config` is the
    /// whole configuration, secrets included.
    ///
    /// # Errors
    /// What is wrong with the configuration or at the source, or [`Error::Interrupted`] after `cancel`.
    pub async fn check(
        &self,
        config: &Map<String, Value>,
        policy: &Policy,
        client: &HttpClient,
        observer: Arc<dyn Observer>,
        cancel: &CancellationToken,
    ) -> Result<String, Error> {
        let session = Session::open(self.spec().await?, config, policy, client, observer)?;
        // Finds what is wrong with the configuration without any request.
        self.tables(&session, cancel).await?;
        let config = session.config();
        let call: Call<_> = Box::new(|world, store| {
            Box::pin(async move { world.elt_connector_source().call_check(store, &config).await })
        });
        let (answer, _) = self.call(&session, None, cancel, call).await;
        let answer = answer.and_then(|answer| answer.map_err(wit::error)).map_err(|why| session.explain(why));
        answer.map(|sentence| session.report.redactor().clean(&sentence)).map_err(|why| session.clean(why))
    }

    /// The tables that a sync with this configuration writes. Needs no network.
    ///
    /// # Errors
    /// [`Error::Configuration`] with everything that is wrong with it; [`Error::Contract`] where the tables are none.
    pub async fn schema(&self, config: &Map<String, Value>) -> Result<Vec<Table>, Error> {
        let client = HttpClient::default();
        let policy = Policy::default();
        let session = Session::open(self.spec().await?, config, &policy, &client, Arc::new(Silent))?;
        self.tables(&session, &CancellationToken::new()).await
    }

    /// The tables; or everything that the connector and the host find wrong with the configuration.
    pub(crate) async fn tables(&self, session: &Session, cancel: &CancellationToken) -> Result<Vec<Table>, Error> {
        let config = session.config();
        let call: Call<_> = Box::new(|world, store| {
            Box::pin(async move { world.elt_connector_source().call_schema(store, &config).await })
        });
        let (answer, _) = self.call(session, None, cancel, call).await;
        let tables = match answer.and_then(|answer| answer.map_err(wit::error)) {
            Ok(_) if !session.problems.is_empty() => Err(Error::Configuration(session.problems.clone())),
            Ok(schemas) => wit::tables(schemas),
            Err(Error::Configuration(found)) => {
                Err(Error::Configuration(merge_problems(session.problems.clone(), found)))
            }
            Err(other) => Err(other),
        };
        tables.map_err(|why| session.clean(why))
    }
}

/// Hears nothing.
pub(crate) struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}
