//! Metric names, interned: a point holds a 32-bit number, and a row that has the same keys as the row before it finds all
//! of them without hashing or allocating.

use std::collections::BTreeMap;

use crate::hash::hash;

use super::filter::MetricFilter;

/// A metric name's number, valid until the next [`Names::trim`].
pub type NameId = u32;

/// Beyond this many bytes of names the table is emptied between batches, so that a run with ever new names can't fill the memory.
const MOST_BYTES: usize = 4 << 20;
/// One page's names may take this much. Flattening puts the name of an object before the name of everything in it, so a few KiB of JSON
/// could make gigabytes of names.
const MOST_PAGE_BYTES: usize = 64 << 20;

#[derive(Debug)]
struct Name {
    text: Box<str>,
    hash: u64,
    allowed: bool,
    /// The row that last had a value under this name.
    row: Option<u64>,
    /// The name that followed this one, the last time.
    next: NameId,
}

/// The names seen so far.
#[derive(Debug)]
pub struct Names {
    filter: MetricFilter,
    names: Vec<Name>,
    ids: BTreeMap<Box<str>, NameId>,
    bytes: usize,
    last: NameId,
}

impl Names {
    /// An empty table. Names that the filter does not allow are interned, but not [`allowed`](Self::allowed).
    pub fn new(filter: MetricFilter) -> Self {
        Self { filter, names: Vec::new(), ids: BTreeMap::new(), bytes: 0, last: 0 }
    }

    /// The number of a name.
    pub fn intern(&mut self, text: &str) -> NameId {
        let guess = self.names.get(self.last as usize).map(|last| last.next);
        if let Some(guess) = guess
            && self.names.get(guess as usize).is_some_and(|name| same(name.text.as_bytes(), text.as_bytes()))
        {
            self.last = guess;
            return guess;
        }
        let id = match self.ids.get(text) {
            Some(&id) => id,
            None => self.add(text),
        };
        if let Some(last) = self.names.get_mut(self.last as usize) {
            last.next = id;
        }
        self.last = id;
        id
    }

    fn add(&mut self, text: &str) -> NameId {
        // 2^32 names do not fit into a 32-bit memory.
        let id = self.names.len() as NameId;
        let allowed = self.filter.allows(text);
        self.names.push(Name { text: text.into(), hash: hash(text.as_bytes()), allowed, row: None, next: id });
        self.ids.insert(text.into(), id);
        self.bytes += 2 * text.len() + 96;
        id
    }

    /// The name itself.
    pub fn text(&self, id: NameId) -> &str {
        &self.names[id as usize].text
    }

    /// A hash of the name, the same in every sync.
    pub fn hash(&self, id: NameId) -> u64 {
        self.names[id as usize].hash
    }

    /// Whether the configuration wants this metric.
    pub fn allowed(&self, id: NameId) -> bool {
        self.names[id as usize].allowed
    }

    /// Says that `row` has a value under this name; returns the row that had one last.
    pub fn stamp(&mut self, id: NameId, row: u64) -> Option<u64> {
        self.names[id as usize].row.replace(row)
    }

    /// Forgets all names when they have grown too many. Call it only while no [`NameId`] is in use.
    pub fn trim(&mut self) {
        if self.bytes > MOST_BYTES {
            *self = Self::new(std::mem::take(&mut self.filter));
        }
    }

    /// Whether they take more than one page's names may.
    pub fn are_too_long(&self) -> bool {
        self.bytes > MOST_PAGE_BYTES
    }

    /// The bytes that they take beyond what is kept between batches.
    pub fn excess_bytes(&self) -> usize {
        self.bytes.saturating_sub(MOST_BYTES)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// Whether two names are the same, eight bytes at a time: WebAssembly has no instruction for it, and the standard library's way there is
/// one by one.
fn same(left: &[u8], right: &[u8]) -> bool {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let ((words, rest), (other_words, other_rest)) = (left.as_chunks(), right.as_chunks());
    left.len() == right.len()
        && words.iter().zip(other_words).all(|(one, other)| word(one) == word(other))
        && rest.iter().zip(other_rest).all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::same;

    proptest! {
        #[test]
        fn names_are_the_same_when_their_bytes_are(left in "[ab]{0,20}", right in "[ab]{0,20}") {
            prop_assert!(same(left.as_bytes(), left.clone().as_bytes()));
            prop_assert_eq!(same(left.as_bytes(), right.as_bytes()), left == right);
        }

        #[test]
        fn one_other_byte_is_enough(text in "[a-z]{1,40}", at in any::<prop::sample::Index>()) {
            let mut other = text.clone().into_bytes();
            other[at.index(text.len())] ^= 1;
            prop_assert!(!same(text.as_bytes(), &other));
        }
    }
}
