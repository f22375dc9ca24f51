//! `sqlite:` among the kinds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use elt_host::{Destination, DestinationError};

use super::destination::Sqlite;
use super::reader::SqliteReader;
use crate::kind::{About, Access, Claim, Kind, Location};
use crate::local_path;
use crate::reader::Reader;
use crate::sqlite_file;
use crate::url_text::UrlText;

/// For the list of kinds.
pub const KIND: SqliteKind = SqliteKind;

const ABOUT: About = About {
    schemes: &["sqlite"],
    form: "sqlite:PATH",
    example: "sqlite:warehouse.db",
    names: "a database file",
    writes: "a SQLite database, `sqlite:warehouse.db` when nothing is said; other tables in it are left alone",
    endings: &["db", "db3", "sqlite", "sqlite3"],
};

/// SQLite databases.
#[derive(Debug, Clone, Copy)]
pub struct SqliteKind;

impl Kind for SqliteKind {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn parse(&self, url: &UrlText<'_>) -> Result<Arc<dyn Location>, String> {
        Ok(Arc::new(Database { path: local_path::parse(url, ABOUT.example)? }))
    }
}

#[derive(Debug)]
struct Database {
    path: PathBuf,
}

impl Location for Database {
    fn url(&self) -> OsString {
        local_path::url("sqlite", &self.path)
    }

    fn resolved(&self, folder: &Path) -> Result<Arc<dyn Location>, String> {
        Ok(Arc::new(Self { path: local_path::resolved(folder, &self.path)? }))
    }

    fn claims(&self) -> Vec<Claim> {
        sqlite_file::files(&self.path).into_iter().map(Claim::File).collect()
    }

    fn open(&self, access: Access) -> Result<Box<dyn Destination>, DestinationError> {
        Ok(Box::new(Sqlite::open(&self.path, access)?))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader>>, DestinationError> {
        Ok(Some(Box::new(SqliteReader::open(&self.path)?)))
    }
}
