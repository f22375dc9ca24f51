//! The contract's types as the host's: schemas, errors and summaries that a guest returned.

use std::time::Duration;

use crate::bindings::types as guest;
use crate::component::annotations::ItemNames;
use crate::error::{ConfigurationProblem, Error};
use crate::http::secrets::Redactor;
use crate::runtime::outcome::{Items, Outcome};
use crate::schema::{Column, DataType, Table};
use elt_support::printable::cut;

/// Problems and quarantined items that are kept of a longer list.
const MOST_ITEMS: usize = 10_000;
/// Bytes of an item's name, and of a reason.
const MOST_BYTES: usize = 4 << 10;

/// A guest's error. It may only say that it was interrupted when it was, which the caller knows before it asks here.
pub(crate) fn error(error: guest::Error) -> Error {
    let problem =
        |problem: guest::ConfigurationProblem| ConfigurationProblem { key: problem.key, message: problem.message };
    match error {
        guest::Error::Configuration(problems) => {
            Error::Configuration(problems.into_iter().take(MOST_ITEMS).map(problem).collect())
        }
        guest::Error::Authentication(message) => Error::Authentication(message),
        guest::Error::Permission(message) => Error::Permission(message),
        guest::Error::NotFound(message) => Error::NotFound(message),
        guest::Error::RateLimited(limit) => {
            Error::RateLimited { message: limit.message, retry_after: limit.retry_after.map(Duration::from_millis) }
        }
        guest::Error::Upstream(failure) => Error::Upstream { status: failure.status, message: failure.message },
        guest::Error::Destination(message) => Error::Destination(message),
        guest::Error::Interrupted => Error::Contract("it says that it was interrupted, and it was not".into()),
        guest::Error::Internal(message) => Error::Internal(format!("the connector failed: {message}")),
    }
}

/// A guest's schema, checked.
pub(crate) fn tables(schemas: Vec<guest::TableSchema>) -> Result<Vec<Table>, Error> {
    let mut tables: Vec<Table> = Vec::new();
    for schema in schemas {
        let column = |column: guest::ColumnSchema| Column {
            name: column.name,
            data_type: data_type(column.data_type),
            nullable: column.nullable,
        };
        let columns = schema.columns.into_iter().map(column).collect();
        let table =
            Table::new(schema.name, columns, &schema.primary_key).map_err(|why| Error::Contract(why.to_string()))?;
        if tables.iter().any(|other| other.name() == table.name()) {
            return Err(Error::Contract(format!("its schema has two tables `{}`", table.name())));
        }
        tables.push(table);
    }
    Ok(tables)
}

fn data_type(data_type: guest::DataType) -> DataType {
    match data_type {
        guest::DataType::Boolean => DataType::Boolean,
        guest::DataType::Integer => DataType::Integer,
        guest::DataType::Double => DataType::Double,
        guest::DataType::Text => DataType::Text,
        guest::DataType::Json => DataType::Json,
        guest::DataType::Timestamp => DataType::Timestamp,
    }
}

/// Writes a guest's summary into an outcome.
/// `names` are what its specification calls its items.
pub(crate) fn summarize(
    summary: guest::Summary,
    names: Option<&ItemNames>,
    redactor: &Redactor,
    outcome: &mut Outcome,
) {
    let shown = |text: &str| cut(&redactor.clean(text), MOST_BYTES).to_owned();
    let names = names.cloned().unwrap_or_else(|| ItemNames::of_unit(&shown(&summary.item)));
    outcome.items = Items {
        unit: names.singular,
        units: names.plural,
        seen: summary.seen,
        synced: summary.synced,
        unchanged: summary.unchanged,
        deleted: summary.deleted,
        quarantined: summary.quarantined.len() as u64,
    };
    outcome.retries = summary.retries;
    let quarantined = summary.quarantined.iter().take(MOST_ITEMS);
    outcome.quarantined = quarantined.map(|item| (shown(&item.id), shown(&item.reason))).collect();
}
