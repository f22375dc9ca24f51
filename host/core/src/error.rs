//! Why a sync failed, as something to act on. The cases of `wit/types.wit`, and what only a host can meet.

use std::time::Duration;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationProblem {
    /// The key it is about, if it is about one.
    pub key: Option<String>,
    /// One sentence: what is wrong and what to do.
    pub message: String,
}

/// Why a sync, or another call of a connector, failed. Messages hold no secret; text from outside in them may hold
/// control characters, which [`crate::http::secrets`] escapes where it is shown.
#[derive(Debug, Clone, thiserror::Error)]
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
    /// The connector reached a limit of its [`crate::runtime::policy::Limits`].
    #[error("the connector was stopped: it reached the limit `{limit}` ({detail})")]
    Limit {
        /// The limit's name in [`crate::runtime::policy::Limits`].
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
    /// The name of the case, for programs: `error_kind` of JSON output, a label of metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "configuration",
            Self::Authentication(_) => "authentication",
            Self::Permission(_) => "permission",
            Self::NotFound(_) => "not-found",
            Self::RateLimited { .. } => "rate-limited",
            Self::Upstream { .. } => "upstream",
            Self::Destination(_) => "destination",
            Self::Interrupted => "interrupted",
            Self::Limit { .. } => "limit",
            Self::Contract(_) => "contract",
            Self::Internal(_) => "internal",
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
