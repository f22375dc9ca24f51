//! Exported histories. What the product reads is compared with what the `parquet` crate reads, wherever both understand a file.

use std::collections::BTreeSet;
use std::ops::Range;

use ::parquet::file::metadata::ParquetMetaDataReader;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use bytes::Bytes;
use history_parquet::column::Column;
use history_parquet::footer::{
    Chunk, Codec, Element, Footer, Leaf, Meaning, Node, Physical, Shape, TRAILER_BYTES, footer_length,
};
use history_parquet::group::{GroupReader, Ranges, ReadError, Selection};
use history_parquet::nested;
use history_parquet::page::Decompressor;
use wandb_connector::batch::{Batch, Values};
use wandb_connector::records::filter::MetricFilter;
use wandb_connector::records::page;
use wandb_connector::records::row::History;
use wandb_connector::tables;

use crate::rows;
use crate::server::drive;

/// What one row may take when it has become points.
const MOST_ROW_BYTES: usize = 65 << 20;
/// When so much has gathered, points are taken out.
const CHUNK_BYTES: usize = 2 << 20;

struct Memory(Bytes);

impl Ranges for Memory {
    async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError> {
        let part = |range: &Range<u64>| {
            assert!(range.start <= range.end && range.end <= self.0.len() as u64, "{range:?} of {}", self.0.len());
            self.0.slice(range.start as usize..range.end as usize)
        };
        Ok(ranges.iter().map(part).collect())
    }
}

/// A footer by itself, of a file that is long enough for anything it says.
pub fn parquet_footer(bytes: &[u8]) {
    const SIZE: u64 = 1 << 40;
    let Ok(footer) = Footer::parse(bytes, SIZE) else {
        return;
    };
    check_footer(&footer, SIZE - (bytes.len() + TRAILER_BYTES) as u64);
    if let Ok(metadata) = ParquetMetaDataReader::decode_metadata(bytes) {
        assert_eq!(metadata.file_metadata().schema_descr().num_columns(), footer.leaves.len());
        assert_eq!(metadata.num_row_groups(), footer.groups.len());
        for (theirs, ours) in metadata.row_groups().iter().zip(&footer.groups) {
            assert_eq!(u64::try_from(theirs.num_rows()), Ok(ours.rows));
        }
    }
}

/// What readers rely on: each leaf has its place in the schema and a chunk in each group, within the file.
pub fn check_footer(footer: &Footer, end: u64) {
    let mut next = 0;
    footer.columns.iter().for_each(|column| check_node(column, footer, &mut next));
    assert_eq!(next, footer.leaves.len(), "a leaf belongs to no column");
    for group in &footer.groups {
        assert_eq!(group.chunks.len(), footer.leaves.len());
        for (chunk, leaf) in group.chunks.iter().zip(&footer.leaves) {
            assert!(chunk.start.checked_add(chunk.bytes).is_some_and(|chunk_end| chunk_end <= end));
            assert!(leaf.repetition > 0 || chunk.values == group.rows);
            assert!(leaf.repetition <= leaf.definition);
        }
    }
}

fn check_node(node: &Node, footer: &Footer, next: &mut usize) {
    assert_eq!(node.leaves.start, *next, "{node:?}");
    match &node.shape {
        Shape::Leaf(leaf) => {
            assert_eq!(leaf, next);
            *next += 1;
        }
        Shape::Struct(fields) | Shape::Union(fields) => fields.iter().for_each(|field| check_node(field, footer, next)),
        Shape::List(element) | Shape::Map(element) => {
            let Element { definition, repetition, node } = element.as_ref();
            assert!(*definition > 0 && *repetition > 0);
            check_node(node, footer, next);
        }
    }
    assert_eq!(node.leaves.end, *next, "{node:?}");
    assert!(*next <= footer.leaves.len());
}

