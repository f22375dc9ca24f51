//! The order of rows by primary key, which is the order that every destination stores them in.
//!
//! Comparing keys column by column costs several string comparisons for each of the n·log n steps. Instead each row's
//! key becomes one integer of at most 96 bits that sorts like it: integers count from the smallest one that occurs, text becomes its
//! rank among the distinct values (which a dictionary lists already). The row's number goes below it, so an
//! unstable sort of plain integers keeps rows of one key in the order in which they came.

use std::collections::HashMap;

use arrow_array::Array;

use super::cells::{Cell, Cells};

/// One integer for each row of `batches`, counted through: smaller, equal and greater as the keys are. At most 96 bits.
/// `key` are the positions of the key's columns. There must be fewer than 2^32 rows.
pub(crate) fn codes(batches: &[(Vec<Cells<'_>>, usize)], key: &[usize]) -> Vec<u128> {
    let rows = batches.iter().map(|(_, rows)| rows).sum();
    let mut codes = vec![0u128; rows];
    let mut used = 0;
    for &column in key {
        let parts = || batches.iter().map(move |(cells, rows)| (cells[column], *rows));
        let (values, width) = match batches.first().map(|(cells, _)| cells[column]) {
            Some(Cells::Text(_) | Cells::Dictionary(..)) => text_ranks(parts()),
            _ => distances(parts()),
        };
        if used + width > 96 {
            used = compact(&mut codes);
        }
        for (code, value) in codes.iter_mut().zip(values) {
            *code = *code << width | u128::from(value);
        }
        used += width;
    }
    codes
}

/// The positions of `codes` in ascending order; those of equal codes in the order in which they stand.
pub(crate) fn ascending(codes: &[u128]) -> Vec<u32> {
    let mut order: Vec<u128> = codes.iter().enumerate().map(|(row, code)| code << 32 | row as u128).collect();
    // The standard library's stable sort is the one that uses runs which are in order already; most are.
    order.sort();
    order.into_iter().map(|entry| entry as u32).collect()
}

/// The order of one batch's rows by key; none when they are in order as they stand.
#[cfg(feature = "sqlite")]
pub(crate) fn of_batch(cells: &[Cells<'_>], rows: usize, key: &[usize]) -> Option<Vec<u32>> {
    if (1..rows).all(|row| !comes_before(cells, key, row, row - 1)) {
        return None;
    }
    Some(ascending(&codes(&[(cells.to_vec(), rows)], key)))
}

#[cfg(feature = "sqlite")]
fn comes_before(cells: &[Cells<'_>], key: &[usize], a: usize, b: usize) -> bool {
    for &column in key {
        // Text of one dictionary entry is equal without being read.
        if let Cells::Dictionary(keys, _) = cells[column]
            && keys.value(a) == keys.value(b)
        {
            continue;
        }
        match compare(cells[column].get(a), cells[column].get(b)) {
            std::cmp::Ordering::Equal => {}
            order => return order.is_lt(),
        }
    }
    false
}

/// Compares two cells of one column. Nulls, which no key has, come first.
pub(crate) fn compare(a: Cell<'_>, b: Cell<'_>) -> std::cmp::Ordering {
    match (a, b) {
        (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
        (Cell::Integer(a), Cell::Integer(b)) | (Cell::Timestamp(a), Cell::Timestamp(b)) => a.cmp(&b),
        _ => sortable(a).cmp(&sortable(b)),
    }
}

/// Sorts as the value does, within one type.
fn sortable(cell: Cell<'_>) -> u64 {
    const SIGN: u64 = 1 << 63;
    match cell {
        Cell::Integer(value) | Cell::Timestamp(value) => value as u64 ^ SIGN,
        Cell::Boolean(value) => u64::from(value),
        Cell::Double(value) if value.is_sign_negative() => !value.to_bits(),
        Cell::Double(value) => value.to_bits() | SIGN,
        Cell::Null | Cell::Text(_) => 0,
    }
}

/// How far each value lies above the smallest one, and how many bits that takes.
fn distances<'a>(parts: impl Iterator<Item = (Cells<'a>, usize)>) -> (Vec<u64>, u32) {
    let mut values: Vec<u64> = Vec::new();
    for (cells, rows) in parts {
        values.extend((0..rows).map(|row| sortable(cells.get(row))));
    }
    let least = values.iter().min().copied().unwrap_or_default();
    let most = values.iter().max().copied().unwrap_or_default();
    values.iter_mut().for_each(|value| *value -= least);
    (values, u64::BITS - (most - least).leading_zeros())
}

/// Each text's rank among the distinct ones, and how many bits that takes.
fn text_ranks<'a>(parts: impl Iterator<Item = (Cells<'a>, usize)>) -> (Vec<u64>, u32) {
    let mut distinct: HashMap<&'a str, u64> = HashMap::new();
    let mut values: Vec<u64> = Vec::new();
    for (cells, rows) in parts {
        let mut number = |text: Cell<'a>| {
            let Cell::Text(text) = text else { return 0 };
            let next = distinct.len() as u64;
            *distinct.entry(text).or_insert(next)
        };
        if let Cells::Dictionary(keys, texts) = cells {
            let numbers: Vec<u64> = (0..texts.len()).map(|key| number(Cells::Text(texts).get(key))).collect();
            values.extend((0..rows).map(|row| numbers.get(keys.value(row) as usize).copied().unwrap_or_default()));
        } else {
            let mut last = (Cell::Null, 0);
            values.extend((0..rows).map(|row| {
                let text = cells.get(row);
                if text != last.0 {
                    last = (text, number(text));
                }
                last.1
            }));
        }
    }
    let mut sorted: Vec<(&str, u64)> = distinct.into_iter().collect();
    sorted.sort_unstable();
    let mut ranks = vec![0; sorted.len().max(1)];
    for (rank, (_, number)) in sorted.iter().enumerate() {
        ranks[*number as usize] = rank as u64;
    }
    values.iter_mut().for_each(|value| *value = ranks[*value as usize]);
    (values, usize::BITS - sorted.len().leading_zeros())
}

