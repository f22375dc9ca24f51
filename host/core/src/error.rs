//! Why a sync failed, as something to act on. The cases of `wit/types.wit`, and what only a host can meet.

mod kind;
mod serialized;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use kind::ErrorKind;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationProblem {
    /// The key it is about, if it is about one.
    pub key: Option<String>,
    /// One sentence: what is wrong and what to do.
    pub message: String,
}

/// Why a sync, or another call of a connector, failed. Messages hold no secret and, unless they come from a destination, no control
/// characters. It serialises as an object with `kind` and `message`.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used; every problem that was found.
    #[error("the configuration can't be used: {}", list(.0))]
    Configuration(Vec<ConfigurationProblem>),
    /// The source does not accept the credentials.
    #[error("{0}")]
    Authentication(String),
    /// The credentials may not read this.
    #[error("{0}")]
    Permission(String),
    /// What the configuration names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The source limits the rate of requests and did so to the end.
    #[error("{message}")]
    RateLimited {
        /// What was asked.
        message: String,
        /// After how long the source wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The source, or the way to it, is broken.
    #[error("{message}")]
    Upstream {
        /// The HTTP status, if a response came.
        status: Option<u16>,
        /// What was asked and what went wrong.
        message: String,
    },
    /// The destination refused or failed.
    #[error("{0}")]
    Destination(String),
    /// The caller asked to stop; what was checkpointed is stored.
    #[error("interrupted; what was committed is stored")]
    Interrupted,
    /// The connector reached one of its [`Limits`](crate::Limits).
    #[error("the connector was stopped: it reached the limit `{limit}` ({detail})")]
    Limit {
        /// The limit's name, that of a field of [`Limits`](crate::Limits).
        limit: &'static str,
        /// The limit's value and what was seen.
        detail: String,
    },
    /// The connector broke the contract (`wit/`): a ragged batch, an unknown table.
    #[error("the connector broke its contract: {0}")]
    Contract(String),
    /// The connector can't be loaded or crashed, or the host has a fault.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// What sort of an error it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Configuration(_) => ErrorKind::Configuration,
            Self::Authentication(_) => ErrorKind::Authentication,
            Self::Permission(_) => ErrorKind::Permission,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::Upstream { .. } => ErrorKind::Upstream,
            Self::Destination(_) => ErrorKind::Destination,
            Self::Interrupted => ErrorKind::Interrupted,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::Contract(_) => ErrorKind::Contract,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

fn list(problems: &[ConfigurationProblem]) -> String {
    let line = |problem: &ConfigurationProblem| match &problem.key {
        Some(key) => format!("`{key}`: {}", problem.message),
        None => problem.message.clone(),
    };
    problems.iter().map(line).collect::<Vec<_>>().join("; ")
}
