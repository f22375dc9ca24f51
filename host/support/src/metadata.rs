//! What a component says of itself: its name, version, licence and so on, in the custom sections that `wasm-tools metadata` and
//! registries read. Nobody has checked any of it; a component may say what it likes.

use wasmparser::{ComponentName, KnownCustom, Parser, Payload};

use crate::printable::cut;

/// Bytes that are kept of one text.
const MOST_BYTES: usize = 4 << 10;

/// A component's words about itself; none where it has none. Texts from outside: escape them before you show them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it is, in a sentence.
    pub description: Option<String>,
    /// Its licence, an SPDX expression.
    pub licenses: Option<String>,
    /// The URL of its source.
    pub source: Option<String>,
    /// What of the source it was built from: a commit.
    pub revision: Option<String>,
}

impl Metadata {
    /// Reads it out of a component. What can't be read is left out.
    pub fn of(component: &[u8]) -> Self {
        let mut metadata = Self::default();
        // Only what the component says: not the modules and components inside it.
        let mut inside = 0_u64;
        for payload in Parser::new(0).parse_all(component) {
            match payload {
                Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => inside += 1,
                Ok(Payload::End(_)) => inside = inside.saturating_sub(1),
                Ok(Payload::CustomSection(section)) if inside == 0 => match section.as_known() {
                    KnownCustom::ComponentName(names) => {
                        let name = names.into_iter().find_map(|name| match name {
                            Ok(ComponentName::Component { name, .. }) => Some(name),
                            _ => None,
                        });
                        metadata.name = name.and_then(|name| text(name.as_bytes())).or(metadata.name);
                    }
                    _ => metadata.take(section.name(), section.data()),
                },
                Ok(_) => {}
                Err(_) => break,
            }
        }
        metadata
    }

    fn take(&mut self, section: &str, data: &[u8]) {
        let field = match section {
            "version" => &mut self.version,
            "description" => &mut self.description,
            "licenses" => &mut self.licenses,
            "source" => &mut self.source,
            "revision" => &mut self.revision,
            _ => return,
        };
        *field = text(data);
    }
}

fn text(data: &[u8]) -> Option<String> {
    std::str::from_utf8(data).ok().map(|text| cut(text, MOST_BYTES).to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A section: its id, its length, its bytes.
    fn section(id: u8, bytes: &[u8]) -> Vec<u8> {
        let (low, high) = (bytes.len() & 0x7f | 0x80, bytes.len() >> 7);
        [&[id, u8::try_from(low).unwrap(), u8::try_from(high).unwrap()], bytes].concat()
    }

    fn custom(name: &str, data: &[u8]) -> Vec<u8> {
        section(0, &[&[u8::try_from(name.len()).unwrap()], name.as_bytes(), data].concat())
    }

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_component_is_taken_at_its_word_and_nothing_inside_it() {
        let module =
            [b"\0asm\x01\0\0\0".to_vec(), custom("version", b"of the module"), custom("source", b"x")].concat();
        let inner = [COMPONENT.to_vec(), section(1, &module), custom("version", b"of the inner one")].concat();
        let component = [
            COMPONENT.to_vec(),
            section(1, &module),
            section(4, &inner),
            custom("component-name", b"\0\x05\x04demo"),
            custom("version", b"1.2.3"),
            custom("description", &b"long ".repeat(1000)),
            custom("licenses", b"\xff is no text"),
            custom("revision", "\u{1b}[31mred".as_bytes()),
            custom("homepage", b"https://example.com"),
        ];
        let expected = Metadata {
            name: Some("demo".into()),
            version: Some("1.2.3".into()),
            description: Some("long ".repeat(1000)[..MOST_BYTES].to_owned()),
            licenses: None,
            source: None,
            revision: Some("\u{1b}[31mred".into()),
        };
        assert_eq!(Metadata::of(&component.concat()), expected);
    }

    #[test]
    fn what_is_no_component_says_nothing() {
        for bytes in [&b""[..], b"\0asm", COMPONENT, &[COMPONENT, b"\0\xff\xff\xff\xff\x0f\x01a"].concat()] {
            assert_eq!(Metadata::of(bytes), Metadata::default());
        }
    }
}
