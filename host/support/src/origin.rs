//! Origins: scheme, host and port. Parsed once, compared as values, so that no spelling slips past a comparison of text.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;

use crate::url_password;

/// Who answers a request: `https://api.source.example`, `http://localhost:8080`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    secure: bool,
    host: Host,
    port: u16,
}

/// The host of an [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An address, written out.
    Address(IpAddr),
    /// A name, in lower case and without a dot at its end.
    Name(String),
}

/// Why text is no origin, with the form that it should have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{url:?} {problem}; the form is `https://host` or `https://host:port`, for example `https://api.source.example`"
)]
pub struct OriginError {
    url: String,
    problem: &'static str,
}

impl Origin {
    /// The origin of a URL; a path and a query may follow it and are left out.
    pub fn parse(url: &str) -> Result<Self, OriginError> {
        let uri = url.trim().parse::<Uri>();
        Self::of(&uri.map_err(|_| OriginError { url: url_password::hide(url), problem: "is no URL" })?)
    }

    /// The origin of a URI.
    pub fn of(uri: &Uri) -> Result<Self, OriginError> {
        // A password in a URL ends up in logs and in errors (this one leaves it out), and credentials have a place of their own.
        let fail = |problem| Err(OriginError { url: without_user(uri), problem });
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return fail("has a scheme other than https and http"),
            None => return fail("has no scheme"),
        };
        let Some(authority) = uri.authority() else {
            return fail("has no host");
        };
        if authority.as_str().contains('@') {
            return fail("has a user name in it");
        }
        let Some(host) = Host::parse(authority.host()) else {
            return fail("has no valid host");
        };
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(':') || authority.as_str().len() == authority.host().len() => {
                if secure { 443 } else { 80 }
            }
            None => return fail("has no valid port"),
        };
        Ok(Self { secure, host, port })
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port; the scheme's own where none was written.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Host {
    /// Reads a host as it stands in a URI, an IPv6 address in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            return Ipv6Addr::from_str(inner.strip_suffix(']')?).ok().map(|address| Self::Address(address.into()));
        }
        if let Ok(address) = IpAddr::from_str(text) {
            return Some(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (!name.is_empty() && name.bytes().all(valid) && !name.split('.').any(str::is_empty)).then_some(Self::Name(name))
    }

    /// Whether whoever wrote the host named an address by it: an address, or `localhost` (RFC 6761).
    pub fn names_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.to_canonical().is_loopback(),
            Self::Name(name) => name == "localhost",
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, own_port) = if self.secure { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == own_port { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

fn without_user(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match uri.scheme_str() {
        Some(scheme) => format!("{scheme}://{host}"),
        None => host.to_owned(),
    }
}

/// An origin, or every origin under a name: `https://*.s3.amazonaws.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    origin: Origin,
    subdomains: bool,
}

impl OriginPattern {
    /// Reads an origin whose host may begin with `*.`, which then stands for one or more labels.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let fail = |problem| Err(OriginError { url: text.to_owned(), problem });
        let Some((scheme, rest)) = text.split_once("://*.") else {
            return Ok(Self { origin: Origin::parse(text)?, subdomains: false });
        };
        let origin = Origin::parse(&format!("{scheme}://{rest}"))?;
        match &origin.host {
            // `*.com` would be as good as no rule.
            Host::Name(name) if name.contains('.') => Ok(Self { origin, subdomains: true }),
            _ => fail("has a `*.` that is not followed by a domain and its subdomain"),
        }
    }

    /// Whether `origin` is meant.
    pub fn matches(&self, origin: &Origin) -> bool {
        if !self.subdomains {
            return self.origin == *origin;
        }
        let same = (self.origin.secure, self.origin.port) == (origin.secure, origin.port);
        let (Host::Name(base), Host::Name(name)) = (&self.origin.host, &origin.host) else {
            return false;
        };
        same && name.strip_suffix(base.as_str()).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_origin_are_equal() {
        let cases = [
            ("https://api.source.example", "https://api.source.example"),
            ("HTTPS://API.SOURCE.EXAMPLE/path?query", "https://api.source.example"),
            ("https://api.source.example.:443", "https://api.source.example"),
            (" https://api.source.example:/ ", "https://api.source.example"),
            ("http://localhost:80", "http://localhost"),
            ("http://[::1]:8080/x", "http://[::1]:8080"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("https://127.0.0.1:443", "https://127.0.0.1"),
        ];
        for (text, shown) in cases {
            assert_eq!(Origin::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_explained() {
        let cases = [
            ("", "is no URL"),
            ("api.source.example", "has no scheme"),
            ("ftp://api.source.example", "has a scheme other than"),
            ("file:///etc/hosts", "is no URL"),
            ("https://", "is no URL"),
            ("https://user:pass@api.source.example", "has a user name"),
            ("https://a..b", "has no valid host"),
            ("https://a:99999", "has no valid port"),
            ("https://[::1", "is no URL"),
            ("https://a b", "is no URL"),
        ];
        for (text, problem) in cases {
            let error = Origin::parse(text).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("for example"), "{text}: {error}");
            assert!(!error.contains("pass"), "{error}");
        }
    }

    #[test]
    fn a_star_stands_for_subdomains_of_a_domain() {
        let pattern = OriginPattern::parse("https://*.s3.example").unwrap();
        let matches = |url: &str| pattern.matches(&Origin::parse(url).unwrap());
        assert!(matches("https://bucket.s3.example") && matches("https://a.b.S3.example/x"));
        for other in [
            "https://s3.example",
            "https://evils3.example",
            "http://b.s3.example",
            "https://b.s3.example:1",
            "https://1.2.3.4",
        ] {
            assert!(!matches(other), "{other}");
        }
        for bad in ["https://*.com", "https://*.1.2.3.4", "https://*.", "https://*"] {
            assert!(OriginPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
