//! What the parts of one sync share: the configuration, the way to W&B, and what goes out with the next checkpoint.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use crate::api::client::Client;
use crate::api::exchange::Exchange;
use crate::api::source::RunSource;
use crate::config::Config;
use crate::destination::{Destination, Level, StatePatch};
use crate::error::Error;
use crate::records::time;
use crate::run::{Listed, Outlet};
use crate::state::{self, State};
use crate::sync::watermark::Watermark;

/// What a sync did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs listed.
    pub seen: u64,
    /// Runs whose rows were written.
    pub synced: u64,
    /// Runs that had not changed.
    pub unchanged: u64,
    /// Runs that the state knew and W&B no longer has.
    pub deleted: u64,
    /// Runs that could not be read, with the reason.
    pub quarantined: Vec<(String, String)>,
    /// Requests made, retries included.
    pub requests: u64,
    /// How many of them were retries.
    pub retries: u64,
}

/// What the parts of one sync share.
pub struct Sync<'a, X, D> {
    /// Sends requests.
    pub client: &'a Client<'a, X, D>,
    /// The configuration.
    pub config: &'a Config,
    /// How to ask.
    pub source: &'a dyn RunSource,
    /// What is written of a run; see [`Config::selection`].
    pub selection: Option<String>,
    pub(super) watermark: RefCell<Watermark>,
    /// What goes out with the next checkpoint.
    pub(super) pending: RefCell<StatePatch>,
    /// The runs of which the state says that they could not be read.
    pub(super) failed: RefCell<BTreeSet<String>>,
    /// The smallest run that is known to be readable, and its size.
    pub(super) witness: RefCell<Option<(u64, String)>>,
    pub(super) summary: RefCell<Summary>,
    /// What was last told of it.
    pub(super) reported: Cell<Option<[Report; 4]>>,
}

/// What, how many are done, and of how many.
type Report = (&'static str, u64, Option<u64>);

impl<'a, X: Exchange, D: Destination> Sync<'a, X, D> {
    /// With what the state says.
    pub(super) fn new(
        client: &'a Client<'a, X, D>,
        config: &'a Config,
        source: &'a dyn RunSource,
        state: &State,
    ) -> Self {
        let watermark = state.get(state::WATERMARK).and_then(|text| time::parse(text));
        Self {
            client,
            config,
            source,
            selection: config.selection(),
            watermark: RefCell::new(Watermark::new(watermark)),
            pending: RefCell::default(),
            failed: RefCell::new(state::failed_ids(state).map(str::to_owned).collect()),
            witness: RefCell::default(),
            summary: RefCell::default(),
            reported: Cell::default(),
        }
    }

    pub(crate) fn tell(&self, key: &str, value: Option<String>) {
        self.pending.borrow_mut().push((key.to_owned(), value));
    }

    /// Ends a group, with everything that waits for the next checkpoint.
    pub(super) fn checkpoint(&self, patch: StatePatch) -> Result<(), Error> {
        let mut whole = self.pending.take();
        whole.extend(patch);
        if let Some(watermark) = self.watermark.borrow_mut().advance() {
            whole.push((state::WATERMARK.to_owned(), Some(time::format(watermark))));
        }
        self.client.destination.checkpoint(whole)
    }

    /// A run came in the listing.
    pub(crate) fn see(&self) {
        self.summary.borrow_mut().seen += 1;
    }

    /// A listed run has not changed.
    pub(crate) fn unchanged(&self) {
        self.summary.borrow_mut().unchanged += 1;
    }

    /// A run was listed with this time; `done`: there is nothing to be read of it.
    pub(crate) fn listed(&self, updated_at: Option<i64>, done: bool) {
        self.watermark.borrow_mut().listed(updated_at, done);
    }

    /// The listing has ended, and left nothing out.
    pub(crate) fn listing_complete(&self) {
        self.watermark.borrow_mut().complete();
    }

    /// Whether a run could not be read the last time.
    pub(crate) fn failed_before(&self, id: &str) -> bool {
        self.failed.borrow().contains(id)
    }

    /// A run was read, now or before.
    pub(crate) fn can_be_read(&self, id: &str, size: u64) {
        let mut witness = self.witness.borrow_mut();
        if !self.failed_before(id) && witness.as_ref().is_none_or(|(smallest, _)| size < *smallest) {
            *witness = Some((size, id.to_owned()));
        }
    }

    /// Tells how far the sync is, if that has changed.
    pub(super) fn report(&self) {
        let summary = self.summary.borrow();
        let quarantined = summary.quarantined.len() as u64;
        let done = summary.synced + summary.unchanged + quarantined;
        let now = [
            ("runs synced", summary.synced, None),
            ("runs unchanged", summary.unchanged, None),
            ("runs quarantined", quarantined, None),
            ("runs", done, Some(summary.seen)),
        ];
        let before = self.reported.replace(Some(now));
        for (place, report) in now.into_iter().enumerate() {
            if before.is_none_or(|before| before[place] != report) {
                self.client.destination.progress(report.0, report.1, report.2);
            }
        }
    }

    /// Leaves out what could not be read, and names it.
    pub(crate) fn leave_out(&self, id: String, why: String) {
        let message = format!("Run {id} could not be read and is left out; the next sync tries it again: {why}");
        self.client.destination.log(Level::Severe, &message);
        self.summary.borrow_mut().quarantined.push((id, why));
    }

    /// The ids of the runs that could not be read.
    pub(crate) fn quarantined_ids(&self) -> BTreeSet<String> {
        self.summary.borrow().quarantined.iter().map(|(id, _)| id.clone()).collect()
    }
}

impl<X: Exchange, D: Destination> Outlet for Sync<'_, X, D> {
    fn config(&self) -> &Config {
        self.config
    }

    fn selection(&self) -> Option<String> {
        self.selection.clone()
    }

    fn destination(&self) -> &dyn Destination {
        self.client.destination
    }

    fn checkpoint(&self, patch: StatePatch) -> Result<(), Error> {
        Self::checkpoint(self, patch)
    }

    fn done(&self, listed: &Listed, entry: String, short: bool) -> Result<(), Error> {
        // The watermark does not pass a run of which rows are missing.
        if !short {
            self.watermark.borrow_mut().done(listed.updated_at);
        }
        let mut patch = vec![(state::key(&listed.id), Some(entry))];
        if self.failed.borrow_mut().remove(&listed.id) {
            patch.push((state::failed_key(&listed.id), None));
        }
        self.checkpoint(patch)
    }
}
