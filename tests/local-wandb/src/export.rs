//! Histories as parquet, as W&B's exporter writes them: one column per key plus `_step`, null where a row lacks the key.
//!
//! All numbers are doubles; the non-finite ones are the strings that JSON has for them. A column whose values are of one
//! kind has that kind's type. Where they are of several, it is a struct with a member for each kind, of which every row
//! sets one: `_type_float64`, `_type_utf8`, `_type_bool`, `_type_list`, `_type_struct`. That holds at every depth, and for
//! the items of lists.

use std::sync::Arc;

use arrow_array::{
    Array as _, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::history::History;
use super::json::Json;
use super::options::ParquetCodec;

/// Rows of a row group: small, so that files have several.
const ROW_GROUP: usize = 10_000;

/// Rows `from..to` as a parquet file; `None` when there are none such.
pub fn parquet(history: &History, from: usize, to: usize, codec: ParquetCodec) -> Option<Vec<u8>> {
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

/// What a value is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float64,
    Utf8,
    Bool,
    List,
    Struct,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Float64, Kind::Utf8, Kind::Bool, Kind::List, Kind::Struct];

    fn of(value: &Json) -> Option<Self> {
        Some(match value {
            Json::Null => return None,
            Json::Number(_) => match as_f64(value) {
                Some(_) => Kind::Float64,
                None => Kind::Utf8,
            },
            Json::NonFinite(_) | Json::String(_) => Kind::Utf8,
            Json::Bool(_) => Kind::Bool,
            Json::Array(_) => Kind::List,
            Json::Object(_) => Kind::Struct,
        })
    }

    /// The member of a union that holds such values.
    fn member(self) -> &'static str {
        match self {
            Kind::Float64 => "_type_float64",
            Kind::Utf8 => "_type_utf8",
            Kind::Bool => "_type_bool",
            Kind::List => "_type_list",
            Kind::Struct => "_type_struct",
        }
    }

    /// Values of this kind as a column.
    fn array(self, values: &[Option<&Json>]) -> ArrayRef {
        match self {
            Kind::Float64 => Arc::new(values.iter().map(|value| value.and_then(as_f64)).collect::<Float64Array>()),
            Kind::Utf8 => Arc::new(values.iter().map(|value| value.and_then(as_text)).collect::<StringArray>()),
            Kind::Bool => {
                Arc::new(values.iter().map(|value| value.map(|it| *it == Json::Bool(true))).collect::<BooleanArray>())
            }
            Kind::List => lists(values),
            Kind::Struct => structs(values),
        }
    }
}

/// Values of one column, typed by what they are.
fn array(values: &[Option<&Json>]) -> ArrayRef {
    let of = |value: &Option<&Json>| value.and_then(Kind::of);
    let kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|kind| values.iter().any(|value| of(value) == Some(*kind))).collect();
    match kinds.as_slice() {
        [] => Kind::Float64.array(values),
        [kind] => kind.array(values),
        kinds => {
            let members = kinds.iter().map(|kind| {
                let own: Vec<Option<&Json>> =
                    values.iter().map(|value| value.filter(|it| Kind::of(it) == Some(*kind))).collect();
                (kind.member(), kind.array(&own))
            });
            group(members.collect(), values)
        }
    }
}

fn structs(values: &[Option<&Json>]) -> ArrayRef {
    let mut members: Vec<(&str, ArrayRef)> =
        keys(values).into_iter().map(|key| (key, array(&member(values, key)))).collect();
    if members.is_empty() {
        // A file has no groups without members.
        members.push(("_", Kind::Float64.array(&vec![None; values.len()])));
    }
    group(members, values)
}

/// A struct of these members, null where the values are.
fn group(members: Vec<(&str, ArrayRef)>, values: &[Option<&Json>]) -> ArrayRef {
    let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let fields: Vec<Field> = members.iter().map(field).collect();
    let columns = members.into_iter().map(|(_, column)| column).collect();
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

fn as_f64(value: &Json) -> Option<f64> {
    match value {
        Json::Number(token) => token.parse().ok().filter(|it: &f64| it.is_finite()),
        _ => None,
    }
}

fn as_text(value: &Json) -> Option<&str> {
    match value {
        // Beyond every double.
        Json::Number(token) => Some(if token.starts_with('-') { "-Infinity" } else { "Infinity" }),
        Json::NonFinite(it) => Some(it.name()),
        other => other.as_str(),
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
                r#"{"_step":7,"f":NaN,"o":{"b":"y"},"l":[true],"m":"one","big":0.5}"#,
                r#"{"_step":8,"m":[]}"#,
                r#"{"_step":9,"m":{}}"#,
                r#"{"_step":10,"m":null}"#,
            ],
            ParquetCodec::Zstd,
        );
        let kind = |name: &str| batch.column_by_name(name).map(|it| it.data_type().clone()).expect("a column");
        let members = |kind: DataType| match kind {
            DataType::Struct(fields) => fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>(),
            other => vec![other.to_string()],
        };
        assert_eq!(kind("_step"), DataType::Int64);
        assert_eq!((kind("i"), kind("big")), (DataType::Float64, DataType::Float64));
        assert_eq!((kind("b"), kind("s")), (DataType::Boolean, DataType::Utf8));
        assert_eq!(members(kind("o")), ["a", "b"]);
        assert_eq!(members(kind("f")), ["_type_float64", "_type_utf8"]);
        assert_eq!(members(kind("m")), ["_type_float64", "_type_utf8", "_type_list", "_type_struct"]);
        let DataType::List(item) = kind("l") else { panic!("{:?}", kind("l")) };
        assert_eq!(members(item.data_type().clone()), ["_type_float64", "_type_bool"]);
        let union = batch.column_by_name("m").expect("a column");
        let union = union.as_any().downcast_ref::<StructArray>().expect("a struct");
        let set: Vec<Vec<bool>> =
            union.columns().iter().map(|member| (0..5).map(|row| member.is_valid(row)).collect()).collect();
        assert_eq!(set[0], [true, false, false, false, false]);
        assert_eq!(set[1], [false, true, false, false, false]);
        assert_eq!(set[2], [false, false, true, false, false]);
        assert_eq!(set[3], [false, false, false, true, false]);
        assert_eq!(batch.column_by_name("i").map(|it| it.null_count()), Some(4));
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
        for run in &crate::awkward::awkward().runs {
            let rows = run.history.len();
            assert_eq!(parquet(&run.history, 0, rows, ParquetCodec::Zstd).is_some(), rows > 0, "{}", run.id);
        }
    }
}
