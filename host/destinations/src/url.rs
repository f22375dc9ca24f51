//! `--destination`: which kind of destination, and where.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use elt_host::{Destination, DestinationError};
use elt_support::url_password;

use crate::guarded::Guarded;
pub use crate::kind::Access;
use crate::kind::{Claim, Kind, Location};
use crate::reader::Reader;
use crate::registry::{self, KINDS};
use crate::url_text::UrlText;

/// Where rows and state go, parsed: `sqlite:PATH`, `parquet:DIR` and what else is in the list of kinds.
///
/// It is shown without secrets, and has none.
#[derive(Clone)]
pub struct DestinationUrl(Arc<dyn Location>);

impl DestinationUrl {
    /// Parses a URL of one of `kinds`.
    ///
    /// # Errors
    /// [`DestinationError::Refused`] with what to type. No password is repeated.
    pub fn of_kinds(text: &str, kinds: &[&dyn Kind]) -> Result<Self, DestinationError> {
        // A text of another form may hold a password, and what is said here goes to logs.
        let shown = url_password::hide(text);
        let refuse = |why: String| Err(DestinationError::Refused(format!("destination {shown:?} {why}")));
        let Some(url) = UrlText::new(text) else {
            return match guess(text, kinds) {
                Some(kind) => refuse(format!("does not say its kind. Write `{kind}:{shown}`.")),
                None => refuse(format!("is not of the form `KIND:PLACE`. Known are {}.", registry::forms(kinds))),
            };
        };
        let Some(kind) = kinds.iter().find(|kind| kind.about().schemes.contains(&url.scheme())) else {
            return refuse(format!("is of no known kind. Known are {}.", registry::forms(kinds)));
        };
        let location = kind.parse(&url);
        location.map(Self).map_err(|why| DestinationError::Refused(format!("destination {shown:?}: {why}")))
    }

    /// Opens the destination. Creates nothing that a reader would see: that comes with the first commit.
    ///
    /// # Errors
    /// [`DestinationError::Refused`] when it can't be used.
    pub fn open(&self, access: Access) -> Result<Box<dyn Destination>, DestinationError> {
        Ok(Box::new(Guarded::new(self.0.open(access)?, self.to_string(), access)))
    }

    /// Opens it to compare what it holds with its source, and keeps syncs away meanwhile. None where nothing is kept.
    ///
    /// # Errors
    /// [`DestinationError::Refused`] when there is nothing to be read.
    pub fn reader(&self) -> Result<Option<Box<dyn Reader>>, DestinationError> {
        self.0.reader()
    }

    /// The same place by a name that does not depend on the folder that this process works in: relative paths begin in `folder`.
    ///
    /// # Errors
    /// Why it can't be told.
    pub fn resolved(&self, folder: &Path) -> Result<Self, String> {
        self.0.resolved(folder).map(Self)
    }

    /// What nobody else may write to, once it is resolved.
    pub fn claims(&self) -> Vec<Claim> {
        self.0.claims()
    }
}

/// Opens a destination: [`DestinationUrl::open`].
///
/// # Errors
/// [`DestinationError::Refused`] when it can't be used.
pub fn open(url: &DestinationUrl, access: Access) -> Result<Box<dyn Destination>, DestinationError> {
    url.open(access)
}

impl PartialEq for DestinationUrl {
    fn eq(&self, other: &Self) -> bool {
        self.0.url() == other.0.url()
    }
}

impl Eq for DestinationUrl {}

impl fmt::Display for DestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url().to_string_lossy())
    }
}

impl fmt::Debug for DestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DestinationUrl").field(&self.to_string()).finish()
    }
}

impl FromStr for DestinationUrl {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::of_kinds(text, KINDS)
    }
}

/// Which kind a bare path was meant for, as far as its ending tells.
fn guess(text: &str, kinds: &[&dyn Kind]) -> Option<&'static str> {
    let ending = Path::new(text).extension()?.to_str()?.to_ascii_lowercase();
    let about = kinds.iter().map(|kind| kind.about()).find(|about| about.endings.contains(&ending.as_str()))?;
    about.schemes.first().copied()
}

#[cfg(all(test, feature = "sqlite", feature = "parquet", feature = "null"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_urls_parse_and_print_back() {
        for (text, claimed) in [
            ("sqlite:warehouse.db", Some("warehouse.db")),
            ("sqlite:/data/w 1.db", Some("/data/w 1.db")),
            ("sqlite:a:b.db", Some("a:b.db")),
            ("parquet:out", Some("out")),
            ("parquet:../out/", Some("../out/")),
            ("null:", None),
        ] {
            let url: DestinationUrl = text.parse().unwrap();
            assert_eq!(url.claims().first().map(Claim::path), claimed.map(Path::new));
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn no_password_is_repeated() {
        for text in [
            "postgres://user:PW@host/db",
            "postgres://host/db?password=PW",
            "sqlite://user:PW@host/db",
            "sqlite:postgres://user:PW@host/db",
            "parquet:s3://id:PW@bucket/x",
            "null:user:PW@host",
            "user:PW@host.db",
            "host=h password=PW.db",
            "postgres:\u{0}user:PW@host",
        ] {
            let refusal = text.parse::<DestinationUrl>().unwrap_err().to_string();
            assert!(!refusal.contains("PW") && refusal.contains("***"), "{refusal}");
        }
    }

    #[test]
    fn malformed_urls_are_refused_with_what_to_type() {
        for (text, hint) in [
            ("", "Known are `sqlite:PATH`"),
            ("warehouse", "Known are `sqlite:PATH`"),
            ("warehouse.db", "Write `sqlite:warehouse.db`."),
            ("./out/w.SQLite", "Write `sqlite:./out/w.SQLite`."),
            ("x.parquet", "Write `parquet:x.parquet`."),
            ("sqlite:", "Write for example `sqlite:warehouse.db`."),
            ("sqlite::memory:", "Write for example `sqlite:warehouse.db`."),
            ("sqlite://w.db", "Write `sqlite:w.db` for one in the current folder, `sqlite:/w.db`"),
            ("sqlite:///w.db", "`sqlite:/w.db` for an absolute one"),
            ("parquet:", "Write for example `parquet:warehouse`."),
            ("parquet:s3://bucket/x", "`s3://` is not supported"),
            ("null:x", "nothing may follow `null:`"),
            ("postgres://host/db", "is of no known kind. Known are"),
            ("SQLITE:x", "is of no known kind"),
        ] {
            let refusal = text.parse::<DestinationUrl>().unwrap_err();
            assert!(matches!(refusal, DestinationError::Refused(_)));
            assert!(refusal.to_string().contains(hint), "{text:?}: {refusal}");
        }
    }
}
