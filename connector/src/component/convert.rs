//! The sync logic's types as those of `wit/types.wit`, and back.

use std::time::Duration;

use crate::batch::{Batch, Column, Values};
use crate::error::{Error, Problem};
use crate::sync::Summary;
use crate::tables::{DataType, Table};

use super::bindings::elt::connector::destination::DestinationError;
use super::bindings::elt::connector::types;

/// A table's schema.
pub(super) fn table(table: &Table) -> types::TableSchema {
    let column = |(name, data_type, nullable): &(&str, DataType, bool)| types::ColumnSchema {
        name: (*name).to_owned(),
        data_type: match data_type {
            DataType::Integer => types::DataType::Integer,
            DataType::Double => types::DataType::Double,
            DataType::Text => types::DataType::Text,
            DataType::Json => types::DataType::Json,
            DataType::Timestamp => types::DataType::Timestamp,
        },
        nullable: *nullable,
    };
    types::TableSchema {
        name: table.name.to_owned(),
        columns: table.columns.iter().map(column).collect(),
        primary_key: table.primary_key.iter().map(|name| (*name).to_owned()).collect(),
    }
}

impl From<Batch> for types::Batch {
    fn from(batch: Batch) -> Self {
        Self { columns: batch.columns.into_iter().map(Into::into).collect() }
    }
}

impl From<Column> for types::Column {
    fn from(column: Column) -> Self {
        use types::ColumnValues as Wit;
        let values = match column.values {
            Values::Integers(values) => Wit::Integers(values),
            Values::Doubles(values) => Wit::Doubles(values),
            Values::Texts(values) => Wit::Texts(values),
            Values::Dictionary { keys, values } => Wit::Dictionary(types::TextDictionary { keys, values }),
            Values::Jsons(values) => Wit::Jsons(values),
            Values::Timestamps(values) => Wit::Timestamps(values),
        };
        Self { name: column.name.to_owned(), values, nulls: column.nulls }
    }
}

impl From<Summary> for types::Summary {
    fn from(summary: Summary) -> Self {
        let quarantined = |(id, reason)| types::QuarantinedItem { id, reason };
        Self {
            item: "run".to_owned(),
            seen: summary.seen,
            synced: summary.synced,
            unchanged: summary.unchanged,
            deleted: summary.deleted,
            quarantined: summary.quarantined.into_iter().map(quarantined).collect(),
            requests: summary.requests,
            retries: summary.retries,
        }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Configuration(problems) => {
                let problem = |Problem { key, message }| types::ConfigurationProblem { key, message };
                Self::Configuration(problems.into_iter().map(problem).collect())
            }
            Error::Authentication(message) => Self::Authentication(message),
            Error::Permission(message) => Self::Permission(message),
            Error::NotFound(message) => Self::NotFound(message),
            Error::RateLimited { message, retry_after } => {
                let milliseconds = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                Self::RateLimited(types::RateLimit { retry_after: retry_after.map(milliseconds), message })
            }
            Error::Upstream { status, message } => Self::Upstream(types::UpstreamFailure { status, message }),
            Error::Destination(message) => Self::Destination(message),
            Error::Interrupted => Self::Interrupted,
            Error::Internal(message) => Self::Internal(message),
        }
    }
}

impl From<DestinationError> for Error {
    fn from(error: DestinationError) -> Self {
        match error {
            DestinationError::Invalid(message) => {
                Self::Internal(format!("the host refused what the connector sent: {message}"))
            }
            DestinationError::Failed(message) | DestinationError::Limit(message) => Self::Destination(message),
            DestinationError::Interrupted => Self::Interrupted,
        }
    }
}
