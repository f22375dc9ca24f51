//! Aligned tables.
//!
//! ```text
//! Operation   |  Calls
//! ------------+-------
//! Upserts     | 31,204
//! ```
//!
//! `comfy-table` (two crates) would take the place of `render`, 25 lines: it breaks a long cell into lines where these tables cut it, so that
//! cutting and escaping would stay, and the widths come from `unicode-width` in either.

use elt_support::printable::escape_control;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a terminal that one cell may take; the rest is cut.
const WIDEST_CELL: usize = 40;

/// A column's heading, and on which side its cells stand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heading<'a> {
    /// Text.
    Left(&'a str),
    /// Numbers.
    Right(&'a str),
}

impl<'a> Heading<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Left(text) | Self::Right(text) => text,
        }
    }
}

/// Renders rows below headings, each line ended. Cells may hold anything: they are escaped here.
pub(crate) fn render(headings: &[Heading<'_>], rows: &[Vec<String>]) -> String {
    let cell = |text: &str| shorten(&escape_control(text), WIDEST_CELL);
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
    let width = |(i, heading): (usize, &Heading<'_>)| {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|text| text.width());
        cells.chain([heading.text().width()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = headings.iter().enumerate().map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let aligned = cells.zip(headings.iter().zip(&widths)).map(|(text, (heading, width))| {
            let gap = " ".repeat(width.saturating_sub(text.width()));
            match heading {
                Heading::Left(_) => format!("{text}{gap}"),
                Heading::Right(_) => format!("{gap}{text}"),
            }
        });
        format!("{}\n", aligned.collect::<Vec<_>>().join(" | ").trim_end())
    };
    let mut table = line(&mut headings.iter().map(|heading| heading.text()));
    table += &widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("-+-");
    table.push('\n');
    for row in &rows {
        table += &line(&mut row.iter().map(String::as_str));
    }
    table
}

/// Cuts a text to `width` columns of a terminal, the last of them `…` when something was cut.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.into();
    }
    let mut left = width.saturating_sub(1);
    let fits = |character: &char| match left.checked_sub(character.width().unwrap_or(0)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut short: String = text.chars().take_while(fits).collect();
    if width > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_they_hold() {
        let rows = [
            vec!["plain".into(), "1".into()],
            vec!["wide 実験".into(), "1,000".into()],
            vec!["é combining e\u{301}".into(), "-2.5".into()],
            vec!["a\u{1b}[31mred".into(), String::new()],
            vec!["x".repeat(60), "9".into()],
        ];
        insta::assert_snapshot!(render(&[Heading::Left("name"), Heading::Right("value")], &rows), @r#"
        name                                     | value
        -----------------------------------------+------
        plain                                    |     1
        wide 実験                                | 1,000
        é combining é                            |  -2.5
        a\u{1b}[31mred                           |
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… |     9
        "#);
    }

    #[test]
    fn a_cut_never_exceeds_the_width() {
        for (text, width, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("実験実験", 4, "実…"),
            ("実験実験", 5, "実験…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(shorten(text, width), expected);
        }
    }
}
