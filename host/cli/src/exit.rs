//! Exit codes, which scripts can rely on.

use std::process::ExitCode;

use elt_host::{Error, ErrorKind, Outcome};

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
        match error.kind() {
            ErrorKind::Configuration | ErrorKind::NotFound => Self::Configuration,
            ErrorKind::Authentication | ErrorKind::Permission => Self::Access,
            ErrorKind::RateLimited | ErrorKind::Upstream => Self::Upstream,
            ErrorKind::Destination => Self::Destination,
            ErrorKind::Interrupted => Self::Interrupted,
            // A limit, a broken contract, a fault, and whatever kinds there will be.
            _ => Self::Internal,
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
            assert_eq!((Exit::from(&error) as u8, error.kind().name()), (code, name));
            // A sync that failed says so, also when something was quarantined before.
            let mut outcome = Outcome::failed(error);
            outcome.quarantined.push(("a".into(), "b".into()));
            assert_eq!(Exit::from(&outcome) as u8, code);
        }
        let mut partial = Outcome::default();
        partial.quarantined.push(("a".into(), "b".into()));
        assert_eq!((Exit::from(&Outcome::default()), Exit::from(&partial)), (Exit::Ok, Exit::Partial));
    }
}
