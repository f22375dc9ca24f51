//! Reads W&B's exported histories: parquet files with a column for each metric.
//!
//! | module | concern |
//! |---|---|
//! | [`footer`] | what a file holds and where: schema and row groups |
//! | [`download`] | the bytes of a file behind a signed URL, by ranges |
//! | [`page`] | page headers and decompression |
//! | [`values`] | the encodings of values and levels |
//! | [`mod@column`] | one column of a row group, a window of rows at a time |
//! | [`nested`] | rows of nested columns as JSON |
//! | [`group`] | a row group, row by row into a [`crate::records::row::History`] |
//! | [`budget`] | how much may be buffered by all runs together |
//!
//! The format is read here rather than by the `parquet` crate, which the tests write files with and compare against: in the component a
//! panic ends the whole sync, and the crate panics (lengths of `DELTA_LENGTH_BYTE_ARRAY`, a missing dictionary) or allocates what a
//! header claims on files that are broken. Here every length is checked against what there is, and no page is held decoded as a whole.
//!
//! A column whose values were of several kinds is a struct in W&B's exports: all its members are called `_type_…`, one for each kind, and
//! every row sets one of them. Such a union is not an object with those members; it is the member that is set, at any depth.
//!
//! The format: <https://github.com/apache/parquet-format>.

pub mod budget;
pub mod column;
pub mod download;
pub mod footer;
pub mod group;
pub mod nested;
pub mod page;
pub(crate) mod thrift;
pub mod values;

#[cfg(test)]
mod tests;

/// Why a file can't be read: it is not what it should be. The rows it holds are read in another way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

impl Broken {
    /// With a reason.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<thrift::Fault> for Broken {
    fn from(_: thrift::Fault) -> Self {
        Self::new("a header is not valid")
    }
}
