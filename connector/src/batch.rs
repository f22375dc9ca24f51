//! Rows as columns, the form in which they cross to the host: `wit/types.wit`'s `batch`.

/// The values of one column, one element for each row; where a row is null the element means nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// 64-bit integers.
    Integers(Vec<i64>),
    /// Doubles; NaN and the infinities are values.
    Doubles(Vec<f64>),
    /// Texts, each its own.
    Texts(Vec<String>),
    /// Texts of which few repeat: row *i* holds `values[keys[i]]`.
    Dictionary {
        /// An index into `values` for each row.
        keys: Vec<u32>,
        /// The distinct texts.
        values: Vec<String>,
    },
    /// JSON documents.
    Jsons(Vec<String>),
    /// Microseconds since the epoch, UTC.
    Timestamps(Vec<i64>),
}

impl Values {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(values) | Self::Timestamps(values) => values.len(),
            Self::Doubles(values) => values.len(),
            Self::Texts(values) | Self::Jsons(values) => values.len(),
            Self::Dictionary { keys, .. } => keys.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One named column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// A column of the table.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
    /// The rows that are null, ascending.
    pub nulls: Vec<u32>,
}

impl Column {
    /// A column without nulls.
    pub fn new(name: &'static str, values: Values) -> Self {
        Self { name, values, nulls: Vec::new() }
    }

    /// A column of texts or JSON documents some of which are null; `wrap` is [`Values::Texts`] or [`Values::Jsons`].
    pub fn optional<T: Default>(name: &'static str, values: Vec<Option<T>>, wrap: fn(Vec<T>) -> Values) -> Self {
        let nulls = (0u32..).zip(&values).filter(|(_, value)| value.is_none()).map(|(row, _)| row).collect();
        let values = values.into_iter().map(Option::unwrap_or_default).collect();
        Self { name, values: wrap(values), nulls }
    }
}

/// Rows of one table. All columns are of one length.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// In the table's order.
    pub columns: Vec<Column>,
}

impl Batch {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }
}
