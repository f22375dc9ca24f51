//! The encodings of values and levels. Each decoder keeps its place and hands out as many values as are asked for, so that a page is never
//! held decoded as a whole; all of them check what they read against the bytes that there are.

use bytes::Bytes;

use super::Broken;
use super::footer::Physical;

/// The texts of one page may be this many: they are found before they are handed out.
const MOST_TEXTS: usize = 1 << 20;
/// What prefixes may expand the texts of a page to.
const MOST_TEXT_BYTES: usize = 16 << 20;

/// Values of one column, nulls left out.
#[derive(Debug, Clone)]
pub enum Data {
    /// Floats and doubles.
    Doubles(Vec<f64>),
    /// Integers and booleans; unsigned ones by their bits.
    Integers(Vec<i64>),
    /// Texts and documents.
    Texts(Vec<Bytes>),
}

impl Data {
    /// None yet, for values of that kind.
    pub fn new(physical: Physical) -> Self {
        match physical {
            Physical::Float | Physical::Double => Self::Doubles(Vec::new()),
            Physical::Bytes | Physical::Other => Self::Texts(Vec::new()),
            Physical::Boolean | Physical::Int32 | Physical::Int64 => Self::Integers(Vec::new()),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Doubles(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the values, keeping the room.
    pub fn clear(&mut self) {
        match self {
            Self::Doubles(values) => values.clear(),
            Self::Integers(values) => values.clear(),
            Self::Texts(values) => values.clear(),
        }
    }
}

fn short() -> Broken {
    Broken::new("a page holds fewer values than it says")
}

/// Runs and bit-packed groups: levels, booleans and places in a dictionary.
#[derive(Debug)]
pub struct Hybrid {
    bytes: Bytes,
    at: usize,
    width: u32,
    run: Run,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    Same { value: u32, left: usize },
    Packed { bit: usize, left: usize },
}

impl Hybrid {
    /// Values of `width` bits.
    pub fn new(bytes: Bytes, width: u32) -> Result<Self, Broken> {
        if width > 32 {
            return Err(Broken::new(format!("values of {width} bits can't be")));
        }
        Ok(Self { bytes, at: 0, width, run: Run::Same { value: 0, left: 0 } })
    }

    fn next_run(&mut self) -> Result<(), Broken> {
        let head = varint(&self.bytes, &mut self.at).ok_or_else(short)?;
        let length = usize::try_from(head >> 1).map_err(|_| short())?;
        if head & 1 == 1 {
            let count = length.checked_mul(8).ok_or_else(short)?;
            let bytes = length.checked_mul(self.width as usize).ok_or_else(short)?;
            // The last group may be cut short; what is missing is noticed when it is asked for.
            let end = self.at.saturating_add(bytes).min(self.bytes.len());
            self.run = Run::Packed { bit: self.at.checked_mul(8).ok_or_else(short)?, left: count };
            self.at = end;
        } else {
            let bytes = self.width.div_ceil(8) as usize;
            let end = self.at.checked_add(bytes).ok_or_else(short)?;
            let value = self
                .bytes
                .get(self.at..end)
                .ok_or_else(short)?
                .iter()
                .rev()
                .fold(0u32, |value, byte| value << 8 | u32::from(*byte));
            self.at = end;
            self.run = Run::Same { value, left: length };
        }
        Ok(())
    }

    /// Hands `count` values to `take`, as runs of equal ones.
    fn each(&mut self, mut count: usize, mut take: impl FnMut(u32, usize) -> Result<(), Broken>) -> Result<(), Broken> {
        while count > 0 {
            match &mut self.run {
                Run::Same { left: 0, .. } | Run::Packed { left: 0, .. } => self.next_run()?,
                Run::Same { value, left } => {
                    let run = count.min(*left);
                    take(*value, run)?;
                    *left -= run;
                    count -= run;
                }
                Run::Packed { bit, left } => {
                    let run = count.min(*left);
                    for _ in 0..run {
                        let value = bits(&self.bytes, *bit, self.width).ok_or_else(short)?;
                        *bit += self.width as usize;
                        take(value as u32, 1)?;
                    }
                    *left -= run;
                    count -= run;
                }
            }
        }
        Ok(())
    }

    /// Adds `count` levels to `out`; returns how many of them are `most`, and fails where one is greater.
    pub fn levels(&mut self, count: usize, most: u8, out: &mut Vec<u8>) -> Result<usize, Broken> {
        let mut full = 0;
        self.each(count, |level, run| {
            let level = u8::try_from(level).unwrap_or(u8::MAX);
            if level > most {
                return Err(Broken::new("a level is too high"));
            }
            full += if level == most { run } else { 0 };
            out.resize(out.len() + run, level);
            Ok(())
        })?;
        Ok(full)
    }
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// `width` bits (at most 64) from the bit `bit` on, the lowest first.
fn bits(bytes: &[u8], bit: usize, width: u32) -> Option<u64> {
    if width == 0 {
        return Some(0);
    }
    let (at, shift) = (bit / 8, (bit % 8) as u32);
    let end = (bit + width as usize).div_ceil(8);
    let low = match bytes.get(at..at + 8) {
        Some(word) => u64::from_le_bytes(word.try_into().ok()?),
        None => bytes.get(at..end.min(at + 8))?.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let mut value = low >> shift;
    if shift + width > 64 {
        value |= u64::from(*bytes.get(at + 8)?) << (64 - shift);
    }
    Some(if width == 64 { value } else { value & ((1 << width) - 1) })
}

/// Differences, bit-packed in blocks.
#[derive(Debug)]
pub struct Delta {
    bytes: Bytes,
    at: usize,
    left: usize,
    last: i64,
    is_first: bool,
    miniblocks: usize,
    /// Values of one miniblock.
    values: usize,
    /// Where the present block's widths are, and which of them is the present one.
    widths: usize,
    miniblock: usize,
    width: u32,
    in_miniblock: usize,
    least: i64,
}

impl Delta {
    /// Begins to read.
    pub fn new(bytes: Bytes) -> Result<Self, Broken> {
        let invalid = || Broken::new("the head of a page of differences is not valid");
        let mut at = 0;
        let mut next = || {
            let number = varint(&bytes, &mut at).ok_or_else(invalid)?;
            usize::try_from(number).map_err(|_| invalid())
        };
        let (block, miniblocks, left) = (next()?, next()?, next()?);
        let first = varint(&bytes, &mut at).ok_or_else(invalid)?;
        let values = block.checked_div(miniblocks).unwrap_or(0);
        if values == 0 || values % 32 != 0 || block > 1 << 24 {
            return Err(invalid());
        }
        Ok(Self {
            bytes,
            at,
            left,
            last: unzigzag(first),
            is_first: true,
            miniblocks,
            values,
            widths: 0,
            miniblock: miniblocks,
            width: 0,
            in_miniblock: 0,
            least: 0,
        })
    }

    fn next(&mut self) -> Result<i64, Broken> {
        self.left = self.left.checked_sub(1).ok_or_else(short)?;
        if std::mem::take(&mut self.is_first) {
            return Ok(self.last);
        }
        if self.in_miniblock == 0 {
            if self.miniblock == self.miniblocks {
                self.least = unzigzag(varint(&self.bytes, &mut self.at).ok_or_else(short)?);
                self.widths = self.at;
                self.at = self.at.saturating_add(self.miniblocks);
                self.miniblock = 0;
            }
            let width = self.bytes.get(self.widths + self.miniblock).ok_or_else(short)?;
            self.width = u32::from(*width);
            if self.width > 64 {
                return Err(Broken::new("a difference has more than 64 bits"));
            }
            self.miniblock += 1;
            self.in_miniblock = self.values;
        }
        let index = self.values - self.in_miniblock;
        let start = self.at.checked_mul(8).ok_or_else(short)?;
        let difference = bits(&self.bytes, start + index * self.width as usize, self.width).ok_or_else(short)?;
        self.in_miniblock -= 1;
        if self.in_miniblock == 0 {
            self.at += self.values / 8 * self.width as usize;
        }
        self.last = self.last.wrapping_add(self.least).wrapping_add(difference as i64);
        Ok(self.last)
    }

    /// All values, lengths of texts, and the bytes that follow them.
    fn lengths(mut self, count: usize) -> Result<(Vec<usize>, Bytes), Broken> {
        if self.left != count || count > MOST_TEXTS {
            return Err(short());
        }
        let mut lengths = Vec::with_capacity(count);
        for _ in 0..count {
            let length = self.next()?;
            lengths.push(usize::try_from(length).map_err(|_| Broken::new("a text has a negative length"))?);
        }
        // A miniblock that was begun is there as a whole.
        if self.in_miniblock > 0 {
            self.at += self.values / 8 * self.width as usize;
        }
        let rest = self.bytes.slice(self.at.min(self.bytes.len())..);
        Ok((lengths, rest))
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The values of one page.
#[derive(Debug)]
pub enum Values {
    /// One after the other.
    Plain(Bytes, usize),
    /// Booleans, eight to a byte.
    Bits(Bytes, usize),
    /// Booleans as runs.
    Runs(Hybrid),
    /// Places in the dictionary.
    Places(Hybrid),
    /// Differences.
    Delta(Delta),
    /// First all first bytes, then all second bytes, and so on.
    Split(Bytes, usize),
    /// Texts that were found beforehand.
    Texts(std::vec::IntoIter<Bytes>),
}

impl Values {
    /// The values of a data page; `most` is how many there can be.
    pub fn new(encoding: i64, physical: Physical, bytes: Bytes, most: usize) -> Result<Self, Broken> {
        Ok(match (encoding, physical) {
            (0, Physical::Boolean) => Self::Bits(bytes, 0),
            (0, _) => Self::Plain(bytes, 0),
            // The places of a page of nulls may be missing altogether.
            (2 | 8, _) if bytes.is_empty() => Self::Places(Hybrid::new(bytes, 0)?),
            (2 | 8, _) => Self::Places(Hybrid::new(bytes.slice(1..), u32::from(bytes[0]))?),
            (3, Physical::Boolean) => {
                let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
                    return Err(short());
                };
                let end = 4 + (u32::from_le_bytes(*length) as usize).min(rest.len());
                Self::Runs(Hybrid::new(bytes.slice(4..end), 1)?)
            }
            (5, Physical::Int32 | Physical::Int64) if bytes.is_empty() => Self::Plain(bytes, 0),
            (5, Physical::Int32 | Physical::Int64) => Self::Delta(Delta::new(bytes)?),
            (6 | 7, Physical::Bytes) if bytes.is_empty() => Self::Plain(bytes, 0),
            (6, Physical::Bytes) => Self::Texts(texts_by_length(bytes, most)?.into_iter()),
            (7, Physical::Bytes) => Self::Texts(texts_by_prefix(bytes, most)?.into_iter()),
            (9, Physical::Int32 | Physical::Int64 | Physical::Float | Physical::Double) => Self::Split(bytes, 0),
            (encoding, physical) => {
                return Err(Broken::new(format!("encoding {encoding} of {physical:?} is not known")));
            }
        })
    }

    /// Adds the next `count` values to `out`.
    pub fn read(
        &mut self,
        count: usize,
        physical: Physical,
        dictionary: Option<&Data>,
        out: &mut Data,
    ) -> Result<(), Broken> {
        if count == 0 {
            return Ok(());
        }
        match (self, out) {
            (Self::Plain(bytes, at), Data::Texts(out)) => {
                for _ in 0..count {
                    out.push(plain_text(bytes, at)?);
                }
            }
            (Self::Plain(bytes, at), out) => {
                let size = size(physical);
                let end = count.checked_mul(size).and_then(|length| at.checked_add(length)).ok_or_else(short)?;
                let taken = bytes.get(*at..end).ok_or_else(short)?;
                plain(taken, physical, out);
                *at = end;
            }
            (Self::Bits(bytes, at), Data::Integers(out)) => {
                for _ in 0..count {
                    out.push(bits(bytes, *at, 1).ok_or_else(short)? as i64);
                    *at += 1;
                }
            }
            (Self::Runs(runs), Data::Integers(out)) => runs.each(count, |value, run| {
                out.resize(out.len() + run, i64::from(value));
                Ok(())
            })?,
            (Self::Places(places), out) => from_dictionary(places, count, dictionary, out)?,
            (Self::Delta(delta), Data::Integers(out)) => {
                out.reserve(count);
                for _ in 0..count {
                    let value = delta.next()?;
                    out.push(if physical == Physical::Int32 { i64::from(value as i32) } else { value });
                }
            }
            (Self::Split(bytes, at), out) => {
                let size = size(physical);
                let all = bytes.len() / size;
                let mut joined = Vec::with_capacity(count * size);
                for _ in 0..count {
                    if *at >= all {
                        return Err(short());
                    }
                    joined.extend((0..size).map(|part| bytes[part * all + *at]));
                    *at += 1;
                }
                plain(&joined, physical, out);
            }
            (Self::Texts(texts), Data::Texts(out)) => {
                for _ in 0..count {
                    out.push(texts.next().ok_or_else(short)?);
                }
            }
            _ => return Err(Broken::new("an encoding does not fit its values")),
        }
        Ok(())
    }
}

/// A dictionary page's values.
pub fn dictionary(bytes: Bytes, count: usize, physical: Physical) -> Result<Data, Broken> {
    // A value takes its bytes, a text at least those of its length.
    let too_many = count > bytes.len() / size(physical) || (physical == Physical::Bytes && count > MOST_TEXTS);
    if physical == Physical::Boolean || too_many {
        return Err(Broken::new(format!("a dictionary of {count} values can't be")));
    }
    let mut data = Data::new(physical);
    Values::Plain(bytes, 0).read(count, physical, None, &mut data)?;
    Ok(data)
}

fn from_dictionary(places: &mut Hybrid, count: usize, dictionary: Option<&Data>, out: &mut Data) -> Result<(), Broken> {
    fn copy<T: Clone>(places: &mut Hybrid, count: usize, from: &[T], out: &mut Vec<T>) -> Result<(), Broken> {
        out.reserve(count);
        places.each(count, |place, run| {
            let value =
                from.get(place as usize).ok_or_else(|| Broken::new("a place lies outside of the dictionary"))?;
            if run == 1 {
                out.push(value.clone());
            } else {
                out.resize(out.len() + run, value.clone());
            }
            Ok(())
        })
    }
    match (dictionary, out) {
        (Some(Data::Doubles(from)), Data::Doubles(out)) => copy(places, count, from, out),
        (Some(Data::Integers(from)), Data::Integers(out)) => copy(places, count, from, out),
        (Some(Data::Texts(from)), Data::Texts(out)) => copy(places, count, from, out),
        _ => Err(Broken::new("a dictionary is missing")),
    }
}

/// The bytes of a value; of a text, those of its length.
fn size(physical: Physical) -> usize {
    match physical {
        Physical::Int64 | Physical::Double => 8,
        _ => 4,
    }
}

fn plain(bytes: &[u8], physical: Physical, out: &mut Data) {
    match (physical, out) {
        (Physical::Double, Data::Doubles(out)) => {
            out.extend(bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)))
        }
        (Physical::Float, Data::Doubles(out)) => {
            out.extend(bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))));
        }
        (Physical::Int64, Data::Integers(out)) => {
            out.extend(bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)))
        }
        (Physical::Int32, Data::Integers(out)) => {
            out.extend(bytes.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))));
        }
        _ => {}
    }
}

