//! The destination `parquet:`: one sync of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::catalog::{Catalog, LiveFile};
use super::error;
use super::error::StoreError;
use super::generations;
use super::generations::Generations;
use super::layout::Layout;
use super::rewrite::Store;
use super::sizes::Sizes;
use super::staged::Staged;
use super::target::Target;
use crate::kind::Access;
use elt_host::destination::lock::SyncLock;
use elt_host::{Change, Destination, DestinationError, Group, LostTable, Preparation, State, StatePatch};

/// A folder of Parquet data sets as a destination.
pub struct Parquet {
    root: PathBuf,
    /// As the user wrote it.
    name: String,
    access: Access,
    sizes: Sizes,
    /// We made the folder, and remove it again if nothing comes into it.
    created: bool,
    /// None while there is none.
    catalog: Option<Catalog>,
    generations: Generations,
    session: Option<Session>,
    lock: Option<SyncLock>,
}

/// What one sync needs.
struct Session {
    targets: Vec<Target>,
    staged: Vec<Staged>,
    /// Tables and state are still to be emptied.
    clear: bool,
    /// The layouts are stored, and every file has them.
    ready: bool,
    in_transaction: bool,
    /// Files of the tables that are live by the catalog and not there or damaged, by table.
    missing: Vec<(String, LiveFile)>,
}

impl Parquet {
    /// Opens the folder, which need not exist when `access` is to write.
    pub fn open(path: &Path, access: Access) -> Result<Self, DestinationError> {
        let name = format!("parquet:{}", path.display());
        let mut this = Self {
            root: path.to_owned(),
            name,
            access,
            sizes: Sizes::default(),
            created: false,
            catalog: None,
            generations: Generations::new(path, 0),
            session: None,
            lock: None,
        };
        match access {
            Access::ReadOnly if !this.catalog_path().is_file() => {
                Err(StoreError::Refused("there is no data set of ours in it. Run a sync first.".to_owned()))
            }
            Access::ReadOnly => Catalog::state_at(&this.catalog_path()).map(drop),
            Access::ReadWrite => this.take(path),
        }
        .map_err(|cause| this.refusal(cause))?;
        Ok(this)
    }

    /// Cuts everything small, so that a test's few rows meet every cut.
    #[cfg(test)]
    pub(crate) fn with_small_sizes(mut self) -> Self {
        self.sizes = Sizes::small();
        self
    }

    fn home(&self) -> PathBuf {
        self.root.join("_elt")
    }

    fn catalog_path(&self) -> PathBuf {
        self.home().join("catalog.db")
    }

