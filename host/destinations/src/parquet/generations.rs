//! The folders that readers see, switched from one commit's files to the next one's in a single step.
//!
//! `DIR/<table>` is a symbolic link to `_elt/current/<table>`, and `_elt/current` one to `generation-<n>`. A transaction fills
//! `_elt/next`, which begins as a copy of the current generation made of hard links; publishing names it
//! `generation-<n+1>` and replaces `_elt/current` by one rename. So a reader sees all tables before a commit or after
//! it, never doubled or missing rows, wherever the process is killed. The old generation then gets what changed and is the next `next`.
//!
//! The catalog is committed after the switch. When a crash falls between the two, [`Generations::recover`] switches
//! back to the generation that the catalog describes, which is still there.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::catalog::{Catalog, LiveFile};
use super::error::StoreError;
use elt_host::LostTable;

const CURRENT: &str = "current";
const NEXT: &str = "next";

/// The folders of one destination.
pub(super) struct Generations {
    /// `DIR`.
    root: PathBuf,
    /// The published one; 0 before the first.
    number: u64,
    /// Whether `next` equals the current generation, but for what the open transaction changed.
    ready: bool,
    /// What the open transaction changed: table, file's name.
    added: Vec<(String, String)>,
    removed: Vec<(String, String)>,
}

/// The name of a live file.
pub(super) fn file_name(id: i64) -> String {
    format!("part-{id:08}.parquet")
}

impl Generations {
    pub(super) fn new(root: &Path, number: u64) -> Self {
        Self { root: root.to_owned(), number, ready: false, added: Vec::new(), removed: Vec::new() }
    }

    fn home(&self) -> PathBuf {
        self.root.join("_elt")
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.home().join(format!("generation-{number}"))
    }

    /// Where a file of the open transaction lies.
    pub(super) fn path(&self, table: &str, id: i64) -> PathBuf {
        self.home().join(NEXT).join(table).join(file_name(id))
    }

    /// Refuses when something of somebody else's is where a table's link would be.
    pub(super) fn check_table(&self, table: &str) -> Result<(), StoreError> {
        let path = self.root.join(table);
        match fs::read_link(&path) {
            Ok(target) if target == table_target(table) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(StoreError::Refused(format!(
                "{} is there already and is not ours. Choose another folder.",
                path.display()
            ))),
        }
    }

    /// Files of a table that the catalog describes and that are not there, or not of the length that was written: somebody removed,
    /// emptied or cut them.
    pub(super) fn missing(&self, catalog: &Catalog, table: &str) -> Result<Vec<(String, LiveFile)>, StoreError> {
        let folder = self.generation(self.number).join(table);
        let mut files = catalog.files(table)?;
        let is_whole = |file: &LiveFile| {
            let found = fs::metadata(folder.join(file_name(file.id)));
            found.is_ok_and(|found| found.is_file() && found.len() == file.bytes)
        };
        files.retain(|file| !is_whole(file));
        Ok(files.into_iter().map(|file| (table.to_owned(), file)).collect())
    }

