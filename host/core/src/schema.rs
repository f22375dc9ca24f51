//! Table schemas as the connector declares them, and their Arrow equivalents.

use std::sync::Arc;

use arrow_schema::{DataType as ArrowType, Field, Schema, SchemaRef, TimeUnit};

/// What a column holds; the same seven kinds as in `wit/types.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// True or false.
    Boolean,
    /// A signed 64-bit integer.
    Integer,
    /// An IEEE 754 double; NaN and the infinities are values.
    Double,
    /// Unicode text.
    Text,
    /// One JSON document as text.
    Json,
    /// Microseconds since the epoch, UTC.
    Timestamp,
}

impl DataType {
    /// The name that `wit/types.wit` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Text => "text",
            Self::Json => "json",
            Self::Timestamp => "timestamp",
        }
    }

    /// The Arrow type that a batch's column of this type has. Text may also come as
    /// `Dictionary(UInt32, Utf8)`, when the connector sent it so.
    pub fn arrow(self) -> ArrowType {
        match self {
            Self::Boolean => ArrowType::Boolean,
            Self::Integer => ArrowType::Int64,
            Self::Double => ArrowType::Float64,
            Self::Text | Self::Json => ArrowType::Utf8,
            Self::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Matches `[a-z][a-z0-9_]*`.
    pub name: String,
    /// What it holds.
    pub data_type: DataType,
    /// Never true for a column of the primary key.
    pub nullable: bool,
}

/// SQLite creates no table whose name begins so. No connector should work with some destinations only.
const RESERVED: &str = "sqlite_";

/// One table. Built by [`Table::new`], which checks what the rest of the host relies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    name: String,
    columns: Vec<Column>,
    primary_key: Vec<usize>,
}

/// Why a connector's schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connector's schema is not valid: {0}")]
pub struct SchemaError(pub String);

impl Table {
    /// Checks names (`[a-z][a-z0-9_]*`, at most 63 bytes, none twice, no table's `sqlite_…`) and the primary key (not empty, columns that exist, none
    /// nullable, none twice).
    ///
    /// # Errors
    /// What is wrong with the first of them that is wrong.
    pub fn new(name: String, columns: Vec<Column>, primary_key: &[String]) -> Result<Self, SchemaError> {
        let fail = |why: String| Err(SchemaError(why));
        if !is_identifier(&name) {
            return fail(format!("{name:?} is no table name; use lower-case letters, digits and `_`"));
        }
        if name.starts_with(RESERVED) {
            return fail(format!("{name:?} is no table name: those that begin with `{RESERVED}` are SQLite's own"));
        }
        for (i, column) in columns.iter().enumerate() {
            if !is_identifier(&column.name) {
                return fail(format!("{:?} is no column name (table `{name}`)", column.name));
            }
            if columns[..i].iter().any(|other| other.name == column.name) {
                return fail(format!("table `{name}` has two columns `{}`", column.name));
            }
        }
        let mut key = Vec::new();
        for part in primary_key {
            let Some(index) = columns.iter().position(|column| column.name == *part) else {
                return fail(format!("the primary key of `{name}` names `{part:?}`, which is no column"));
            };
            if columns[index].nullable || key.contains(&index) {
                return fail(format!("`{part}` can't be part of the primary key of `{name}`: nullable or named twice"));
            }
            key.push(index);
        }
        if key.is_empty() {
            return fail(format!("table `{name}` has no primary key"));
        }
        Ok(Self { name, columns, primary_key: key })
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns, in the order that every batch of this table has.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Positions in [`Table::columns`] of the primary key, most significant first.
    pub fn primary_key(&self) -> &[usize] {
        &self.primary_key
    }

    /// The Arrow schema of the table's rows, without the host's own `_synced_at`.
    pub fn arrow_schema(&self) -> SchemaRef {
        let field = |column: &Column| Field::new(&column.name, column.data_type.arrow(), column.nullable);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }
}

fn is_identifier(name: &str) -> bool {
    let tail = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= 63 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(tail)
}
