//! `null:` among the kinds.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use elt_host::{Destination, DestinationError};

use super::destination::Null;
use crate::kind::{About, Access, Claim, Kind, Location};
use crate::reader::Reader;
use crate::url_text::UrlText;

/// For the list of kinds.
pub const KIND: NullKind = NullKind;

const ABOUT: About = About {
    schemes: &["null"],
    form: "null:",
    example: "null:",
    names: "stores nothing",
    writes: "nothing, to measure",
    endings: &[],
};

/// The kind that stores nothing.
#[derive(Debug, Clone, Copy)]
pub struct NullKind;

impl Kind for NullKind {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn parse(&self, url: &UrlText<'_>) -> Result<Arc<dyn Location>, String> {
        if url.place().is_empty() { Ok(Arc::new(Nowhere)) } else { Err("nothing may follow `null:`.".to_owned()) }
    }
}

#[derive(Debug)]
struct Nowhere;

impl Location for Nowhere {
    fn url(&self) -> OsString {
        "null:".into()
    }

    fn resolved(&self, _: &Path) -> Result<Arc<dyn Location>, String> {
        Ok(Arc::new(Self))
    }

    /// Nowhere is everybody's.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn open(&self, _: Access) -> Result<Box<dyn Destination>, DestinationError> {
        Ok(Box::new(Null::new()))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader>>, DestinationError> {
        Ok(None)
    }
}
