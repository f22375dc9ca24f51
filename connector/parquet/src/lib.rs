//! Reads W&B's exported histories: parquet files with a column for each metric.
//!
//! | module | concern |
//! |---|---|
//! | [`footer`] | what a file holds and where: schema and row groups |
//! | [`page`] | page headers and decompression |
//! | [`values`] | the encodings of values and levels |
//! | [`mod@column`] | one column of a row group, a window of rows at a time |
//! | [`nested`] | rows of nested columns as JSON |
//! | [`group`] | a row group, row by row into a [`sink::Sink`] |
//! | [`budget`] | how much may be buffered by all readers together |
//!
//! The format is read by hand, and not by the `parquet` crate, for what happens on files that are broken: in the component a panic ends the
//! whole sync, and that crate panics (lengths of `DELTA_LENGTH_BYTE_ARRAY`, a missing dictionary) or allocates what a header claims. Here
//! every length is checked against what there is, no page is held decoded as a whole, and nothing panics whatever the bytes are: the fuzz
//! targets `parquet_footer`, `parquet_column`, `parquet_file` and `parquet_download` in `tests/fuzz` look for it. The crate writes the files
//! that the tests read, and reads what the fuzz targets compare with.
//!
//! A column whose values were of several kinds is a struct in W&B's exports: all its members are called `_type_…`, one for each kind, and
//! every row sets one of them. Such a union is not an object with those members; it is the member that is set, at any depth.
//!
//! The format: <https://github.com/apache/parquet-format>.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod budget;
pub mod column;
pub mod footer;
pub mod group;
pub mod nested;
pub mod page;
pub mod sink;
mod thrift;
pub mod values;

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
