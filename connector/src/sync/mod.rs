//! A sync: the listing, which runs have changed, many of them read at once, and a checkpoint after each.

mod context;
pub(crate) mod deletions;
mod listing;
mod outage;
mod queue;
pub mod watermark;

use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::{FuturesUnordered, LocalBoxStream};

use crate::api;
use crate::api::client::Client;
use crate::api::exchange::Exchange;
use crate::api::source::{Ended, ListingPage, Read};
use crate::config::{Config, Deletes};
use crate::destination::{Destination, Level};
use crate::error::Error;
use crate::records::time;
use crate::run::RunEnd;
use crate::state::State;
use crate::sync::listing::{Listing, NextRequest};
use crate::sync::outage::{Failed, Failures, ProbeResult};
use crate::sync::queue::Queue;

pub use crate::state;
pub use context::{Summary, Sync};

/// The listing waits while more changed runs than this are not read yet. Entries of the `rest` dialect hold whole rows.
const MOST_READY: usize = 10_000;
const MOST_READY_WITH_ROWS: usize = 500;

/// Brings the destination up to date. `state` is what earlier checkpoints built.
pub async fn sync<X: Exchange, D: Destination>(
    exchange: &X,
    destination: &D,
    config: &Config,
    state: State,
) -> Result<Summary, Error> {
    destination.log(Level::Info, "Starting Weights & Biases connector sync");
    let project = format!("{}/{}", config.entity, config.project);
    if let Some(other) = state.get(state::SOURCE).filter(|other| **other != project) {
        return Err(Error::Destination(format!(
            "this destination holds the project {other}, and is not mixed with {project}; use another destination, or --full-refresh to replace what it holds"
        )));
    }
    // Taken for none it would be read past, and everything read again without a word.
    for key in [state::WATERMARK, state::IMPORT] {
        if let Some(text) = state.get(key).filter(|text| time::parse(text).is_none()) {
            return Err(Error::Destination(format!(
                "the state says {text:?} for `{key}`, which is no time; import a state with one such as \"2025-06-15T15:06:40Z\", or \
                 begin again from nothing with --full-refresh"
            )));
        }
    }
    let client = Client::new(exchange, destination, config.concurrency);
    let (source, first) = api::choose(config, &client).await?;
    let sync = Sync::new(&client, config, &*source, &state);
    if !state.contains_key(state::SOURCE) {
        sync.tell(state::SOURCE, Some(project));
    }
    if config.deletes != Deletes::Mark && state.contains_key(state::MARKS) {
        sync.tell(state::MARKS, None);
    }
    sync.run(state, first).await
}

enum Event<'t> {
    Page {
        cursor: Option<String>,
        page: Result<ListingPage, Error>,
    },
    Count(Option<u64>),
    /// Something came of runs that are read together, and more may.
    Read(Option<Read>, LocalBoxStream<'t, Read>),
    ProbeResult(ProbeResult),
}

type Task<'t> = Pin<Box<dyn Future<Output = Event<'t>> + 't>>;

