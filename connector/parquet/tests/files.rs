//! Files written by the `parquet` crate, read here: every encoding, codec and page version, broken files, and the same points as JSON.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use parquet::basic::{Compression, Encoding};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use history_parquet::footer::{Footer, TRAILER_BYTES, footer_length};
use history_parquet::group::{GroupReader, Ranges, ReadError, Selection};
use wandb_connector::batch::{Batch, Values};
use wandb_connector::records::filter::MetricFilter;
use wandb_connector::records::page;
use wandb_connector::records::row::History;
use wandb_connector::tables;

/// A column's values, without nulls, and its levels.
#[derive(Debug, Clone)]
struct Col(Data, Vec<i16>, Vec<i16>);

#[derive(Debug, Clone)]
enum Data {
    F64(Vec<f64>),
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

/// A column that has a value in each row.
fn full(data: Data) -> Col {
    Col(data, Vec::new(), Vec::new())
}

/// A flat column with nulls.
fn sparse<T: Clone>(values: &[Option<T>], wrap: fn(Vec<T>) -> Data) -> Col {
    let levels = values.iter().map(|value| i16::from(value.is_some())).collect();
    Col(wrap(values.iter().flatten().cloned().collect()), levels, Vec::new())
}

fn write(schema: &str, properties: WriterPropertiesBuilder, groups: &[Vec<Col>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {schema} }}")).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    for group in groups {
        let mut row_group = writer.next_row_group().unwrap();
        for Col(data, definitions, repetitions) in group {
            let mut column = row_group.next_column().unwrap().unwrap();
            let definitions = Some(definitions.as_slice()).filter(|levels| !levels.is_empty());
            let repetitions = Some(repetitions.as_slice()).filter(|levels| !levels.is_empty());
            match data {
                Data::F64(values) => column.typed::<DoubleType>().write_batch(values, definitions, repetitions),
                Data::F32(values) => column.typed::<FloatType>().write_batch(values, definitions, repetitions),
                Data::I64(values) => column.typed::<Int64Type>().write_batch(values, definitions, repetitions),
                Data::I32(values) => column.typed::<Int32Type>().write_batch(values, definitions, repetitions),
                Data::Bool(values) => column.typed::<BoolType>().write_batch(values, definitions, repetitions),
                Data::Text(values) => {
                    let values: Vec<ByteArray> = values.iter().map(|text| text.as_str().into()).collect();
                    column.typed::<ByteArrayType>().write_batch(&values, definitions, repetitions)
                }
            }
            .unwrap();
            column.close().unwrap();
        }
        row_group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

struct Memory(Bytes);

impl Ranges for Memory {
    async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError> {
        Ok(ranges.iter().map(|range| self.0.slice(range.start as usize..range.end as usize)).collect())
    }
}

fn footer(bytes: &[u8]) -> Result<Footer, ReadError> {
    let trailer = bytes.len().saturating_sub(TRAILER_BYTES);
    let length = footer_length(&bytes[trailer..], bytes.len() as u64)?;
    Ok(Footer::parse(&bytes[trailer - length..trailer], bytes.len() as u64)?)
}

/// The points of a file, sorted.
fn read(bytes: &[u8]) -> Result<Vec<String>, ReadError> {
    let mut history = History::new(MetricFilter::default());
    let mut points = Vec::new();
    let footer = footer(bytes)?;
    let selection = Selection::new(&footer, |_| true)?;
    let source = Memory(bytes.to_vec().into());
    for group in &footer.groups {
        let mut reader = GroupReader::new(selection.clone(), &footer, group, None)?;
        while reader.load(&source).now_or_never().unwrap()? {
            while reader.step().is_some() {
                reader.emit(&mut history)?;
            }
            points.extend(take(&mut history));
            reader.forget_names();
        }
    }
    points.sort();
    Ok(points)
}

fn from_json(rows: &str) -> Vec<String> {
    let mut history = History::new(MetricFilter::default());
    page::rest(rows.as_bytes(), &mut history, 0).unwrap();
    let mut points = take(&mut history);
    points.sort();
    points
}

fn take(history: &mut History) -> Vec<String> {
    tables::of_history(history, "r").iter().filter_map(|(_, batch)| batch.as_ref()).flat_map(lines).collect()
}

fn lines(batch: &Batch) -> Vec<String> {
    let cell = |values: &Values, row: usize| match values {
        Values::Integers(values) | Values::Timestamps(values) => values[row].to_string(),
        Values::Doubles(values) if values[row].is_nan() => "NaN".to_owned(),
        Values::Doubles(values) => format!("{:016x}", values[row].to_bits()),
        Values::Texts(values) | Values::Jsons(values) => values[row].clone(),
        Values::Dictionary { keys, values } => values[keys[row] as usize].clone(),
    };
    let line = |row: usize| {
        let cells = batch.columns.iter().skip(1).map(|column| match column.nulls.contains(&(row as u32)) {
            true => "null".to_owned(),
            false => cell(&column.values, row),
        });
        cells.collect::<Vec<_>>().join(" ")
    };
    (0..batch.rows()).map(line).collect()
}

const FLAT: &str = "required int64 _step; optional double _timestamp; optional double _runtime; optional double loss; \
    optional int64 tokens; optional boolean done; optional binary note (UTF8); optional float lr; optional int32 epoch; required double acc;";

#[derive(Debug, Clone)]
struct Flat {
    loss: Option<f64>,
    tokens: Option<i64>,
    done: Option<bool>,
    note: Option<String>,
    lr: Option<f32>,
    epoch: Option<i32>,
    acc: f64,
}

fn flat() -> impl Strategy<Value = Flat> {
    let double = prop_oneof![8 => any::<f64>(), 1 => Just(0.5), 1 => Just(f64::NAN), 1 => Just(f64::NEG_INFINITY)];
    let integer = prop_oneof![3 => -9i64..9, 1 => any::<i64>(), 1 => Just((1 << 53) + 1)];
    let note = prop_oneof![4 => "(m[a-zé\"\\\\]{0,5})?", 1 => Just("NaN".to_owned()), 1 => Just("Infinity".to_owned())];
    let float = prop_oneof![Just(f32::INFINITY), -1e3f32..1e3];
    (
        proptest::option::of(double.clone()),
        proptest::option::of(integer),
        proptest::option::of(any::<bool>()),
        proptest::option::of(note),
        proptest::option::of(float),
        proptest::option::of(any::<i32>()),
        double,
    )
        .prop_map(|(loss, tokens, done, note, lr, epoch, acc)| Flat { loss, tokens, done, note, lr, epoch, acc })
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        // Not an integer in JSON, so that it is one double in both.
        value => format!("{value:e}"),
    }
}

