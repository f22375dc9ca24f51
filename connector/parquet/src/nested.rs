//! Rows of nested columns as JSON. What is null inside an object is left out: a column's schema has every key that any row had, so null
//! means that this row had none. In lists null stays, since it has a place.

use std::io::Write;

use super::Broken;
use super::column::Column;
use super::footer::{Element, Leaf, Meaning, Node, Physical, Shape};
use super::values::Data;

/// From here on every double is a whole number, though not every whole number a double.
const EXACT: f64 = (1u64 << 53) as f64;

/// Writes the next row of `node` to `out`. `columns` are the columns of its leaves, of which the first is the leaf `first`. False: it is
/// null, and nothing was written. `kept`: the JSON is a value as it is, and not an object to be flattened, in which a double stays one.
pub fn write(node: &Node, columns: &mut [Column], first: usize, kept: bool, out: &mut Vec<u8>) -> Result<bool, Broken> {
    let column = |leaf: usize| leaf.checked_sub(first).ok_or_else(|| Broken::new("a schema that can't be"));
    let at = column(node.leaves.start)?;
    let (_, definition) = columns[at].peek()?;
    if definition < node.definition {
        pass_over(node, columns, first)?;
        return Ok(false);
    }
    match &node.shape {
        Shape::Leaf(_) => {
            let Some(value) = columns[at].consume()? else {
                return Ok(false);
            };
            write_value(columns[at].leaf(), columns[at].data(), value, kept, out)?;
        }
        Shape::Struct(fields) => {
            let kept = kept || fields.iter().any(|field| field.name == "_type");
            out.push(b'{');
            let begin = out.len();
            for field in fields {
                let before = out.len();
                if before > begin {
                    out.push(b',');
                }
                write_text(&field.name, out)?;
                out.push(b':');
                if !write(field, columns, first, kept, out)? {
                    out.truncate(before);
                }
            }
            out.push(b'}');
        }
        Shape::Union(members) => {
            let before = out.len();
            for member in members {
                let is_set = out.len() > before;
                if write(member, columns, first, kept, out)? && is_set {
                    return Err(Broken::new("a value is of two kinds at once"));
                }
            }
            return Ok(out.len() > before);
        }
        Shape::List(element) => {
            out.push(b'[');
            each(element, columns, at, definition, &mut |columns, is_first| {
                if !is_first {
                    out.push(b',');
                }
                if !write(&element.node, columns, first, true, out)? {
                    out.extend_from_slice(b"null");
                }
                Ok(())
            })?
            .then_some(())
            .map_or_else(|| pass_over(node, columns, first), Ok)?;
            out.push(b']');
        }
        Shape::Map(element) => {
            let Shape::Struct(entry) = &element.node.shape else {
                return Err(Broken::new("a map without entries"));
            };
            let [key, value] = entry.as_slice() else {
                return Err(Broken::new("a map without entries"));
            };
            out.push(b'{');
            each(element, columns, at, definition, &mut |columns, is_first| {
                if !is_first {
                    out.push(b',');
                }
                let mut text = Vec::new();
                if !write(key, columns, first, true, &mut text)? {
                    text.extend_from_slice(b"null");
                }
                if text.first() == Some(&b'"') {
                    out.extend_from_slice(&text);
                } else {
                    write_text(&String::from_utf8_lossy(&text), out)?;
                }
                out.push(b':');
                if !write(value, columns, first, kept, out)? {
                    out.extend_from_slice(b"null");
                }
                Ok(())
            })?
            .then_some(())
            .map_or_else(|| pass_over(node, columns, first), Ok)?;
            out.push(b'}');
        }
    }
    Ok(true)
}

/// Writes one element; says whether it is the first.
type WriteElement<'e> = dyn FnMut(&mut [Column], bool) -> Result<(), Broken> + 'e;

/// Calls `element` for each element. False: there are none, and the levels that say so are still to be passed over.
fn each(
    of: &Element,
    columns: &mut [Column],
    at: usize,
    definition: u8,
    element: &mut WriteElement<'_>,
) -> Result<bool, Broken> {
    if definition < of.definition {
        return Ok(false);
    }
    element(columns, true)?;
    while columns[at].continues(of.repetition) {
        element(columns, false)?;
    }
    Ok(true)
}

