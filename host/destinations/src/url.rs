//! `--destination`: which kind of destination, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::parquet::Parquet;
use super::sqlite::Sqlite;
use crate::null::Null;
use elt_host::destination::{Destination, DestinationError};
use elt_support::url_password;

/// Where rows and state go, parsed: `sqlite:PATH`, `parquet:DIR` or `null:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationUrl {
    /// A SQLite database; created when it does not exist.
    Sqlite(PathBuf),
    /// A folder of Parquet data sets, one for each table; created when it does not exist.
    Parquet(PathBuf),
    /// Nowhere, for measuring.
    Null,
}

/// What a caller means to do with a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Sync or replace state. Nobody else may write at the same time: [`open`] refuses when somebody does.
    ReadWrite,
    /// Look at the state of a destination that exists. Allowed while a sync writes.
    ReadOnly,
}

/// Opens a destination. Creates nothing that a reader would see: that comes with the first commit.
pub fn open(url: &DestinationUrl, access: Access) -> Result<Box<dyn Destination>, DestinationError> {
    Ok(match url {
        DestinationUrl::Sqlite(path) => Box::new(Sqlite::open(path, access)?),
        DestinationUrl::Parquet(path) => Box::new(Parquet::open(path, access)?),
        DestinationUrl::Null => Box::new(Null::new()),
    })
}

impl fmt::Display for DestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Parquet(path) => write!(f, "parquet:{}", path.display()),
            Self::Null => f.write_str("null:"),
        }
    }
}

const KINDS: &str =
    "Known are `sqlite:PATH` (a database file), `parquet:DIR` (a folder of Parquet files) and `null:` (stores nothing)";

impl FromStr for DestinationUrl {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: String| Err(DestinationError::Refused(why));
        // A text of another form may hold a password, and what is said here goes to logs.
        let shown = url_password::hide(text);
        let Some((kind, place)) = text.split_once(':') else {
            return match guess(text) {
                Some(kind) => refuse(format!("destination {shown:?} does not say its kind. Write `{kind}:{shown}`.")),
                None => refuse(format!("destination {shown:?} is not of the form `KIND:PLACE`. {KINDS}.")),
            };
        };
        match kind {
            "sqlite" | "parquet" => {
                if place.starts_with("//") {
                    let path = shown.split_once("://").map_or("", |(_, path)| path.trim_start_matches('/'));
                    return refuse(format!(
                        "destination {shown:?}: a path follows `{kind}:` directly. Write `{kind}:{path}` for one in the \
                         current folder, `{kind}:/{path}` for an absolute one."
                    ));
                }
                if place.is_empty() || place.contains('\0') || place == ":memory:" {
                    let example = if kind == "sqlite" { "sqlite:warehouse.db" } else { "parquet:warehouse" };
                    return refuse(format!("destination {shown:?} names no path. Write for example `{example}`."));
                }
                if let Some((scheme, _)) = place.split_once("://") {
                    return refuse(format!(
                        "destination {shown:?}: `{scheme}://` is not supported, only folders of this machine."
                    ));
                }
                let path = PathBuf::from(place);
                Ok(if kind == "sqlite" { Self::Sqlite(path) } else { Self::Parquet(path) })
            }
            "null" if place.is_empty() => Ok(Self::Null),
            "null" => refuse(format!("destination {shown:?}: nothing may follow `null:`.")),
            _ => refuse(format!("destination {shown:?} is of no known kind. {KINDS}.")),
        }
    }
}

/// Which kind a bare path was meant for, as far as its ending tells.
fn guess(text: &str) -> Option<&'static str> {
    match Path::new(text).extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "db" | "db3" | "sqlite" | "sqlite3" => Some("sqlite"),
        "parquet" => Some("parquet"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_urls_parse_and_print_back() {
        for (text, expected) in [
            ("sqlite:warehouse.db", DestinationUrl::Sqlite("warehouse.db".into())),
            ("sqlite:/data/w 1.db", DestinationUrl::Sqlite("/data/w 1.db".into())),
            ("sqlite:a:b.db", DestinationUrl::Sqlite("a:b.db".into())),
            ("parquet:out", DestinationUrl::Parquet("out".into())),
            ("parquet:../out/", DestinationUrl::Parquet("../out/".into())),
            ("null:", DestinationUrl::Null),
        ] {
            let url: DestinationUrl = text.parse().unwrap();
            assert_eq!(url, expected);
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
