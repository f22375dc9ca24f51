//! One column of a row group, decoded a window of rows at a time. The bytes come from outside, when they are needed.

use std::ops::Range;

use bytes::Bytes;

use super::Broken;
use super::footer::{Chunk, Leaf};
use super::page::{Decompressor, Header, PageKind};
use super::values::{Data, Hybrid, Values, dictionary};

/// A page's header is not longer than this, statistics included.
const MOST_HEADER_BYTES: usize = 1 << 20;
/// List elements of one window of rows.
const MOST_LEVELS: usize = 1 << 21;

/// A column and its present window of rows.
#[derive(Debug)]
pub struct Column {
    leaf: Leaf,
    chunk: Chunk,
    /// What is there of the file from `at` on.
    bytes: Bytes,
    at: u64,
    /// How many bytes to ask for at once.
    piece: u64,
    /// Values in the pages that were begun.
    begun: u64,
    dictionary: Option<Data>,
    page: Option<Page>,
    held: usize,
    /// Rows in the window, the last one perhaps still incomplete.
    rows: usize,
    definitions: Vec<u8>,
    repetitions: Vec<u8>,
    data: Data,
    /// Where the reader of the window is.
    level: usize,
    value: usize,
}

#[derive(Debug)]
struct Page {
    left: usize,
    repetitions: Option<Hybrid>,
    definitions: Option<Hybrid>,
    values: Values,
    /// The repetition level that comes next, where it was looked at.
    peeked: Option<u8>,
    bytes: usize,
}

fn short() -> Broken {
    Broken::new("a column ends too early")
}

impl Column {
    /// At the chunk's beginning, asking for `piece` bytes at once.
    pub fn new(leaf: Leaf, chunk: Chunk, piece: u64) -> Self {
        Self {
            leaf,
            chunk,
            bytes: Bytes::new(),
            at: chunk.start,
            piece: piece.max(1),
            begun: 0,
            dictionary: None,
            page: None,
            held: 0,
            rows: 0,
            definitions: Vec::new(),
            repetitions: Vec::new(),
            data: Data::new(leaf.physical),
            level: 0,
            value: 0,
        }
    }

    /// What the column's values are.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The values of the window.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The bytes that the present page and the dictionary take.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Forgets the window, so that [`advance`](Self::advance) begins the next one.
    pub fn clear(&mut self) {
        (self.rows, self.level, self.value) = (0, 0, 0);
        self.definitions.clear();
        self.repetitions.clear();
        self.data.clear();
    }

    /// Decodes until the window has `rows` rows. Where bytes are missing for that, it returns the range of the file that is to be given to
    /// [`supply`](Self::supply); then it goes on.
    pub fn advance(&mut self, rows: usize, decompressor: &mut Decompressor) -> Result<Option<Range<u64>>, Broken> {
        loop {
            let done = if self.leaf.repetition == 0 { self.read_flat(rows)? } else { self.read_repeated(rows)? };
            if done {
                return Ok(None);
            }
            if let Some(range) = self.next_page(decompressor)? {
                return Ok(Some(range));
            }
        }
    }

    /// Takes the bytes that [`advance`](Self::advance) asked for.
    pub fn supply(&mut self, bytes: Bytes) {
        self.bytes =
            if self.bytes.is_empty() { bytes } else { Bytes::from([self.bytes.as_ref(), bytes.as_ref()].concat()) };
    }

    fn read_flat(&mut self, rows: usize) -> Result<bool, Broken> {
        while self.rows < rows {
            let Some(page) = self.page.as_mut().filter(|page| page.left > 0) else {
                return Ok(false);
            };
            let count = page.left.min(rows - self.rows);
            let present = match &mut page.definitions {
                Some(levels) => levels.levels(count, self.leaf.definition, &mut self.definitions)?,
                None => count,
            };
            page.values.read(present, self.leaf.physical, self.dictionary.as_ref(), &mut self.data)?;
            page.left -= count;
            self.rows += count;
        }
        Ok(true)
    }

    /// A row of a repeated column ends where the next one begins, or with the chunk.
    fn read_repeated(&mut self, rows: usize) -> Result<bool, Broken> {
        loop {
            let Some(page) = self.page.as_mut().filter(|page| page.left > 0) else {
                let ended = self.begun == self.chunk.values;
                return if ended && self.rows < rows { Err(short()) } else { Ok(ended) };
            };
            let repetition = match page.peeked.take() {
                Some(level) => level,
                None => {
                    let start = self.repetitions.len();
                    if let Some(levels) = &mut page.repetitions {
                        levels.levels(1, self.leaf.repetition, &mut self.repetitions)?;
                    }
                    self.repetitions.split_off(start).first().copied().unwrap_or(0)
                }
            };
            if repetition == 0 && self.rows == rows {
                page.peeked = Some(0);
                return Ok(true);
            }
            if self.repetitions.len() >= MOST_LEVELS || (repetition > 0 && self.rows == 0) {
                return Err(Broken::new("the lists of a column can't be"));
            }
            self.rows += usize::from(repetition == 0);
            self.repetitions.push(repetition);
            let present = match &mut page.definitions {
                Some(levels) => levels.levels(1, self.leaf.definition, &mut self.definitions)?,
                None => 1,
            };
            page.values.read(present, self.leaf.physical, self.dictionary.as_ref(), &mut self.data)?;
            page.left -= 1;
        }
    }

