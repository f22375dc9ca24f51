//! What is wrong with a file of tenants, and where.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::tenant::TenantId;
use elt_support::printable::escape_control;

/// A place in a file; line and column are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePosition {
    /// The file.
    pub file: Arc<Path>,
    /// The line; 0 for the file as a whole.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// One thing that is wrong, and what is skipped because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: SourcePosition,
    /// The tenant that is skipped, where the entry says who it is.
    pub tenant: Option<TenantId>,
    /// What is wrong, and what to do. Holds no value of the configuration that could be a secret.
    pub message: String,
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", escape_control(&self.file.display().to_string()))?;
        if self.line > 0 { write!(f, ":{}:{}", self.line, self.column) } else { Ok(()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(tenant) = &self.tenant {
            write!(f, "tenant `{tenant}`: ")?;
        }
        f.write_str(&escape_control(&self.message))
    }
}

/// Finds lines and columns in a text.
pub(super) struct Lines<'a> {
    file: Arc<Path>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(file: Arc<Path>, text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        Self { file, text, starts }
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> SourcePosition {
        SourcePosition { file: self.file.clone(), line: 0, column: 0 }
    }

    /// The place of a byte.
    pub(super) fn place(&self, at: usize) -> SourcePosition {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.text.get(start..at).unwrap_or_default();
        SourcePosition { file: self.file.clone(), line, column: before.chars().count() + 1 }
    }
}
