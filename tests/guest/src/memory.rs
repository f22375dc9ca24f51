//! The guest's own memory, all of it.

use std::arch::wasm32::{memory_grow, memory_size};

/// The size of the linear memory, in pages of 64 KiB.
pub(crate) fn pages() -> usize {
    memory_size(0)
}

/// How often a text lies somewhere in the linear memory: live, freed or forgotten. It is given in reverse, so that the question
/// does not put it there.
pub(crate) fn count_reversed(reversed: &str) -> usize {
    let reversed: Vec<u8> = reversed.into();
    let end = memory_size(0) << 16;
    let lies_at = |start: usize| {
        let mut expected = reversed.iter().rev().enumerate();
        expected.all(|(offset, byte)| {
            // SAFETY: every address below the memory's size can be read; what lies there is only compared.
            #[allow(unsafe_code)]
            let found = unsafe { ((start + offset) as *const u8).read_volatile() };
            found == *byte
        })
    };
    (1..end - reversed.len()).filter(|&start| lies_at(start)).count()
}

/// Takes `pages` new pages, and fills them with a text that is given in reverse. Says what was in them before.
pub(crate) fn fill_reversed(pages: u64, reversed: &str) -> String {
    let Some(pages) = usize::try_from(pages).ok().filter(|pages| memory_grow(0, *pages) != usize::MAX) else {
        return "no memory".to_owned();
    };
    let end = memory_size(0) << 16;
    let mut text = reversed.bytes().rev().cycle();
    let dirty = (end - (pages << 16)..end).filter(|&address| {
        let at = address as *mut u8;
        // SAFETY: the pages were just made, so they can be read and written, and nobody else has them.
        #[allow(unsafe_code)]
        let found = unsafe {
            let found = at.read_volatile();
            at.write_volatile(text.next().unwrap_or_default());
            found
        };
        found != 0
    });
    format!("{} bytes were not zero", dirty.count())
}
