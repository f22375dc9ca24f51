//! `metric_objects`: a row for each logged value that a double can't carry.

use crate::batch::{Batch, Values};
use crate::records::row::History;

use super::points;
use super::schema::{DataType, Rows, Table};

const VALUE: &str = "value_json";

pub(super) const TABLE: Table = Table {
    name: "metric_objects",
    columns: &points::columns(VALUE, DataType::Json),
    primary_key: points::PRIMARY_KEY,
    rows: Rows::History(rows),
};

fn rows(history: &mut History, run_id: &str) -> Option<Batch> {
    Some(points::rows(run_id, history.take_objects()?, VALUE, Values::Jsons))
}
