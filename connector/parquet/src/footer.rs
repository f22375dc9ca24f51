//! A file's footer: its columns, and where its row groups lie.

use super::Broken;
use super::thrift::{Reader, kind};

/// The largest footer that is read: about 100,000 column chunks.
pub const MOST_FOOTER_BYTES: usize = 16 << 20;
/// What a file begins and ends with.
const MAGIC: &[u8] = b"PAR1";
/// The bytes after the footer: its length and the magic.
pub const TRAILER_BYTES: usize = 8;
/// Column chunks of one file, over all its row groups. At 56 bytes each they take 14 MiB.
const MOST_CHUNKS: usize = 1 << 18;
/// Nodes of one schema.
const MOST_NODES: usize = 1 << 17;
/// Schemas nested deeper than this are refused.
const MOST_DEPTH: u8 = 32;

/// How values lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Physical {
    /// One bit.
    Boolean,
    /// Four bytes, an integer.
    Int32,
    /// Eight bytes, an integer.
    Int64,
    /// Four bytes, a float.
    Float,
    /// Eight bytes, a double.
    Double,
    /// Bytes of any length.
    Bytes,
    /// What no history is expected to hold: 96-bit integers and bytes of a fixed length.
    Other,
}

/// What values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// What the physical type says.
    Plain,
    /// Integers without a sign.
    Unsigned,
    /// Text.
    Text,
    /// A JSON document.
    Json,
    /// A time since the epoch; so many of its units are a second.
    Timestamp(i64),
    /// What a history is not expected to hold, such as decimals.
    Unknown,
}

/// A column that holds values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// How values lie in the file.
    pub physical: Physical,
    /// What they mean.
    pub meaning: Meaning,
    /// The definition level of a value that is there.
    pub definition: u8,
    /// The highest repetition level.
    pub repetition: u8,
}

/// What a node of the schema is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A value; an index into [`Footer::leaves`].
    Leaf(usize),
    /// An object.
    Struct(Vec<Node>),
    /// A value of one of several kinds: the member that is set. Of a value that is null, none is.
    Union(Vec<Node>),
    /// A list of one kind of element.
    List(Box<Element>),
    /// An object whose keys are data.
    Map(Box<Element>),
}

/// What a list or map repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The definition level from which there is an element.
    pub definition: u8,
    /// The repetition level of a further element.
    pub repetition: u8,
    /// The element; of a map, a struct of key and value.
    pub node: Node,
}

/// A node of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The definition level from which it is not null.
    pub definition: u8,
    /// What it is.
    pub shape: Shape,
    /// Its leaves: a range of [`Footer::leaves`].
    pub leaves: std::ops::Range<usize>,
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// Snappy, without frames.
    Snappy,
    /// Gzip.
    Gzip,
    /// LZ4 in Hadoop's frames, or without any.
    Lz4,
    /// Zstandard.
    Zstd,
    /// LZ4 without frames.
    Lz4Raw,
    /// One that is not read here, by its number.
    Unknown(u8),
}

/// A leaf's values in one row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Where its first page is.
    pub start: u64,
    /// Its length in the file.
    pub bytes: u64,
    /// Its length decompressed, as the file claims.
    pub uncompressed: u64,
    /// Values, nulls included.
    pub values: u64,
    /// How its pages are compressed.
    pub codec: Codec,
    /// The least and the greatest value, of integers only.
    pub range: Option<(i64, i64)>,
}

/// Rows that lie together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroup {
    /// How many rows.
    pub rows: u64,
    /// A chunk for each leaf.
    pub chunks: Vec<Chunk>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The columns, in the file's order.
    pub columns: Vec<Node>,
    /// The columns that hold values.
    pub leaves: Vec<Leaf>,
    /// In the file's order.
    pub groups: Vec<RowGroup>,
}

