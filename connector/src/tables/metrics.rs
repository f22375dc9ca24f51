//! `metrics`: a row for each number that a run logged.

use crate::batch::{Batch, Values};
use crate::records::row::History;

use super::points;
use super::schema::{DataType, Rows, Table};

const VALUE: &str = "metric_value";

pub(super) const TABLE: Table = Table {
    name: "metrics",
    columns: &points::columns(VALUE, DataType::Double),
    primary_key: points::PRIMARY_KEY,
    rows: Rows::History(rows),
};

fn rows(history: &mut History, run_id: &str) -> Option<Batch> {
    Some(points::rows(run_id, history.take_metrics()?, VALUE, Values::Doubles))
}
