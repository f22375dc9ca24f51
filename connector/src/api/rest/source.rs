//! What a sync asks of W&B, by REST. Runs are read one by one: the dialect has no request for more.

use futures_util::future::FutureExt as _;
use futures_util::stream::{self, LocalBoxStream, StreamExt as _};

use crate::api::client::Client;
use crate::api::exchange::Exchange;
use crate::api::source::{Ended, ListingPage, Read, Reply, RunSource};
use crate::config::Config;
use crate::destination::Destination;
use crate::error::Error;
use crate::run::{Outlet, Ready, RunSink};

use super::Rest;
use super::history::RunReader;

/// Reads one project by REST.
#[derive(Debug)]
pub struct RestSource<'a, X, D> {
    rest: Rest,
    client: &'a Client<'a, X, D>,
    config: &'a Config,
}

impl<'a, X: Exchange, D: Destination> RestSource<'a, X, D> {
    /// For the project that the configuration names.
    pub fn new(rest: Rest, client: &'a Client<'a, X, D>, config: &'a Config) -> Self {
        Self { rest, client, config }
    }

    async fn read_run(&self, ready: Ready, outlet: &dyn Outlet) -> Read {
        let (id, size, updated_at) = (ready.listed.id.clone(), ready.listed.size(), ready.listed.updated_at);
        let began = self.client.exchange.now();
        let (sink, known) = RunSink::new(ready, outlet);
        let wants_history = self.config.wants_history();
        let reader = RunReader { rest: &self.rest, client: self.client, sink, wants_history };
        Read::Ended(Ended { id, size, updated_at, began, end: reader.read(known).await })
    }
}

impl<X: Exchange, D: Destination> RunSource for RestSource<'_, X, D> {
    fn name(&self) -> &'static str {
        "REST"
    }

    fn list<'f>(&'f self, next: Option<&'f str>) -> Reply<'f, ListingPage> {
        self.rest.runs(self.client, next).boxed_local()
    }

    fn lists_rows(&self) -> bool {
        true
    }

    fn count(&self) -> Reply<'_, Option<u64>> {
        async { Ok(None) }.boxed_local()
    }

    fn may_join(&self, _others: &[Ready], _next: &Ready) -> bool {
        false
    }

    fn read<'f>(&'f self, runs: Vec<Ready>, outlet: &'f dyn Outlet) -> LocalBoxStream<'f, Read> {
        stream::iter(runs).then(move |ready| self.read_run(ready, outlet)).boxed_local()
    }

    fn has(&self, ids: Vec<String>) -> LocalBoxStream<'_, (String, Result<bool, Error>)> {
        let answers = stream::iter(ids).map(move |id| async move {
            let answer = self.rest.has_run(self.client, &id).await;
            (id, answer)
        });
        answers.buffer_unordered(self.config.concurrency as usize).boxed_local()
    }

    fn try_listing(&self) -> Reply<'_, ()> {
        async { self.rest.page(self.client, None, 1).await.map(|_| ()) }.boxed_local()
    }

    fn try_reading<'f>(&'f self, id: &'f str) -> Reply<'f, bool> {
        self.rest.has_run(self.client, id).boxed_local()
    }

    fn contradiction(&self) -> &'static str {
        "W&B lists it, but has no history of it (HTTP 404)"
    }

    fn key(&self) -> Reply<'_, String> {
        async { Ok("The key is accepted".to_owned()) }.boxed_local()
    }
}