/// The pages of one column. The first bytes say what the footer would say of it.
pub fn parquet_column(bytes: &[u8]) {
    let Some(([kind, meaning, levels, codec, values, window], pages)) = bytes.split_first_chunk::<6>() else {
        return;
    };
    use Physical::{Boolean, Bytes as Text, Double, Float, Int32, Int64, Other};
    let physical = [Boolean, Int32, Int64, Float, Double, Text, Other][*kind as usize % 7];
    let meaning = [Meaning::Plain, Meaning::Unsigned, Meaning::Text, Meaning::Json][*meaning as usize % 4];
    let (definition, repetition) = (levels & 3, (levels >> 2) & 1);
    let leaf = Leaf { physical, meaning, definition: definition.max(repetition), repetition };
    let codecs = [Codec::None, Codec::Snappy, Codec::Gzip, Codec::Lz4, Codec::Zstd, Codec::Lz4Raw, Codec::Unknown(9)];
    let start = 4;
    let chunk = Chunk {
        start,
        bytes: pages.len() as u64,
        uncompressed: 0,
        values: u64::from(*values) * 8,
        codec: codecs[*codec as usize % codecs.len()],
        range: None,
    };
    let pages = Bytes::copy_from_slice(pages);
    let mut column = Column::new(leaf, chunk, 64);
    let mut decompressor = Decompressor::new();
    let rows = usize::from(*window).max(1);
    let (mut left, mut at) = (chunk.values as usize, start);
    while left > 0 {
        let count = rows.min(left);
        loop {
            match column.advance(count, &mut decompressor) {
                Ok(None) => break,
                Err(_) => return,
                Ok(Some(range)) => {
                    assert!(
                        range.start == at && range.start < range.end && range.end <= start + chunk.bytes,
                        "{range:?}"
                    );
                    column.supply(pages.slice((range.start - start) as usize..(range.end - start) as usize));
                    at = range.end;
                }
            }
        }
        if repetition == 0 {
            assert!(column.data().len() <= count, "more values than rows");
            let found = (0..count).filter_map(|_| column.next_value()).collect::<Vec<usize>>();
            assert_eq!(found, (0..column.data().len()).collect::<Vec<_>>());
        } else {
            while column.peek().is_ok_and(|_| column.consume().is_ok()) {}
        }
        column.clear();
        left -= count;
    }
}

/// A whole file.
pub fn parquet_file(bytes: &[u8]) {
    let Ok((footer, mut ours)) = read(bytes) else {
        return;
    };
    let Some(mut theirs) = Comparison::of(&footer).and_then(|comparison| comparison.read(bytes)) else {
        return;
    };
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs, "the `parquet` crate reads something else");
}

/// The points of a file as the product reads it.
fn read(bytes: &[u8]) -> Result<(Footer, Vec<String>), ReadError> {
    let trailer = bytes.len().saturating_sub(TRAILER_BYTES);
    let length = footer_length(&bytes[trailer..], bytes.len() as u64)?;
    let footer = Footer::parse(&bytes[trailer - length..trailer], bytes.len() as u64)?;
    check_footer(&footer, (trailer - length) as u64);
    let selection = Selection::new(&footer, |_| true)?;
    let source = Memory(Bytes::copy_from_slice(bytes));
    let (mut history, mut points, mut rows) = (History::new(MetricFilter::default()), Vec::new(), 0);
    for group in &footer.groups {
        let mut reader = GroupReader::new(selection.clone(), &footer, group, None)?;
        let mut last = None;
        while drive(reader.load(&source)).expect("memory does not wait")? {
            while let Some(step) = reader.step() {
                assert!(last.is_none_or(|last| last <= step), "steps ascend");
                last = Some(step);
                let before = history.bytes();
                let emitted = reader.emit(&mut history);
                assert!(history.bytes() - before <= MOST_ROW_BYTES, "a row of {} bytes", history.bytes() - before);
                emitted?;
                rows += 1;
                if history.bytes() >= CHUNK_BYTES {
                    points.extend(lines(&mut history));
                    reader.forget_names();
                }
            }
            points.extend(lines(&mut history));
            reader.forget_names();
        }
    }
    // Rows without a step are none.
    assert!(rows <= footer.rows());
    Ok((footer, points))
}

