//! JSON that people see: written so that nothing in it can act on a terminal.

use serde::ser::Serialize;

/// One value on one line. Fields stand in the order in which the type declares them, as a person would write them.
pub(crate) fn line(value: &impl Serialize) -> String {
    // Fails only for maps whose keys are no strings, which nothing here has.
    let text = serde_json::to_string(value).unwrap_or_default();
    format!("{}\n", for_terminals(&text))
}

/// Writes characters that a terminal could act on, and that JSON allows as they are (DEL, the C1 controls, the marks
/// that reorder text), as `\uXXXX`. In JSON they can only stand inside strings, so the value stays the same.
pub(crate) fn for_terminals(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_shown_cannot_act_on_a_terminal_and_means_the_same() {
        let value = Value::from("a\u{1b}[2J\u{9b}31m\u{202e}b\u{7f}é");
        let shown = for_terminals(&value.to_string());
        assert_eq!(shown, r#""a\u001b[2J\u009b31m\u202eb\u007fé""#);
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }
}
