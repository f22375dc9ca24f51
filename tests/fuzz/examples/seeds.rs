//! Writes the seeds of `corpus/` that are no text: parquet files, their parts, and compressed bodies.
//!
//! ```text
//! cargo run --locked -p wandb-connector-fuzz --no-default-features --example seeds
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn seed(target: &str, name: &str, bytes: &[u8]) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(folder.join(name), bytes)?)
}

fn main() -> Result<()> {
    for (name, bytes) in files()? {
        let trailer = bytes.len() - 8;
        let footer = trailer - u32::from_le_bytes(bytes[trailer..trailer + 4].try_into()?) as usize;
        seed("parquet_file", &name, &bytes)?;
        seed("parquet_footer", &name, &bytes[footer..trailer])?;
    }
    let (_, small) = files()?.swap_remove(0);
    seed("parquet_file", "cut_short", &small[..small.len() - 9])?;
    download(&small)?;
    repeated()?;
    columns()?;
    compressed()
}

/// Histories of every kind of column, encoding, codec and page version.
fn files() -> Result<Vec<(String, Vec<u8>)>> {
    let codecs = [
        ("plain", Compression::UNCOMPRESSED),
        ("snappy", Compression::SNAPPY),
        ("gzip", Compression::GZIP(Default::default())),
        ("lz4", Compression::LZ4),
        ("lz4_raw", Compression::LZ4_RAW),
        ("zstd", Compression::ZSTD(Default::default())),
    ];
    let mut files = Vec::new();
    for (version, number) in [(WriterVersion::PARQUET_1_0, 1), (WriterVersion::PARQUET_2_0, 2)] {
        for (name, codec) in codecs {
            let properties = properties(version).set_compression(codec);
            files.push((format!("flat_{name}_v{number}"), flat(properties)?));
        }
        files.push((format!("nested_v{number}"), nested(properties(version))?));
        files.push((format!("unions_v{number}"), unions(properties(version))?));
        let encoded = properties(version)
            .set_dictionary_enabled(false)
            .set_column_encoding("_step".into(), Encoding::DELTA_BINARY_PACKED)
            .set_column_encoding("loss".into(), Encoding::BYTE_STREAM_SPLIT)
            .set_column_encoding("note".into(), Encoding::DELTA_BYTE_ARRAY)
            .set_column_encoding("done".into(), Encoding::RLE);
        files.push((format!("encodings_v{number}"), flat(encoded)?));
        let by_length = properties(version)
            .set_dictionary_enabled(false)
            .set_column_encoding("note".into(), Encoding::DELTA_LENGTH_BYTE_ARRAY);
        files.push((format!("lengths_v{number}"), flat(by_length)?));
    }
    Ok(files)
}

fn properties(version: WriterVersion) -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_writer_version(version)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("w".to_owned())
        .set_data_page_row_count_limit(6)
        .set_write_batch_size(6)
}

fn write(
    schema: &str,
    properties: WriterPropertiesBuilder,
    columns: impl Fn(&mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<()>,
) -> Result<Vec<u8>> {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {schema} }}"))?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build()))?;
    let mut group = writer.next_row_group()?;
    columns(&mut group)?;
    group.close()?;
    Ok(writer.into_inner()?)
}

/// Writes the next column: values, definition levels, repetition levels.
macro_rules! column {
    ($group:expr, $type:ty, $values:expr, $definitions:expr, $repetitions:expr) => {{
        let mut column = $group.next_column()?.ok_or("a column too many")?;
        column.typed::<$type>().write_batch($values, $definitions, $repetitions)?;
        column.close()?;
    }};
}

