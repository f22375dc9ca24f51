//! `base_url`: where W&B's API answers. What people write instead is read as meant where only one thing can be meant, and named where it
//! can't be used. Scheme, host and port stay as they are, since the host lets requests, and the key, go to these alone.

use fluent_uri::Uri;

use super::DEFAULT_BASE_URL;

/// Where W&B's service is looked at, which is not where its API answers.
const WEB_SITES: [&str; 3] = ["wandb.ai", "www.wandb.ai", "app.wandb.ai"];
/// Where the API of W&B's service answers, at the root of the server.
const SERVICE: [&str; 2] = ["api.wandb.ai", "api.forge.coreweave.com"];

/// Reads `base_url`: scheme, host, port and perhaps a path, without a slash at its end. The error says what is wrong with it.
pub(super) fn read(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let example = |problem: &str| Err(format!("{problem}: an example is {DEFAULT_BASE_URL}"));
    let Ok(url) = Uri::parse(text) else { return example("is not a URL") };
    if !["http", "https"].contains(&url.scheme().as_str().to_ascii_lowercase().as_str()) {
        return example("must begin with https:// (or http:// for a server of your own)");
    }
    let Some(authority) = url.authority().filter(|authority| !authority.host().is_empty()) else {
        return example("names no host");
    };
    if authority.has_userinfo() {
        return example("must not hold a user or password; the key goes into `api_key`");
    }
    if authority.port_to_u16().is_err() {
        return example("has a port above 65535");
    }
    let host = authority.host().to_ascii_lowercase();
    if WEB_SITES.contains(&host.as_str()) {
        return Err(format!(
            "names W&B's web site; its API is at {DEFAULT_BASE_URL}, which is the default: leave it out"
        ));
    }
    if url.has_query() || url.has_fragment() {
        return example("must end after the path, without ? or #");
    }
    let path = url.path().as_str();
    let (server, _) = text.split_at(text.len() - path.len());
    if SERVICE.contains(&host.as_str()) {
        return Ok(server.to_owned());
    }
    // Every question is asked at `/graphql` below it.
    let path = path.strip_suffix("/graphql").unwrap_or(path);
    Ok(format!("{server}{}", path.trim_end_matches('/')))
}

/// A base URL that goes on with the project's path is meant to end before it.
pub(super) fn without_project(url: String, entity: &str, project: &str) -> String {
    let path_at = crate::api::url::server(&url).map_or(url.len(), str::len);
    let (server, path) = url.split_at(path_at);
    let parts: Vec<String> = path.split('/').map(decoded).collect();
    match parts.windows(2).position(|pair| pair[0] == entity && pair[1] == project) {
        Some(at) => {
            let before: Vec<&str> = path.split('/').take(at).collect();
            format!("{server}{}", before.join("/").trim_end_matches('/'))
        }
        None => url,
    }
}

/// Whether a host is one of W&B's own service.
pub(super) fn is_service(host: &str) -> bool {
    WEB_SITES.iter().chain(&SERVICE).any(|known| known.eq_ignore_ascii_case(host))
}

/// A part of a path as people read it.
pub(super) fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_surely_meant_is_read_as_meant() {
        for (text, expected) in [
            ("https://api.wandb.ai/graphql", "https://api.wandb.ai"),
            ("https://API.wandb.ai/api/v1/", "https://API.wandb.ai"),
            ("https://wandb.corp.example/graphql/", "https://wandb.corp.example"),
            ("http://localhost:8080/wandb/graphql", "http://localhost:8080/wandb"),
            // A proxy may well serve it there.
            ("https://wandb.corp.example/api", "https://wandb.corp.example/api"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for (url, expected) in [
            ("https://wandb.corp.example/acme/demo", "https://wandb.corp.example"),
            ("https://wandb.corp.example/acme/demo/runs/x/overview", "https://wandb.corp.example"),
            ("http://localhost:8080/wandb/acme/my%20demo", "http://localhost:8080/wandb/acme/my%20demo"),
            ("http://localhost:8080/wandb/acme/demo/workspace", "http://localhost:8080/wandb"),
            ("https://wandb.corp.example//acme/demo", "https://wandb.corp.example"),
            ("https://wandb.corp.example/other/demo", "https://wandb.corp.example/other/demo"),
            ("https://wandb.corp.example", "https://wandb.corp.example"),
        ] {
            assert_eq!(without_project(url.to_owned(), "acme", "demo"), expected, "{url}");
        }
        assert_eq!(without_project("https://h/a/my%20demo".to_owned(), "a", "my demo"), "https://h");
    }

    #[test]
    fn the_web_site_is_not_the_api() {
        for text in
            ["https://wandb.ai", "https://WANDB.ai/acme/demo?x=1#y", "https://www.wandb.ai", "http://app.wandb.ai/"]
        {
            let said = read(text).unwrap_err();
            assert!(said.contains("web site") && said.contains("https://api.wandb.ai"), "{text}: {said}");
        }
    }
}
