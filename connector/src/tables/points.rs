//! What `metrics` and `metric_objects` have in common: a row for each value that a run logged under a name at a step.

use crate::batch::{Batch, Column, Values};
use crate::records::columns::Taken;

use super::schema::DataType::{Integer, Text, Timestamp};
use super::schema::{DataType, RUN_ID};

pub(super) const PRIMARY_KEY: &[&str] = &[RUN_ID, STEP, METRIC_NAME];

const STEP: &str = "step";
const METRIC_NAME: &str = "metric_name";
const TIMESTAMP: &str = "timestamp";

/// The columns of a table whose values are in the column `value`.
pub(super) const fn columns(value: &'static str, data_type: DataType) -> [(&'static str, DataType, bool); 5] {
    [
        (RUN_ID, Text, false),
        (STEP, Integer, false),
        (METRIC_NAME, Text, false),
        (value, data_type, true),
        (TIMESTAMP, Timestamp, true),
    ]
}

/// The points of one run as rows whose values are in the column `value`.
pub(super) fn rows<V>(run_id: &str, points: Taken<V>, value: &'static str, wrap: fn(Vec<V>) -> Values) -> Batch {
    let Taken { steps, keys, names, values, timestamps, untimed } = points;
    let ids = Values::Dictionary { keys: vec![0; keys.len()], values: vec![run_id.to_owned()] };
    Batch {
        columns: vec![
            Column::new(RUN_ID, ids),
            Column::new(STEP, Values::Integers(steps)),
            Column::new(METRIC_NAME, Values::Dictionary { keys, values: names }),
            Column::new(value, wrap(values)),
            Column { name: TIMESTAMP, values: Values::Timestamps(timestamps), nulls: untimed },
        ],
    }
}
