//! The text of a destination's URL before a kind has understood it.

use elt_support::url_password;

/// `SCHEME:PLACE`.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlText<'a> {
    scheme: &'a str,
    place: &'a str,
    shown: String,
}

impl<'a> UrlText<'a> {
    /// None for a text without a scheme.
    pub fn new(text: &'a str) -> Option<Self> {
        let (scheme, place) = text.split_once(':')?;
        Some(Self { scheme, place, shown: url_password::hide(text) })
    }

    /// What is before the first colon.
    pub fn scheme(&self) -> &'a str {
        self.scheme
    }

    /// What is after it. It may hold a password, also where none belongs: what is said of it goes to logs.
    pub fn place(&self) -> &'a str {
        self.place
    }

    /// The whole of it, with stars in the place of what may be a password.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl std::fmt::Debug for UrlText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("UrlText").field(&self.shown).finish()
    }
}