    /// Makes the visible folders those that the catalog describes, and removes what a crash left behind.
    pub(super) fn recover(&mut self) -> Result<(), StoreError> {
        let visible = fs::read_link(self.home().join(CURRENT)).ok();
        let wanted = PathBuf::from(format!("generation-{}", self.number));
        if self.number == 0 {
            remove_if_there(&self.home().join(CURRENT))?;
        } else if visible.as_ref() != Some(&wanted) {
            self.switch(self.number)?;
        }
        for entry in fs::read_dir(self.home())? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let stale = name.starts_with("generation-") && Path::new(name) != wanted;
            if stale || name == NEXT {
                fs::remove_dir_all(self.home().join(name))?;
            }
        }
        self.ready = false;
        Ok(())
    }

    /// Makes `next` what the current generation is, with a folder for each table.
    pub(super) fn begin(&mut self, tables: &[&str]) -> Result<(), StoreError> {
        let next = self.home().join(NEXT);
        if !self.ready {
            if next.exists() {
                fs::remove_dir_all(&next)?;
            }
            fs::create_dir(&next)?;
            if self.number > 0 && self.generation(self.number).is_dir() {
                for table in fs::read_dir(self.generation(self.number))? {
                    let table = table?;
                    let folder = next.join(table.file_name());
                    fs::create_dir(&folder)?;
                    for file in fs::read_dir(table.path())? {
                        let file = file?;
                        link(&file.path(), &folder.join(file.file_name()))?;
                    }
                }
            }
            self.ready = true;
        }
        for table in tables {
            create_dir_if_missing(&next.join(table))?;
        }
        Ok(())
    }

    /// Notes a file that was written to [`Generations::path`] and is durable.
    pub(super) fn add(&mut self, table: &str, id: i64) {
        self.added.push((table.to_owned(), file_name(id)));
    }

    /// Takes a file out of the next generation.
    pub(super) fn remove(&mut self, table: &str, id: i64) -> Result<(), StoreError> {
        fs::remove_file(self.path(table, id))?;
        let entry = (table.to_owned(), file_name(id));
        // A file that came and went in one transaction never was.
        match self.added.iter().position(|added| *added == entry) {
            Some(position) => drop(self.added.swap_remove(position)),
            None => self.removed.push(entry),
        }
        Ok(())
    }

    /// Takes a lost file out of the next generation, if anything is left of it.
    pub(super) fn discard(&mut self, table: &str, id: i64) -> Result<(), StoreError> {
        if self.path(table, id).is_file() { self.remove(table, id) } else { Ok(()) }
    }

    /// Shows the next generation to readers. Returns its number, for the catalog.
    pub(super) fn publish(&mut self, tables: &[&str]) -> Result<u64, StoreError> {
        let number = self.number + 1;
        let next = self.home().join(NEXT);
        let changed: HashSet<&String> = self.added.iter().chain(&self.removed).map(|(table, _)| table).collect();
        for table in changed {
            sync_folder(&next.join(table))?;
        }
        sync_folder(&next)?;
        fs::rename(&next, self.generation(number))?;
        for table in tables {
            self.check_table(table)?;
            let path = self.root.join(table);
            if path.symlink_metadata().is_err() {
                symlink(&table_target(table), &path)?;
            }
        }
        self.switch(number)?;
        sync_folder(&self.root)?;
        Ok(number)
    }

    /// After the catalog is committed: makes the generation before it the next one.
    pub(super) fn advance(&mut self, number: u64) -> Result<(), StoreError> {
        let old = self.generation(self.number);
        let before = std::mem::replace(&mut self.number, number);
        let (added, removed) = (std::mem::take(&mut self.added), std::mem::take(&mut self.removed));
        self.ready = false;
        if before == 0 || !old.is_dir() {
            return Ok(());
        }
        let next = self.home().join(NEXT);
        fs::rename(&old, &next)?;
        for (table, name) in removed {
            fs::remove_file(next.join(table).join(name))?;
        }
        for (table, name) in added {
            let folder = next.join(&table);
            create_dir_if_missing(&folder)?;
            link(&self.generation(number).join(&table).join(&name), &folder.join(&name))?;
        }
        self.ready = true;
        Ok(())
    }

    /// Leaves only the current generation.
    pub(super) fn tidy(&mut self) -> Result<(), StoreError> {
        self.ready = false;
        let next = self.home().join(NEXT);
        if next.exists() {
            fs::remove_dir_all(next)?;
        }
        Ok(())
    }

    fn switch(&self, number: u64) -> Result<(), StoreError> {
        let new = self.home().join("current.new");
        remove_if_there(&new)?;
        symlink(Path::new(&format!("generation-{number}")), &new)?;
        fs::rename(&new, self.home().join(CURRENT))?;
        sync_folder(&self.home())
    }
}

/// The tables that miss files with rows.
pub(super) fn lost(missing: &[(String, LiveFile)]) -> Vec<LostTable> {
    let names: BTreeSet<&String> = missing.iter().filter(|(_, file)| file.rows > 0).map(|(table, _)| table).collect();
    names.into_iter().map(|name| LostTable { name: name.clone(), is_certain: true }).collect()
}

fn table_target(table: &str) -> PathBuf {
    Path::new("_elt").join(CURRENT).join(table)
}

fn create_dir_if_missing(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// A second name for a file; a copy where the file system has no hard links.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => fs::copy(from, to).map(drop),
        result => result,
    }
}

/// Makes names in a folder durable.
#[cfg(unix)]
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    Ok(File::open(path)?.sync_all()?)
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> Result<(), StoreError> {
    std::os::unix::fs::symlink(target, link).map_err(|error| {
        StoreError::Refused(format!(
            "{} can't be made: {error}. Choose a folder on a file system with symbolic links.",
            link.display()
        ))
    })
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> Result<(), StoreError> {
    Err(StoreError::Refused("`parquet:` needs a Unix file system.".to_owned()))
}