/// How long the footer is, from the last [`TRAILER_BYTES`] of a file of `size` bytes.
pub fn footer_length(trailer: &[u8], size: u64) -> Result<usize, Broken> {
    let Some((length, MAGIC)) = trailer.split_first_chunk::<4>() else {
        return Err(Broken::new("it is no parquet file, or cut short"));
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MOST_FOOTER_BYTES || length as u64 + (TRAILER_BYTES + MAGIC.len()) as u64 > size {
        return Err(Broken::new(format!("its footer of {length} bytes can't be")));
    }
    Ok(length)
}

impl Footer {
    /// Reads the footer of a file of `size` bytes.
    pub fn parse(bytes: &[u8], size: u64) -> Result<Self, Broken> {
        let end = size.saturating_sub((bytes.len() + TRAILER_BYTES) as u64);
        let mut reader = Reader::new(bytes);
        let (mut elements, mut groups, mut last) = (Vec::new(), None, 0);
        let mut leaves = Vec::new();
        let mut columns = Vec::new();
        while let Some((id, of)) = reader.field(&mut last)? {
            match (id, of) {
                (2, kind::LIST) => {
                    let (length, _) = reader.list()?;
                    if length > MOST_NODES {
                        return Err(Broken::new(format!("{length} columns are too many")));
                    }
                    for _ in 0..length {
                        elements.push(SchemaElement::read(&mut reader)?);
                    }
                    let mut schema = elements.drain(..);
                    let root = schema.next().ok_or_else(|| Broken::new("it has no schema"))?;
                    for _ in 0..root.children {
                        columns.push(node(&mut schema, &mut leaves, Levels::default(), 0)?);
                    }
                }
                (4, kind::LIST) => {
                    groups = Some(row_groups(&mut reader, &leaves, end)?);
                }
                (8, _) => return Err(Broken::new("it is encrypted")),
                (_, of) => reader.skip(of)?,
            }
        }
        Ok(Self { columns, leaves, groups: groups.ok_or_else(|| Broken::new("it has no row groups"))? })
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Node> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Rows in the whole file.
    pub fn rows(&self) -> u64 {
        self.groups.iter().fold(0, |rows, group| rows.saturating_add(group.rows))
    }
}

#[derive(Debug, Default)]
struct SchemaElement {
    physical: Option<i64>,
    repetition: i64,
    name: String,
    children: usize,
    converted: Option<i64>,
    logical: Option<Meaning>,
    is_list: bool,
    is_map: bool,
}

impl SchemaElement {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Broken> {
        let (mut element, mut last) = (Self::default(), 0);
        while let Some((id, of)) = reader.field(&mut last)? {
            match id {
                1 => element.physical = Some(reader.integer()?),
                3 => element.repetition = reader.integer()?,
                4 => element.name = reader.text()?,
                5 => element.children = usize::try_from(reader.integer()?).unwrap_or(0),
                6 => element.converted = Some(reader.integer()?),
                10 => element.read_logical(reader)?,
                _ => reader.skip(of)?,
            }
        }
        element.is_map |= matches!(element.converted, Some(1 | 2));
        element.is_list |= element.converted == Some(3);
        Ok(element)
    }

    fn read_logical(&mut self, reader: &mut Reader<'_>) -> Result<(), Broken> {
        let mut last = 0;
        while let Some((id, of)) = reader.field(&mut last)? {
            match id {
                2 => self.is_map = true,
                3 => self.is_list = true,
                _ => {}
            }
            self.logical = match id {
                1 | 4 => Some(Meaning::Text),
                6 | 7 | 11 => Some(Meaning::Plain),
                8 => {
                    self.logical = Some(Meaning::Timestamp(timestamp_unit(reader)?));
                    continue;
                }
                10 => {
                    self.logical = Some(integer_meaning(reader)?);
                    continue;
                }
                12 => Some(Meaning::Json),
                _ => Some(Meaning::Unknown),
            };
            reader.skip(of)?;
        }
        Ok(())
    }

    fn physical(&self) -> Option<Physical> {
        Some(match self.physical? {
            0 => Physical::Boolean,
            1 => Physical::Int32,
            2 => Physical::Int64,
            4 => Physical::Float,
            5 => Physical::Double,
            6 => Physical::Bytes,
            _ => Physical::Other,
        })
    }

    fn meaning(&self) -> Meaning {
        self.logical.unwrap_or(match self.converted {
            Some(0 | 4) => Meaning::Text,
            None | Some(6 | 7 | 8 | 15..=18) => Meaning::Plain,
            Some(9) => Meaning::Timestamp(1_000),
            Some(10) => Meaning::Timestamp(1_000_000),
            Some(11..=14) => Meaning::Unsigned,
            Some(19) => Meaning::Json,
            Some(_) => Meaning::Unknown,
        })
    }
}

fn timestamp_unit(reader: &mut Reader<'_>) -> Result<i64, Broken> {
    let (mut unit, mut last) = (1_000_000, 0);
    while let Some((id, of)) = reader.field(&mut last)? {
        if (id, of) != (2, kind::STRUCT) {
            reader.skip(of)?;
            continue;
        }
        let mut last = 0;
        while let Some((id, of)) = reader.field(&mut last)? {
            unit = match id {
                1 => 1_000,
                2 => 1_000_000,
                _ => 1_000_000_000,
            };
            reader.skip(of)?;
        }
    }
    Ok(unit)
}

fn integer_meaning(reader: &mut Reader<'_>) -> Result<Meaning, Broken> {
    let (mut meaning, mut last) = (Meaning::Plain, 0);
    while let Some((id, of)) = reader.field(&mut last)? {
        if (id, of) == (2, kind::FALSE) {
            meaning = Meaning::Unsigned;
        }
        reader.skip(of)?;
    }
    Ok(meaning)
}

#[derive(Debug, Clone, Copy, Default)]
struct Levels {
    definition: u8,
    repetition: u8,
}

/// Builds a node from the schema, which lists nodes before their children.
fn node(
    schema: &mut impl Iterator<Item = SchemaElement>,
    leaves: &mut Vec<Leaf>,
    levels: Levels,
    depth: u8,
) -> Result<Node, Broken> {
    let element = schema.next().ok_or_else(|| Broken::new("its schema ends too early"))?;
    node_of(element, schema, leaves, levels, depth)
}

fn node_of(
    element: SchemaElement,
    schema: &mut impl Iterator<Item = SchemaElement>,
    leaves: &mut Vec<Leaf>,
    mut levels: Levels,
    depth: u8,
) -> Result<Node, Broken> {
    if depth > MOST_DEPTH {
        return Err(Broken::new("its schema is nested too deeply"));
    }
    let first = leaves.len();
    let outside = levels.definition;
    match element.repetition {
        0 => {}
        1 => levels.definition += 1,
        _ => {
            // A repeated node that no list announces is a list without nulls.
            levels.definition += 1;
            levels.repetition += 1;
            let inner = SchemaElement { repetition: 0, ..element };
            let name = inner.name.clone();
            let node = node_of(inner, schema, leaves, levels, depth + 1)?;
            return Ok(Node {
                name,
                definition: outside,
                leaves: first..leaves.len(),
                shape: Shape::List(Box::new(Element {
                    definition: levels.definition,
                    repetition: levels.repetition,
                    node,
                })),
            });
        }
    }
    let shape = match element.physical() {
        Some(physical) => {
            leaves.push(Leaf {
                physical,
                meaning: element.meaning(),
                definition: levels.definition,
                repetition: levels.repetition,
            });
            Shape::Leaf(first)
        }
        None => {
            let mut children = Vec::new();
            for _ in 0..element.children {
                children.push(node(schema, leaves, levels, depth + 1)?);
            }
            if first == leaves.len() {
                // Levels lie in leaves: an object without any can't be told from null.
                return Err(Broken::new(format!("its column {:?} has no values", element.name)));
            }
            shape_of(element.is_list, element.is_map, children, levels.definition)
        }
    };
    Ok(Node { name: element.name, definition: levels.definition, shape, leaves: first..leaves.len() })
}

/// What W&B's exporter calls the members of a union begins with this.
const UNION_MEMBER: &str = "_type_";

/// A group that says it is a list or a map, and is built like one, is one. Media, which have a `_type`, are objects.
fn shape_of(is_list: bool, is_map: bool, mut children: Vec<Node>, definition: u8) -> Shape {
    if children.iter().all(|child| child.name.starts_with(UNION_MEMBER)) {
        return Shape::Union(children);
    }
    let [only] = children.as_mut_slice() else {
        return Shape::Struct(children);
    };
    let repeats = matches!(&only.shape, Shape::List(element) if element.definition == definition + 1);
    if !(is_list || is_map) || !repeats {
        return Shape::Struct(children);
    }
    let name = std::mem::take(&mut only.name);
    let leaves = only.leaves.clone();
    let Shape::List(mut element) = std::mem::replace(&mut only.shape, Shape::Leaf(leaves.start)) else {
        return Shape::Struct(children);
    };
    match &mut element.node.shape {
        Shape::Struct(entries) if is_map && entries.len() == 2 => Shape::Map(element),
        // The level between a list and its elements has one field; `array` and `…_tuple` are elements of older writers.
        Shape::Struct(fields) if is_list && fields.len() == 1 && name != "array" && !name.ends_with("_tuple") => {
            if let Some(node) = fields.pop() {
                element.node = node;
            }
            Shape::List(element)
        }
        _ => Shape::List(element),
    }
}

fn row_groups(reader: &mut Reader<'_>, leaves: &[Leaf], end: u64) -> Result<Vec<RowGroup>, Broken> {
    let (length, _) = reader.list()?;
    if length.saturating_mul(leaves.len().max(1)) > MOST_CHUNKS {
        return Err(Broken::new(format!("{length} row groups of {} columns are too many", leaves.len())));
    }
    let mut groups = Vec::new();
    for _ in 0..length {
        let (mut rows, mut chunks, mut last) = (None, Vec::new(), 0);
        while let Some((id, of)) = reader.field(&mut last)? {
            match (id, of) {
                (1, kind::LIST) => {
                    let (length, _) = reader.list()?;
                    if length != leaves.len() {
                        return Err(Broken::new("a row group has other columns than its file"));
                    }
                    chunks.reserve_exact(length);
                    for leaf in leaves {
                        chunks.push(chunk(reader, leaf, end)?);
                    }
                }
                (3, kind::I64) => rows = u64::try_from(reader.integer()?).ok(),
                (_, of) => reader.skip(of)?,
            }
        }
        let rows = rows.ok_or_else(|| Broken::new("a row group does not say how long it is"))?;
        let flat = leaves.iter().zip(&chunks).filter(|(leaf, _)| leaf.repetition == 0);
        if chunks.len() != leaves.len() || flat.into_iter().any(|(_, chunk)| chunk.values != rows) {
            return Err(Broken::new("a row group's columns are of different lengths"));
        }
        if rows > 0 {
            groups.push(RowGroup { rows, chunks });
        }
    }
    Ok(groups)
}

fn chunk(reader: &mut Reader<'_>, leaf: &Leaf, end: u64) -> Result<Chunk, Broken> {
    let (mut chunk, mut last) = (None, 0);
    while let Some((id, of)) = reader.field(&mut last)? {
        match (id, of) {
            (1, _) => return Err(Broken::new("a column lies in another file")),
            (3, kind::STRUCT) => chunk = Some(chunk_metadata(reader, leaf, end)?),
            (_, of) => reader.skip(of)?,
        }
    }
    chunk.ok_or_else(|| Broken::new("a column does not say where it is"))
}

fn chunk_metadata(reader: &mut Reader<'_>, leaf: &Leaf, end: u64) -> Result<Chunk, Broken> {
    let (mut codec, mut range, mut last) = (Codec::None, None, 0);
    let (mut values, mut uncompressed, mut bytes, mut data, mut dictionary) = (-1, -1, -1, -1, -1);
    while let Some((id, of)) = reader.field(&mut last)? {
        match id {
            4 => {
                codec = match reader.integer()? {
                    0 => Codec::None,
                    1 => Codec::Snappy,
                    2 => Codec::Gzip,
                    5 => Codec::Lz4,
                    6 => Codec::Zstd,
                    7 => Codec::Lz4Raw,
                    other => Codec::Unknown(other as u8),
                }
            }
            5 => values = reader.integer()?,
            6 => uncompressed = reader.integer()?,
            7 => bytes = reader.integer()?,
            9 => data = reader.integer()?,
            11 => dictionary = reader.integer()?,
            12 if of == kind::STRUCT => range = statistics(reader, leaf)?,
            _ => reader.skip(of)?,
        }
    }
    let start = if dictionary > 0 { data.min(dictionary) } else { data };
    let count = |value: i64| u64::try_from(value).map_err(|_| Broken::new("a column's place can't be"));
    let (start, bytes) = match values {
        // Writers put nothing into the file for it, and say what they like of where.
        0 => (MAGIC.len() as i64, 0),
        _ => (start, bytes),
    };
    let chunk = Chunk {
        start: count(start)?,
        bytes: count(bytes)?,
        uncompressed: count(uncompressed)?,
        values: count(values)?,
        codec,
        range,
    };
    let fits = chunk.start.checked_add(chunk.bytes).is_some_and(|chunk_end| chunk_end <= end);
    if !fits || chunk.start < MAGIC.len() as u64 {
        return Err(Broken::new("a column lies outside of the file"));
    }
    Ok(chunk)
}

fn statistics(reader: &mut Reader<'_>, leaf: &Leaf) -> Result<Option<(i64, i64)>, Broken> {
    let (mut least, mut greatest, mut last) = (None, None, 0);
    let value = |bytes: &[u8]| match leaf.physical {
        Physical::Int32 => bytes.try_into().ok().map(|bytes| i64::from(i32::from_le_bytes(bytes))),
        Physical::Int64 => bytes.try_into().ok().map(i64::from_le_bytes),
        _ => None,
    };
    while let Some((id, of)) = reader.field(&mut last)? {
        match (id, of) {
            // The older pair and the newer one; of signed integers they say the same.
            (1 | 5, kind::BINARY) => greatest = value(reader.binary()?),
            (2 | 6, kind::BINARY) => least = value(reader.binary()?),
            (_, of) => reader.skip(of)?,
        }
    }
    Ok(least.zip(greatest).filter(|(least, greatest)| least <= greatest && leaf.meaning != Meaning::Unsigned))
}
