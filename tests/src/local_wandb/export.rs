//! Histories as parquet: one column per key plus `_step`, null where a row lacks the key.
//!
//! Columns are typed as pyarrow infers them from rows of one kind: integers, doubles, booleans, strings, lists, and
//! structs for nested objects. How W&B writes a key whose kind changes from row to row is not known; here such a column
//! holds JSON texts.

use std::sync::Arc;

use arrow_array::builder::BooleanBuilder;
use arrow_array::{Array as _, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::history::History;
use super::json::{Json, NonFinite};
use super::options::ParquetCodec;

/// Rows of a row group: small, so that files have several.
const ROW_GROUP: usize = 10_000;

/// The largest integer up to which every one is a double.
const EXACT: u64 = 1 << 53;

/// Rows `from..to` as a parquet file; `None` when there are none such.
pub(crate) fn parquet(history: &History, from: usize, to: usize, codec: ParquetCodec) -> Option<Vec<u8>> {
    if from >= to || to > history.len() {
        return None;
    }
    let rows: Vec<Json> = (from..to).map(|row| Json::parse(history.line(row)).unwrap_or(Json::Null)).collect();
    let batch = batch(&rows, &history.steps()[from..to])?;
    let compression = match codec {
        ParquetCodec::None => Compression::UNCOMPRESSED,
        ParquetCodec::Snappy => Compression::SNAPPY,
        ParquetCodec::Gzip => Compression::GZIP(Default::default()),
        ParquetCodec::Zstd => Compression::ZSTD(ZstdLevel::default()),
        ParquetCodec::Lz4 => Compression::LZ4_RAW,
    };
    let properties =
        WriterProperties::builder().set_compression(compression).set_max_row_group_row_count(Some(ROW_GROUP));
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).ok()?;
    writer.write(&batch).ok()?;
    writer.into_inner().ok()
}

fn batch(rows: &[Json], steps: &[i64]) -> Option<RecordBatch> {
    let step = Field::new("_step", DataType::Int64, false);
    let mut fields = vec![step];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(steps.to_vec()))];
    let rows: Vec<Option<&Json>> = rows.iter().map(Some).collect();
    for key in keys(&rows) {
        if key == "_step" {
            continue;
        }
        let column = array(&member(&rows, key));
        fields.push(Field::new(key, column.data_type().clone(), true));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).ok()
}

/// Every key of some objects, in the order they first appear.
fn keys<'a>(objects: &[Option<&'a Json>]) -> Vec<&'a str> {
    let mut seen = std::collections::HashSet::new();
    let mut keys = Vec::new();
    for object in objects.iter().flatten() {
        if let Json::Object(members) = object {
            keys.extend(members.iter().map(|(key, _)| key.as_str()).filter(|key| seen.insert(*key)));
        }
    }
    keys
}

/// A key's value in each object; null counts as absent.
fn member<'a>(objects: &[Option<&'a Json>], key: &str) -> Vec<Option<&'a Json>> {
    objects.iter().map(|object| object.and_then(|it| it.get(key)).filter(|it| **it != Json::Null)).collect()
}

/// Values of one column, typed by what they are.
fn array(values: &[Option<&Json>]) -> ArrayRef {
    let present = || values.iter().flatten().copied();
    let all = |condition: fn(&Json) -> bool| present().all(condition);
    if all(|it| matches!(it, Json::Bool(_))) {
        let mut builder = BooleanBuilder::new();
        values.iter().for_each(|value| builder.append_option(value.map(|it| *it == Json::Bool(true))));
        Arc::new(builder.finish())
    } else if all(|it| it.as_i64().is_some()) {
        Arc::new(values.iter().map(|value| value.and_then(Json::as_i64)).collect::<Int64Array>())
    } else if all(is_double) {
        Arc::new(values.iter().map(|value| value.and_then(as_f64)).collect::<Float64Array>())
    } else if all(|it| it.as_str().is_some()) {
        Arc::new(values.iter().map(|value| value.and_then(Json::as_str)).collect::<StringArray>())
    } else if all(|it| matches!(it, Json::Object(members) if !members.is_empty())) {
        structs(values)
    } else if all(|it| matches!(it, Json::Array(_))) && present().any(|it| *it != Json::Array(Vec::new())) {
        lists(values)
    } else {
        Arc::new(values.iter().map(|value| value.map(|it| it.canonical().to_string())).collect::<StringArray>())
    }
}

