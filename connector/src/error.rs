//! Why a call of the connector failed: the cases of `wit/types.wit`, each something that a caller acts on differently.

use std::time::Duration;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key it is about; none when it is about the whole.
    pub key: Option<String>,
    /// One sentence: what is wrong and what to do. Never holds the API key.
    pub message: String,
}

/// Why `check`, `schema` or `sync` failed. No message holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration can't be used; every problem found.
    #[error("the configuration can't be used ({} problems)", .0.len())]
    Configuration(Vec<Problem>),
    /// W&B does not accept the API key.
    #[error("{0}")]
    Authentication(String),
    /// The API key may not read this.
    #[error("{0}")]
    Permission(String),
    /// The project does not exist, or is hidden from this key.
    #[error("{0}")]
    NotFound(String),
    /// W&B limited the rate of requests and went on doing so after every retry.
    #[error("{message}")]
    RateLimited {
        /// What was asked.
        message: String,
        /// After how long W&B wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
    /// W&B, or the way to it, is broken.
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
    /// The host asked to stop.
    #[error("the host asked to stop")]
    Interrupted,
    /// A fault of the connector.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// Whether W&B said no, rather than that it broke or that something else did: no retry helps.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Authentication(_) | Self::Permission(_) | Self::NotFound(_))
    }

    /// Whether this is what came of one question to W&B. All else ends a sync whatever was asked.
    pub(crate) fn is_of_one_question(&self) -> bool {
        self.is_refusal() || matches!(self, Self::Upstream { .. } | Self::RateLimited { .. })
    }

    /// An upstream failure without a response.
    pub(crate) fn upstream(message: impl Into<String>) -> Self {
        Self::Upstream { status: None, message: message.into() }
    }
}
