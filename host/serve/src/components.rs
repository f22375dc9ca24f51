//! The components that tenants run: the built-in one, and their own, each compiled once for its content.
//!
//! A tenant's own component is read when one of its syncs starts, so that a broken one is an error of that sync. The built-in one never
//! waits for the compiling of another.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::file_version::FileVersion;
use elt_host::{Cache, Connector, Engine, Error};

/// Compiled components that are kept in memory beside the built-in one.
const KEPT: usize = 16;
/// Bytes of a component. Those that carry an interpreter have a few dozen million.
const LARGEST: u64 = 128 << 20;

/// Loads components. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Components {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    built_in: Connector,
    cache: Cache,
    own: Mutex<Own>,
    /// One at a time is compiled: each takes all cores while it lasts.
    compiling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Own {
    /// What a file held when it was last read.
    files: HashMap<PathBuf, (FileVersion, [u8; 32])>,
    /// The most recently used last.
    compiled: Vec<([u8; 32], Connector)>,
}

impl Components {
    /// Tenants that name no component run `built_in`. Compiled ones are also kept in `cache`.
    pub fn new(engine: Engine, built_in: Connector, cache: Cache) -> Self {
        let inner = Inner { engine, built_in, cache, own: Mutex::default(), compiling: tokio::sync::Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The built-in component.
    pub fn built_in(&self) -> &Connector {
        &self.inner.built_in
    }

    /// The component at a path; the built-in one for none.
    pub async fn get(&self, path: Option<&Path>) -> Result<Connector, Error> {
        let Some(path) = path else { return Ok(self.inner.built_in.clone()) };
        let (this, path) = (self.clone(), path.to_owned());
        let read = tokio::task::spawn_blocking(move || this.inner.read(&path)).await;
        let (hash, bytes) = match read.map_err(|_| lost())?? {
            Looked::Known(connector) => return Ok(connector),
            Looked::New(hash, bytes) => (hash, bytes),
        };
        let _turn = self.inner.compiling.lock().await;
        if let Some(connector) = self.inner.own().recall(&hash) {
            return Ok(connector);
        }
        let this = self.clone();
        let load = move || Connector::load(&this.inner.engine, &bytes, &this.inner.cache);
        let connector = tokio::task::spawn_blocking(load).await.map_err(|_| lost())??;
        self.inner.own().keep(hash, connector.clone());
        Ok(connector)
    }
}

/// A file that was looked at.
enum Looked {
    Known(Connector),
    New([u8; 32], Vec<u8>),
}

fn lost() -> Error {
    Error::Internal("the component could not be loaded: the host failed".into())
}

impl Inner {
    fn own(&self) -> std::sync::MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, path: &Path) -> Result<Looked, Error> {
        let fail = |why: io::Error| Error::Internal(format!("the component {} can't be read: {why}", path.display()));
        let file = File::open(path).map_err(fail)?;
        let file_version = file.metadata().and_then(|it| FileVersion::of(&it, LARGEST)).map_err(fail)?;
        {
            let mut own = self.own();
            let known = own.files.get(path).filter(|(known, _)| *known == file_version).map(|(_, hash)| *hash);
            if let Some(connector) = known.and_then(|hash| own.recall(&hash)) {
                return Ok(Looked::Known(connector));
            }
        }
        let mut bytes = Vec::new();
        (&file).take(LARGEST).read_to_end(&mut bytes).map_err(fail)?;
        let hash = Sha256::digest(&bytes).into();
        let mut own = self.own();
        // Paths of tenants that are gone need no memory.
        if own.files.len() > 100 * KEPT {
            own.files.clear();
        }
        own.files.insert(path.to_owned(), (file_version, hash));
        Ok(match own.recall(&hash) {
            Some(connector) => Looked::Known(connector),
            None => Looked::New(hash, bytes),
        })
    }
}

impl Own {
    fn recall(&mut self, hash: &[u8; 32]) -> Option<Connector> {
        let index = self.compiled.iter().position(|(other, _)| other == hash)?;
        let found = self.compiled.remove(index);
        let connector = found.1.clone();
        self.compiled.push(found);
        Some(connector)
    }

    fn keep(&mut self, hash: [u8; 32], connector: Connector) {
        if self.compiled.len() >= KEPT {
            self.compiled.remove(0);
        }
        self.compiled.push((hash, connector));
    }
}
