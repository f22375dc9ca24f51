//! `parquet:` among the kinds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use elt_host::{Destination, DestinationError};

use super::destination::Parquet;
use super::reader::ParquetReader;
use crate::kind::{About, Access, Claim, Kind, Location};
use crate::local_path;
use crate::reader::Reader;
use crate::url_text::UrlText;

/// For the list of kinds.
pub const KIND: ParquetKind = ParquetKind;

const ABOUT: About = About {
    schemes: &["parquet"],
    form: "parquet:DIR",
    example: "parquet:warehouse",
    names: "a folder of Parquet files",
    writes: "a folder for each table, `DIR/metrics/*.parquet`, which DuckDB, pandas and Polars read as they are; all tables change at once",
    endings: &["parquet"],
};

/// Folders of Parquet data sets.
#[derive(Debug, Clone, Copy)]
pub struct ParquetKind;

impl Kind for ParquetKind {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn parse(&self, url: &UrlText<'_>) -> Result<Arc<dyn Location>, String> {
        Ok(Arc::new(Folder { path: local_path::parse(url, ABOUT.example)? }))
    }
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Location for Folder {
    fn url(&self) -> OsString {
        local_path::url("parquet", &self.path)
    }

    fn resolved(&self, folder: &Path) -> Result<Arc<dyn Location>, String> {
        Ok(Arc::new(Self { path: local_path::resolved(folder, &self.path)? }))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Folder(self.path.clone())]
    }

    fn open(&self, access: Access) -> Result<Box<dyn Destination>, DestinationError> {
        Ok(Box::new(Parquet::open(&self.path, access)?))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader>>, DestinationError> {
        Ok(Some(Box::new(ParquetReader::open(&self.path)?)))
    }
}
