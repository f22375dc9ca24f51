//! One tenant: whose data, from where, to where, how often, within which limits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::{Map, Value};

use elt_destinations::url::DestinationUrl;
use elt_host::Policy;

pub use super::tenant_id::{InvalidTenantId, TenantId};

/// One tenant, as an entry of a file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Unique among all tenants of a process.
    pub id: TenantId,
    /// What operators group tenants by.
    pub labels: BTreeMap<String, String>,
    /// The connector's configuration, without secrets.
    pub config: Map<String, Value>,
    /// Where the configuration's secrets are, by key. They are looked up when a sync starts and forgotten when it ends.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Where rows and state go. No two tenants have the same.
    pub destination: DestinationUrl,
    /// When syncs are due.
    pub schedule: super::schedule::Schedule,
    /// The tenant's own component; none for the built-in one.
    pub component: Option<PathBuf>,
    /// What the connector may reach, and how much it may use.
    pub policy: Policy,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the host.
    Variable(String),
    /// A file, whose last line break does not count.
    File(PathBuf),
    /// A program and its arguments; the secret is what it writes to standard output, but for the last line break.
    Command(Vec<String>),
}

impl fmt::Display for SecretSource {
    /// Without the arguments of a program, which may be nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Command(words) => write!(f, "the command `{}`", words.first().map_or("", String::as_str)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_fit_for_labels_urls_and_file_names() {
        for good in ["a", "0", "acme", "acme-vision_2.eu"] {
            assert_eq!(good.parse::<TenantId>().unwrap().to_string(), good);
        }
        let long = "a".repeat(65);
        for bad in ["", "-a", ".", "..", "Acme", "a/b", "a b", "ä", "a\n", &long] {
            assert_eq!(bad.parse::<TenantId>(), Err(InvalidTenantId), "{bad:?}");
        }
    }
}
