//! Where the database is, followed through symbolic links, and its lock.

use std::io;
use std::path::{Path, PathBuf};

use elt_support::paths::sibling;

/// The path with symbolic links followed, so that one database has one lock. The file need not exist; its folder must.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, String> {
    if path.is_dir() {
        return Err("it is a folder. Name a file in it, for example `warehouse.db`.".to_owned());
    }
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let Some(file) = path.file_name() else {
        return Err("the path names no file.".to_owned());
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match folder.canonicalize() {
        Ok(folder) if folder.is_dir() => Ok(folder.join(file)),
        Ok(_) => Err(format!("{} is not a folder.", folder.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("the folder {} does not exist. Create it first.", folder.display()))
        }
        Err(error) => Err(format!("{}: {error}", folder.display())),
    }
}

/// The file that carries the lock of the database at `path`.
pub(super) fn lock_file(path: &Path) -> PathBuf {
    sibling(path, "-sync")
}
