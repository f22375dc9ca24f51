//! Where a connector may send requests: nowhere, but the origins that the configuration and the policy name.
//!
//! Two checks, each useless without the other. The *origin* of every request is compared with what is allowed
//! ([`Egress::decide`]); when a connection is made, the *address* that its name resolved to is checked, and exactly that
//! address is dialled ([`dial`]), so a name that answers differently the second time gains nothing. Redirects are not
//! followed by the host: the connector sees them, and its next request is checked like any other.

pub(crate) mod dial;

use std::collections::BTreeSet;

pub(crate) use elt_support::origin::{Origin, OriginError, OriginPattern};

/// What may be asked. Built for one sync from the configuration and the policy.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    with_credentials: BTreeSet<Origin>,
    downloads: Vec<OriginPattern>,
}

/// How a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// With the connector's credentials.
    WithCredentials,
    /// Without credentials and cookies.
    Anonymous,
}

/// Why a request may not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The URL has no origin that could be allowed.
    #[error("{0}")]
    Malformed(#[from] OriginError),
    /// The origin is not allowed.
    #[error(
        "`{0}` is not an origin that the configuration names; if it is a download host, allow it with `--allow-origin {0}`"
    )]
    Origin(Origin),
}

impl Egress {
    /// Allows `origins` with credentials, and `downloads` without.
    pub fn new(origins: impl IntoIterator<Item = Origin>, downloads: impl IntoIterator<Item = OriginPattern>) -> Self {
        Self { with_credentials: origins.into_iter().collect(), downloads: downloads.into_iter().collect() }
    }

    /// Whether, and how, a request to `uri` may be sent, and to whom it goes.
    ///
    /// # Errors
    /// Why it may not be sent: its URL names no origin, or one that nothing allows.
    pub fn decide(&self, uri: &http::Uri) -> Result<(Permit, Origin), Denied> {
        let origin = Origin::of(uri)?;
        if self.with_credentials.contains(&origin) {
            Ok((Permit::WithCredentials, origin))
        } else if self.downloads.iter().any(|pattern| pattern.matches(&origin)) {
            Ok((Permit::Anonymous, origin))
        } else {
            Err(Denied::Origin(origin))
        }
    }

    /// The origins that get credentials.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.with_credentials.iter()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_named_origins_may_be_asked() {
        let egress = Egress::new(
            [Origin::parse("https://api.source.example").unwrap(), Origin::parse("http://localhost:8080").unwrap()],
            [
                OriginPattern::parse("https://storage.example").unwrap(),
                OriginPattern::parse("https://*.cdn.example").unwrap(),
            ],
        );
        let decide = |uri: &str| egress.decide(&uri.parse().unwrap()).ok().map(|(permit, _)| permit);
        let cases = [
            ("https://api.source.example/graphql", Some(Permit::WithCredentials)),
            ("https://API.source.EXAMPLE:443/graphql?x#y", Some(Permit::WithCredentials)),
            ("http://localhost:8080/", Some(Permit::WithCredentials)),
            ("https://storage.example/a?sig=b", Some(Permit::Anonymous)),
            ("https://eu.cdn.example/", Some(Permit::Anonymous)),
            ("https://cdn.example/", None),
            ("https://evilcdn.example/", None),
            ("http://api.source.example/", None),
            ("https://api.source.example:8443/", None),
            ("https://api.source.example.evil.example/", None),
            ("https://api.source.example@evil.example/", None),
            ("https://evil.example@api.source.example/", None),
            ("https://127.0.0.1:8080/", None),
            ("http://127.0.0.1:8080/", None),
            ("http://localhost/", None),
            ("https://169.254.169.254/latest/meta-data/", None),
        ];
        for (uri, expected) in cases {
            assert_eq!(decide(uri), expected, "{uri}");
        }
    }

    #[test]
    fn the_default_allows_nothing() {
        assert!(Egress::default().decide(&"https://api.source.example".parse().unwrap()).is_err());
    }
}
