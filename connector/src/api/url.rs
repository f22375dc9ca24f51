//! URLs: parts of paths encoded, and links followed only within the origin that the configuration names.

use fluent_uri::{Uri, UriRef};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// RFC 3986's unreserved characters stay as they are.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One part of a path, percent-encoded. `.` and `..`, which would climb, are encoded too.
pub fn encode(part: &str) -> String {
    match part {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(part, UNSAFE).to_string(),
    }
}

/// Scheme, host and port, in a form that can be compared.
fn origin(url: &Uri<&str>) -> Option<(String, String, u16)> {
    let scheme = url.scheme().as_str().to_ascii_lowercase();
    let authority = url.authority()?;
    let default = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let port = authority.port_to_u16().ok()?.unwrap_or(default);
    Some((scheme, authority.host().to_ascii_lowercase(), port))
}

/// The part of a URL that names the server: scheme, host and port.
pub fn server(url: &str) -> Option<&str> {
    let after_scheme = url.find("://")? + 3;
    let rest = url.get(after_scheme..)?;
    let length = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    url.get(..after_scheme + length)
}

/// The address that `link`, found on the page at `page`, leads to. Refused unless it is of `page`'s own origin: requests carry the key.
pub fn follow(page: &str, link: &str) -> Result<String, String> {
    let page = Uri::parse(page).map_err(|_| "the page has no valid address".to_owned())?;
    let link = UriRef::parse(link).map_err(|_| "the link to the next page is not a URL".to_owned())?;
    let target = link
        .resolve_against(&page.strip_fragment())
        .map_err(|_| "the link to the next page can't be resolved".to_owned())?;
    let target = target.strip_fragment().to_owned();
    match (origin(&page), origin(&target.borrow())) {
        (Some(own), Some(other))
            if own == other && !target.authority().is_some_and(|authority| authority.has_userinfo()) =>
        {
            Ok(target.into_string())
        }
        _ => Err("the link to the next page leads to another host, and was not followed".to_owned()),
    }
}

/// The address of a file to download, which is asked without the key and may be anywhere: absolute, `http` or `https`, without a user.
pub fn download(link: &str) -> Result<String, String> {
    let refused = |why: &str| Err(format!("the address of its file {why}"));
    let Ok(url) = Uri::parse(link) else {
        return refused("is not an absolute URL");
    };
    if origin(&url).is_none() {
        return refused("is not one of http or https");
    }
    if url.authority().is_some_and(|authority| authority.has_userinfo() || authority.host().is_empty()) {
        return refused("names a user, or no host");
    }
    Ok(url.strip_fragment().as_str().to_owned())
}

/// A URL for a message: without its query, which may hold a signature.
pub fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_downloaded_from_anywhere_but_only_by_http() {
        for link in ["https://storage.example/b/0.parquet?X-Sig=a%2Fb", "http://127.0.0.1:8765/_storage/x"] {
            assert_eq!(download(link).as_deref(), Ok(link));
        }
        for link in [
            "/_storage/x",
            "//storage.example/x",
            "file:///etc/passwd",
            "ftp://storage.example/x",
            "https://user@storage.example/x",
            "https:///x",
            "data:,x",
            "",
            "not a url",
        ] {
            assert!(download(link).is_err(), "{link}");
        }
    }

    #[test]
    fn the_server_of_a_url_is_all_before_its_path() {
        for (url, expected) in [
            ("https://api.wandb.ai/graphql", Some("https://api.wandb.ai")),
            ("http://[::1]:8080?x=/", Some("http://[::1]:8080")),
            ("http://localhost", Some("http://localhost")),
            ("api.wandb.ai", None),
        ] {
            assert_eq!(server(url), expected, "{url}");
        }
    }

    #[test]
    fn a_path_part_stays_one_part() {
        for (part, expected) in [
            ("a b/c", "a%20b%2Fc"),
            ("ünï", "%C3%BCn%C3%AF"),
            ("..", "%2E%2E"),
            ("a-b_c.d~e", "a-b_c.d~e"),
            ("?#%", "%3F%23%25"),
        ] {
            assert_eq!(encode(part), expected);
        }
    }

    #[test]
    fn links_within_the_origin_are_followed() {
        let page = "https://api.wandb.ai/projects/a/b/runs?perPage=2";
        for (link, expected) in [
            ("https://api.wandb.ai:443/x?page=2", "https://api.wandb.ai:443/x?page=2"),
            ("HTTPS://API.wandb.ai/x", "https://API.wandb.ai/x"),
            ("/x?page=2", "https://api.wandb.ai/x?page=2"),
            ("?page=2", "https://api.wandb.ai/projects/a/b/runs?page=2"),
            ("runs?page=3#top", "https://api.wandb.ai/projects/a/b/runs?page=3"),
        ] {
            assert_eq!(follow(page, link).map(|url| url.to_lowercase()), Ok(expected.to_lowercase()), "{link}");
        }
    }

    #[test]
    fn links_that_lead_elsewhere_are_refused() {
        let page = "https://api.wandb.ai/runs";
        for link in [
            "https://evil.example/runs",
            "http://api.wandb.ai/runs",
            "https://api.wandb.ai:8443/",
            "//evil.example/",
            "https://api.wandb.ai@evil.example/",
            "https://user@api.wandb.ai/",
            "file:///etc/passwd",
            "javascript:1",
            "https://api.wandb.ai.evil.example/",
            "http://[::1]/",
            "not a url\u{0}",
        ] {
            assert!(follow(page, link).is_err(), "{link}");
        }
    }
}
