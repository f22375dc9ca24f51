//! Whose key an error is about: a server refuses a key, and whoever reads that needs to know which server, and where the key is from.

use crate::error::Error;

/// A secret of a configuration: its key there, the server that it is for, and where it came from, as people read it.
#[derive(Debug, Clone)]
pub struct KeyOrigin {
    /// The configuration's key.
    pub key: String,
    /// The URL of the server, without credentials.
    pub server: String,
    /// Such as `the environment variable NAME`.
    pub source: String,
}

impl KeyOrigin {
    /// Adds what is known to an error that such a secret may be the cause of: it is refused, may not read something, does not show
    /// something, or can't be one.
    pub fn explain(&self, error: Error) -> Error {
        let Self { key, server, source } = self;
        let more =
            |message: String| format!("{}; the key for {server} came from {source}", message.trim_end_matches('.'));
        match error {
            Error::Authentication(message) => Error::Authentication(more(message)),
            Error::Permission(message) => Error::Permission(more(message)),
            Error::NotFound(message) => Error::NotFound(more(message)),
            Error::Configuration(mut problems) => {
                for problem in problems.iter_mut().filter(|problem| problem.key.as_ref() == Some(key)) {
                    problem.message = more(std::mem::take(&mut problem.message));
                }
                Error::Configuration(problems)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConfigurationProblem;

    #[test]
    fn only_errors_about_a_key_name_where_it_came_from() {
        let origin = KeyOrigin {
            key: "api_key".into(),
            server: "https://w.example".into(),
            source: "the environment variable KEY".into(),
        };
        let more = "; the key for https://w.example came from the environment variable KEY";
        let explained = |error: Error| origin.explain(error).to_string();
        assert_eq!(explained(Error::Authentication("refused.".into())), format!("refused{more}"));
        assert_eq!(explained(Error::Permission("forbidden".into())), format!("forbidden{more}"));
        assert_eq!(explained(Error::NotFound("absent".into())), format!("absent{more}"));
        assert_eq!(explained(Error::Internal("crash".into())), "crash");
        let problem = |key: &str| ConfigurationProblem { key: Some(key.into()), message: "is wrong".into() };
        let text = explained(Error::Configuration(vec![problem("api_key"), problem("entity")]));
        assert!(text.ends_with(&format!("`api_key`: is wrong{more}; `entity`: is wrong")), "{text}");
    }
}
