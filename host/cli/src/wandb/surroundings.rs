//! The environment, the home and the folder of the process.

use std::path::PathBuf;

/// What lies around the process: a value of its own, so that tests need not change the real one.
pub(crate) struct Surroundings<'a> {
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) home: Option<PathBuf>,
    /// The current folder.
    pub(crate) folder: Option<PathBuf>,
}

impl Surroundings<'_> {
    /// A path that may begin with `~/`.
    pub(crate) fn expand(&self, path: &str) -> Option<PathBuf> {
        match path.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => Some(self.home.as_ref()?.join(&rest[1..])),
            _ => Some(path.into()),
        }
    }
}
