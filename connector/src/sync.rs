//! A sync: the listing, which runs have changed, many of them read at once, and a checkpoint after each.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::batch::Batch;
use crate::client::Client;
use crate::config::{Config, Deletes};
use crate::deleted;
use crate::destination::{Destination, Level, StatePatch};
use crate::dialect::{Circle, Dialect, Listed, ListingPage};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::run::export::Exports;
use crate::run::{Earlier, RunEnd, RunReader};
use crate::schema::TableName;
use crate::state::{self, RunEntry, State};
use crate::time;
use crate::watermark::Watermark;

/// When this many runs in a row could not be read, and none could meanwhile, W&B is taken to be down.
pub(crate) const MOST_FAILURES: usize = 10;

/// The listing waits while more changed runs than this are not read yet. Entries of the `rest` dialect hold whole rows.
const MOST_READY: usize = 10_000;
const MOST_READY_WITH_ROWS: usize = 500;

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

/// Brings the destination up to date. `state` is what earlier checkpoints built.
pub async fn sync<X: Exchange, D: Destination>(
    exchange: &X,
    destination: &D,
    config: &Config,
    state: State,
) -> Result<Summary, Error> {
    destination.log(Level::Info, "Starting Weights & Biases connector sync");
    let source = format!("{}/{}", config.entity, config.project);
    if let Some(other) = state.get(state::SOURCE).filter(|other| **other != source) {
        return Err(Error::Destination(format!(
            "this destination holds the project {other}, and is not mixed with {source}; use another destination, or --full-refresh to replace what it holds"
        )));
    }
    let client = Client::new(exchange, destination, config.concurrency);
    let (dialect, first) = Dialect::choose(config, &client).await?;
    let sync = Sync::new(client, config, dialect, &state);
    if !state.contains_key(state::SOURCE) {
        sync.tell(state::SOURCE, Some(source));
    }
    if config.deletes != Deletes::Mark && state.contains_key(state::MARKS) {
        sync.tell(state::MARKS, None);
    }
    sync.run(state, first).await
}

/// What the parts of one sync share.
pub struct Sync<'a, X, D> {
    /// Sends requests.
    pub client: Client<'a, X, D>,
    /// The configuration.
    pub config: &'a Config,
    /// How to ask.
    pub dialect: Dialect,
    /// What is written of a run; see [`Config::selection`].
    pub selection: Option<String>,
    /// The width of history rows seen last, in bytes; 0 while none was seen.
    pub row_bytes: Cell<f64>,
    /// What the runs share that read exported histories (`graphql`).
    pub exports: Exports,
    watermark: RefCell<Watermark>,
    /// What goes out with the next checkpoint.
    pending: RefCell<StatePatch>,
    summary: RefCell<Summary>,
}

/// A changed run that waits to be read. The largest goes first; of equal ones the first listed.
struct Ready {
    size: u64,
    order: u64,
    listed: Listed,
    earlier: Earlier,
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ready {}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ready {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.size.cmp(&other.size).then(other.order.cmp(&self.order))
    }
}

enum Event {
    Page { cursor: String, page: Result<ListingPage, Error> },
    Run { id: String, updated_at: Option<i64>, began: Duration, end: Result<RunEnd, Error> },
}

type Task<'t> = Pin<Box<dyn Future<Output = Event> + 't>>;

impl<'a, X: Exchange, D: Destination> Sync<'a, X, D> {
    fn new(client: Client<'a, X, D>, config: &'a Config, dialect: Dialect, state: &State) -> Self {
        let watermark = state.get(state::WATERMARK).and_then(|text| time::parse(text));
        Self {
            client,
            config,
            dialect,
            selection: config.selection(),
            row_bytes: Cell::new(0.0),
            exports: Exports::default(),
            watermark: RefCell::new(Watermark::new(watermark)),
            pending: RefCell::default(),
            summary: RefCell::default(),
        }
    }

    fn tell(&self, key: &str, value: Option<String>) {
        self.pending.borrow_mut().push((key.to_owned(), value));
    }

    /// Ends a group, with everything that waits for the next checkpoint.
    pub fn checkpoint(&self, patch: StatePatch) -> Result<(), Error> {
        let mut whole = self.pending.take();
        whole.extend(patch);
        if let Some(watermark) = self.watermark.borrow_mut().advance() {
            whole.push((state::WATERMARK.to_owned(), Some(time::format(watermark))));
        }
        self.client.destination.checkpoint(whole)
    }

    /// A run is done: its rows are with the destination, and `entry` says so.
    pub fn run_done(&self, listed: &Listed, entry: Option<String>) -> Result<(), Error> {
        self.watermark.borrow_mut().done(listed.updated_at);
        self.checkpoint(vec![(state::key(&listed.id), entry)])
    }

