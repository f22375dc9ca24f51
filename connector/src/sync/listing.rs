//! Takes the pages of the listing, and tells the changed runs from the others.
//!
//! Pages shift while they are read: runs come twice, and others not at all. A run that comes twice is the sign of it; then W&B is asked how many
//! runs there are, and where that does not settle it, they are listed again. An entry that can't be read is left out like a run
//! that can't be read. What such a listing lacks is not taken for deleted, and the watermark stays where it is.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::api::exchange::Exchange;
use crate::api::source::{ListingPage, MOST_EMPTY_PAGES, Unreadable};
use crate::config::Deletes;
use crate::destination::{Destination, Level, StatePatch};
use crate::error::Error;
use crate::hash::hash;
use crate::records::time;
use crate::run::{Earlier, Listed, Ready};
use crate::state::{self, RunEntry, State};
use crate::sync::context::Sync;
use crate::sync::queue::Queue;
use crate::tables::{MARKS, keys_of_runs};

/// How often the runs are listed, at most.
const MOST_PASSES: u32 = 3;
/// Pages without any entry are legal, since their runs may be hidden from the key. After so many in a row (half a million runs, with the
/// usual size of a page) they are taken for pages without end.
const MOST_HIDDEN_PAGES: u32 = 5_000;
/// With more entries without a name than this, the listing is no listing.
const MOST_NAMELESS: u64 = 10_000;

/// The ids of the runs that were listed, and in which pass they came last.
pub(crate) type Seen = BTreeMap<String, u32>;

/// What to ask W&B for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NextRequest {
    /// The page at that address; none: the first.
    Page(Option<String>),
    /// How many runs there are.
    Count,
}

/// The listing of one sync.
pub(crate) struct Listing<'s, 'a, X, D> {
    sync: &'s Sync<'a, X, D>,
    /// The state before the sync.
    pub(crate) state: State,
    /// What was listed.
    pub(crate) seen: Seen,
    /// Every entry could be read, and the pages held still. Otherwise what is missing is not taken for deleted.
    pub(crate) is_clean: bool,
    pages: Pages,
    pass: u32,
    /// Entries of this pass, runs that came twice in it, and runs that earlier passes lacked.
    entries: u64,
    repeated: u64,
    found: u64,
    /// Entries without a name.
    nameless: u64,
    /// Runs that the state does not know and that were updated before this are recorded, not read.
    import: Option<i64>,
    /// Marks were not kept by the sync before: those of listed runs are stale.
    sweeps: bool,
}

impl<'s, 'a, X: Exchange, D: Destination> Listing<'s, 'a, X, D> {
    pub(crate) fn new(sync: &'s Sync<'a, X, D>, state: State) -> Self {
        let legible = |text: &&String| time::parse(text).is_some();
        let bare = !state::knows_runs(&state) && !state.contains_key(state::SOURCE);
        let bare = state.get(state::WATERMARK).filter(|_| bare).filter(legible);
        if let Some(text) = bare {
            sync.tell(state::IMPORT, Some(text.clone()));
        }
        let import = state.get(state::IMPORT).filter(legible).or(bare).and_then(|text| time::parse(text));
        let marks = sync.config.deletes == Deletes::Mark;
        let sweeps = marks && state.contains_key(state::SOURCE) && !state.contains_key(state::MARKS);
        Self {
            sync,
            state,
            seen: Seen::new(),
            is_clean: true,
            pages: Pages::default(),
            pass: 1,
            entries: 0,
            repeated: 0,
            found: 0,
            nameless: 0,
            import,
            sweeps,
        }
    }

    fn log(&self, level: Level, message: &str) {
        self.sync.client.destination.log(level, message);
    }

    /// Sorts the runs of the page that was asked for with `cursor`, and returns what to ask for next.
    pub(crate) fn take(
        &mut self,
        cursor: Option<&str>,
        page: ListingPage,
        queue: &mut Queue,
    ) -> Result<Option<NextRequest>, Error> {
        let entries = page.runs.len() + page.unreadable.len();
        let repeated = self.repeated;
        let mut patch = StatePatch::new();
        let mut live = Vec::new();
        for odd in page.unreadable {
            self.take_unreadable(odd)?;
        }
        for listed in page.runs {
            if self.is_new(&listed.id) {
                self.take_run(listed, queue, &mut patch, &mut live);
            }
        }
        self.entries += entries as u64;
        let is_stale = entries > 0 && (self.repeated - repeated) as usize == entries;
        let going_on = self.pages.visit(cursor, entries, is_stale, page.next.is_some());
        going_on.map_err(|why| Error::upstream(format!("listing runs: {why}")))?;
        let sweeps = !live.is_empty();
        if sweeps {
            self.sync.client.destination.delete(MARKS.name, keys_of_runs(live))?;
        }
        if sweeps || !patch.is_empty() {
            self.sync.checkpoint(patch)?;
        }
        Ok(match page.next {
            Some(next) => Some(NextRequest::Page(Some(next))),
            None if self.repeated > 0 => Some(NextRequest::Count),
            None => {
                self.complete();
                None
            }
        })
    }

