//! Text files that people write with whatever their system has: PowerShell and Notepad write UTF-16, or UTF-8 with a byte order mark.

/// The same text in UTF-8 and without a byte order mark. What is no text is left as it is, for whoever reads it to refuse.
///
/// UTF-16 is known by its mark; without one, by a zero beside the first character, since no text that is meant here holds U+0000 and
/// all begin with a character of ASCII.
pub fn in_utf8(bytes: Vec<u8>) -> Vec<u8> {
    let units = match bytes.as_slice() {
        [0xef, 0xbb, 0xbf, rest @ ..] => return rest.to_vec(),
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        [1..=0x7f, 0, ..] => units(&bytes, u16::from_le_bytes),
        [0, 1..=0x7f, ..] => units(&bytes, u16::from_be_bytes),
        _ => return bytes,
    };
    units.and_then(|units| String::from_utf16(&units).ok()).map_or(bytes, String::into_bytes)
}

/// None where a byte is left over.
fn units(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| unit(*pair)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_in_every_encoding() {
        let text = "{\"entity\": \"Grüße 🙂\"}\r\n";
        let utf16 = |mark: bool, bytes: fn(u16) -> [u8; 2]| {
            mark.then_some(0xfeff).into_iter().chain(text.encode_utf16()).flat_map(bytes).collect::<Vec<u8>>()
        };
        let encodings = [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            utf16(true, u16::to_le_bytes),
            utf16(true, u16::to_be_bytes),
            utf16(false, u16::to_le_bytes),
            utf16(false, u16::to_be_bytes),
        ];
        for encoding in encodings {
            assert_eq!(in_utf8(encoding), text.as_bytes());
        }
    }

    #[test]
    fn what_is_no_text_is_left_alone() {
        for bytes in [&b""[..], b"a", b"\xff\xfea", b"\xff\xfe\x00\xd8", b"\x00\x00", b"\xff\x00", b"a\0b"] {
            assert_eq!(in_utf8(bytes.to_vec()), bytes);
        }
    }
}