/// Takes the points out as text: step, name, value and, unless it is 0, the timestamp.
fn lines(history: &mut History) -> Vec<String> {
    let mut lines = Vec::new();
    for (table, batch) in tables::of_history(history, "r") {
        if let Some(batch) = batch {
            rows::check(table.name, &batch);
            lines.extend((0..batch.rows()).map(|row| line(&batch, row)));
        }
    }
    lines
}

fn line(batch: &Batch, row: usize) -> String {
    let cell = |values: &Values| match values {
        Values::Integers(values) | Values::Timestamps(values) => values[row].to_string(),
        Values::Doubles(values) if values[row].is_nan() => "NaN".to_owned(),
        Values::Doubles(values) => format!("{:?}", values[row]),
        Values::Texts(values) | Values::Jsons(values) => values[row].clone(),
        Values::Dictionary { keys, values } => values[keys[row] as usize].clone(),
    };
    let cells = batch.columns.iter().skip(1).map(|column| match column.nulls.binary_search(&(row as u32)) {
        Ok(_) => "null".to_owned(),
        Err(_) => cell(&column.values),
    });
    cells.collect::<Vec<_>>().join(" ")
}

/// Reads a file with the `parquet` crate, row by row, and turns its rows into points by way of JSON.
struct Comparison<'f> {
    footer: &'f Footer,
}

impl<'f> Comparison<'f> {
    /// None: the file has something that the two may see differently with good reason.
    fn of(footer: &'f Footer) -> Option<Self> {
        // Times are rounded differently in seconds, and of columns that the product leaves out it checks nothing.
        let times = |leaf: &Leaf| matches!(leaf.meaning, Meaning::Timestamp(_));
        let bytes = |leaf: &Leaf| leaf.physical == Physical::Bytes && leaf.meaning != Meaning::Text;
        let plain = |column: &Node| {
            let leaves = &footer.leaves[column.leaves.clone()];
            let own = matches!(column.name.as_str(), "_step" | "_timestamp");
            let leaf = matches!(column.shape, Shape::Leaf(_));
            let odd =
                |leaf: &Leaf| times(leaf) || leaf.meaning == Meaning::Unsigned || leaf.physical == Physical::Bytes;
            let clear = if own { leaf && !leaves.iter().any(odd) } else { leaf || !leaves.iter().any(bytes) };
            clear && !matches!(column.name.as_str(), "_runtime" | "_wandb")
        };
        (footer.columns.iter().all(plain) && has_clear_names(&footer.columns)).then_some(Self { footer })
    }

    fn read(&self, bytes: &[u8]) -> Option<Vec<String>> {
        // The crate panics on some files that are broken, and says so on standard error.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let rows = std::panic::catch_unwind(|| {
            let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).ok()?;
            reader.get_row_iter(None).ok()?.collect::<Result<Vec<Row>, _>>().ok()
        });
        std::panic::set_hook(hook);
        let rows = rows.ok()??;
        let has_step = |row: &&Row| {
            let step = row.get_column_iter().find(|(name, _)| *name == "_step").map(|(_, step)| step);
            step.is_some_and(|step| {
                !matches!(step, Field::Null)
                    && !matches!(step, Field::Double(step) if step.is_nan())
                    && !matches!(step, Field::Float(step) if step.is_nan())
            })
        };
        let json: Option<Vec<String>> = rows.iter().filter(has_step).map(|row| self.row(row)).collect();
        let mut history = History::new(MetricFilter::default());
        page::rest(format!("[{}]", json?.join(",")).as_bytes(), &mut history, 0).ok()?;
        Some(lines(&mut history))
    }

    fn row(&self, row: &Row) -> Option<String> {
        let mut entries = Vec::new();
        for ((name, field), column) in row.get_column_iter().zip(&self.footer.columns) {
            let meaning = match column.shape {
                Shape::Leaf(leaf) => self.footer.leaves[leaf].meaning,
                _ => Meaning::Text,
            };
            let json = json(field, meaning, false)?;
            if json != "null" {
                entries.push(format!("{}:{json}", quoted(name)));
            }
        }
        Some(format!("{{{}}}", entries.join(",")))
    }
}

