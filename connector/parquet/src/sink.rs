//! Where the rows of a file go.

/// A time as a file holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// A number; what it counts and from when is the history's convention.
    Number(f64),
    /// A count since the epoch, of units of which so many are a second.
    Units(i64, i64),
}

/// Receives rows, value by value. Everything between `begin_row` and `end_row` belongs to one row.
pub trait Sink {
    /// What the sink knows an open row by.
    type Row: Copy;

    /// The number of a metric's name. It is used until [`GroupReader::forget_names`](crate::group::GroupReader::forget_names).
    fn name(&mut self, name: &str) -> u32;

    /// Begins a row.
    fn begin_row(&mut self) -> Self::Row;

    /// Ends the row. `time` is in microseconds since the epoch.
    fn end_row(&mut self, row: Self::Row, step: i64, time: Option<i64>);

    /// Microseconds since the epoch, UTC; none for what is no time.
    fn micros(time: Time) -> Option<i64>;

    /// A double of the open row, which may be NaN or infinite.
    fn add_double(&mut self, row: Self::Row, name: u32, value: f64);

    /// An integer of the open row.
    fn add_integer(&mut self, row: Self::Row, name: u32, value: i64);

    /// A number of the open row, as JSON has it.
    fn add_number(&mut self, row: Self::Row, name: u32, raw: &str);

    /// A text of the open row.
    fn add_text(&mut self, row: Self::Row, name: u32, text: &str);

    /// A JSON value of the open row.
    ///
    /// # Errors
    /// It is no JSON, and the row is to be given up.
    fn add_json(&mut self, row: Self::Row, name: u32, raw: &str) -> Result<(), String>;

    /// Roughly the bytes that it holds.
    fn bytes(&self) -> usize;
}