    /// W&B said how many runs there are, or did not. Returns what to ask for next.
    pub(crate) fn counted(&mut self, count: Option<u64>) -> Option<NextRequest> {
        let listed = self.seen.len() as u64 + self.nameless;
        let shifted = format!("Pages of the listing shifted while they were read: {} came twice", runs(self.repeated));
        let of = count.map_or(String::new(), |count| format!(" of {count} that W&B counts"));
        // Listing once more would bring nothing either.
        let is_settled = self.pass > 1 && self.found == 0;
        if count.is_some_and(|count| listed >= count) {
            self.log(Level::Info, &format!("{shifted}, but {listed}{of} were listed"));
        } else if is_settled && count.is_none() {
            let repeated = runs(self.repeated);
            self.log(Level::Info, &format!("Listed again: {repeated} came twice, and no other runs came"));
        } else if self.pass < MOST_PASSES && !is_settled {
            self.log(Level::Info, &format!("{shifted}, and {listed}{of} were listed; listing them again"));
            (self.pages, self.entries, self.repeated, self.found) = (Pages::default(), 0, 0, 0);
            self.pass += 1;
            return Some(NextRequest::Page(None));
        } else {
            self.is_clean = false;
            self.log(
                Level::Warning,
                &format!(
                    "{shifted}, in each of {} listings, and {listed}{of} were listed; what is missing is looked for by the next sync",
                    self.pass
                ),
            );
        }
        self.complete();
        None
    }

    fn complete(&mut self) {
        // Below the watermark there must be nothing that was not seen.
        if self.is_clean {
            self.sync.listing_complete();
        }
        if self.import.is_some() || self.state.contains_key(state::IMPORT) {
            self.sync.tell(state::IMPORT, None);
        }
    }

    /// Takes note of a run, and says whether it was not listed before.
    fn is_new(&mut self, id: &str) -> bool {
        let before = self.seen.insert(id.to_owned(), self.pass);
        self.repeated += u64::from(before == Some(self.pass));
        self.found += u64::from(before.is_none());
        before.is_none()
    }

    fn take_unreadable(&mut self, odd: Unreadable) -> Result<(), Error> {
        match &odd.id {
            Some(id) if !self.is_new(id) => return Ok(()),
            Some(_) => {}
            // An entry without a name can't be recognised, so an earlier pass may have counted it.
            None if self.pass > 1 && self.nameless > 0 => return Ok(()),
            None => self.nameless += 1,
        }
        if self.nameless > MOST_NAMELESS {
            let message =
                format!("listing runs: more than {MOST_NAMELESS} entries have no name; the last: {}", odd.why);
            return Err(Error::upstream(message));
        }
        self.is_clean = false;
        let number = self.entries + odd.position as u64 + 1;
        let id = odd.id.unwrap_or_else(|| format!("(entry {number} of the listing)"));
        self.sync.see();
        self.sync.leave_out(id, format!("its entry in the listing can't be read: {}", odd.why));
        Ok(())
    }