/// No name occurs twice or could come of two others when nested names are put together.
fn has_clear_names(nodes: &[Node]) -> bool {
    let names: BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let inner = |node: &Node| match &node.shape {
        Shape::Leaf(_) => true,
        Shape::Struct(fields) | Shape::Union(fields) => has_clear_names(fields),
        Shape::List(element) | Shape::Map(element) => has_clear_names(std::slice::from_ref(&element.node)),
    };
    names.len() == nodes.len() && nodes.iter().all(|node| !node.name.contains('.') && inner(node))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn double(value: f64, kept: bool) -> String {
    let mut out = Vec::new();
    nested::write_double(value, kept, &mut out);
    String::from_utf8(out).expect("JSON is text")
}

/// The JSON of a value; of a union, that of the member that is set. `kept`: it is not flattened. None: the product has no such values, or
/// refuses them.
fn json(field: &Field, meaning: Meaning, kept: bool) -> Option<String> {
    let text = |bytes: &[u8]| match nested::document(meaning, bytes) {
        Some(json) => json.into_owned(),
        None => quoted(&wandb_connector::records::json::text(bytes)),
    };
    Some(match field {
        Field::Null => "null".to_owned(),
        Field::Bool(value) => value.to_string(),
        Field::Byte(value) => value.to_string(),
        Field::Short(value) => value.to_string(),
        Field::Int(value) | Field::Date(value) | Field::TimeMillis(value) => value.to_string(),
        Field::Long(value)
        | Field::TimeMicros(value)
        | Field::TimestampMillis(value)
        | Field::TimestampMicros(value) => value.to_string(),
        Field::UByte(value) => value.to_string(),
        Field::UShort(value) => value.to_string(),
        Field::UInt(value) => value.to_string(),
        Field::ULong(value) => value.to_string(),
        Field::Float(value) => double(f64::from(*value), kept),
        Field::Double(value) => double(*value, kept),
        Field::Str(value) => text(value.as_bytes()),
        Field::Bytes(value) => text(value.data()),
        Field::Group(row) if row.get_column_iter().all(|(name, _)| name.starts_with("_type_")) => {
            let set = row.get_column_iter().map(|(_, field)| json(field, Meaning::Text, kept));
            let set: Vec<String> = set.collect::<Option<Vec<_>>>()?.into_iter().filter(|json| json != "null").collect();
            match set.as_slice() {
                [] => "null".to_owned(),
                [one] => one.clone(),
                _ => return None,
            }
        }
        Field::Group(row) => {
            let kept = kept || row.get_column_iter().any(|(name, _)| name == "_type");
            let mut entries = Vec::new();
            for (name, field) in row.get_column_iter() {
                let json = json(field, Meaning::Text, kept)?;
                if json != "null" {
                    entries.push(format!("{}:{json}", quoted(name)));
                }
            }
            format!("{{{}}}", entries.join(","))
        }
        Field::ListInternal(list) => {
            let elements: Option<Vec<_>> =
                list.elements().iter().map(|field| json(field, Meaning::Text, true)).collect();
            format!("[{}]", elements?.join(","))
        }
        Field::MapInternal(map) => {
            let mut entries = Vec::new();
            for (key, value) in map.entries() {
                let key = json(key, Meaning::Text, true)?;
                let key = if key.starts_with('"') { key } else { quoted(&key) };
                entries.push(format!("{key}:{}", json(value, Meaning::Text, kept)?));
            }
            format!("{{{}}}", entries.join(","))
        }
        Field::Decimal(_) | Field::Float16(_) => return None,
    })
}
