//! The sync logic's batches as the host's, which in a sync is what crossing the component's boundary does.

use std::sync::Arc;

use arrow_array::types::UInt32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int64Array, PrimitiveArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{Field, Schema};
use elt_host::{DataType, Table};
use wandb_connector::batch::{Batch, Column, Values};
use wandb_connector::tables::{self, TABLES};

/// The connector's tables.
pub(crate) fn tables() -> anyhow::Result<Vec<Table>> {
    let table = |table: &tables::Table| {
        let column = |(name, data_type, nullable): &(&str, tables::DataType, bool)| elt_host::Column {
            name: (*name).to_owned(),
            data_type: match data_type {
                tables::DataType::Integer => DataType::Integer,
                tables::DataType::Double => DataType::Double,
                tables::DataType::Text => DataType::Text,
                tables::DataType::Json => DataType::Json,
                tables::DataType::Timestamp => DataType::Timestamp,
            },
            nullable: *nullable,
        };
        let key: Vec<String> = table.primary_key.iter().map(|name| (*name).to_owned()).collect();
        Ok(Table::new(table.name.to_owned(), table.columns.iter().map(column).collect(), &key)?)
    };
    TABLES.into_iter().map(table).collect()
}

/// One batch; takes the columns over without copying numbers.
pub(crate) fn batch(batch: Batch) -> anyhow::Result<RecordBatch> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = batch
        .columns
        .into_iter()
        .map(|column| {
            let name = column.name;
            let array = array(column)?;
            Ok((Field::new(name, array.data_type().clone(), true), array))
        })
        .collect::<anyhow::Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn array(column: Column) -> anyhow::Result<ArrayRef> {
    let rows = column.values.len();
    let nulls = (!column.nulls.is_empty()).then(|| {
        let mut valid = vec![true; rows];
        column.nulls.iter().for_each(|&row| valid[row as usize] = false);
        NullBuffer::from(valid)
    });
    Ok(match column.values {
        Values::Integers(values) => Arc::new(Int64Array::new(values.into(), nulls)),
        Values::Doubles(values) => Arc::new(Float64Array::new(values.into(), nulls)),
        Values::Timestamps(values) => {
            let times: TimestampMicrosecondArray = PrimitiveArray::new(values.into(), nulls);
            Arc::new(times.with_timezone("UTC"))
        }
        Values::Texts(values) | Values::Jsons(values) => {
            let texts = values.iter().enumerate();
            let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            Arc::new(StringArray::from_iter(texts.map(|(row, text)| (!is_null(row)).then_some(text))))
        }
        Values::Dictionary { keys, values } => Arc::new(DictionaryArray::<UInt32Type>::try_new(
            UInt32Array::new(keys.into(), nulls),
            Arc::new(StringArray::from(values)),
        )?),
    })
}