    /// Takes the lock, and puts in order what a crash left.
    fn take(&mut self, path: &Path) -> Result<(), StoreError> {
        match fs::create_dir(path) {
            Ok(()) => self.created = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !path.is_dir() {
                    return Err(StoreError::Refused("it is a file. Name a folder.".to_owned()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(path).display();
                return Err(StoreError::Refused(format!("the folder {parent} does not exist. Create it first.")));
            }
            Err(error) => {
                return Err(StoreError::Refused(format!("{error}. Check that you may write to its parent folder.")));
            }
        }
        self.root = path.canonicalize()?;
        self.generations = Generations::new(&self.root, 0);
        match fs::create_dir(self.home()) {
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    || error.kind() == io::ErrorKind::ReadOnlyFilesystem =>
            {
                return Err(StoreError::Refused(format!("{error}. Check that you may write to it.")));
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        self.lock = Some(SyncLock::acquire(self.home().join("lock"), &self.name)?);
        if self.catalog_path().exists() {
            self.load()?;
        }
        Ok(())
    }

    fn load(&mut self) -> Result<(), StoreError> {
        let catalog = Catalog::open(&self.catalog_path())?;
        self.generations = Generations::new(&self.root, catalog.generation()?);
        self.generations.recover()?;
        self.catalog = Some(catalog);
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if self.catalog.is_none() {
            self.load()?;
        }
        let (Some(catalog), Some(session)) = (&self.catalog, &mut self.session) else {
            return Err(DestinationError::misfit("a group before `prepare`").into());
        };
        if session.in_transaction {
            return Ok(());
        }
        let tables: Vec<&str> = session.targets.iter().map(|target| target.table.name()).collect();
        self.generations.begin(&tables)?;
        catalog.begin()?;
        session.in_transaction = true;
        for (table, file) in session.missing.drain(..) {
            self.generations.discard(&table, file.id)?;
            catalog.remove_file(file.id)?;
        }
        let mut store = Store { catalog, generations: &mut self.generations, sizes: self.sizes };
        if std::mem::take(&mut session.clear) {
            for target in &session.targets {
                store.clear(target)?;
            }
            catalog.clear_state()?;
        }
        if !std::mem::replace(&mut session.ready, true) {
            for target in &session.targets {
                store.modernise(target)?;
                catalog.set_layout(target.table.name(), &target.layout.stored()?)?;
            }
        }
        Ok(())
    }

    fn apply_now(&mut self, group: Group) -> Result<(), StoreError> {
        self.begin()?;
        let (Some(catalog), Some(session)) = (&self.catalog, &mut self.session) else { return Ok(()) };
        for change in group.changes {
            let staged = session.staged.get_mut(change.table());
            let staged = staged.ok_or_else(|| DestinationError::misfit(format!("table number {}", change.table())))?;
            match change {
                Change::Upsert { rows, .. } => staged.upsert(rows),
                Change::Delete { keys, .. } => staged.delete(keys),
            }
        }
        catalog.patch_state(&group.patch)?;
        let (rows, bytes) =
            session.staged.iter().fold((0, 0), |sum, staged| (sum.0 + staged.rows, sum.1 + staged.bytes));
        if rows >= self.sizes.staged_rows || bytes >= self.sizes.staged_bytes {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let (Some(catalog), Some(session)) = (&self.catalog, &mut self.session) else { return Ok(()) };
        let mut store = Store { catalog, generations: &mut self.generations, sizes: self.sizes };
        for (target, staged) in session.targets.iter().zip(&mut session.staged) {
            store.flush(target, &std::mem::take(staged))?;
        }
        Ok(())
    }

    fn commit_now(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        let (Some(catalog), Some(session)) = (&self.catalog, &mut self.session) else { return Ok(()) };
        let mut store = Store { catalog, generations: &mut self.generations, sizes: self.sizes };
        for target in &session.targets {
            store.settle(target)?;
        }
        let tables: Vec<&str> = session.targets.iter().map(|target| target.table.name()).collect();
        let number = self.generations.publish(&tables)?;
        catalog.set_generation(number)?;
        catalog.commit()?;
        session.in_transaction = false;
        self.generations.advance(number)
    }

    fn roll_back(&mut self) {
        let (Some(catalog), Some(session)) = (&self.catalog, &mut self.session) else { return };
        if std::mem::take(&mut session.in_transaction) {
            // Should this fail too, opening the folder again does the same.
            let _ = catalog.roll_back();
            let _ = self.generations.recover();
        }
    }

    fn refused(&self, why: impl std::fmt::Display) -> DestinationError {
        DestinationError::Refused(format!("{} can't be used: {why}", self.name))
    }

    /// For trouble before anything is written.
    fn refusal(&self, cause: StoreError) -> DestinationError {
        match cause {
            StoreError::Sqlite(error) if error::is_locked(&error) => self.refused(
                "another program has locked its catalog. Close what is writing to _elt/catalog.db and try again.",
            ),
            StoreError::Sqlite(error) => self.refused(format!("its catalog can't be read ({error}).")),
            StoreError::Io(error) => self.refused(error),
            other => self.failure_of(other),
        }
    }

    fn failure_of(&self, cause: StoreError) -> DestinationError {
        let why = match cause {
            StoreError::Refused(why) => return self.refused(why),
            StoreError::Destination(error) => return error,
            other => other.to_string(),
        };
        DestinationError::Failed(format!("writing to {} failed: {why}", self.name))
    }
}

impl Destination for Parquet {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        if let Some(catalog) = &self.catalog {
            // Refuses now what would fail after all the reading.
            catalog.begin().and_then(|()| catalog.roll_back()).map_err(|cause| self.refusal(cause))?;
        }
        let mut targets = Vec::new();
        for table in preparation.tables {
            let layout = || -> Result<Layout, StoreError> {
                self.generations.check_table(table.name())?;
                // A full refresh keeps no row, so no column need be kept either.
                let stored = match &self.catalog {
                    Some(catalog) if !preparation.full_refresh => catalog.layout(table.name())?,
                    _ => None,
                };
                Layout::new(&table, stored.as_deref())
            };
            let layout = layout().map_err(|cause| self.refusal(cause))?;
            let positions = layout.positions(&table);
            targets.push(Target { table, layout, positions, synced_at: preparation.synced_at });
        }
        let missing = || -> Result<Vec<(String, LiveFile)>, StoreError> {
            let Some(catalog) = &self.catalog else { return Ok(Vec::new()) };
            let mut missing = Vec::new();
            for target in &targets {
                missing.extend(self.generations.missing(catalog, target.table.name())?);
            }
            Ok(missing)
        };
        let missing = missing().map_err(|cause| self.refusal(cause))?;
        let state = if preparation.full_refresh { State::new() } else { self.state()? };
        self.session = Some(Session {
            staged: targets.iter().map(|_| Staged::default()).collect(),
            targets,
            clear: preparation.full_refresh,
            ready: false,
            in_transaction: false,
            missing,
        });
        Ok(state)
    }

    fn lost_tables(&mut self) -> Result<Vec<LostTable>, DestinationError> {
        Ok(self.session.as_ref().map(|session| generations::lost(&session.missing)).unwrap_or_default())
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        self.apply_now(group).map_err(|cause| self.failure_of(cause))
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        self.commit_now().map_err(|cause| self.failure_of(cause))
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.roll_back();
        let tidied = match &self.catalog {
            Some(catalog) => catalog.checkpoint().and_then(|()| self.generations.tidy()),
            None => Ok(()),
        };
        self.session = None;
        self.catalog = None;
        self.let_go();
        tidied.map_err(|cause| self.failure_of(cause))
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        if self.access == Access::ReadOnly {
            return Catalog::state_at(&self.catalog_path()).map_err(|cause| self.refusal(cause));
        }
        match &self.catalog {
            Some(catalog) => catalog.state().map_err(|cause| self.refusal(cause)),
            None => Ok(State::new()),
        }
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        let mut replace = || -> Result<(), StoreError> {
            if self.catalog.is_none() {
                self.load()?;
            }
            let Some(catalog) = &self.catalog else { return Ok(()) };
            let patch: StatePatch = state.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
            catalog.begin()?;
            let written =
                catalog.clear_state().and_then(|()| catalog.patch_state(&patch)).and_then(|()| catalog.commit());
            if written.is_err() {
                let _ = catalog.roll_back();
            }
            written
        };
        replace().map_err(|cause| self.failure_of(cause))
    }
}

impl Parquet {
    /// Gives the lock back, and removes folders that nothing came into.
    fn let_go(&mut self) {
        let unused = !self.catalog_path().exists();
        if self.lock.take().is_some() && unused {
            // They stay when they are not empty.
            let _ = fs::remove_dir(self.home());
            if self.created {
                let _ = fs::remove_dir(&self.root);
            }
        }
    }
}

impl Drop for Parquet {
    fn drop(&mut self) {
        self.roll_back();
        self.catalog = None;
        self.let_go();
    }
}