/// Replaces codes by their ranks, which need 32 bits at most; returns how many they need.
fn compact(codes: &mut [u128]) -> u32 {
    let mut distinct = codes.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    for code in codes {
        *code = distinct.partition_point(|other| other < code) as u128;
    }
    usize::BITS - distinct.len().leading_zeros()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow_array::types::UInt32Type;
    use arrow_array::{Array, DictionaryArray, Float64Array, Int64Array, StringArray};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codes_sort_as_the_keys_do(
            rows in prop::collection::vec((any::<i64>(), -3i64..3, "[a-c\u{0}é]{0,2}", any::<f64>(), "[a-c]{0,2}"), 0..60),
            cut in 0usize..60,
        ) {
            let cut = cut.min(rows.len());
            let wide: Vec<_> = rows.iter().map(|row| row.0).collect();
            let narrow: Vec<_> = rows.iter().map(|row| row.1).collect();
            let text: Vec<_> = rows.iter().map(|row| row.2.as_str()).collect();
            let double: Vec<_> = rows.iter().map(|row| row.3).collect();
            let entry: Vec<_> = rows.iter().map(|row| row.4.as_str()).collect();
            let arrays: Vec<_> = [0..cut, cut..rows.len()].into_iter().map(|part| (
                Int64Array::from(narrow[part.clone()].to_vec()),
                StringArray::from(text[part.clone()].to_vec()),
                Int64Array::from(wide[part.clone()].to_vec()),
                Float64Array::from(double[part.clone()].to_vec()),
                entry[part].iter().copied().collect::<DictionaryArray<UInt32Type>>(),
            )).collect();
            let entries: Vec<_> = arrays.iter().map(|part| {
                part.4.values().as_any().downcast_ref::<StringArray>().unwrap()
            }).collect();
            let batches: Vec<_> = arrays.iter().zip(entries).map(|(part, entries)| (vec![
                Cells::Integer(&part.0), Cells::Text(&part.1), Cells::Integer(&part.2), Cells::Double(&part.3),
                Cells::Dictionary(part.4.keys(), entries),
            ], part.0.len())).collect();
            let codes = codes(&batches, &[0, 1, 2, 3, 4]);
            for (i, a) in rows.iter().enumerate() {
                for (j, b) in rows.iter().enumerate() {
                    let expected = a.1.cmp(&b.1).then_with(|| a.2.cmp(&b.2)).then_with(|| a.0.cmp(&b.0))
                        .then_with(|| a.3.total_cmp(&b.3)).then_with(|| a.4.cmp(&b.4));
                    prop_assert_eq!(codes[i].cmp(&codes[j]), expected);
                }
            }
            let order = ascending(&codes);
            let stable = order.windows(2).all(|pair| {
                (codes[pair[0] as usize], pair[0]) < (codes[pair[1] as usize], pair[1])
            });
            prop_assert!(stable);
        }
    }
}