    fn report(&self) {
        let summary = self.summary.borrow();
        let quarantined = summary.quarantined.len() as u64;
        let destination = self.client.destination;
        destination.progress("runs synced", summary.synced, None);
        destination.progress("runs unchanged", summary.unchanged, None);
        destination.progress("runs quarantined", quarantined, None);
        destination.progress("runs", summary.synced + summary.unchanged + quarantined, Some(summary.seen));
    }

    async fn run(&self, state: State, first: ListingPage) -> Result<Summary, Error> {
        let mut listing = Listing::new(self, state);
        let mut tasks: FuturesUnordered<Task<'_>> = FuturesUnordered::new();
        let mut ready = BinaryHeap::new();
        let mut next = listing.take(String::new(), first, &mut ready)?;
        let most_ready = if matches!(self.dialect, Dialect::Rest(_)) { MOST_READY_WITH_ROWS } else { MOST_READY };
        let (mut reading, mut failures, mut last_success) = (0, 0, Duration::ZERO);
        loop {
            if ready.len() < most_ready
                && let Some(cursor) = next.take()
            {
                tasks.push(Box::pin(async move {
                    let page = self.dialect.runs(&self.client, Some(&cursor)).await;
                    Event::Page { cursor, page }
                }));
            }
            while reading < self.config.concurrency as usize
                && let Some(Ready { listed, earlier, .. }) = ready.pop()
            {
                reading += 1;
                tasks.push(Box::pin(async move {
                    let (id, updated_at, began) = (listed.id.clone(), listed.updated_at, self.client.exchange.now());
                    let end = RunReader::read(self, listed, earlier).await;
                    Event::Run { id, updated_at, began, end }
                }));
            }
            self.report();
            match tasks.next().await {
                None => break,
                Some(Event::Page { cursor, page }) => next = listing.take(cursor, page?, &mut ready)?,
                Some(Event::Run { id, updated_at, began, end }) => {
                    reading -= 1;
                    match end {
                        Ok(end) => {
                            (failures, last_success) = (0, self.client.exchange.now());
                            self.ended(&id, updated_at, end);
                        }
                        Err(error @ Error::RateLimited { .. }) if self.client.is_shut_out() => return Err(error),
                        Err(error @ (Error::Upstream { .. } | Error::RateLimited { .. })) => {
                            failures += usize::from(last_success <= began);
                            self.quarantine(id, &error);
                            if failures >= MOST_FAILURES && !ready.is_empty() {
                                let message = format!(
                                    "{MOST_FAILURES} runs in a row could not be read; W&B seems to be down. The last one: {error}"
                                );
                                return Err(match error {
                                    Error::RateLimited { retry_after, .. } => {
                                        Error::RateLimited { message, retry_after }
                                    }
                                    Error::Upstream { status, .. } => Error::Upstream { status, message },
                                    other => other,
                                });
                            }
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        let deleted = deleted::settle(self, &listing.state, &listing.seen).await?;
        self.summary.borrow_mut().deleted = deleted;
        self.client.destination.progress("runs deleted", deleted, None);
        // Even where no run has changed, the watermark may have risen.
        self.checkpoint(Vec::new())?;
        let mut summary = self.summary.take();
        (summary.requests, summary.retries) = (self.client.requests(), self.client.retries());
        self.client.destination.log(Level::Info, &format!("Synced {} runs from W&B", summary.synced));
        Ok(summary)
    }

    fn ended(&self, id: &str, updated_at: Option<i64>, end: RunEnd) {
        match end {
            RunEnd::Synced => self.summary.borrow_mut().synced += 1,
            RunEnd::Deleted => {
                self.watermark.borrow_mut().done(updated_at);
                self.client
                    .destination
                    .log(Level::Info, &format!("Run {id} was deleted at W&B meanwhile; what is stored of it stays"));
            }
        }
    }

    fn quarantine(&self, id: String, error: &Error) {
        let message = format!("Run {id} could not be read and is left out; the next sync tries it again: {error}");
        self.client.destination.log(Level::Severe, &message);
        self.summary.borrow_mut().quarantined.push((id, error.to_string()));
    }

    /// The ids of the runs that could not be read.
    pub(crate) fn quarantined_ids(&self) -> BTreeSet<String> {
        self.summary.borrow().quarantined.iter().map(|(id, _)| id.clone()).collect()
    }
}

/// Takes listing pages and tells the changed runs from the others.
struct Listing<'s, 'a, X, D> {
    sync: &'s Sync<'a, X, D>,
    state: State,
    seen: BTreeSet<String>,
    circle: Circle,
    /// Runs that the state does not know and that were updated before this are recorded, not read.
    import: Option<i64>,
    /// Marks were not kept by the sync before: those of listed runs are stale.
    sweeps: bool,
    order: u64,
}

impl<'s, 'a, X: Exchange, D: Destination> Listing<'s, 'a, X, D> {
    fn new(sync: &'s Sync<'a, X, D>, state: State) -> Self {
        let legible = |text: &&String| time::parse(text).is_some();
        let bare = !state::knows_runs(&state) && !state.contains_key(state::SOURCE);
        let bare = state.get(state::WATERMARK).filter(|_| bare).filter(legible);
        if let Some(text) = bare {
            sync.tell(state::IMPORT, Some(text.clone()));
        }
        let import = state.get(state::IMPORT).filter(legible).or(bare).and_then(|text| time::parse(text));
        let marks = sync.config.deletes == Deletes::Mark;
        let sweeps = marks && state.contains_key(state::SOURCE) && !state.contains_key(state::MARKS);
        Self { sync, state, seen: BTreeSet::new(), circle: Circle::default(), import, sweeps, order: 0 }
    }

    /// Sorts the runs of a page, and returns where the next one is.
    fn take(
        &mut self,
        cursor: String,
        page: ListingPage,
        ready: &mut BinaryHeap<Ready>,
    ) -> Result<Option<String>, Error> {
        let before = self.seen.len();
        let mut patch = StatePatch::new();
        let mut live = Vec::new();
        for listed in page.runs {
            // Pages shift while runs are added: the same run may come twice.
            if !self.seen.insert(listed.id.clone()) {
                continue;
            }
            if self.sync.config.start_time.zip(listed.updated_at).is_some_and(|(start, updated)| updated < start) {
                continue;
            }
            self.sync.summary.borrow_mut().seen += 1;
            let known = RunEntry::find(&self.state, &listed.id);
            let returned = known.as_ref().is_some_and(|known| known.deleted.is_some());
            if self.sweeps && !returned {
                live.push(listed.id.clone());
            }
            let known = known.filter(|known| !returned && known.selection == self.sync.selection);
            let imported = known.is_none()
                && !returned
                && self.import.zip(listed.updated_at).is_some_and(|(import, updated)| updated < import);
            let unchanged = known.as_ref().is_some_and(|known| known.version.as_ref() == Some(&listed.version));
            self.sync.watermark.borrow_mut().listed(listed.updated_at, imported || unchanged);
            if imported {
                let selection = self.sync.selection.clone();
                let entry =
                    RunEntry { version: Some(listed.version.clone()), seen: true, selection, ..RunEntry::default() };
                patch.push((state::key(&listed.id), Some(entry.to_text())));
            }
            if imported || unchanged {
                self.sync.summary.borrow_mut().unchanged += 1;
                continue;
            }
            self.order += 1;
            // A run that was seen but never read has nothing to continue from.
            let entry = known.filter(|known| !known.seen);
            let earlier = Earlier { entry, returned };
            ready.push(Ready { size: listed.size(), order: self.order, listed, earlier });
        }
        let is_empty = self.seen.len() == before;
        self.circle
            .visit(&cursor, is_empty && page.next.is_some())
            .map_err(|why| Error::upstream(format!("listing runs: {why}")))?;
        if page.next.is_none() {
            self.sync.watermark.borrow_mut().complete();
            if self.import.is_some() || self.state.contains_key(state::IMPORT) {
                self.sync.tell(state::IMPORT, None);
            }
        }
        let sweeps = !live.is_empty();
        if sweeps {
            self.sync.client.destination.delete(TableName::DeletedRuns.as_str(), Batch::of_runs(live))?;
        }
        if sweeps || !patch.is_empty() {
            self.sync.checkpoint(patch)?;
        }
        Ok(page.next)
    }
}

/// Tries the configuration: who the key belongs to, and whether the project can be read.
pub async fn check<X: Exchange, D: Destination>(
    exchange: &X,
    destination: &D,
    config: &Config,
) -> Result<String, Error> {
    let client = Client::new(exchange, destination, config.concurrency);
    let mut config = config.clone();
    config.page_size = 1;
    let (dialect, page) = Dialect::choose(&config, &client).await?;
    let project = format!("{}/{}", config.entity, config.project);
    let runs = if page.runs.is_empty() { "has no runs yet" } else { "can be read" };
    match dialect {
        Dialect::Graphql(graphql) => {
            let viewer = graphql.viewer(&client).await?;
            Ok(format!("The key belongs to {viewer}; project {project} {runs} (GraphQL)."))
        }
        Dialect::Rest(_) => Ok(format!("The key is accepted; project {project} {runs} (REST).")),
    }
}
