//! Which proxy is used for what, as the environment says: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, and `NO_PROXY` for exceptions, in
//! upper or lower case.

use hyper_util::client::proxy::matcher::Matcher;

/// The proxies of this process.
pub(crate) fn from_environment() -> Matcher {
    // In a CGI program a stranger's request sets `HTTP_PROXY`; the library's own reading of the environment knows.
    if std::env::var_os("REQUEST_METHOD").is_some() {
        return Matcher::from_env();
    }
    of(|name| std::env::var(name).ok())
}

fn of(variable: impl Fn(&str) -> Option<String>) -> Matcher {
    let value = |name: &str| {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        set(name).or_else(|| set(&name.to_ascii_lowercase())).unwrap_or_default().trim().to_owned()
    };
    Matcher::builder()
        .all(value("ALL_PROXY"))
        .http(value("HTTP_PROXY"))
        .https(value("HTTPS_PROXY"))
        .no(exceptions(&value("NO_PROXY")))
        .build()
}

/// The library takes a name with or without a dot in front for a domain and all below it; `*.` is what other programs write for that.
/// Some separate by spaces.
fn exceptions(list: &str) -> String {
    let entries = list.split([',', ' ', '\t', '\n', '\r']).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn proxied(no_proxy: &str, url: &str) -> bool {
        let value = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://proxy.example:3128".to_owned()),
            "NO_PROXY" => Some(no_proxy.to_owned()),
            _ => None,
        };
        of(value).intercept(&url.parse().unwrap()).is_some()
    }

    #[test]
    fn a_domain_that_needs_no_proxy_can_be_written_in_every_way() {
        for list in ["corp.example", ".corp.example", "*.corp.example", "a.example, *.corp.example", "x *.CORP.example"]
        {
            assert!(!proxied(list, "https://api.corp.example/graphql"), "{list}");
            assert!(!proxied(list, "https://a.b.corp.example"), "{list}");
            assert!(proxied(list, "https://corp.example.evil.test"), "{list}");
            assert!(proxied(list, "https://notcorp.example"), "{list}");
        }
        assert!(!proxied("*", "https://anything.example"));
        assert!(!proxied("10.0.0.0/8,*.corp.example", "https://10.1.2.3"));
        assert!(proxied("", "https://api.corp.example"));
    }

    #[test]
    fn a_variable_counts_in_either_case_unless_it_is_empty() {
        let find = |upper: Option<&str>, lower: Option<&str>| {
            let matcher = of(|name| match name {
                "HTTP_PROXY" => upper.map(str::to_owned),
                "http_proxy" => lower.map(str::to_owned),
                _ => None,
            });
            matcher.intercept(&"http://a.example".parse().unwrap()).map(|proxy| proxy.uri().to_string())
        };
        assert_eq!(find(Some("http://u:1"), Some("http://l:1")).as_deref(), Some("http://u:1/"));
        assert_eq!(find(Some(" "), Some("http://l:1")).as_deref(), Some("http://l:1/"));
        assert_eq!(find(None, None), None);
    }
}
