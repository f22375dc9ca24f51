//! HTML that can't be broken by what is shown in it: markup is only what is written in this program, and everything else is text.

use std::fmt::{self, Display, Write};

use elt_support::printable::escape_control;

/// A page being written.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup. Attributes are written in double quotes.
    pub(super) fn add(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, of a node or in an attribute.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a `String` can't fail.
        write!(Escaped(&mut self.0), "{text}").ok();
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Also what would turn the direction of the text around it.
        for c in escape_control(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let mut html = Html::default();
        html.add("<b title=\"").text("\" onload='x' a=\"").add("\">").text("<script>&\u{202e}\u{7}").add("</b>");
        assert_eq!(
            html.finish(),
            "<b title=\"&quot; onload=&#39;x&#39; a=&quot;\">&lt;script&gt;&amp;\\u{202e}\\u{7}</b>"
        );
    }
}
