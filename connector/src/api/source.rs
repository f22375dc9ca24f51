//! What a sync asks of W&B, whichever dialect answers: pages of runs, what some runs hold, and whether runs exist.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::LocalBoxStream;

use crate::error::Error;
use crate::run::{Listed, Outlet, Ready, RunEnd};

/// How many pages without anything new end a listing or a history.
pub const MOST_EMPTY_PAGES: u32 = 10;

/// What a question brings.
pub type Reply<'f, T> = LocalBoxFuture<'f, Result<T, Error>>;

/// One page of a listing.
#[derive(Debug)]
pub struct ListingPage {
    /// In the server's order.
    pub runs: Vec<Listed>,
    /// The entries that can't be read.
    pub unreadable: Vec<Unreadable>,
    /// Where the next page is: a URL (`rest`) or a cursor (`graphql`).
    pub next: Option<String>,
}

/// An entry of a listing that is not what an entry should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its position in the page, from 0.
    pub position: usize,
    /// The run's id, where that much can be read.
    pub id: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

/// What came of runs that were to be read.
#[derive(Debug)]
pub enum Read {
    /// The reading of one run has ended.
    Ended(Ended),
    /// Asked for in one request, these brought nothing. Each is to be read again, in smaller company.
    Apart(Vec<Ready>),
}

/// How the reading of one run ended.
#[derive(Debug)]
pub struct Ended {
    /// The run's id.
    pub id: String,
    /// How much there was to read; see [`Listed::size`].
    pub size: u64,
    /// When it was last updated, in microseconds since the epoch.
    pub updated_at: Option<i64>,
    /// When its reading began, by the exchange's clock.
    pub began: Duration,
    /// How it ended. An error says that the run could not be read.
    pub end: Result<RunEnd, Error>,
}

/// How W&B is asked, in one dialect. Questions are about sets of runs, so that a dialect may put many into one request.
pub trait RunSource {
    /// The dialect's name, for people.
    fn name(&self) -> &'static str;

    /// The page of runs at `next`, or the first.
    fn list<'f>(&'f self, next: Option<&'f str>) -> Reply<'f, ListingPage>;

    /// Whether entries of the listing hold whole rows, and take memory accordingly.
    fn lists_rows(&self) -> bool;

    /// How many runs W&B counts in the project; none where it does not say.
    fn count(&self) -> Reply<'_, Option<u64>>;

    /// Whether `next` may be read in one request with `others`.
    fn may_join(&self, others: &[Ready], next: &Ready) -> bool;

    /// Reads runs, in one request as far as that goes, and hands what changed to sinks at `outlet`. Each run ends by itself, or is among those
    /// that are to be read apart.
    fn read<'f>(&'f self, runs: Vec<Ready>, outlet: &'f dyn Outlet) -> LocalBoxStream<'f, Read>;

    /// Which of these runs exist, in any order. An error leaves it open for that run.
    fn has(&self, ids: Vec<String>) -> LocalBoxStream<'_, (String, Result<bool, Error>)>;

    /// The smallest question about the listing. What it brings does not matter.
    fn try_listing(&self) -> Reply<'_, ()>;

    /// The smallest question about what runs hold, about one that is known to be readable: whether it is there still.
    fn try_reading<'f>(&'f self, id: &'f str) -> Reply<'f, bool>;

    /// What to say of a run that is listed and not found.
    fn contradiction(&self) -> &'static str;

    /// What W&B says of the key, as the beginning of a sentence.
    fn key(&self) -> Reply<'_, String>;
}