fn flat(properties: WriterPropertiesBuilder) -> Result<Vec<u8>> {
    let schema = "required int64 _step; optional double _timestamp; optional double loss; optional int64 tokens; \
        optional boolean done; optional binary note (UTF8); optional float lr; optional int32 epoch;";
    let levels: Vec<i16> = (0..10).map(|row| i16::from(row % 3 > 0)).collect();
    let present = levels.iter().filter(|level| **level > 0).count();
    let texts: Vec<ByteArray> = (0..present).map(|row| ["more", "most", "NaN", "é"][row % 4].into()).collect();
    write(schema, properties, |group| {
        column!(group, Int64Type, &(0..10).collect::<Vec<i64>>(), None, None);
        column!(
            group,
            DoubleType,
            &(0..10).map(|row| 1e9 + f64::from(row) / 8.0).collect::<Vec<_>>(),
            Some(&[1; 10]),
            None
        );
        let losses: Vec<f64> = (0..present).map(|row| [0.5, f64::NAN, -0.0, 1e300][row % 4]).collect();
        column!(group, DoubleType, &losses, Some(&levels), None);
        let tokens: Vec<i64> = (0..present).map(|row| [1, -1, (1 << 53) + 1, i64::MIN][row % 4]).collect();
        column!(group, Int64Type, &tokens, Some(&levels), None);
        column!(group, BoolType, &(0..present).map(|row| row % 2 == 0).collect::<Vec<_>>(), Some(&levels), None);
        column!(group, ByteArrayType, &texts, Some(&levels), None);
        column!(group, FloatType, &(0..present).map(|row| row as f32 / 3.0).collect::<Vec<_>>(), Some(&levels), None);
        column!(group, Int32Type, &(0..present).map(|row| row as i32 / 4).collect::<Vec<_>>(), Some(&levels), None);
        Ok(())
    })
}

fn nested(properties: WriterPropertiesBuilder) -> Result<Vec<u8>> {
    let schema = "required int64 _step; optional group s { optional double x; optional group t { optional int64 y; } } \
        optional group l (LIST) { repeated group list { optional double element; } } \
        optional group m (MAP) { repeated group key_value { required binary key (UTF8); optional int64 value; } } \
        repeated int32 old;";
    write(schema, properties, |group| {
        column!(group, Int64Type, &[0, 1, 2, 3], None, None);
        column!(group, DoubleType, &[0.5, 1.5], Some(&[2, 1, 0, 2]), None);
        column!(group, Int64Type, &[7], Some(&[3, 1, 0, 2]), None);
        column!(group, DoubleType, &[1.0, f64::NAN], Some(&[3, 2, 3, 1, 0, 1]), Some(&[0, 1, 1, 0, 0, 0]));
        let keys: Vec<ByteArray> = ["a", "b", "a"].map(Into::into).to_vec();
        column!(group, ByteArrayType, &keys, Some(&[2, 2, 1, 0, 2]), Some(&[0, 1, 0, 0, 0]));
        column!(group, Int64Type, &[1, 3], Some(&[3, 2, 1, 0, 3]), Some(&[0, 1, 0, 0, 0]));
        column!(group, Int32Type, &[1, 2, 3], Some(&[1, 1, 0, 1, 0]), Some(&[0, 1, 0, 0, 0]));
        Ok(())
    })
}

/// Values of several kinds, as W&B exports them: in a column, in an object and in a list. In the third row none is set.
fn unions(properties: WriterPropertiesBuilder) -> Result<Vec<u8>> {
    let schema = "optional int64 _step; \
        optional group loss { optional double _type_float64; optional binary _type_utf8 (UTF8); } \
        optional group o { optional group x { optional boolean _type_bool; optional group _type_struct { optional double y; } } } \
        optional group l (LIST) { repeated group list { optional group element { optional double _type_float64; optional binary _type_utf8 (UTF8); } } }";
    write(schema, properties, |group| {
        let nan = [ByteArray::from("NaN")];
        column!(group, Int64Type, &[0, 1, 2], Some(&[1, 1, 1, 0]), None);
        column!(group, DoubleType, &[1.5], Some(&[2, 1, 1, 0]), None);
        column!(group, ByteArrayType, &nan, Some(&[1, 2, 1, 0]), None);
        column!(group, BoolType, &[true], Some(&[3, 2, 2, 0]), None);
        column!(group, DoubleType, &[3.0], Some(&[2, 4, 2, 0]), None);
        column!(group, DoubleType, &[1.0], Some(&[4, 3, 2, 1, 0]), Some(&[0, 1, 0, 0, 0]));
        column!(group, ByteArrayType, &nan, Some(&[3, 4, 2, 1, 0]), Some(&[0, 1, 0, 0, 0]));
        Ok(())
    })
}

/// The answers to the question for a file's end, its size, and its parts.
fn download(file: &[u8]) -> Result<()> {
    let size = file.len();
    let answer = |head: &str, body: &[u8]| [head.as_bytes(), b"\n\n", body].concat();
    seed("parquet_download", "whole", &answer("200", file))?;
    let range = format!("206\ncontent-range: bytes 0-{}/{size}", size - 1);
    seed("parquet_download", "range", &answer(&range, file))?;
    let end = &file[size - 8..];
    let last = format!("206\ncontent-range: bytes {}-{}/{size}", size - 8, size - 1);
    seed("parquet_download", "end", &[answer(&last, end), answer(&range, file)].join(b"\n----\n".as_slice()))?;
    let first = format!("206\ncontent-range: bytes 0-0/{size}");
    let no_suffix = [answer("416", b""), answer(&first, b"P"), answer(&range, file)];
    seed("parquet_download", "no_suffix_ranges", &no_suffix.join(b"\n----\n".as_slice()))
}

