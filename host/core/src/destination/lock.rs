//! One sync at a time: an advisory lock on a small file beside the destination.
//!
//! Two syncs into one destination would take turns transaction by transaction, each believing its own state. The lock
//! is taken before anything is read and held until the destination is dropped; it goes with the process, however that
//! ends. It is a file of its own and never the database's: closing any descriptor of a file drops the POSIX locks that
//! this process holds on it, which are SQLite's own (<https://www.sqlite.org/howtocorrupt.html>, 2.2).
//!
//! The file is removed when the lock is let go. A lock counts only if the path still names the locked file afterwards;
//! otherwise a second sync could lock a file that was just removed while a third one locks its successor.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::DestinationError;

/// Held for as long as this process may write.
#[derive(Debug)]
pub struct SyncLock {
    path: PathBuf,
    // Dropping it lets go of the lock.
    _file: File,
}

impl SyncLock {
    /// Takes the lock or refuses at once. `destination` is what to call it in messages.
    ///
    /// # Errors
    /// [`DestinationError::Refused`]: somebody has it, or there can be none.
    pub fn acquire(path: PathBuf, destination: &str) -> Result<Self, DestinationError> {
        loop {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|error| {
                DestinationError::Refused(format!(
                    "{destination} can't be written: {}: {error}. Check that you may write to this folder.",
                    path.display()
                ))
            })?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(DestinationError::Refused(format!(
                        "another sync is writing to {destination}, or a verification is reading it. Wait until that has ended, or \
                         choose another destination."
                    )));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(DestinationError::Refused(format!(
                        "{destination} can't be locked: {}: {error}. Choose a destination on a file system with locks.",
                        path.display()
                    )));
                }
            }
            if names(&path, &file).unwrap_or(false) {
                return Ok(Self { path, _file: file });
            }
        }
    }

    /// Takes the lock to read what nobody changes meanwhile. None where this process may not write, and so not lock.
    ///
    /// # Errors
    /// The same.
    pub fn acquire_for_reading(path: PathBuf, destination: &str) -> Result<Option<Self>, DestinationError> {
        match OpenOptions::new().create(true).truncate(false).write(true).open(&path) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                Ok(None)
            }
            _ => Self::acquire(path, destination).map(Some),
        }
    }
}

impl Drop for SyncLock {
    fn drop(&mut self) {
        // Still locked here, so nobody else's file can be removed. A file that stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
fn names(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (there, here) = (fs::metadata(path)?, file.metadata()?);
    Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
}

/// Elsewhere an open file can't be removed.
#[cfg(not(unix))]
fn names(_: &Path, _: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_dropped_and_the_file_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("warehouse.db-sync");
        let first = SyncLock::acquire(path.clone(), "sqlite:warehouse.db").unwrap();
        let refusal = SyncLock::acquire(path.clone(), "sqlite:warehouse.db").unwrap_err();
        assert!(refusal.to_string().starts_with("another sync is writing to sqlite:warehouse.db"), "{refusal}");
        drop(first);
        assert!(!path.exists());
        SyncLock::acquire(path, "sqlite:warehouse.db").unwrap();
    }

    #[test]
    fn many_takers_never_hold_it_at_once() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let (inside, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let Ok(lock) = SyncLock::acquire(path.clone(), "x") else {
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        taken.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
    }
}
