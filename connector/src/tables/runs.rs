//! `runs`: a row for each run.

use crate::batch::{Batch, Column, Values};
use crate::records::run_row::RunRow;

use super::schema::DataType::{Json, Text, Timestamp};
use super::schema::{RUN_ID, Rows, Table};

/// What GraphQL is asked for of a run, to make its row.
pub const FIELDS: &str =
    "displayName state createdAt updatedAt heartbeatAt tags user { username } config summaryMetrics";

pub(super) const TABLE: Table = Table {
    name: "runs",
    columns: &[
        (RUN_ID, Text, false),
        ("name", Text, true),
        ("state", Text, true),
        ("user", Text, true),
        ("created_at", Timestamp, true),
        ("updated_at", Timestamp, true),
        ("tags", Json, true),
        ("config_json", Json, true),
        ("summary_json", Json, true),
    ],
    primary_key: &[RUN_ID],
    rows: Rows::Fields(RunRow::to_batch),
};

impl RunRow {
    /// The row as a batch of the table.
    pub fn to_batch(&self) -> Batch {
        let text = |name, value: &Option<String>| Column::optional(name, vec![value.clone()], Values::Texts);
        let json = |name, value: &Option<String>| Column::optional(name, vec![value.clone()], Values::Jsons);
        let time = |name, value| Column::optional(name, vec![value], Values::Timestamps);
        Batch {
            columns: vec![
                Column::new(RUN_ID, Values::Texts(vec![self.run_id.clone()])),
                text("name", &self.name),
                text("state", &self.state),
                text("user", &self.user),
                time("created_at", self.created_at),
                time("updated_at", self.updated_at),
                json("tags", &self.tags),
                json("config_json", &self.config),
                json("summary_json", &self.summary),
            ],
        }
    }
}