fn json_of(rows: &[Flat]) -> String {
    let row = |(step, row): (usize, &Flat)| {
        let mut out = format!("{{\"_step\":{step},\"_timestamp\":{},\"_runtime\":1.5", 1e9 + step as f64 / 8.0);
        let mut put = |key: &str, value: Option<String>| {
            out += &format!(",\"{key}\":{}", value.unwrap_or_else(|| "null".to_owned()));
        };
        put("loss", row.loss.map(number));
        put("tokens", row.tokens.map(|value| value.to_string()));
        put("done", row.done.map(|value| value.to_string()));
        put("note", row.note.as_ref().map(|text| serde_json::Value::from(text.as_str()).to_string()));
        put("lr", row.lr.map(|value| number(value.into())));
        put("epoch", row.epoch.map(|value| value.to_string()));
        put("acc", Some(number(row.acc)));
        out + "}"
    };
    format!("[{}]", rows.iter().enumerate().map(row).collect::<Vec<_>>().join(","))
}

fn columns_of(first: usize, rows: &[Flat]) -> Vec<Col> {
    let steps = first as i64..(first + rows.len()) as i64;
    let all = |value: fn(&Flat) -> Option<f64>| sparse(&rows.iter().map(value).collect::<Vec<_>>(), Data::F64);
    vec![
        full(Data::I64(steps.clone().collect())),
        sparse(&steps.map(|step| Some(1e9 + step as f64 / 8.0)).collect::<Vec<_>>(), Data::F64),
        all(|_| Some(1.5)),
        all(|row| row.loss),
        sparse(&rows.iter().map(|row| row.tokens).collect::<Vec<_>>(), Data::I64),
        sparse(&rows.iter().map(|row| row.done).collect::<Vec<_>>(), Data::Bool),
        sparse(&rows.iter().map(|row| row.note.clone()).collect::<Vec<_>>(), Data::Text),
        sparse(&rows.iter().map(|row| row.lr).collect::<Vec<_>>(), Data::F32),
        sparse(&rows.iter().map(|row| row.epoch).collect::<Vec<_>>(), Data::I32),
        full(Data::F64(rows.iter().map(|row| row.acc).collect())),
    ]
}

