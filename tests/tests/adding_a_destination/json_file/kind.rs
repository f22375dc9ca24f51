//! `json:` among the kinds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use elt_destinations::kind::{About, Access, Claim, Kind, Location};
use elt_destinations::local_path;
use elt_destinations::reader::Reader;
use elt_destinations::url_text::UrlText;
use elt_host::{Destination, DestinationError};

use super::destination::JsonFile;
use super::reader::JsonReader;

/// For the list of kinds.
pub(crate) const KIND: JsonKind = JsonKind;

const ABOUT: About = About {
    schemes: &["json"],
    form: "json:PATH",
    example: "json:warehouse.json",
    names: "one JSON file",
    writes: "one JSON file with everything",
    endings: &["json"],
};

/// JSON files.
#[derive(Debug)]
pub(crate) struct JsonKind;

impl Kind for JsonKind {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn parse(&self, url: &UrlText<'_>) -> Result<Arc<dyn Location>, String> {
        Ok(Arc::new(Place { path: local_path::parse(url, ABOUT.example)? }))
    }
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
}

impl Location for Place {
    fn url(&self) -> OsString {
        local_path::url("json", &self.path)
    }

    fn resolved(&self, folder: &Path) -> Result<Arc<dyn Location>, String> {
        Ok(Arc::new(Self { path: local_path::resolved(folder, &self.path)? }))
    }

    fn claims(&self) -> Vec<Claim> {
        JsonFile::files(&self.path).map(Claim::File).to_vec()
    }

    fn open(&self, access: Access) -> Result<Box<dyn Destination>, DestinationError> {
        Ok(Box::new(JsonFile::open(&self.path, access)?))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader>>, DestinationError> {
        Ok(Some(Box::new(JsonReader::open(&self.path)?)))
    }
}
