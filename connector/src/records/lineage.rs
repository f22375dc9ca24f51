//! How a run's past rows are recognised in a later sync. A run can be rewound: steps above a point vanish and are logged anew under
//! the same id. Unless that is noticed, the rows stored of them stay.
//!
//! State keeps the last row ([`Tail`]), whose points must all still be there: it may have gained points, since the last row of a live
//! run may be incomplete when it is read. Where a history is read from its beginning anyway (`rest`), a [`Digest`] over all rows before
//! it must be the same too.

use serde::{Deserialize, Serialize};

/// How many of the last row's points are remembered.
const POINTS: usize = 8;

/// What is remembered of the last row that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Its step.
    pub step: i64,
    /// Its timestamp.
    #[serde(rename = "time", default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// Hashes of its first points, in hexadecimal, eight digits each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub points: String,
}

impl Tail {
    /// Remembers a row.
    pub fn of(row: &Row) -> Self {
        let points = row.points.iter().take(POINTS).map(|point| format!("{:08x}", *point as u32)).collect();
        Self { step: row.step, timestamp: row.timestamp, points }
    }

    /// Whether `row` is the remembered one, perhaps with more points.
    pub fn recognises(&self, row: &Row) -> bool {
        let has = |digits: &[u8]| {
            let wanted = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
            row.points.iter().any(|point| Some(*point as u32) == wanted)
        };
        self.step == row.step && self.timestamp == row.timestamp && self.points.as_bytes().chunks(8).all(has)
    }
}

/// One row as far as lineage is concerned.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Its step: the row's own, or its position.
    pub step: i64,
    /// Its timestamp.
    pub timestamp: Option<i64>,
    /// A hash of each point, name and value. Kept only for the last row of a page and for the row that a [`Tail`] names.
    pub points: Vec<u64>,
    /// A hash of the whole row.
    pub hash: u64,
}

/// A running hash over rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    /// The digest of no rows.
    pub const EMPTY: Self = Self(0x5bd1_e995_7c3a_91e7);

    /// With one more row.
    pub fn with(self, row: u64) -> Self {
        Self(mix(self.0, row))
    }
}

/// Folds a word into a hash. Fast rather than collision-resistant: it detects changes, not forgeries, and a server that could forge it serves the data anyway.
pub fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(points: &[u64]) -> Row {
        Row { step: 7, timestamp: Some(1), points: points.to_vec(), hash: 0 }
    }

    #[test]
    fn a_row_that_gained_points_is_the_same_row() {
        let tail = Tail::of(&row(&[1, 2, 3]));
        assert!(tail.recognises(&row(&[1, 2, 3])));
        assert!(tail.recognises(&row(&[3, 9, 2, 1])));
        assert!(Tail::of(&row(&[])).recognises(&row(&[1])));
    }

    #[test]
    fn a_row_that_was_logged_anew_is_another() {
        let tail = Tail::of(&row(&[1, 2, 3]));
        assert!(!tail.recognises(&row(&[1, 2, 4])));
        assert!(!tail.recognises(&Row { timestamp: Some(2), ..row(&[1, 2, 3]) }));
        assert!(!tail.recognises(&Row { step: 8, ..row(&[1, 2, 3]) }));
        let broken = Tail { points: "zz".to_owned(), ..tail };
        assert!(!broken.recognises(&row(&[1, 2, 3])));
    }

    #[test]
    fn a_digest_depends_on_every_row_and_on_their_order() {
        let of = |rows: &[u64]| rows.iter().fold(Digest::EMPTY, |digest, row| digest.with(*row));
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_ne!(of(&[1]), of(&[1, 0]));
        assert_eq!(of(&[1, 2]), of(&[1]).with(2));
    }
}
