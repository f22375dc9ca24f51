//! What is known of W&B's own service before anybody asks it, and of the state of the connector that reads it.

use chrono::{DateTime, Datelike, NaiveDateTime};
use elt_host::{ConfigurationProblem, State};

/// Where the API answers when no base URL is given.
pub(crate) const DEFAULT_BASE_URL: &str = "https://api.wandb.ai";

/// Names of one and the same service, so that a key stored for one is a key for the others (`FORGE_HOSTS` in the
/// `wandb` package 0.31, whose `login` stores keys under the newer name).
pub(crate) const SAME_SERVICE: [&str; 3] = ["api.wandb.ai", "api.forge.coreweave.com", "forge.coreweave.com"];

/// The key of the watermark; Fivetran's connector has the same.
pub(crate) const WATERMARK: &str = "runs_hwm_utc";

/// What the connector would refuse in a state that people import.
pub(crate) fn problems_of_state(state: &State) -> Vec<ConfigurationProblem> {
    let problem = |(key, value): (&String, &String)| {
        let is_time = [WATERMARK, "import_hwm_utc"].contains(&key.as_str());
        (is_time && !is_moment(value)).then(|| ConfigurationProblem {
            key: None,
            message: format!("state `{key}`: {value:?} is no time; write one such as \"2025-06-15T15:06:40Z\""),
        })
    };
    state.iter().filter_map(problem).collect()
}

/// Whether the connector takes the text for a moment: RFC 3339, or the same without an offset, which is UTC then; in the years 1 to
/// 9999, which every destination can write.
fn is_moment(text: &str) -> bool {
    let naive = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    let moment = match DateTime::parse_from_rfc3339(text) {
        Ok(moment) => Some(moment.to_utc()),
        Err(_) => {
            forms.iter().find_map(|form| NaiveDateTime::parse_from_str(naive, form).ok()).map(|moment| moment.and_utc())
        }
    };
    moment.is_some_and(|moment| (1..=9999).contains(&moment.year()))
}

/// How `~/.netrc` may name the server of a URL: host and, if there is one, port, as the `wandb` tools do; and the host alone.
pub(crate) fn machine(base_url: &str) -> Option<(String, String)> {
    let uri = base_url.parse::<http::Uri>().ok()?;
    let authority = uri.authority()?;
    let machine = authority.as_str().rsplit('@').next()?.to_ascii_lowercase();
    Some((machine, authority.host().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watermark_that_is_no_time_is_named() {
        let problems = |value: &str| problems_of_state(&State::from([(WATERMARK.to_owned(), value.to_owned())]));
        for good in
            ["2025-06-15T15:06:40Z", "2025-06-15T15:06:40", "2025-06-15T15:06:40.5+02:00", "2025-06-15 15:06:40"]
        {
            assert_eq!(problems(good), [], "{good}");
        }
        for bad in [
            "",
            "yesterday",
            "2025-06-01",
            "1750000000",
            "2025-13-01T00:00:00Z",
            "-2025-06-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "+12025-06-01T00:00:00",
        ] {
            assert!(problems(bad)[0].message.contains("is no time"), "{bad}");
        }
        assert_eq!(problems_of_state(&State::from([("cursor".to_owned(), "x".to_owned())])), []);
    }
}
