//! Where the API key was found.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where the API key was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum KeySource {
    #[default]
    Nowhere,
    File(PathBuf),
    Variable(&'static str),
    Netrc(PathBuf),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("nowhere"),
            Self::File(path) if path == Path::new("-") => f.write_str("the configuration on standard input"),
            Self::File(path) => write!(f, "the configuration file {}", path.display()),
            Self::Netrc(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}