fn plain_text(bytes: &Bytes, at: &mut usize) -> Result<Bytes, Broken> {
    let start = at.checked_add(4).ok_or_else(short)?;
    let length = bytes.get(*at..start).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)?;
    let end = start.checked_add(u32::from_le_bytes(length) as usize).ok_or_else(short)?;
    if end > bytes.len() {
        return Err(short());
    }
    *at = end;
    Ok(bytes.slice(start..end))
}

fn texts_by_length(bytes: Bytes, most: usize) -> Result<Vec<Bytes>, Broken> {
    let delta = Delta::new(bytes)?;
    let count = delta.left;
    if count > most {
        return Err(short());
    }
    let (lengths, rest) = delta.lengths(count)?;
    let mut at = 0usize;
    let cut = |length: usize| {
        let end = at.checked_add(length).filter(|end| *end <= rest.len()).ok_or_else(short)?;
        let text = rest.slice(at..end);
        at = end;
        Ok(text)
    };
    lengths.into_iter().map(cut).collect()
}

fn texts_by_prefix(bytes: Bytes, most: usize) -> Result<Vec<Bytes>, Broken> {
    let delta = Delta::new(bytes)?;
    let count = delta.left;
    if count > most {
        return Err(short());
    }
    let (prefixes, rest) = delta.lengths(count)?;
    let suffixes = texts_by_length(rest, most)?;
    if suffixes.len() != count {
        return Err(short());
    }
    let mut texts: Vec<Bytes> = Vec::with_capacity(count);
    let mut total = 0;
    for (prefix, suffix) in prefixes.into_iter().zip(suffixes) {
        let text = if prefix == 0 {
            suffix
        } else {
            let before = texts.last().and_then(|text| text.get(..prefix)).ok_or_else(short)?;
            total += before.len() + suffix.len();
            if total > MOST_TEXT_BYTES {
                return Err(Broken::new("the texts of a page are too long"));
            }
            Bytes::from([before, &suffix].concat())
        };
        texts.push(text);
    }
    Ok(texts)
}