fn structs(values: &[Option<&Json>]) -> ArrayRef {
    let columns: Vec<(Field, ArrayRef)> = keys(values)
        .into_iter()
        .map(|key| {
            let column = array(&member(values, key));
            (Field::new(key, column.data_type().clone(), true), column)
        })
        .collect();
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    Arc::new(StructArray::new(Fields::from(fields), columns, Some(present(values))))
}

fn lists(values: &[Option<&Json>]) -> ArrayRef {
    let items = |value: &Option<&Json>| match value {
        Some(Json::Array(items)) => items.len(),
        _ => 0,
    };
    let flat: Vec<Option<&Json>> = values
        .iter()
        .flat_map(|value| match value {
            Some(Json::Array(items)) => items.iter().map(|it| Some(it).filter(|it| **it != Json::Null)).collect(),
            _ => Vec::new(),
        })
        .collect();
    let flat = array(&flat);
    let offsets = OffsetBuffer::from_lengths(values.iter().map(items));
    let field = Arc::new(Field::new("item", flat.data_type().clone(), true));
    Arc::new(ListArray::new(field, offsets, flat, Some(present(values))))
}

fn present(values: &[Option<&Json>]) -> NullBuffer {
    values.iter().map(Option::is_some).collect::<Vec<bool>>().into()
}

/// Whether a double carries the value whole; non-finite numbers may be quoted.
fn is_double(value: &Json) -> bool {
    match value {
        Json::NonFinite(_) => true,
        Json::String(text) => NonFinite::from_name(text).is_some(),
        Json::Number(token) => {
            token.contains(['.', 'e', 'E']) || value.as_i64().is_some_and(|it| it.unsigned_abs() <= EXACT)
        }
        _ => false,
    }
}

fn as_f64(value: &Json) -> Option<f64> {
    match value {
        Json::Number(token) => token.parse().ok(),
        Json::NonFinite(it) => Some(it.as_f64()),
        Json::String(text) => NonFinite::from_name(text).map(NonFinite::as_f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn read(lines: &[&str], codec: ParquetCodec) -> RecordBatch {
        let history = History::from_lines(lines);
        let file = Bytes::from(parquet(&history, 0, history.len(), codec).expect("rows"));
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a file").build().expect("a reader");
        reader.next().expect("a batch").expect("readable")
    }

    #[test]
    fn columns_are_typed_by_their_values() {
        let batch = read(
            &[
                r#"{"_step":0,"i":1,"f":1,"b":true,"s":"x","o":{"a":1},"l":[1],"m":1,"big":9007199254740993}"#,
                r#"{"_step":7,"f":NaN,"o":{"b":"y"},"l":[],"m":"one","big":0.5}"#,
            ],
            ParquetCodec::Zstd,
        );
        let kind = |name: &str| batch.column_by_name(name).map(|it| it.data_type().clone()).expect("a column");
        assert_eq!(kind("_step"), DataType::Int64);
        assert_eq!(kind("i"), DataType::Int64);
        assert_eq!(kind("f"), DataType::Float64);
        assert_eq!(kind("b"), DataType::Boolean);
        assert_eq!(kind("s"), DataType::Utf8);
        assert!(matches!(kind("o"), DataType::Struct(fields) if fields.len() == 2));
        assert!(matches!(kind("l"), DataType::List(_)));
        assert_eq!((kind("m"), kind("big")), (DataType::Utf8, DataType::Utf8));
        assert_eq!(batch.column_by_name("i").map(|it| it.null_count()), Some(1));
    }

    #[test]
    fn every_codec_can_be_read_back() {
        use ParquetCodec::*;
        for codec in [None, Snappy, Gzip, Zstd, Lz4] {
            assert_eq!(read(&[r#"{"_step":3,"a":1.5}"#], codec).num_rows(), 1, "{codec:?}");
        }
    }

    #[test]
    fn every_awkward_history_can_be_exported() {
        for run in &crate::local_wandb::awkward::awkward().runs {
            let rows = run.history.len();
            assert_eq!(parquet(&run.history, 0, rows, ParquetCodec::Zstd).is_some(), rows > 0, "{}", run.id);
        }
    }
}
