//! One sync, from the configuration to the last commit.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::component::connector::Connector;
use crate::component::spec::Spec;
use crate::destination::lost;
use crate::destination::waits::Waits;
use crate::destination::writer::{Prepared, Writer, WriterOptions, WriterReport};
use crate::destination::{Destination, DestinationError, Group, Preparation};
use crate::error::Error;
use crate::http::client::HttpClient;
use crate::imports::convert as wit;
use crate::imports::destination::Sink;
use crate::runtime::events::{Level, Observer};
use crate::runtime::instance::{Call, GRACE, Session};
use crate::runtime::outcome::Outcome;
use crate::runtime::policy::Limits;
use crate::runtime::request::{Parts, SyncRequest};
use crate::schema::Table;
use crate::state;
use crate::state::{State, StateKeys};

impl Connector {
    /// Brings `destination` up to date. `client` is the tenant's way to the network, `observer` hears what happens.
    ///
    /// Whatever happens, the groups that the connector completed are stored before this returns, and the outcome tells as much as is
    /// known. After `cancel` the connector is stopped at once, wherever it is. Only a destination that does not answer is not waited for
    /// beyond [`destination_grace`](crate::Policy::destination_grace): then the error says what is not known.
    ///
    /// To `tracing` the sync is a span `sync`, in the span that this is called in; each request to the source and each commit is a span in that.
    /// They hold names and numbers, no text of the source and no URL.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn sync(
        &self,
        request: SyncRequest,
        destination: Box<dyn Destination>,
        client: &HttpClient,
        observer: Arc<dyn Observer>,
        cancel: &CancellationToken,
    ) -> Outcome {
        let span = sync_span();
        let outcome = self.watched(request, destination, client, observer, cancel).instrument(span.clone()).await;
        record(&span, &outcome);
        outcome
    }

    async fn watched(
        &self,
        request: SyncRequest,
        destination: Box<dyn Destination>,
        client: &HttpClient,
        observer: Arc<dyn Observer>,
        cancel: &CancellationToken,
    ) -> Outcome {
        let opened = async {
            let spec = self.spec().await?;
            let parts = request.into_parts(spec)?;
            let session = Session::open(spec, &parts.config, &parts.policy, client, observer)?;
            Ok((session, parts))
        };
        let (session, parts) = match opened.await {
            Ok(opened) => opened,
            Err(why) => return Outcome::failed(why),
        };
        let mut outcome = Outcome::default();
        let ended = self.store(&session, parts, destination, client, cancel, &mut outcome).await;
        let hidden = session.gate.mask().hidden();
        if hidden > 0 {
            let places = if hidden == 1 { "one place".to_owned() } else { format!("{hidden} places") };
            let line =
                format!("a secret of the configuration was found in {places} of responses and rows; stars stand there");
            session.report.line(Level::Warning, &line);
        }
        session.report.finish();
        outcome.error = ended.err().map(|why| session.clean(session.explain(why)));
        outcome.requests = session.gate.quota().requests();
        (outcome.bytes_in, outcome.bytes_out) = session.gate.quota().bytes();
        outcome.throttled = session.gate.told_waits();
        outcome.cpu_time = session.usage.cpu_time();
        outcome.memory = session.usage.memory();
        outcome.elapsed = session.elapsed();
        outcome
    }

    /// Runs the guest beside the writer, and brings both to their end.
    #[allow(clippy::too_many_arguments)]
    async fn store(
        &self,
        session: &Session,
        parts: Parts,
        destination: Box<dyn Destination>,
        client: &HttpClient,
        cancel: &CancellationToken,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let Parts { config: _, full_refresh, policy } = parts;
        // Read before, and kept.
        let spec = self.spec().await?;
        let tables: Arc<[Table]> = self.tables(session, cancel).await?.into();
        let preparation = Preparation { tables: tables.to_vec(), synced_at: now(), full_refresh };
        let over = CancellationToken::new();
        let (report, told) = (session.report.clone(), session.report.clone());
        let options = WriterOptions {
            commit_after: policy.commit_after,
            gate: client.gate().clone(),
            waits: Waits::new(over.clone(), move |line| told.line(Level::Warning, line)),
            on_commit: Box::new(move |written: &WriterReport| {
                report.committed(written.rows.clone(), written.commit_took)
            }),
            ..WriterOptions::default()
        };
        let (writer, prepared) = Writer::start(destination, preparation, options);
        let writer = Arc::new(writer);
        let (read, grace) = match opened(session, prepared, cancel).await {
            Ok(prepared) => {
                let read = match forget_lost(session, &writer, prepared, spec.state()).await {
                    Ok(state) => {
                        self.read(session, spec, &tables, &writer, state, policy.limits, cancel, outcome).await
                    }
                    Err(why) => Err(why),
                };
                (read, policy.destination_grace)
            }
            // Nothing was begun that it could bring to an end.
            Err(why) => (Err(why), policy.destination_grace.min(GRACE)),
        };
        // The guest and its sink are gone, so this is the last one.
        let Some(writer) = Arc::into_inner(writer) else {
            return Err(Error::Internal("the writer is still in use".into()));
        };
        let given_up = async {
            session.end_of_time(cancel).await;
            over.cancel();
            tokio::time::sleep(grace).await;
        };
        let (written, stored) = writer.close_unless(given_up).await;
        outcome.rows = written.rows;
        outcome.deletes = written.deletes;
        outcome.checkpoints = written.checkpoints;
        outcome.state = written.state;
        if let Err(DestinationError::Stopped(why)) = stored {
            // Not the destination's fault: it gave up since the sync had to end.
            session.report.line(Level::Warning, &why);
            return Err(match read {
                Err(why) => why,
                Ok(()) => session.end_of_time(cancel).await,
            });
        }
        // A destination that fails also ends the guest: its error is the cause.
        stored.map_err(destination_error).and(read)
    }

    /// Runs the guest, once the destination is prepared.
    #[allow(clippy::too_many_arguments)]
    async fn read(
        &self,
        session: &Session,
        spec: &Spec,
        tables: &Arc<[Table]>,
        writer: &Arc<Writer>,
        state: State,
        limits: Limits,
        cancel: &CancellationToken,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let sink = Sink::new(tables.clone(), writer.clone(), limits, session.gate.mask().clone(), &state);
        let config = session.config();
        let state: Vec<(String, String)> = state.into_iter().collect();
        let call: Call<_> = Box::new(move |world, store| {
            Box::pin(async move { world.elt_connector_source().call_sync(store, &config, &state).await })
        });
        let (returned, sink) = self.call(session, Some(sink), cancel, call).await;
        let summary = returned.and_then(|returned| returned.map_err(wit::error));
        let summary = match summary {
            Ok(summary) => summary,
            Err(why) => {
                (outcome.items, outcome.retries) = session.report.items(spec.items());
                return Err(why);
            }
        };
        wit::summarize(summary, spec.items(), session.report.redactor(), outcome);
        let Some(sink) = sink else { return Ok(()) };
        tokio::select! {
            biased;
            reason = session.end_of_time(cancel) => Err(reason),
            sent = sink.finish() => sent,
        }
    }
}

