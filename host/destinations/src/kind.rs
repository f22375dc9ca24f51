//! What a kind of destinations is: how its URLs look, and what can be done with the place that one names.
//!
//! A kind is a folder with a value of [`Kind`], and an entry in the list of [`registry`](crate::registry). Nothing else names it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use elt_host::{Destination, DestinationError};

use crate::reader::Reader;
use crate::url_text::UrlText;

/// What people are told of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// What its URLs begin with, before the first colon, in lower case. The first one is how it is called.
    pub schemes: &'static [&'static str],
    /// How its URLs look: `sqlite:PATH`.
    pub form: &'static str,
    /// One of them: `sqlite:warehouse.db`.
    pub example: &'static str,
    /// What a URL names, in a few words.
    pub names: &'static str,
    /// What it writes, in a line of the README's table.
    pub writes: &'static str,
    /// Endings of files, in lower case and without the dot, which show that a path without a scheme was meant for this kind.
    pub endings: &'static [&'static str],
}

/// A kind of destinations.
pub trait Kind: fmt::Debug + Sync {
    /// What people are told of it.
    fn about(&self) -> &'static About;

    /// The place that a URL names; opens nothing.
    ///
    /// # Errors
    /// What is wrong with the URL, and what to write. It is shown after the URL without its secrets; it must have no part of
    /// [`UrlText::place`], which may hold a password.
    fn parse(&self, url: &UrlText<'_>) -> Result<Arc<dyn Location>, String>;
}

/// Where one destination is: a URL that was understood. It may be a path of this machine or something that a server keeps.
///
/// It has no secrets. A place that asks for credentials says where they are (a variable, a file), which is followed when it is opened.
pub trait Location: fmt::Debug + Send + Sync {
    /// As a URL, which names the same place when it is parsed again.
    fn url(&self) -> OsString;

    /// The same place by a name that does not depend on the folder that this process works in: relative paths begin in `folder`.
    ///
    /// # Errors
    /// Why it can't be told.
    fn resolved(&self, folder: &Path) -> Result<Arc<dyn Location>, String>;

    /// What nobody else may write to, once it is [`resolved`](Self::resolved). None for a place that may be everybody's.
    fn claims(&self) -> Vec<Claim>;

    /// Opens the destination. Creates nothing that a reader would see: that comes with the first commit.
    ///
    /// # Errors
    /// [`DestinationError::Refused`] when it can't be used.
    fn open(&self, access: Access) -> Result<Box<dyn Destination>, DestinationError>;

    /// Opens it to compare what it holds with its source, and keeps syncs away meanwhile. None where nothing is kept.
    ///
    /// # Errors
    /// [`DestinationError::Refused`] when there is nothing to be read.
    fn reader(&self) -> Result<Option<Box<dyn Reader>>, DestinationError>;
}

/// What a caller means to do with a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Sync or replace state. Nobody else may write at the same time: opening it is refused when somebody does.
    ReadWrite,
    /// Look at the state of a destination that exists. Allowed while a sync writes.
    ReadOnly,
}

/// Something that a destination has for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// A file of this machine, which need not exist.
    File(PathBuf),
    /// A folder of this machine with everything in it; it need not exist.
    Folder(PathBuf),
}

impl Claim {
    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) => path,
        }
    }
}
