//! The guest's own memory, all of it.

use std::arch::wasm32::memory_size;

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
