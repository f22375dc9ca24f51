//! Exit codes, which scripts can rely on.

use std::process::ExitCode;

use elt_host::{Error, Outcome};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything was done.
    Ok = 0,
    /// A fault of the connector or the host, or a limit that stopped it.
    Internal = 1,
    /// Wrong usage or configuration; what is named does not exist.
    Configuration = 2,
    /// The key is not valid, or may not read this.
    Access = 3,
    /// Done, but for what was quarantined; or verified, and not everything is as it should be.
    Partial = 4,
    /// W&B, or the way to it, failed, or limits the rate of requests.
    Upstream = 5,
    /// The destination refused or failed.
    Destination = 6,
    /// SIGINT or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error {
            Error::Configuration(_) | Error::NotFound(_) => Self::Configuration,
            Error::Authentication(_) | Error::Permission(_) => Self::Access,
            Error::RateLimited { .. } | Error::Upstream { .. } => Self::Upstream,
            Error::Destination(_) => Self::Destination,
            Error::Interrupted => Self::Interrupted,
            Error::Limit { .. } | Error::Contract(_) | Error::Internal(_) => Self::Internal,
        }
    }
}

impl From<&Outcome> for Exit {
    fn from(outcome: &Outcome) -> Self {
        match &outcome.error {
            Some(error) => error.into(),
            None if outcome.quarantined.is_empty() && outcome.items.quarantined == 0 => Self::Ok,
            None => Self::Partial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_code_and_kind() {
        let text = String::new;
        let cases = [
            (Error::Configuration(Vec::new()), 2, "configuration"),
            (Error::NotFound(text()), 2, "not-found"),
            (Error::Authentication(text()), 3, "authentication"),
            (Error::Permission(text()), 3, "permission"),
            (Error::RateLimited { message: text(), retry_after: None }, 5, "rate-limited"),
            (Error::Upstream { status: Some(502), message: text() }, 5, "upstream"),
            (Error::Destination(text()), 6, "destination"),
            (Error::Interrupted, 130, "interrupted"),
            (Error::Limit { limit: "memory", detail: text() }, 1, "limit"),
            (Error::Contract(text()), 1, "contract"),
            (Error::Internal(text()), 1, "internal"),
        ];
        for (error, code, name) in cases {
            assert_eq!((Exit::from(&error) as u8, error.kind()), (code, name));
            // A sync that failed says so, also when something was quarantined before.
            let quarantined = vec![("a".into(), "b".into())];
            assert_eq!(Exit::from(&Outcome { error: Some(error), quarantined, ..Outcome::default() }) as u8, code);
        }
        let partial = Outcome { quarantined: vec![("a".into(), "b".into())], ..Outcome::default() };
        assert_eq!((Exit::from(&Outcome::default()), Exit::from(&partial)), (Exit::Ok, Exit::Partial));
    }
}
