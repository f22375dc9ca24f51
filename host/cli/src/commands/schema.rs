//! `schema`: the tables that a sync would write.

use std::sync::Arc;

use elt_host::{Column, Table};
use serde::Serialize;

use crate::args::{Format, QueryArgs, SandboxArgs};
use crate::exit::Exit;
use crate::output::console::Console;
use crate::output::table::{self, Heading};
use crate::output::{self, json};
use crate::run::Runner;
use crate::wandb::configuration;

/// Prints the tables. They can be seen before there is a key or a project.
pub(crate) async fn run(args: &QueryArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let configuration = configuration::load(args.config.config.as_deref(), sandbox, console)?;
    let tables = Runner::load(sandbox, console)?.schema_despite_gaps(&configuration.values).await;
    let tables = tables.map_err(|error| configuration.explain(error))?;
    output::print(&match args.format {
        Format::Text => tables.iter().map(as_text).collect::<Vec<_>>().join("\n"),
        Format::Json => json::line(&tables.iter().map(as_json).collect::<Vec<_>>()),
    })?;
    Ok(Exit::Ok)
}

fn as_text(table: &Table) -> String {
    let row = |(i, column): (usize, &Column)| {
        let note = match (table.primary_key().contains(&i), column.nullable) {
            (true, _) => "primary key",
            (false, false) => "never null",
            (false, true) => "",
        };
        vec![column.name.clone(), column.data_type.name().into(), note.into()]
    };
    let rows: Vec<_> = table.columns().iter().enumerate().map(row).collect();
    let headings = [Heading::Left(table.name()), Heading::Left("type"), Heading::Left("")];
    table::render(&headings, &rows)
}

fn as_json(table: &Table) -> JsonTable<'_> {
    let key = table.primary_key().iter().filter_map(|i| table.columns().get(*i));
    JsonTable {
        table: table.name(),
        primary_key: key.map(|column| column.name.as_str()).collect(),
        columns: table.columns().iter().map(JsonColumn::from).collect(),
    }
}

#[derive(Serialize)]
struct JsonTable<'a> {
    table: &'a str,
    primary_key: Vec<&'a str>,
    columns: Vec<JsonColumn<'a>>,
}

#[derive(Serialize)]
struct JsonColumn<'a> {
    name: &'a str,
    r#type: &'static str,
    nullable: bool,
}

impl<'a> From<&'a Column> for JsonColumn<'a> {
    fn from(column: &'a Column) -> Self {
        Self { name: &column.name, r#type: column.data_type.name(), nullable: column.nullable }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use elt_host::DataType;

    use super::*;

    pub(crate) fn metrics() -> Table {
        let column = |name: &str, data_type, nullable| Column { name: name.into(), data_type, nullable };
        let columns = vec![
            column("run_id", DataType::Text, false),
            column("step", DataType::Integer, false),
            column("metric_value", DataType::Double, true),
            column("value_json", DataType::Json, true),
            column("timestamp", DataType::Timestamp, true),
        ];
        Table::new("metrics".into(), columns, &["run_id".into(), "step".into()]).unwrap()
    }

    #[test]
    fn a_table_as_text_and_as_json() {
        insta::assert_snapshot!(as_text(&metrics()), @"
        metrics      | type      |
        -------------+-----------+------------
        run_id       | text      | primary key
        step         | integer   | primary key
        metric_value | double    |
        value_json   | json      |
        timestamp    | timestamp |
        ");
        insta::assert_snapshot!(json::line(&as_json(&metrics())), @r#"
        {"table":"metrics","primary_key":["run_id","step"],"columns":[{"name":"run_id","type":"text","nullable":false},{"name":"step","type":"integer","nullable":false},{"name":"metric_value","type":"double","nullable":true},{"name":"value_json","type":"json","nullable":true},{"name":"timestamp","type":"timestamp","nullable":true}]}
        "#);
    }
}
