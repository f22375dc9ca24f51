//! A JSON file as a destination.

use std::path::{Path, PathBuf};

use elt_destinations::kind::Access;
use elt_host::destination::lock::SyncLock;
use elt_host::{Destination, DestinationError, Group, LostTable, Preparation, State, Table};
use elt_support::paths::sibling;

use super::contents::Contents;

/// The file, held in memory.
pub(crate) struct JsonFile {
    path: PathBuf,
    /// As of the last commit.
    committed: Contents,
    /// With the groups applied since, where there are any.
    open: Option<Contents>,
    tables: Vec<Table>,
    synced_at: i64,
    full_refresh: bool,
    lock: Option<SyncLock>,
}

impl JsonFile {
    /// The file, the one that takes its place, and the lock.
    pub(super) fn files(path: &Path) -> [PathBuf; 3] {
        ["", "-new", "-sync"].map(|ending| sibling(path, ending))
    }

    /// Opens the file, which need not exist when `access` is to write.
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, DestinationError> {
        let name = format!("json:{}", path.display());
        let lock = match access {
            Access::ReadOnly => None,
            Access::ReadWrite => Some(SyncLock::acquire(sibling(path, "-sync"), &name)?),
        };
        let refused = |why: &dyn std::fmt::Display| DestinationError::Refused(format!("{name} can't be used: {why}"));
        let found = Contents::load(path).map_err(|why| refused(&why))?;
        let committed = match (found, access) {
            (Some(found), _) => found,
            (None, Access::ReadWrite) => Contents::default(),
            (None, Access::ReadOnly) => return Err(refused(&"there is no such file. Run a sync first.")),
        };
        let (open, tables, path) = (None, Vec::new(), path.to_owned());
        Ok(Self { path, committed, open, tables, synced_at: 0, full_refresh: false, lock })
    }

    fn store(&self, contents: &Contents) -> Result<(), DestinationError> {
        contents
            .store(&self.path, &sibling(&self.path, "-new"))
            .map_err(|why| DestinationError::Failed(format!("writing to json:{} failed: {why}", self.path.display())))
    }
}

impl Destination for JsonFile {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        if let Some(why) = preparation.tables.iter().find_map(|table| self.committed.misfit(table)) {
            return Err(DestinationError::Refused(format!("json:{} can't be used: {why}", self.path.display())));
        }
        self.open = None;
        (self.tables, self.synced_at) = (preparation.tables, preparation.synced_at);
        self.full_refresh = preparation.full_refresh;
        Ok(if self.full_refresh { State::new() } else { self.committed.state.clone() })
    }

    fn lost_tables(&mut self) -> Result<Vec<LostTable>, DestinationError> {
        Ok(self.committed.lost(&self.tables))
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        let open = self.open.get_or_insert_with(|| {
            let mut begun = self.committed.clone();
            begun.begin(&self.tables, self.full_refresh);
            begun
        });
        for change in &group.changes {
            let table = self.tables.get(change.table());
            let table = table.ok_or_else(|| DestinationError::misfit(format!("table number {}", change.table())))?;
            open.change(table, change, self.synced_at)?;
        }
        for (key, value) in group.patch {
            match value {
                Some(value) => drop(open.state.insert(key, value)),
                None => drop(open.state.remove(&key)),
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        if let Some(open) = self.open.take() {
            self.store(&open)?;
            (self.committed, self.full_refresh) = (open, false);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        (self.open, self.lock) = (None, None);
        Ok(())
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        Ok(self.committed.state.clone())
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        let mut replaced = self.committed.clone();
        replaced.state.clone_from(state);
        self.store(&replaced)?;
        self.committed = replaced;
        Ok(())
    }
}
