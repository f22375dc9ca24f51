//! What a person can do about a key that is missing or wrong.

use elt_host::Error;
use elt_host::key_origin::KeyOrigin;
use elt_support::url_password;

use crate::wandb::key_source::KeySource;

/// The three places that are looked at, in their order.
pub(crate) const WHERE_A_KEY_GOES: &str = "\
Put the key in one of these places:
  1. the configuration file: {\"api_key\": \"…\"}, then chmod 600 the file
  2. the environment: WANDB_API_KEY
  3. ~/.netrc, which `wandb login` writes";

/// The page on which W&B shows a user's key. The web application of `https://api.example.com` is at
/// `https://app.example.com`, W&B's own at `https://wandb.ai`, and a self-hosted server's at its base URL; so in
/// `api_to_app_url` of the `wandb` package 0.31.
pub(crate) fn authorize_url(base_url: &str) -> String {
    let base = base_url.trim().trim_end_matches('/');
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    let application = match rest {
        "api.wandb.ai" | "api.forge.coreweave.com" => "https://wandb.ai".into(),
        _ => match rest.strip_prefix("api.") {
            Some(domain) if domain.starts_with("wandb.") => format!("{scheme}://{domain}"),
            Some(domain) => format!("{scheme}://app.{domain}"),
            None => base.into(),
        },
    };
    format!("{application}/authorize")
}

/// Adds to an error about the key what only this side knows: which server it is for, where it was looked for, and where there is
/// another.
pub(crate) fn explain(error: Error, base_url: &str, source: &KeySource) -> Error {
    let server = url_password::hide(base_url.trim());
    let page = authorize_url(&server);
    if *source == KeySource::Nowhere {
        // Without a key, it is not W&B's connector that was refused.
        return match error {
            Error::Configuration(mut problems) => {
                for problem in problems.iter_mut().filter(|problem| problem.key.as_deref() == Some("api_key")) {
                    problem.message = format!(
                        "is missing; get a key for {server} at {page} and put it in the configuration file, in the environment as \
                         WANDB_API_KEY, or in ~/.netrc (which `wandb login` does)"
                    );
                }
                Error::Configuration(problems)
            }
            other => other,
        };
    }
    let error = match error {
        Error::Authentication(message) => {
            Error::Authentication(format!("{}; get one at {page}", message.trim_end_matches('.')))
        }
        other => other,
    };
    KeyOrigin { key: "api_key".into(), server, source: source.to_string() }.explain(error)
}

#[cfg(test)]
mod tests {
    use elt_host::ConfigurationProblem;

    use super::*;

    #[test]
    fn the_page_for_keys_belongs_to_the_server() {
        let cases = [
            ("https://api.wandb.ai", "https://wandb.ai/authorize"),
            ("https://api.wandb.ai/", "https://wandb.ai/authorize"),
            ("https://api.forge.coreweave.com", "https://wandb.ai/authorize"),
            ("https://api.wandb.example", "https://wandb.example/authorize"),
            ("https://api.example.com", "https://app.example.com/authorize"),
            ("http://localhost:8080", "http://localhost:8080/authorize"),
            ("https://wandb.example.com/", "https://wandb.example.com/authorize"),
        ];
        for (base_url, page) in cases {
            assert_eq!(authorize_url(base_url), page, "{base_url}");
        }
    }

    #[test]
    fn a_missing_key_is_explained_among_the_other_problems() {
        let problem = |key: &str| ConfigurationProblem { key: Some(key.into()), message: "is missing".into() };
        let error = || Error::Configuration(vec![problem("api_key"), problem("entity")]);
        let explained = explain(error(), "https://api.wandb.ai", &KeySource::Nowhere);
        insta::assert_snapshot!(explained, @"
        the configuration can't be used: `api_key`: is missing; get a key for https://api.wandb.ai at https://wandb.ai/authorize and put it in the configuration file, in the environment as WANDB_API_KEY, or in ~/.netrc (which `wandb login` does); `entity`: is missing
        ");
        let kept = explain(error(), "https://api.wandb.ai", &KeySource::Variable("WANDB_API_KEY"));
        insta::assert_snapshot!(kept, @"the configuration can't be used: `api_key`: is missing; the key for https://api.wandb.ai came from the environment variable WANDB_API_KEY; `entity`: is missing");
    }

    #[test]
    fn a_refused_key_is_said_to_come_from_somewhere() {
        let error = Error::Authentication("W&B does not accept the key (401).".into());
        let explained = explain(error, "https://api.wandb.ai", &KeySource::Netrc("/home/me/.netrc".into()));
        insta::assert_snapshot!(explained, @"
        W&B does not accept the key (401); get one at https://wandb.ai/authorize; the key for https://api.wandb.ai came from /home/me/.netrc
        ");
    }
}