/// Goes over one level in each of the node's columns.
fn pass_over(node: &Node, columns: &mut [Column], first: usize) -> Result<(), Broken> {
    let columns = node
        .leaves
        .start
        .checked_sub(first)
        .zip(node.leaves.end.checked_sub(first))
        .and_then(|(start, end)| columns.get_mut(start..end));
    for column in columns.unwrap_or_default() {
        if column.consume()?.is_some() {
            return Err(Broken::new("the columns of an object do not fit together"));
        }
    }
    Ok(())
}

/// One value as JSON.
fn write_value(leaf: &Leaf, data: &Data, at: usize, kept: bool, out: &mut Vec<u8>) -> Result<(), Broken> {
    let missing = || Broken::new("a column ends too early");
    // Writing to memory does not fail.
    let _ = match data {
        Data::Doubles(values) => {
            write_double(*values.get(at).ok_or_else(missing)?, kept, out);
            Ok(())
        }
        Data::Integers(values) => {
            let value = *values.get(at).ok_or_else(missing)?;
            match (leaf.physical, leaf.meaning) {
                (Physical::Boolean, _) => write!(out, "{}", value != 0),
                (physical, Meaning::Unsigned) => write!(out, "{}", unsigned(physical, value)),
                _ => write!(out, "{value}"),
            }
        }
        Data::Texts(values) => {
            let bytes = values.get(at).ok_or_else(missing)?;
            if let Some(json) = document(leaf.meaning, bytes) {
                out.write_all(json.as_bytes())
            } else {
                return write_text(&lenient_json::text(bytes), out);
            }
        }
    };
    Ok(())
}

/// A double as JSON: a whole number as an integer, so that `3` is `3` whatever kind of number it was exported as; of any other the fewest
/// digits that mean it. An exponent stands only below 1e-6 and from 1e21 on, as in W&B's own JSON. Where the text is not `kept` but read
/// as a metric, so that an integer beyond 2^53 would claim more digits than the double has, the exponent stands there too.
pub fn write_double(value: f64, kept: bool, out: &mut Vec<u8>) {
    let magnitude = value.abs();
    // Writing to memory does not fail.
    let _ = match value {
        value if value.is_nan() => out.write_all(b"\"NaN\""),
        f64::INFINITY => out.write_all(b"\"Infinity\""),
        f64::NEG_INFINITY => out.write_all(b"\"-Infinity\""),
        value if magnitude >= 1e21 || (!kept && magnitude >= EXACT) => {
            out.write_all(format!("{value:e}").replacen('e', "e+", 1).as_bytes())
        }
        // Below 2^127, and with no digit invented.
        value if magnitude >= EXACT => write!(out, "{}", value as i128),
        value if magnitude == 0.0 || magnitude >= 1e-6 => write!(out, "{value}"),
        value => write!(out, "{value:e}"),
    };
}

/// An unsigned integer from its bits.
pub fn unsigned(physical: Physical, value: i64) -> u64 {
    if physical == Physical::Int32 { u64::from(value as u32) } else { value as u64 }
}

/// The JSON document that bytes are: where they say so, or where nothing says that they are a text and they look like one.
pub fn document(meaning: Meaning, bytes: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    let may_be = match meaning {
        Meaning::Json => true,
        Meaning::Plain => matches!(bytes.first(), Some(b'{' | b'[' | b'"')),
        _ => false,
    };
    if !may_be {
        return None;
    }
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| is_json(text) && lenient_json::is_sound(text)) {
        return Some(text.trim().into());
    }
    let repaired = lenient_json::repair(bytes);
    is_json(&repaired).then(|| repaired.trim().to_owned().into())
}

fn write_text(text: &str, out: &mut Vec<u8>) -> Result<(), Broken> {
    serde_json::to_writer(out, text).map_err(|_| Broken::new("a text that is no text"))
}
