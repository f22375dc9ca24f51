//! `deleted_runs`: a row for each run that W&B no longer has, where the configuration wants such runs marked.

use crate::batch::{Batch, Column, Values};

use super::schema::DataType::{Text, Timestamp};
use super::schema::{RUN_ID, Rows, Table, keys_of_runs};

const NOTICED_AT: &str = "noticed_at";

pub(super) const TABLE: Table = Table {
    name: "deleted_runs",
    columns: &[(RUN_ID, Text, false), (NOTICED_AT, Timestamp, true)],
    primary_key: &[RUN_ID],
    rows: Rows::Deletions(rows),
};

fn rows(ids: Vec<String>, noticed: Vec<Option<i64>>) -> Batch {
    let mut rows = keys_of_runs(ids);
    rows.columns.push(Column::optional(NOTICED_AT, noticed, Values::Timestamps));
    rows
}