    /// Begins the next page. A range: so much more of the file is needed for that.
    fn next_page(&mut self, decompressor: &mut Decompressor) -> Result<Option<Range<u64>>, Broken> {
        let end = self.chunk.start + self.chunk.bytes;
        let have = self.at + self.bytes.len() as u64;
        let more = |least: u64| Ok(Some(have..end.min(self.at.saturating_add(least.max(self.piece)))));
        if self.at >= end {
            return Err(short());
        }
        let Some((header, length)) = Header::parse(&self.bytes)? else {
            if have >= end || self.bytes.len() > MOST_HEADER_BYTES {
                return Err(Broken::new("a page's header is not valid"));
            }
            return more(self.bytes.len() as u64 * 2);
        };
        let whole = (length + header.compressed) as u64;
        if whole > end - self.at {
            return Err(Broken::new("a page is longer than its column"));
        }
        if whole > self.bytes.len() as u64 {
            return more(whole);
        }
        let page = self.bytes.split_to(whole as usize).slice(length..);
        self.at += whole;
        if header.kind == PageKind::Other {
            return Ok(None);
        }
        let bytes = decompressor.page(&header, page, self.chunk.codec)?;
        self.held += bytes.len();
        if header.kind == PageKind::Dictionary {
            if self.dictionary.is_some() || self.begun > 0 || !matches!(header.encoding, 0 | 2) {
                return Err(Broken::new("a dictionary is not where it should be"));
            }
            self.dictionary = Some(dictionary(bytes, header.values, self.leaf.physical)?);
            return Ok(None);
        }
        self.begun += header.values as u64;
        if self.begun > self.chunk.values {
            return Err(Broken::new("a column holds more values than it says"));
        }
        if let Some(before) = self.page.replace(self.data_page(&header, bytes)?) {
            self.held -= before.bytes;
        }
        Ok(None)
    }

    fn data_page(&self, header: &Header, bytes: Bytes) -> Result<Page, Broken> {
        let size = bytes.len();
        let mut rest = bytes;
        let most = [self.leaf.repetition, self.leaf.definition];
        let mut levels = [None, None];
        for (index, (most, levels)) in most.into_iter().zip(&mut levels).enumerate() {
            let length = match header.kind {
                PageKind::V2 { levels, .. } => levels[index],
                _ if most == 0 => 0,
                PageKind::V1 { levels } => {
                    let head = rest.split_first_chunk::<4>().filter(|_| levels[index] == 3);
                    let length = head.ok_or_else(|| Broken::new("levels are encoded in a way that is not known"))?.0;
                    let length = u32::from_le_bytes(*length) as usize;
                    rest = rest.slice(4..);
                    length
                }
                _ => 0,
            };
            if length > rest.len() {
                return Err(Broken::new("a page's levels are longer than the page"));
            }
            let part = rest.split_to(length);
            if most > 0 {
                *levels = Some(Hybrid::new(part, u8::BITS - most.leading_zeros())?);
            }
        }
        let [repetitions, definitions] = levels;
        Ok(Page {
            left: header.values,
            repetitions,
            definitions,
            values: Values::new(header.encoding, self.leaf.physical, rest, header.values)?,
            peeked: None,
            bytes: size,
        })
    }

    /// Of a flat column: the place in [`data`](Self::data) of the next row's value; none where that is null.
    pub fn next_value(&mut self) -> Option<usize> {
        if self.leaf.definition > 0 {
            let level = self.definitions.get(self.level).copied();
            self.level += 1;
            if level != Some(self.leaf.definition) {
                return None;
            }
        }
        self.value += 1;
        Some(self.value - 1)
    }

    /// Of a nested column: the levels that come next, repetition first. Without repetition, that is 0.
    pub fn peek(&self) -> Result<(u8, u8), Broken> {
        let repetition = self.repetitions.get(self.level).copied();
        let definition = if self.leaf.definition > 0 { self.definitions.get(self.level).copied() } else { Some(0) };
        match (repetition, definition) {
            (Some(repetition), Some(definition)) => Ok((repetition, definition)),
            (None, Some(definition)) if self.leaf.repetition == 0 => Ok((0, definition)),
            _ => Err(short()),
        }
    }

    /// Whether another level follows, which continues a list of that repetition level.
    pub fn continues(&self, repetition: u8) -> bool {
        self.repetitions.get(self.level) == Some(&repetition)
    }

    /// Goes over the level that [`peek`](Self::peek) showed; returns the place of its value, if it has one.
    pub fn consume(&mut self) -> Result<Option<usize>, Broken> {
        let (_, definition) = self.peek()?;
        self.level += 1;
        if definition < self.leaf.definition {
            return Ok(None);
        }
        self.value += 1;
        if self.value > self.data.len() {
            return Err(short());
        }
        Ok(Some(self.value - 1))
    }
}
