//! The kinds of errors, for programs that act on them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What sort of an [`Error`](crate::Error) it is: what a program acts on, and what is kept of one in metrics, histories and JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration has to be changed.
    Configuration,
    /// The credentials are not accepted.
    Authentication,
    /// The credentials do not suffice.
    Permission,
    /// What the configuration names does not exist.
    NotFound,
    /// The source was asked too often; later it may answer.
    RateLimited,
    /// The source, or the way to it, is broken; later it may not be.
    Upstream,
    /// The destination refused or failed.
    Destination,
    /// The caller asked to stop.
    Interrupted,
    /// A limit of the policy was reached.
    Limit,
    /// The connector broke its contract.
    Contract,
    /// The connector or the host has a fault.
    Internal,
}

impl ErrorKind {
    /// Its name, as it stands in JSON and in metrics: `rate-limited`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Authentication => "authentication",
            Self::Permission => "permission",
            Self::NotFound => "not-found",
            Self::RateLimited => "rate-limited",
            Self::Upstream => "upstream",
            Self::Destination => "destination",
            Self::Interrupted => "interrupted",
            Self::Limit => "limit",
            Self::Contract => "contract",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
