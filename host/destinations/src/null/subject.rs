//! `null:` as the tests for every kind see it.

use std::path::Path;

use crate::conformance::Subject;
use crate::conformance::data::Contents;
use crate::kind::Kind;
use elt_host::Table;

/// Nowhere.
pub(crate) struct Null;

impl Subject for Null {
    fn kind(&self) -> &'static dyn Kind {
        &super::KIND
    }

    fn place(&self, _: &Path) -> String {
        "null:".to_owned()
    }

    fn read(&self, _: &Path, _: &Table) -> Contents {
        Contents::new()
    }

    fn lose(&self, _: &Path, _: &Table) {}

    fn unsettled(&self, _: &Path) -> Vec<String> {
        Vec::new()
    }
}
