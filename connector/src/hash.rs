//! A hash to remember things by.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// A hash that is the same in every sync and on every machine: it is kept in the state.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(bytes);
    hasher.finish()
}
