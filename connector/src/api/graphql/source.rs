//! What a sync asks of W&B, by GraphQL.

use futures_util::future::FutureExt as _;
use futures_util::stream::{self, LocalBoxStream, StreamExt as _};

use crate::api::exchange::Exchange;
use crate::api::source::{Ended, ListingPage, Read, Reply, RunSource};
use crate::destination::Destination;
use crate::error::Error;
use crate::run::{Outlet, Ready, RunEnd, RunSink};

use super::Include;
use super::joint::{Asked, First, MOST_RUNS};
use super::reading::{GraphqlSource, RunReader};

impl<X: Exchange, D: Destination> GraphqlSource<'_, X, D> {
    /// What a run adds to a joint answer, as a part of what one is planned to hold; none where it is read by itself.
    fn part(&self, ready: &Ready) -> Option<f64> {
        let part = match self.first_question(ready)? {
            Include::Nothing => self.experience.part(0, 0.0),
            Include::History(window) => {
                // What does not come with one range is read by itself.
                let rows = self.expected_rows(ready).filter(|rows| *rows <= window.steps.unsigned_abs())?;
                // Some more may have come since the run was listed.
                self.experience.part(rows + rows / 8 + 1, self.row_bytes.get())
            }
            Include::Export => return None,
        };
        Some(part).filter(|part| *part < 0.5)
    }

    /// Asks for all of them in one request. The error: they are to be read apart.
    async fn ask_together(&self, runs: &[Ready]) -> Result<Vec<Option<First>>, Apart> {
        let asked: Option<Vec<Asked<'_>>> = runs
            .iter()
            .map(|ready| {
                let include = self.first_question(ready)?;
                Some(Asked { id: &ready.listed.id, include, position: self.first_position(ready) })
            })
            .collect();
        let Some(asked) = asked.filter(|asked| asked.len() > 1) else {
            return Ok(runs.iter().map(|_| None).collect());
        };
        let together = self.graphql.together(self.client, &asked, &self.config.metrics, &self.experience).await;
        together.map_err(|(company, error)| match error {
            error @ Error::RateLimited { .. } if self.client.is_shut_out() => Apart::ShutOut(error),
            _ => Apart::In(company),
        })
    }

    async fn read_run(&self, ready: Ready, first: Option<First>, outlet: &dyn Outlet) -> Read {
        let (id, size, updated_at) = (ready.listed.id.clone(), ready.listed.size(), ready.listed.updated_at);
        let began = self.client.exchange.now();
        let (sink, known) = RunSink::new(ready, outlet);
        let mut end = RunReader::new(self, sink, first).read(known).await;
        // W&B says of more than runs that they are not found. Asked by name, it says what it means.
        if let Err(Error::NotFound(_)) = &end
            && let Ok(false) = self.graphql.has_run(self.client, &id).await
        {
            end = Ok(RunEnd::Gone);
        }
        Read::Ended(Ended { id, size, updated_at, began, end })
    }

    /// Which of these runs exist, in one request as far as that goes.
    async fn have(&self, ids: Vec<String>) -> LocalBoxStream<'_, (String, Result<bool, Error>)> {
        let mut known = vec![None; ids.len()];
        if ids.len() > 1
            && let Ok(together) = self.graphql.have_runs(self.client, &ids).await
        {
            known = together;
        }
        let answers = stream::iter(ids.into_iter().zip(known)).map(move |(id, known)| async move {
            let answer = match known {
                Some(is_there) => Ok(is_there),
                None => self.graphql.has_run(self.client, &id).await,
            };
            (id, answer)
        });
        answers.buffer_unordered(self.config.concurrency as usize).boxed_local()
    }
}

/// Why runs that were asked for together are not read together.
enum Apart {
    /// They are to be asked for in a company that is no larger than this.
    In(usize),
    /// W&B refuses everything for its rate.
    ShutOut(Error),
}

impl<X: Exchange, D: Destination> RunSource for GraphqlSource<'_, X, D> {
    fn name(&self) -> &'static str {
        "GraphQL"
    }

    fn list<'f>(&'f self, next: Option<&'f str>) -> Reply<'f, ListingPage> {
        self.graphql.runs(self.client, next, false).boxed_local()
    }

    fn lists_rows(&self) -> bool {
        false
    }

    fn count(&self) -> Reply<'_, Option<u64>> {
        self.graphql.run_count(self.client).boxed_local()
    }

    fn may_join(&self, others: &[Ready], next: &Ready) -> bool {
        let company = others.iter().chain([next]).map(|ready| ready.company).min().unwrap_or(1);
        let most = company.min(self.experience.most_runs());
        if others.len() >= most {
            return false;
        }
        let parts: Option<f64> = others.iter().chain([next]).map(|ready| self.part(ready)).sum();
        parts.is_some_and(|parts| parts <= 1.0)
    }

    fn read<'f>(&'f self, runs: Vec<Ready>, outlet: &'f dyn Outlet) -> LocalBoxStream<'f, Read> {
        let reads = async move {
            match self.ask_together(&runs).await {
                Ok(firsts) => {
                    let reads = stream::iter(runs.into_iter().zip(firsts));
                    reads.then(move |(ready, first)| self.read_run(ready, first, outlet)).boxed_local()
                }
                Err(Apart::In(company)) => {
                    let runs = runs.into_iter().map(|ready| Ready { company, ..ready }).collect();
                    stream::iter([Read::Apart(runs)]).boxed_local()
                }
                Err(Apart::ShutOut(error)) => {
                    let began = self.client.exchange.now();
                    let ended = runs.into_iter().map(move |Ready { listed, .. }| {
                        let (size, end) = (listed.size(), Err(error.clone()));
                        Read::Ended(Ended { id: listed.id, size, updated_at: listed.updated_at, began, end })
                    });
                    stream::iter(ended).boxed_local()
                }
            }
        };
        reads.flatten_stream().boxed_local()
    }

    fn has(&self, ids: Vec<String>) -> LocalBoxStream<'_, (String, Result<bool, Error>)> {
        let most = self.experience.most_runs().min(MOST_RUNS);
        let groups: Vec<Vec<String>> = ids.chunks(most).map(<[String]>::to_vec).collect();
        stream::iter(groups).then(|ids| self.have(ids)).flatten().boxed_local()
    }

    fn try_listing(&self) -> Reply<'_, ()> {
        async { self.graphql.page(self.client, None, 1, false).await.map(|_| ()) }.boxed_local()
    }

    fn try_reading<'f>(&'f self, id: &'f str) -> Reply<'f, bool> {
        self.graphql.has_history(self.client, id).boxed_local()
    }

    fn contradiction(&self) -> &'static str {
        "W&B lists it, but says that there is no such run when it is asked for by name"
    }

    fn key(&self) -> Reply<'_, String> {
        async { Ok(format!("The key belongs to {}", self.graphql.viewer(self.client).await?)) }.boxed_local()
    }
}
