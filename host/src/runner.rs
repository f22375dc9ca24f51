//! One sync, from the configuration to the last commit.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::connector::Connector;
use crate::destination::writer::{Writer, WriterOptions, WriterReport};
use crate::destination::{DestinationError, Preparation};
use crate::error::Error;
use crate::guest::destination::Sink;
use crate::http_client::HttpClient;
use crate::policy::Limits;
use crate::schema::Table;
use crate::session::{Call, Session};
use crate::state::State;
use crate::sync::{Level, Observer, Outcome, SyncRequest};
use crate::wit;

impl Connector {
    /// Brings a destination up to date.
    ///
    /// Whatever happens, the groups that the connector completed are stored before this returns, and the outcome tells as much as is
    /// known. After `cancel` the connector is stopped at once, wherever it is.
    pub async fn sync(
        &self,
        request: SyncRequest,
        client: &HttpClient,
        observer: Arc<dyn Observer>,
        cancel: &CancellationToken,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let spec = match self.spec().await {
            Ok(spec) => spec,
            Err(why) => {
                return Outcome { error: Some(why), ..outcome };
            }
        };
        let session = Session::open(spec, &request.config, &request.policy, client, request.pace.clone(), observer);
        let session = match session {
            Ok(session) => session.computing_in(request.lane.clone()),
            Err(why) => {
                return Outcome { error: Some(why), ..outcome };
            }
        };
        let ended = self.store(&session, request, cancel, &mut outcome).await;
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
    async fn store(
        &self,
        session: &Session,
        request: SyncRequest,
        cancel: &CancellationToken,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let SyncRequest { config: _, destination, full_refresh, policy, pace: _, lane } = request;
        let tables: Arc<[Table]> = self.tables(session, cancel).await?.into();
        let preparation = Preparation { tables: tables.to_vec(), synced_at: now(), full_refresh };
        let report = session.report.clone();
        let options = WriterOptions {
            commit_after: policy.commit_after,
            lane,
            on_commit: Box::new(move |written: &WriterReport| {
                report.committed(written.rows.clone(), written.commit_took)
            }),
            ..WriterOptions::default()
        };
        let (writer, prepared) = Writer::start(destination, preparation, options);
        let writer = Arc::new(writer);
        let read = self.read(session, &tables, &writer, prepared, policy.limits, cancel, outcome).await;
        // The guest and its sink are gone, so this is the last one.
        let Some(writer) = Arc::into_inner(writer) else {
            return Err(Error::Internal("the writer is still in use".into()));
        };
        let (written, stored) = writer.close().await;
        outcome.rows = written.rows;
        outcome.deletes = written.deletes;
        outcome.checkpoints = written.checkpoints;
        outcome.state = written.state;
        // A destination that fails also ends the guest: its error is the cause.
        stored.map_err(destination_error).and(read)
    }

    /// Runs the guest, once the destination is prepared.
    #[allow(clippy::too_many_arguments)]
    async fn read(
        &self,
        session: &Session,
        tables: &Arc<[Table]>,
        writer: &Arc<Writer>,
        prepared: oneshot::Receiver<Result<State, DestinationError>>,
        limits: Limits,
        cancel: &CancellationToken,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let state = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Interrupted),
            state = prepared => state,
        };
        let lost = |_| DestinationError::Failed("it stopped while it was being opened".into());
        let state = state.map_err(lost).flatten().map_err(destination_error)?;
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
                (outcome.items, outcome.retries) = session.report.items();
                return Err(why);
            }
        };
        wit::summarize(summary, session.report.redactor(), outcome);
        match sink {
            Some(sink) => sink.finish().await,
            None => Ok(()),
        }
    }
}

fn destination_error(error: DestinationError) -> Error {
    Error::Destination(error.to_string())
}

/// Microseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