/// A sync of a run whose exported file is small, and whose rows are not: all hold one and the same large text.
fn repeated() -> Result<()> {
    const ROWS: usize = 40;
    let text = ByteArray::from("a".repeat(1 << 20).as_str());
    let properties = properties(WriterVersion::PARQUET_1_0).set_compression(Compression::ZSTD(Default::default()));
    let properties = properties.set_dictionary_page_size_limit(4 << 20).set_data_page_row_count_limit(ROWS);
    let file = write("required int64 _step; required binary note (UTF8);", properties, |group| {
        column!(group, Int64Type, &(0..ROWS as i64).collect::<Vec<i64>>(), None, None);
        column!(group, ByteArrayType, &vec![text.clone(); ROWS], None, None);
        Ok(())
    })?;
    seed("parquet_file", "repeated_text", &file)?;
    let listing = r#"{"data":{"project":{"runs":{"edges":[{"node":{"name":"r","historyLineCount":9000}}],"pageInfo":{"hasNextPage":false}}}}}"#;
    let run = r#"{"data":{"project":{"run":{"name":"r","historyLineCount":9000,"historyKeys":{"lastStep":8999},"parquetHistory":{"parquetUrls":["https://storage.example/0.parquet"]}}}}}"#;
    let part = format!("206\ncontent-range: bytes 0-{}/{}\n\n", file.len() - 1, file.len());
    let history = r#"{"data":{"project":{"run":{"history":["{\"_step\":39}"]}}}}"#;
    let answer = |body: &str| format!("200\n\n{body}").into_bytes();
    let answers = [answer(listing), answer(run), [part.as_bytes(), &file].concat(), answer(history)];
    seed("sync", "repeated_text", &[b"graphql\n".as_slice(), &answers.join(b"\n----\n".as_slice())].concat())
}

/// Pages by themselves, behind what the footer would say of their column.
fn columns() -> Result<()> {
    for (name, kind, levels, schema) in [
        ("doubles", 4_u8, 0_u8, "required double a;"),
        ("integers", 2, 1, "optional int64 a;"),
        ("texts", 5, 0, "required binary a (UTF8);"),
        ("list", 2, 4, "repeated int64 a;"),
    ] {
        for (codec, number, dictionary) in [(Compression::UNCOMPRESSED, 0, true), (Compression::SNAPPY, 1, false)] {
            let properties =
                properties(WriterVersion::PARQUET_1_0).set_compression(codec).set_dictionary_enabled(dictionary);
            let file = write(schema, properties, |group| {
                match kind {
                    4 => column!(group, DoubleType, &[0.5; 16], None, None),
                    5 => column!(group, ByteArrayType, &vec![ByteArray::from("text"); 16], None, None),
                    _ if levels == 4 => column!(group, Int64Type, &[3; 16], Some(&[1; 16]), Some(&[0, 1].repeat(8))),
                    _ => column!(group, Int64Type, &[3; 8], Some(&[0, 1].repeat(8)), None),
                }
                Ok(())
            })?;
            let trailer = file.len() - 8;
            let footer = trailer - u32::from_le_bytes(file[trailer..trailer + 4].try_into()?) as usize;
            let head = [kind, 0, levels, number, 2, 5];
            seed("parquet_column", &format!("{name}_{number}"), &[&head, &file[4..footer]].concat())?;
        }
    }
    Ok(())
}

/// Bodies as W&B sends them, and one that is far larger than it looks.
fn compressed() -> Result<()> {
    let gzip = |bytes: &[u8]| -> Result<Vec<u8>> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes)?;
        Ok(encoder.finish()?)
    };
    let head = b"200\ncontent-encoding: gzip\n\n".as_slice();
    let body = gzip(br#"{"data":{"viewer":{"username":"me","entity":"acme"}}}"#)?;
    seed("http_answer", "gzip", &[head, &body].concat())?;
    seed("http_answer", "gzip_twice", &[head, &body, &body].concat())?;
    seed("http_answer", "gzip_cut_short", &[head, &body[..body.len() - 5]].concat())?;
    seed("http_answer", "gzip_bomb", &[head, &gzip(&vec![0; 2 << 20])?].concat())
}