impl<X: Exchange, D: Destination> Sync<'_, X, D> {
    async fn run(&self, state: State, first: ListingPage) -> Result<Summary, Error> {
        let mut listing = Listing::new(self, state);
        let mut tasks: FuturesUnordered<Task<'_>> = FuturesUnordered::new();
        let mut queue = Queue::default();
        let mut next = listing.take(None, first, &mut queue)?;
        let most_ready = if self.source.lists_rows() { MOST_READY_WITH_ROWS } else { MOST_READY };
        let mut failures = Failures::default();
        let mut gone = Vec::new();
        let (mut reading, mut is_listing, mut is_doubting) = (0, false, false);
        loop {
            if queue.len() < most_ready
                && let Some(ask) = next.take()
            {
                is_listing = true;
                tasks.push(Box::pin(self.ask(ask)));
            }
            // While it is open whether W&B is down, no further run is asked for.
            while !is_doubting
                && reading < self.config.concurrency as usize
                && let Some(ready) = queue.pop(failures.wants_small(), is_listing)
            {
                reading += 1;
                let mut runs = vec![ready];
                while !failures.wants_small()
                    && let Some(next) = queue.pop_beside(|next| self.source.may_join(&runs, next))
                {
                    runs.push(next);
                }
                tasks.push(Box::pin(next_read(self.source.read(runs, self))));
            }
            let all_read = reading == 0 && queue.len() == 0 && !is_listing;
            if !is_doubting && (all_read || queue.len() > 0 || is_listing) && failures.raise_doubt(all_read) {
                is_doubting = true;
                let wants_witness = failures.wants_witness();
                tasks.push(Box::pin(async move { Event::ProbeResult(self.verdict(wants_witness).await) }));
            }
            self.report();
            match tasks.next().await {
                None => break,
                Some(Event::Page { cursor, page }) => {
                    is_listing = false;
                    next = listing.take(cursor.as_deref(), page?, &mut queue)?;
                }
                Some(Event::Count(count)) => {
                    is_listing = false;
                    next = listing.counted(count);
                }
                Some(Event::Read(None, _)) => reading -= 1,
                Some(Event::Read(Some(read), rest)) => {
                    tasks.push(Box::pin(next_read(rest)));
                    let Ended { id, size, updated_at, began, end } = match read {
                        Read::Ended(ended) => ended,
                        Read::Apart(runs) => {
                            runs.into_iter().for_each(|ready| queue.push(ready, false));
                            continue;
                        }
                    };
                    match end {
                        Ok(RunEnd::Synced) => {
                            self.fail(failures.success(self.client.exchange.now()));
                            self.can_be_read(&id, size);
                            self.summary.borrow_mut().synced += 1;
                        }
                        Ok(RunEnd::Gone) => {
                            failures.absence(began);
                            gone.push((id, updated_at));
                        }
                        Err(error @ Error::RateLimited { .. }) if self.client.is_shut_out() => return Err(error),
                        Err(error) if error.is_of_one_question() => failures.failure(Failed { id, error }, began),
                        Err(error) => return Err(error),
                    }
                }
                Some(Event::ProbeResult(verdict)) => {
                    is_doubting = false;
                    match failures.settle(verdict) {
                        Ok(failed) => self.fail(failed),
                        Err((error, failed)) => {
                            if !failed.is_empty() {
                                // The next sync begins with other runs.
                                self.fail(failed);
                                self.checkpoint(Vec::new())?;
                            }
                            return Err(error);
                        }
                    }
                }
            }
        }
        self.fail(failures.rest());
        self.settle_gone(gone).await?;
        let deleted = deletions::settle(self, &listing).await?;
        self.summary.borrow_mut().deleted = deleted;
        self.client.destination.progress("runs deleted", deleted, None);
        if listing.is_clean {
            self.forget_failed();
        }
        // Even where no run has changed, the watermark may have risen.
        self.checkpoint(Vec::new())?;
        self.report();
        let mut summary = self.summary.take();
        (summary.requests, summary.retries) = (self.client.requests(), self.client.retries());
        self.client.destination.log(Level::Info, &format!("Synced {} runs from W&B", summary.synced));
        Ok(summary)
    }

    async fn ask(&self, ask: NextRequest) -> Event<'_> {
        match ask {
            NextRequest::Page(cursor) => {
                let page = self.source.list(cursor.as_deref()).await;
                Event::Page { cursor, page }
            }
            // Where it is not said, listing again shows what is missing.
            NextRequest::Count => Event::Count(self.source.count().await.unwrap_or_default()),
        }
    }

    /// Asks for what is known to work.
    async fn verdict(&self, wants_witness: bool) -> ProbeResult {
        if let Err(error) = self.source.try_listing().await {
            return ProbeResult::Down(error);
        }
        if !wants_witness {
            return ProbeResult::Works;
        }
        let witness = self.witness.borrow().as_ref().map(|(_, id)| id.clone());
        match witness {
            Some(id) if matches!(self.source.try_reading(&id).await, Ok(true)) => ProbeResult::Works,
            _ => ProbeResult::Lists,
        }
    }

    /// Runs that W&B was found not to have, though it had listed them. They may be there all the same: listing again tells, for all of them
    /// at once.
    async fn settle_gone(&self, gone: Vec<(String, Option<i64>)>) -> Result<(), Error> {
        if gone.is_empty() {
            return Ok(());
        }
        let still_there = deletions::still_listed(self, &gone).await?;
        // The next listing lacks them.
        let what_follows = match self.config.deletes {
            Deletes::Keep => "what is stored of it stays",
            Deletes::Mark => "the next sync marks what is stored of it",
            Deletes::Remove => "the next sync removes what is stored of it",
        };
        for (id, updated_at) in gone {
            if still_there.contains(&id) {
                self.fail(vec![Failed { id, error: Error::NotFound(self.source.contradiction().to_owned()) }]);
                continue;
            }
            self.watermark.borrow_mut().done(updated_at);
            let message = format!("Run {id} was deleted at W&B meanwhile; {what_follows}");
            self.client.destination.log(Level::Info, &message);
        }
        Ok(())
    }

    /// Leaves runs out that could not be read, and notes in the state that they go last the next time.
    fn fail(&self, failed: Vec<Failed>) {
        for Failed { id, error } in failed {
            if self.failed.borrow_mut().insert(id.clone()) {
                self.tell(&state::failed_key(&id), Some("1".to_owned()));
            }
            self.leave_out(id, error.to_string());
        }
    }

    /// Of runs that are listed no more, or that need not be read, the state does not say any longer that they could not be read.
    fn forget_failed(&self) {
        let quarantined = self.quarantined_ids();
        for id in self.failed.borrow().iter().filter(|id| !quarantined.contains(*id)) {
            self.tell(&state::failed_key(id), None);
        }
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
    let (source, page) = api::choose(&config, &client).await?;
    let project = format!("{}/{}", config.entity, config.project);
    let runs = if page.runs.is_empty() && page.next.is_none() { "has no runs yet" } else { "can be read" };
    Ok(format!("{}; project {project} {runs} ({}).", source.key().await?, source.name()))
}

/// The next of what comes of runs that are read together.
async fn next_read(reads: LocalBoxStream<'_, Read>) -> Event<'_> {
    let (read, rest) = reads.into_future().await;
    Event::Read(read, rest)
}
