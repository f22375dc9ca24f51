//! Page headers and decompression. What a header claims is checked before anything is allocated for it.

use std::io::Read;

use bytes::Bytes;

use super::Broken;
use super::footer::Codec;
use super::thrift::{Fault, Reader, kind};

/// A page may be this large, compressed or not. Writers aim at 1 MiB; one value is never split over pages.
pub const MOST_PAGE_BYTES: usize = 16 << 20;

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// Values that others refer to.
    Dictionary,
    /// Levels inside the compressed part, each with its length before it.
    V1 {
        /// How repetition and definition levels are encoded.
        levels: [i64; 2],
    },
    /// Levels before the compressed part.
    V2 {
        /// The bytes of repetition and definition levels.
        levels: [usize; 2],
        /// Whether the rest is compressed.
        compressed: bool,
    },
    /// An index, which is not needed.
    Other,
}

/// A page's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: PageKind,
    /// Its bytes in the file, after the header.
    pub compressed: usize,
    /// Its bytes after decompression.
    pub uncompressed: usize,
    /// A checksum over the bytes in the file.
    pub checksum: Option<u32>,
    /// Values, nulls included.
    pub values: usize,
    /// How they are encoded.
    pub encoding: i64,
}

impl Header {
    /// Reads the header at the start of `bytes`, and says how long it is. None: it does not end within them.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Broken> {
        let mut reader = Reader::new(bytes);
        match Self::read(&mut reader) {
            Ok(raw) => Ok(Some((raw.check()?, reader.position()))),
            Err(Fault::Short) => Ok(None),
            Err(Fault::Broken) => Err(Fault::Broken.into()),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<RawHeader, Fault> {
        let (mut raw, mut last) = (RawHeader::default(), 0);
        while let Some((id, of)) = reader.field(&mut last)? {
            match (id, of) {
                (1, kind::I32) => raw.kind = reader.integer()?,
                (2, kind::I32) => raw.uncompressed = reader.integer()?,
                (3, kind::I32) => raw.compressed = reader.integer()?,
                (4, kind::I32) => raw.checksum = Some(reader.integer()? as u32),
                // Data page, dictionary page, data page of the second version: their numbers have much the same places.
                (5 | 7 | 8, kind::STRUCT) => {
                    let mut last = 0;
                    while let Some((part, of)) = reader.field(&mut last)? {
                        match (part, of) {
                            (1..=6, kind::I32) => raw.numbers[part as usize - 1] = reader.integer()?,
                            (7, kind::FALSE) => raw.is_plain = true,
                            (_, of) => reader.skip(of)?,
                        }
                    }
                }
                (_, of) => reader.skip(of)?,
            }
        }
        Ok(raw)
    }
}

#[derive(Default)]
struct RawHeader {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    checksum: Option<u32>,
    numbers: [i64; 6],
    is_plain: bool,
}

impl RawHeader {
    fn check(self) -> Result<Header, Broken> {
        let count = |number: i64| usize::try_from(number).map_err(|_| Broken::new("a page's length can't be"));
        let [values, second, third, fourth, fifth, sixth] = self.numbers;
        let (kind, encoding) = match self.kind {
            0 => (PageKind::V1 { levels: [fourth, third] }, second),
            2 => (PageKind::Dictionary, second),
            3 => {
                let levels = [count(sixth)?, count(fifth)?];
                (PageKind::V2 { levels, compressed: !self.is_plain }, fourth)
            }
            _ => (PageKind::Other, 0),
        };
        let header = Header {
            kind,
            compressed: count(self.compressed)?,
            uncompressed: count(self.uncompressed)?,
            checksum: self.checksum,
            values: count(values)?,
            encoding,
        };
        if header.compressed.max(header.uncompressed) > MOST_PAGE_BYTES {
            let message = format!("a page of {} bytes is too large", header.compressed.max(header.uncompressed));
            return Err(Broken::new(message));
        }
        Ok(header)
    }
}

/// Decompresses pages.
pub struct Decompressor {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Decompressor")
    }
}

impl Decompressor {
    /// For any number of pages.
    pub fn new() -> Self {
        Self { zstd: None }
    }

    /// A page's bytes as they were before compression.
    pub fn page(&mut self, header: &Header, bytes: Bytes, codec: Codec) -> Result<Bytes, Broken> {
        if header.checksum.is_some_and(|expected| expected != crc32fast::hash(&bytes)) {
            return Err(Broken::new("a page's checksum is wrong"));
        }
        let outside = match header.kind {
            PageKind::V2 { levels: [repetition, definition], compressed } => {
                let outside = repetition.saturating_add(definition);
                if outside > bytes.len() || outside > header.uncompressed {
                    return Err(Broken::new("a page's levels are longer than the page"));
                }
                if !compressed {
                    return Ok(bytes);
                }
                outside
            }
            _ => 0,
        };
        if codec == Codec::None {
            return Ok(bytes);
        }
        let mut out = vec![0; header.uncompressed];
        let (levels, room) = out.split_at_mut(outside);
        levels.copy_from_slice(&bytes[..outside]);
        // A page of nulls has no values to compress.
        if !room.is_empty() {
            self.fill(codec, &bytes[outside..], room)?;
        }
        Ok(out.into())
    }

    /// Decompresses into `out`, which must be filled exactly.
    fn fill(&mut self, codec: Codec, bytes: &[u8], out: &mut [u8]) -> Result<(), Broken> {
        let length = match codec {
            Codec::None => None,
            Codec::Snappy => snap::raw::Decoder::new().decompress(bytes, out).ok(),
            Codec::Gzip => {
                let mut decoder = flate2::bufread::MultiGzDecoder::new(bytes);
                decoder.read_exact(out).ok().map(|()| out.len())
            }
            Codec::Lz4Raw => lz4_flex::block::decompress_into(bytes, out).ok(),
            Codec::Lz4 => hadoop_lz4(bytes, out).or_else(|| lz4_flex::block::decompress_into(bytes, out).ok()),
            Codec::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => {
                        none.insert(zstd::bulk::Decompressor::new().map_err(|_| Broken::new("no memory for zstd"))?)
                    }
                };
                zstd.decompress_to_buffer(bytes, out).ok()
            }
            Codec::Unknown(codec) => {
                return Err(Broken::new(format!("its compression (codec {codec}) is not known")));
            }
        };
        if length == Some(out.len()) { Ok(()) } else { Err(Broken::new("a page can't be decompressed")) }
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

/// Hadoop's frames: the length after and before decompression, most significant byte first, then a block.
fn hadoop_lz4(mut bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut filled = 0;
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (compressed, rest) = rest.split_first_chunk::<4>()?;
        let block = rest.get(..u32::from_be_bytes(*compressed) as usize)?;
        let end = filled + u32::from_be_bytes(*length) as usize;
        let room = out.get_mut(filled..end)?;
        if lz4_flex::block::decompress_into(block, room).ok()? != room.len() {
            return None;
        }
        filled = end;
        bytes = &rest[block.len()..];
    }
    Some(filled)
}