/// The span of a sync, whose end is not known yet.
fn sync_span() -> Span {
    tracing::info_span!(
        "sync",
        sync.outcome = Empty,
        sync.rows = Empty,
        sync.requests = Empty,
        sync.retries = Empty,
        sync.checkpoints = Empty,
        sync.left_out = Empty,
        error.type = Empty,
    )
}

fn record(span: &Span, outcome: &Outcome) {
    let left_out = outcome.items.quarantined.max(outcome.quarantined.len() as u64);
    let ended = match &outcome.error {
        Some(error) => error.kind().name(),
        None if left_out > 0 => "partial",
        None => "ok",
    };
    span.record("sync.outcome", ended);
    span.record("sync.rows", outcome.rows.values().sum::<u64>());
    span.record("sync.requests", outcome.requests);
    span.record("sync.retries", outcome.retries);
    span.record("sync.checkpoints", outcome.checkpoints);
    span.record("sync.left_out", left_out);
    if outcome.error.is_some() {
        span.record("error.type", ended);
    }
}

/// Waits until the destination is prepared, and says what it holds.
async fn opened(
    session: &Session,
    prepared: oneshot::Receiver<Result<Prepared, DestinationError>>,
    cancel: &CancellationToken,
) -> Result<Prepared, Error> {
    let found = tokio::select! {
        biased;
        reason = session.end_of_time(cancel) => return Err(reason),
        found = prepared => found,
    };
    let stopped = |_| DestinationError::Failed("it stopped while it was being opened".into());
    found.map_err(stopped).flatten().map_err(destination_error)
}

/// The stored state without what it says of tables that are lost.
async fn forget_lost(
    session: &Session,
    writer: &Writer,
    prepared: Prepared,
    keys: Option<&StateKeys>,
) -> Result<State, Error> {
    let Prepared { mut state, lost } = prepared;
    if let Some(patch) = lost::forget(&state, &lost, keys) {
        let notice = lost::notice(&lost);
        session.report.line(Level::Warning, &format!("{notice}; all that is still at the source is read again"));
        state::apply(&mut state, patch.clone());
        let group = Group { changes: Vec::new(), patch };
        writer.send(group).await.map_err(destination_error)?;
    }
    Ok(state)
}

fn destination_error(error: DestinationError) -> Error {
    Error::Destination(error.to_string())
}

/// Microseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
