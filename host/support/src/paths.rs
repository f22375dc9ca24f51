//! Paths of files that belong to another.

use std::path::{Path, PathBuf};

/// The path of a file beside that one, with a longer name.
pub fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