fn file_of(rows: &[Flat], per_group: usize, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let groups: Vec<Vec<Col>> =
        rows.chunks(per_group).enumerate().map(|(group, rows)| columns_of(group * per_group, rows)).collect();
    write(FLAT, properties, &groups)
}

fn properties() -> impl Strategy<Value = WriterPropertiesBuilder> {
    let codec = prop_oneof![
        Just(Compression::UNCOMPRESSED),
        Just(Compression::SNAPPY),
        Just(Compression::GZIP(Default::default())),
        Just(Compression::LZ4),
        Just(Compression::LZ4_RAW),
        Just(Compression::ZSTD(Default::default())),
    ];
    let statistics =
        prop_oneof![Just(EnabledStatistics::None), Just(EnabledStatistics::Chunk), Just(EnabledStatistics::Page)];
    (codec, any::<bool>(), any::<bool>(), 1usize..50, statistics, any::<u8>()).prop_map(
        |(codec, v2, dictionary, page, statistics, encodings)| {
            let version = if v2 { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
            let mut builder = WriterProperties::builder()
                .set_compression(codec)
                .set_writer_version(version)
                .set_dictionary_enabled(dictionary)
                .set_data_page_row_count_limit(page)
                .set_write_batch_size(page)
                .set_statistics_enabled(statistics)
                .set_dictionary_page_size_limit(64);
            let choices = [
                (0, "loss", Encoding::BYTE_STREAM_SPLIT),
                (1, "tokens", Encoding::DELTA_BINARY_PACKED),
                (2, "epoch", Encoding::DELTA_BINARY_PACKED),
                (3, "lr", Encoding::BYTE_STREAM_SPLIT),
                (4, "note", Encoding::DELTA_LENGTH_BYTE_ARRAY),
                (5, "note", Encoding::DELTA_BYTE_ARRAY),
                (6, "done", Encoding::RLE),
                (7, "_step", Encoding::DELTA_BINARY_PACKED),
            ];
            for (bit, column, encoding) in choices {
                if encodings >> bit & 1 == 1 {
                    builder = builder.set_column_encoding(column.into(), encoding);
                }
            }
            builder
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_file_gives_the_points_that_json_rows_give(rows in proptest::collection::vec(flat(), 1..120), per_group in 1usize..150, properties in properties()) {
        let file = file_of(&rows, per_group, properties);
        prop_assert_eq!(read(&file).unwrap(), from_json(&json_of(&rows)));
    }

    #[test]
    fn broken_files_are_refused_and_never_panic(
        rows in proptest::collection::vec(flat(), 1..40),
        properties in properties(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = file_of(&rows, 25, properties);
        for (at, byte) in flips {
            let at = at.index(file.len());
            file[at] ^= byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()).max(TRAILER_BYTES));
        }
        let _ = read(&file);
    }

    #[test]
    fn nested_columns_give_the_points_that_json_rows_give(rows in proptest::collection::vec(nested(), 1..60), properties in properties()) {
        prop_assert_eq!(read(&nested_file(&rows, properties)).unwrap(), from_json(&nested_json(&rows)));
    }

    #[test]
    fn broken_nested_files_are_refused_and_never_panic(
        rows in proptest::collection::vec(nested(), 1..40),
        properties in properties(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = nested_file(&rows, properties);
        for (at, byte) in flips {
            let at = at.index(file.len());
            file[at] ^= byte;
        }
        let _ = read(&file);
    }
}

/// An object with an object in it, media, a list and a map.
type Nested = (
    Option<(Option<f64>, Option<Option<i64>>)>,
    Option<(Option<String>, Option<i64>)>,
    Option<Vec<Option<f64>>>,
    Option<Vec<(String, Option<i64>)>>,
);

const NESTED: &str = "required int64 _step; optional group s { optional double x; optional group t { optional int64 y; } } \
    optional group media { optional binary _type (UTF8); optional int64 size; } \
    optional group l (LIST) { repeated group list { optional double element; } } \
    optional group m (MAP) { repeated group key_value { required binary key (UTF8); optional int64 value; } }";

fn nested() -> impl Strategy<Value = Nested> {
    use proptest::collection::{btree_map, vec};
    use proptest::option::of;
    let finite = -1e6..1e6;
    (
        of((of(finite.clone()), of(of(any::<i64>())))),
        of((of(Just("image-file".to_owned())), of(any::<i64>()))),
        of(vec(of(prop_oneof![4 => finite, 1 => Just(f64::NAN)]), 0..5)),
        of(btree_map("[a-c]{1,2}", of(any::<i64>()), 0..4).prop_map(|map| map.into_iter().collect())),
    )
}

fn nested_json(rows: &[Nested]) -> String {
    let row = |(step, (s, media, l, m)): (usize, &Nested)| {
        let mut parts = vec![format!("\"_step\":{step}")];
        if let Some((x, t)) = s {
            let x = x.map(|x| format!("\"x\":{x:?}"));
            let t = t.map(|y| format!("\"t\":{{{}}}", y.map(|y| format!("\"y\":{y}")).unwrap_or_default()));
            parts.push(format!("\"s\":{{{}}}", x.into_iter().chain(t).collect::<Vec<_>>().join(",")));
        }
        if let Some((kind, size)) = media {
            let kind = kind.as_ref().map(|kind| format!("\"_type\":\"{kind}\""));
            let size = size.map(|size| format!("\"size\":{size}"));
            parts.push(format!("\"media\":{{{}}}", kind.into_iter().chain(size).collect::<Vec<_>>().join(",")));
        }
        if let Some(l) = l {
            let elements: Vec<String> = l
                .iter()
                .map(|value| match value {
                    Some(value) if value.is_nan() => "\"NaN\"".to_owned(),
                    Some(value) if value.abs() < 1e-6 && *value != 0.0 => format!("{value:e}"),
                    Some(value) => value.to_string(),
                    None => "null".to_owned(),
                })
                .collect();
            parts.push(format!("\"l\":[{}]", elements.join(",")));
        }
        if let Some(m) = m {
            let entries: Vec<String> = m
                .iter()
                .map(|(key, value)| format!("\"{key}\":{}", value.map_or("null".to_owned(), |value| value.to_string())))
                .collect();
            parts.push(format!("\"m\":{{{}}}", entries.join(",")));
        }
        format!("{{{}}}", parts.join(","))
    };
    format!("[{}]", rows.iter().enumerate().map(row).collect::<Vec<_>>().join(","))
}

fn nested_file(rows: &[Nested], properties: WriterPropertiesBuilder) -> Vec<u8> {
    let (mut x, mut xd, mut y, mut yd) = (vec![], vec![], vec![], vec![]);
    let (mut kind, mut kind_d, mut size, mut size_d) = (vec![], vec![], vec![], vec![]);
    let (mut l, mut ld, mut lr) = (vec![], vec![], vec![]);
    let (mut k, mut kd, mut kr, mut v, mut vd) = (vec![], vec![], vec![], vec![], vec![]);
    for (s, media, list, map) in rows {
        xd.push(s.map_or(0, |(value, _)| 1 + i16::from(value.is_some())));
        x.extend(s.and_then(|(value, _)| value));
        yd.push(s.map_or(0, |(_, t)| 1 + t.map_or(0, |y| 1 + i16::from(y.is_some()))));
        y.extend(s.and_then(|(_, t)| t.flatten()));
        kind_d.push(media.as_ref().map_or(0, |(value, _)| 1 + i16::from(value.is_some())));
        kind.extend(media.as_ref().and_then(|(value, _)| value.clone()));
        size_d.push(media.as_ref().map_or(0, |(_, value)| 1 + i16::from(value.is_some())));
        size.extend(media.as_ref().and_then(|(_, value)| *value));
        match list.as_deref() {
            None | Some([]) => {
                ld.push(i16::from(list.is_some()));
                lr.push(0);
            }
            Some(list) => {
                for (at, value) in list.iter().enumerate() {
                    lr.push(i16::from(at > 0));
                    ld.push(2 + i16::from(value.is_some()));
                    l.extend(*value);
                }
            }
        }
        match map.as_deref() {
            None | Some([]) => {
                kd.push(i16::from(map.is_some()));
                vd.push(i16::from(map.is_some()));
                kr.push(0);
            }
            Some(map) => {
                for (at, (key, value)) in map.iter().enumerate() {
                    kr.push(i16::from(at > 0));
                    kd.push(2);
                    k.push(key.clone());
                    vd.push(2 + i16::from(value.is_some()));
                    v.extend(*value);
                }
            }
        }
    }
    let columns = vec![
        full(Data::I64((0..rows.len() as i64).collect())),
        Col(Data::F64(x), xd, vec![]),
        Col(Data::I64(y), yd, vec![]),
        Col(Data::Text(kind), kind_d, vec![]),
        Col(Data::I64(size), size_d, vec![]),
        Col(Data::F64(l), ld, lr),
        Col(Data::Text(k), kd, kr.clone()),
        Col(Data::I64(v), vd, kr),
    ];
    write(NESTED, properties, &[columns])
}

fn plain() -> WriterPropertiesBuilder {
    WriterProperties::builder()
}

#[test]
fn steps_may_be_doubles_and_timestamps_may_be_timestamps() {
    let file = write(
        "required double _step; optional int64 _timestamp (TIMESTAMP(MILLIS,true)); required int32 a (INTEGER(32,false)); required int64 b (INTEGER(64,false));",
        plain(),
        &[vec![
            full(Data::F64(vec![3.0])),
            sparse(&[Some(1_750_000_000_500)], Data::I64),
            full(Data::I32(vec![-1])),
            full(Data::I64(vec![-1])),
        ]],
    );
    assert_eq!(
        read(&file).unwrap(),
        from_json(r#"[{"_step":3,"_timestamp":1750000000.5,"a":4294967295,"b":18446744073709551615}]"#)
    );
}

#[test]
fn documents_are_values_and_texts_are_texts() {
    let text = |text: &str| full(Data::Text(vec![text.to_owned()]));
    let file = write(
        "required int64 _step; required binary a (JSON); required binary b; required binary c (UTF8); required binary d (UTF8); required binary e (JSON);",
        plain(),
        &[vec![
            full(Data::I64(vec![0])),
            text(r#"{"x":1,"y":[NaN]}"#),
            text("[1,2]"),
            text("12 m"),
            text("nothing"),
            text("null"),
        ]],
    );
    assert_eq!(
        read(&file).unwrap(),
        from_json(r#"[{"_step":0,"a":{"x":1,"y":[NaN]},"b":[1,2],"c":"12 m","d":"nothing","e":null}]"#)
    );
}

#[test]
fn a_file_that_is_not_a_history_is_refused_with_a_reason() {
    let refused = |schema: &str, columns: Vec<Col>| match read(&write(schema, plain(), &[columns])) {
        Err(ReadError::Broken(why)) => why.to_string(),
        other => panic!("{other:?}"),
    };
    insta::assert_snapshot!(refused("required int64 a;", vec![full(Data::I64(vec![1]))]), @"it has no column _step");
    insta::assert_snapshot!(refused("required binary _step (UTF8);", vec![full(Data::Text(vec!["1".to_owned()]))]), @"its column _step is no number");
    insta::assert_snapshot!(refused("required double _step;", vec![full(Data::F64(vec![1.5]))]), @"a step is no whole number");
    insta::assert_snapshot!(refused("required int64 _step;", vec![full(Data::I64(vec![2, 1]))]), @"its rows are not in the order of their steps");
    insta::assert_snapshot!(
        refused("required int64 _step; required int64 a (DECIMAL(10,2));", vec![full(Data::I64(vec![2])), full(Data::I64(vec![1]))]),
        @r#"its column "a" is of a type that is not known here (Int64)"#
    );
    for bytes in [b"PAR1".as_slice(), b"", b"PAR1\xff\xff\xff\xffPAR1", b"<html>not found</html>"] {
        assert!(matches!(read(bytes), Err(ReadError::Broken(_))));
    }
}

#[test]
fn a_text_is_a_text_whatever_it_looks_like() {
    for text in ["12", "[1,2]", "\"a\"", "null", "true", "{}"] {
        let file = write(
            "required int64 _step; required binary a (UTF8);",
            plain(),
            &[vec![full(Data::I64(vec![0])), full(Data::Text(vec![text.to_owned()]))]],
        );
        let row = serde_json::json!([{"_step": 0, "a": text}]);
        assert_eq!(read(&file).unwrap(), from_json(&row.to_string()), "{text}");
    }
}

const UNIONS: &str = "required int64 _step; \
    optional group loss { optional double _type_float64; optional binary _type_utf8 (UTF8); } \
    optional group o { optional group x { optional double _type_float64; optional group _type_struct { optional double y; } } } \
    optional group l (LIST) { repeated group list { optional group element { optional double _type_float64; optional binary _type_utf8 (UTF8); } } } \
    optional group odd { optional double _type_a; optional double b; }";

fn texts(texts: &[&str]) -> Data {
    Data::Text(texts.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn a_union_is_the_member_that_is_set_at_any_depth() {
    // In the third row the unions are there, and none of their members is; in the fourth nothing is.
    let lists = vec![0, 1, 0, 0, 0];
    let columns = vec![
        full(Data::I64(vec![0, 1, 2, 3])),
        Col(Data::F64(vec![1.5]), vec![2, 1, 1, 0], vec![]),
        Col(texts(&["NaN"]), vec![1, 2, 1, 0], vec![]),
        Col(Data::F64(vec![2.0]), vec![3, 2, 2, 0], vec![]),
        Col(Data::F64(vec![3.0]), vec![2, 4, 2, 0], vec![]),
        Col(Data::F64(vec![1.0]), vec![4, 3, 2, 1, 0], lists.clone()),
        Col(texts(&["NaN"]), vec![3, 4, 2, 1, 0], lists),
        Col(Data::F64(vec![7.0]), vec![2, 0, 0, 0], vec![]),
        Col(Data::F64(vec![8.0]), vec![2, 0, 0, 0], vec![]),
    ];
    let file = write(UNIONS, plain(), std::slice::from_ref(&columns));
    let expected = from_json(
        r#"[{"_step":0,"loss":1.5,"o":{"x":2},"l":[1,NaN],"odd":{"_type_a":7,"b":8}},
            {"_step":1,"loss":NaN,"o":{"x":{"y":3}},"l":[null]},{"_step":2,"o":{},"l":[]},{"_step":3}]"#,
    );
    assert_eq!(read(&file).unwrap(), expected);
    let refused = |column: usize, data: Data, levels: Vec<i16>| {
        let mut columns = columns.clone();
        columns[column] = Col(data, levels, vec![]);
        read(&write(UNIONS, plain(), &[columns])).map_err(|error| format!("{error:?}"))
    };
    for result in
        [refused(2, texts(&["NaN", "x"]), vec![2, 2, 1, 0]), refused(3, Data::F64(vec![1.0, 2.0]), vec![3, 3, 2, 0])]
    {
        assert!(result.as_ref().is_err_and(|why| why.contains("of two kinds at once")), "{result:?}");
    }
}

#[test]
fn the_timestamp_of_a_row_may_be_in_a_union() {
    let file = write(
        "required int64 _step; required group _timestamp { optional binary _type_utf8 (UTF8); optional double _type_float64; } required double a;",
        plain(),
        &[vec![
            full(Data::I64(vec![0, 1])),
            sparse(&[None, Some("soon".to_owned())], Data::Text),
            sparse(&[Some(1.5), None], Data::F64),
            full(Data::F64(vec![1.0, 2.0])),
        ]],
    );
    assert_eq!(
        read(&file).unwrap(),
        from_json(r#"[{"_step":0,"_timestamp":1.5,"a":1},{"_step":1,"_timestamp":"soon","a":2}]"#)
    );
}

#[test]
fn rows_without_a_step_are_gone_over() {
    let rows = 5_000;
    let has_step = |row: i64| row % 7 == 3 && !(1_000..3_500).contains(&row);
    let steps: Vec<Option<i64>> = (0..rows).map(|row| has_step(row).then_some(row)).collect();
    let values: Vec<Option<f64>> = (0..rows).map(|row| (row % 2 == 0).then_some(row as f64)).collect();
    let file = |step: &str, column: Col| {
        let schema = format!("{step}; optional double a; optional group u {{ optional double _type_float64; }}");
        let union = Col(
            Data::F64(values.iter().flatten().copied().collect()),
            values.iter().map(|value| 1 + i16::from(value.is_some())).collect(),
            vec![],
        );
        write(&schema, plain(), &[vec![column, sparse(&values, Data::F64), union]])
    };
    let expected: Vec<String> = (0..rows)
        .filter(|row| has_step(*row))
        .map(|row| {
            if row % 2 == 0 {
                format!("{{\"_step\":{row},\"a\":{row},\"u\":{row}}}")
            } else {
                format!("{{\"_step\":{row}}}")
            }
        })
        .collect();
    let expected = from_json(&format!("[{}]", expected.join(",")));
    assert_eq!(read(&file("optional int64 _step", sparse(&steps, Data::I64))).unwrap(), expected);
    let doubles = steps.iter().map(|step| step.map_or(f64::NAN, |step| step as f64)).collect();
    assert_eq!(read(&file("required double _step", full(Data::F64(doubles)))).unwrap(), expected);
}

#[test]
fn whole_numbers_in_documents_are_written_as_integers() {
    for (value, kept, metric) in [
        (3.0, "3", "3"),
        (-0.0, "-0", "-0"),
        (1e3, "1000", "1000"),
        (2.5, "2.5", "2.5"),
        (1e-6, "0.000001", "0.000001"),
        (1.5e-7, "1.5e-7", "1.5e-7"),
        (9007199254740991.0, "9007199254740991", "9007199254740991"),
        (9007199254740992.0, "9007199254740992", "9.007199254740992e+15"),
        (1152921504606846976.0, "1152921504606846976", "1.152921504606847e+18"),
        (-1e20, "-100000000000000000000", "-1e+20"),
        (1e21, "1e+21", "1e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308", "1.7976931348623157e+308"),
        (f64::NAN, "\"NaN\"", "\"NaN\""),
    ] {
        for (is_kept, expected) in [(true, kept), (false, metric)] {
            let mut out = Vec::new();
            history_parquet::nested::write_double(value, is_kept, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value:e}");
        }
    }
}

#[test]
fn old_lists_without_a_level_between_are_lists() {
    let file = write(
        "required int64 _step; repeated int64 a; optional group b (LIST) { repeated int32 array; }",
        plain(),
        &[vec![
            full(Data::I64(vec![0, 1])),
            Col(Data::I64(vec![1, 2]), vec![1, 1, 0], vec![0, 1, 0]),
            Col(Data::I32(vec![7]), vec![2, 1], vec![0, 0]),
        ]],
    );
    assert_eq!(read(&file).unwrap(), from_json(r#"[{"_step":0,"a":[1,2],"b":[7]},{"_step":1,"a":[],"b":[]}]"#));
}

#[test]
fn a_long_column_comes_in_pieces() {
    let rows = 1_200_000;
    let mut seed = 1u64;
    let noise: Vec<f64> = (0..rows)
        .map(|_| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            f64::from_bits(seed >> 2)
        })
        .collect();
    let file = write(
        "required int64 _step; required double a;",
        plain().set_dictionary_enabled(false),
        &[vec![full(Data::I64((0..rows).collect())), full(Data::F64(noise.clone()))]],
    );
    let footer = footer(&file).unwrap();
    let selection = Selection::new(&footer, |_| true).unwrap();
    assert!(selection.cost(&footer.groups[0]) < 15 << 20, "{}", selection.cost(&footer.groups[0]));
    let mut reader = GroupReader::new(selection, &footer, &footer.groups[0], None).unwrap();
    let (source, mut history, mut values) = (Memory(file.into()), History::new(MetricFilter::default()), Vec::new());
    while reader.load(&source).now_or_never().unwrap().unwrap() {
        while reader.step().is_some() {
            reader.emit(&mut history).unwrap();
        }
        values.extend(history.take_metrics().expect("the window holds numbers").values);
        history.taken();
        reader.forget_names();
    }
    assert_eq!(values, noise);
}
