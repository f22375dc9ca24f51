//! A kind that is tested.

use std::path::Path;

use elt_host::{Destination, Table};

use super::data::Contents;
use crate::kind::{Access, Kind};
use crate::url::DestinationUrl;

/// A kind that is tested.
pub trait Subject: Sync {
    /// The kind.
    fn kind(&self) -> &'static dyn Kind;

    /// A URL of it for a destination in `folder`, which exists and is empty at first. Always the same for one folder.
    fn place(&self, folder: &Path) -> String;

    /// Reads a table as anybody would who knows nothing of this crate; nothing where there is no table.
    fn read(&self, folder: &Path, table: &Table) -> Contents;

    /// Takes a table away from a destination that has it, as somebody might who has the right to.
    fn lose(&self, folder: &Path, table: &Table);

    /// What of the things that are there only while a sync runs is still there, by name.
    fn unsettled(&self, folder: &Path) -> Vec<String>;

    /// The destination in `folder`.
    fn url(&self, folder: &Path) -> DestinationUrl {
        DestinationUrl::of_kinds(&self.place(folder), &[self.kind()]).unwrap()
    }

    /// Opens it to write.
    fn open(&self, folder: &Path) -> Box<dyn Destination> {
        self.url(folder).open(Access::ReadWrite).unwrap()
    }
}