    fn take_run(&mut self, listed: Listed, queue: &mut Queue, patch: &mut StatePatch, live: &mut Vec<String>) {
        let sync = self.sync;
        if sync.config.start_time.zip(listed.updated_at).is_some_and(|(start, updated)| updated < start) {
            return;
        }
        sync.see();
        let known = RunEntry::find(&self.state, &listed.id);
        let returned = known.as_ref().is_some_and(|known| known.deleted.is_some());
        if self.sweeps && !returned {
            live.push(listed.id.clone());
        }
        let known = known.filter(|known| !returned && known.selection == sync.selection);
        let imported = known.is_none()
            && !returned
            && self.import.zip(listed.updated_at).is_some_and(|(import, updated)| updated < import);
        let outdated = known.as_ref().is_some_and(RunEntry::is_outdated);
        let unchanged = known.as_ref().is_some_and(|known| {
            known.version.as_ref() == Some(&listed.version)
                && !known.again
                && !(outdated && known.rows >= state::LEAST_EXPORTED_ROWS)
        });
        sync.listed(listed.updated_at, imported || unchanged);
        if imported {
            let selection = sync.selection.clone();
            let entry =
                RunEntry { version: Some(listed.version.clone()), seen: true, selection, ..RunEntry::default() };
            patch.push((state::key(&listed.id), Some(entry.to_text())));
        }
        if imported || unchanged {
            sync.unchanged();
            if unchanged {
                sync.can_be_read(&listed.id, listed.size());
            }
            return;
        }
        // A run that was seen but never read has nothing to continue from, nor has one that may have been read wrongly.
        let entry = known.filter(|known| !known.seen && !outdated);
        let failed_before = sync.failed_before(&listed.id);
        let company = if failed_before { 1 } else { usize::MAX };
        queue.push(Ready { listed, earlier: Earlier { entry, returned }, company }, failed_before);
    }
}

fn runs(count: u64) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

/// Notices a listing that goes in a circle or never ends.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    visited: BTreeSet<u64>,
    /// What the last cursor says, where cursors are offsets.
    offset: Option<u64>,
    hidden: u32,
    stale: u32,
}

impl Pages {
    /// Takes note of a page: its address, how many entries it held, and whether all of them came before. The error says what is wrong.
    pub(crate) fn visit(
        &mut self,
        cursor: Option<&str>,
        entries: usize,
        is_stale: bool,
        goes_on: bool,
    ) -> Result<(), String> {
        if !self.visited.insert(hash(cursor.unwrap_or_default().as_bytes())) {
            return Err("a page came a second time: the pages go in a circle".to_owned());
        }
        let offset = cursor.and_then(offset);
        if self.offset.zip(offset).is_some_and(|(before, now)| now <= before) {
            return Err("a cursor does not move on: the pages go in a circle".to_owned());
        }
        self.offset = offset.or(self.offset);
        self.hidden = if entries == 0 { self.hidden + 1 } else { 0 };
        self.stale = if is_stale { self.stale + 1 } else { 0 };
        if goes_on && self.hidden >= MOST_HIDDEN_PAGES {
            return Err(format!("{MOST_HIDDEN_PAGES} pages in a row held no run, and there were still more"));
        }
        if goes_on && self.stale >= MOST_EMPTY_PAGES {
            return Err(format!("{MOST_EMPTY_PAGES} pages in a row held nothing new, and there were still more"));
        }
        Ok(())
    }
}

/// W&B's cursors say an offset: `arrayconnection:199`, in base64.
fn offset(cursor: &str) -> Option<u64> {
    let decoded = String::from_utf8(STANDARD.decode(cursor).ok()?).ok()?;
    decoded.strip_prefix("arrayconnection:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(offset: &str) -> String {
        STANDARD.encode(format!("arrayconnection:{offset}"))
    }

    #[test]
    fn hidden_pages_are_legal_while_the_cursor_moves_on() {
        let mut pages = Pages::default();
        pages.visit(None, 0, false, true).unwrap();
        for page in 1..u64::from(MOST_HIDDEN_PAGES) - 1 {
            pages.visit(Some(&cursor(&page.to_string())), 0, false, true).unwrap();
        }
        let mut whole = cursor("90000");
        assert!(pages.visit(Some(&whole), 0, false, true).unwrap_err().contains("held no run"));
        whole.push('x');
        assert!(pages.visit(Some(&whole), 1, false, true).is_ok(), "an entry ends the row");
    }

    #[test]
    fn a_cursor_that_comes_again_or_stands_still_is_an_error() {
        for (first, second) in [("99", "99"), ("99", "099"), ("99", "98")] {
            let mut pages = Pages::default();
            pages.visit(None, 5, false, true).unwrap();
            pages.visit(Some(&cursor(first)), 5, false, true).unwrap();
            assert!(pages.visit(Some(&cursor(second)), 0, false, true).is_err(), "{first} {second}");
        }
    }

    #[test]
    fn pages_that_hold_nothing_new_end() {
        let mut pages = Pages::default();
        let ends = (0..).find(|page| pages.visit(Some(&format!("/x?again={page}")), 3, true, true).is_err());
        assert_eq!(ends, Some(MOST_EMPTY_PAGES - 1));
    }
}
