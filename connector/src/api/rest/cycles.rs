//! Histories whose pages go in circles or never end.

use super::seen::Seen;
use crate::api::source::MOST_EMPTY_PAGES;

/// Notices histories that go in circles or never end.
#[derive(Debug, Default)]
pub(super) struct CycleDetector {
    pages: Seen,
    contents: Seen,
    empty: u32,
}

impl CycleDetector {
    /// Takes note of what a page held, as a hash over its rows and their steps.
    pub(super) fn content(&mut self, hash: u64) -> Result<(), String> {
        if self.contents.insert(hash) {
            Ok(())
        } else {
            Err("the same rows came a second time under another address".to_owned())
        }
    }

    /// Takes note of a page's address and of whether it held anything new. The error says what is wrong with the pages.
    pub(super) fn visit(&mut self, page: &str, is_empty: bool) -> Result<(), String> {
        if !self.pages.insert(crate::hash::hash(page.as_bytes())) {
            return Err("a page came a second time: the pages go in a circle".to_owned());
        }
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if self.empty >= MOST_EMPTY_PAGES {
            return Err(format!("{MOST_EMPTY_PAGES} pages in a row held nothing new, and there were still more"));
        }
        Ok(())
    }
}
