//! Thrift's compact protocol, as far as parquet uses it: footers and page headers. Nothing is allocated by what the bytes claim.

/// Structures nested deeper than this are refused.
const MOST_DEPTH: u32 = 32;

/// Types as the compact protocol numbers them.
pub(crate) mod kind {
    pub(crate) const TRUE: u8 = 1;
    pub(crate) const FALSE: u8 = 2;
    pub(crate) const BYTE: u8 = 3;
    pub(crate) const I16: u8 = 4;
    pub(crate) const I32: u8 = 5;
    pub(crate) const I64: u8 = 6;
    pub(crate) const DOUBLE: u8 = 7;
    pub(crate) const BINARY: u8 = 8;
    pub(crate) const LIST: u8 = 9;
    pub(crate) const SET: u8 = 10;
    pub(crate) const MAP: u8 = 11;
    pub(crate) const STRUCT: u8 = 12;
}

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes end too early; with more of them it may go on.
    Short,
    /// More bytes would not help.
    Broken,
}

/// Reads from a slice.
#[derive(Debug)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

type Result<T> = std::result::Result<T, Fault>;

/// A field's number and type.
pub(crate) type Field = (i16, u8);

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Broken)
    }

    /// An integer of any width.
    pub(crate) fn integer(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn binary(&mut self) -> Result<&'b [u8]> {
        let length = usize::try_from(self.varint()?).map_err(|_| Fault::Broken)?;
        let end = self.at.checked_add(length).ok_or(Fault::Broken)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Fault::Short)?;
        self.at = end;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        Ok(lenient_json::text(self.binary()?).into_owned())
    }

    /// The next field of a structure, none at its end. `last` is the number of the field before, 0 at first.
    pub(crate) fn field(&mut self, last: &mut i16) -> Result<Option<Field>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        let id = match head >> 4 {
            0 => i16::try_from(self.integer()?).map_err(|_| Fault::Broken)?,
            delta => last.checked_add(i16::from(delta)).ok_or(Fault::Broken)?,
        };
        *last = id;
        Ok(Some((id, head & 0x0f)))
    }

    /// A list's length and the type of its elements. An element takes a byte at least, so a list can't be longer than the rest.
    pub(crate) fn list(&mut self) -> Result<(usize, u8)> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => usize::try_from(self.varint()?).map_err(|_| Fault::Broken)?,
            short => usize::from(short),
        };
        if length > self.bytes.len() - self.at {
            return Err(Fault::Short);
        }
        Ok((length, head & 0x0f))
    }

    /// Leaves out a value.
    pub(crate) fn skip(&mut self, of: u8) -> Result<()> {
        self.skip_at(of, 0)
    }

    fn skip_at(&mut self, of: u8, depth: u32) -> Result<()> {
        if depth > MOST_DEPTH {
            return Err(Fault::Broken);
        }
        match of {
            kind::TRUE | kind::FALSE => {}
            kind::BYTE => {
                self.byte()?;
            }
            kind::I16 | kind::I32 | kind::I64 => {
                self.varint()?;
            }
            kind::DOUBLE => {
                for _ in 0..8 {
                    self.byte()?;
                }
            }
            kind::BINARY => {
                self.binary()?;
            }
            kind::LIST | kind::SET => {
                let (length, element) = self.list()?;
                for _ in 0..length {
                    self.skip_element(element, depth + 1)?;
                }
            }
            kind::MAP => {
                let length = self.varint()?;
                if length > 0 {
                    let kinds = self.byte()?;
                    for _ in 0..length {
                        self.skip_element(kinds >> 4, depth + 1)?;
                        self.skip_element(kinds & 0x0f, depth + 1)?;
                    }
                }
            }
            kind::STRUCT => {
                let mut last = 0;
                while let Some((_, of)) = self.field(&mut last)? {
                    self.skip_at(of, depth + 1)?;
                }
            }
            _ => return Err(Fault::Broken),
        }
        Ok(())
    }

    /// Inside collections a boolean takes a byte; in a structure it lies in the field's head.
    fn skip_element(&mut self, of: u8, depth: u32) -> Result<()> {
        if matches!(of, kind::TRUE | kind::FALSE) {
            return self.byte().map(|_| ());
        }
        self.skip_at(of, depth)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_and_fields_are_read() {
        // Field 1 (i32) = 150, field 3 (binary) = "ab", field 20 (true), end.
        let bytes = [0x15, 0xac, 0x02, 0x28, 2, b'a', b'b', 0x01, 40, 0];
        let mut reader = Reader::new(&bytes);
        let mut last = 0;
        assert_eq!(reader.field(&mut last), Ok(Some((1, kind::I32))));
        assert_eq!(reader.integer(), Ok(150));
        assert_eq!(reader.field(&mut last), Ok(Some((3, kind::BINARY))));
        assert_eq!(reader.binary(), Ok(b"ab".as_slice()));
        assert_eq!(reader.field(&mut last), Ok(Some((20, kind::TRUE))));
        assert_eq!(reader.field(&mut last), Ok(None));
        assert_eq!(reader.position(), bytes.len());
    }

    #[test]
    fn a_list_is_never_longer_than_its_bytes() {
        assert_eq!(Reader::new(&[0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f]).list(), Err(Fault::Short));
    }

    proptest! {
        #[test]
        fn anything_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::new(&bytes).skip(kind::STRUCT);
        }
    }
}
