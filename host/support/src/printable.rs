//! Text from outside, fit to be shown to people: without what a terminal acts on, and no longer than wanted.

/// Shows what a terminal or a log reader would act on instead of printing: control characters (C0, DEL, C1 such as the
/// one-byte CSI), line and paragraph separators, and the marks that reverse the order of letters.
pub fn escape_control(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(acts) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match acts(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// The longest beginning of `text` that has at most `bytes` bytes.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_shown_escaped() {
        let cases = [
            ("plain é 漢 🙂 *", "plain é 漢 🙂 *"),
            ("a\x1b[31mb", "a\\u{1b}[31mb"),
            ("a\u{9b}31m", "a\\u{9b}31m"),
            ("two\nlines\r\t", "two\\nlines\\r\\t"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("a\u{2028}b\u{7f}\0", "a\\u{2028}b\\u{7f}\\u{0}"),
        ];
        for (text, shown) in cases {
            assert_eq!(escape_control(text), shown);
        }
    }
}
