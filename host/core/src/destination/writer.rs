//! Runs a destination beside the guest, so that storing goes on while the guest reads.
//!
//! Groups wait in a channel whose *bytes* are bounded: [`Writer::send`] waits while too much is queued, which holds the
//! guest back. A destination blocks, so it works on one of the runtime's blocking threads; while there is nothing to be
//! written it holds none, which is what lets a process keep hundreds of syncs that mostly wait for their sources. It
//! commits when enough rows or bytes are applied or enough time has passed since the first of them, whether or not more
//! arrives, and once more at the end.
//!
//! A destination can get stuck in a call: a disk or a server that does not answer. Nothing can stop its thread, but nobody has to wait for
//! it: [`Writer::close_unless`] leaves it to itself, and says what is not known then.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use elt_support::thread_clock::cpu_time;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::Span;
use tracing::field::Empty;

use super::waits::Waits;
use super::{Change, Destination, DestinationError, Group, LostTable, Preparation};
use crate::error::ErrorKind;
use crate::http::rate_gate::{RateGate, Ungated};
use crate::state;
use crate::state::{MergedPatch, State};

/// A semaphore counts in this many bytes, since one call takes at most 2^32 permits.
const UNIT: usize = 1 << 10;

/// Bytes of groups that wait for the destination. Beside one group being gathered and one being written, this is what a
/// sync keeps of the data in the host's memory.
const QUEUE_BYTES: usize = 8 << 20;
/// A transaction ends with this many rows: enough for its costs not to matter, few enough to be stored within a second or two.
const COMMIT_ROWS: u64 = 250_000;
/// Or with so many bytes of rows and state: ten times what that many rows of numbers take. A destination may have to keep all of them.
const COMMIT_BYTES: usize = 64 << 20;
/// Or at this age, which is what a crash can lose.
pub(crate) const COMMIT_AFTER: Duration = Duration::from_secs(5);
/// How long a thread waits for another group before it is given back: a sync that sends group after group keeps its thread.
const LINGER: Duration = Duration::from_millis(1);

/// Runs a destination. Groups wait in a channel bounded in bytes.
///
/// Dropped without [`close`](Writer::close), it still stores the groups that were sent, in the background, as long as the runtime
/// lives.
pub struct Writer {
    queue: mpsc::UnboundedSender<Queued>,
    space: Arc<Semaphore>,
    units: usize,
    failure: Arc<OnceLock<DestinationError>>,
    end: oneshot::Receiver<Result<(), DestinationError>>,
    progress: Arc<Progress>,
}

/// How a [`Writer`] queues and commits.
pub struct WriterOptions {
    /// Bytes of groups that may wait. A larger group waits until the queue is empty and passes alone.
    pub queue_bytes: usize,
    /// Rows after which a transaction is committed.
    pub commit_rows: u64,
    /// Bytes of rows and state after which it is.
    pub commit_bytes: usize,
    /// Age at which a transaction is committed, however few its rows.
    pub commit_after: Duration,
    /// Where it is done, and who hears how much is computed.
    pub gate: Arc<dyn RateGate>,
    /// What the destination does while others are in its way.
    pub waits: Waits,
    /// Called after each commit, on the thread that did it.
    pub on_commit: Box<dyn Fn(&WriterReport) + Send>,
}

impl Default for WriterOptions {
    /// As a sync has them: 8 MiB in the queue, a commit every 250,000 rows, 64 MiB or 5 seconds.
    fn default() -> Self {
        Self {
            queue_bytes: QUEUE_BYTES,
            commit_rows: COMMIT_ROWS,
            commit_bytes: COMMIT_BYTES,
            commit_after: COMMIT_AFTER,
            gate: Arc::new(Ungated),
            waits: Waits::default(),
            on_commit: Box::new(|_| {}),
        }
    }
}

/// What a [`Writer`] has made durable. Only what is committed counts.
#[derive(Debug, Clone, Default)]
pub struct WriterReport {
    /// Rows upserted, by table.
    pub rows: BTreeMap<String, u64>,
    /// Keys deleted, by table; not rows that vanished.
    pub deletes: BTreeMap<String, u64>,
    /// Groups, which end with a checkpoint each.
    pub checkpoints: u64,
    /// The state after the last commit.
    pub state: State,
    /// How long the last commit took.
    pub commit_took: Duration,
}

/// How far a writer is, for those who do not want to wait until it comes to an end.
#[derive(Default)]
struct Progress {
    report: Mutex<WriterReport>,
    doing: Mutex<Doing>,
}

/// Which call of the destination may be under way.
#[derive(Debug, Clone, Copy, Default)]
enum Doing {
    #[default]
    Prepare,
    Write,
    Commit,
    Finish,
}

impl Progress {
    fn report(&self) -> MutexGuard<'_, WriterReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn does(&self, doing: Doing) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }

    /// What to say of a destination that is left in the middle of a call.
    fn stuck(&self) -> DestinationError {
        let groups = self.report().checkpoints;
        let stored = format!("{groups} checkpoint(s) are stored for certain");
        let (what, known) = match *self.doing.lock().unwrap_or_else(PoisonError::into_inner) {
            Doing::Prepare => ("being opened", "nothing of this sync is in it".to_owned()),
            Doing::Write => {
                ("being written to", format!("{stored}; whether what came after them will be is not known"))
            }
            Doing::Commit => ("committing", format!("{stored}; whether the last commit took place is not known")),
            Doing::Finish => (
                "being closed",
                format!(
                    "{stored}, which is everything that came; whether all of it would survive a loss of power is not known"
                ),
            ),
        };
        DestinationError::Failed(format!(
            "the destination does not answer: it was {what} when the sync had to end, and was left so. {known}. See whether its disk or \
             server is well; until it answers or this process ends it may keep its lock."
        ))
    }
}

/// What a destination holds before its first group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prepared {
    /// The stored state; empty for a full refresh.
    pub state: State,
    /// Tables that the state may answer for and that are lost.
    pub lost: Vec<LostTable>,
}

struct Queued {
    group: Group,
    // Given back when the group has been applied and its memory is free.
    _space: OwnedSemaphorePermit,
}

impl Writer {
    /// Prepares the destination first and sends the result: what it holds, or why the sync can't be.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        destination: Box<dyn Destination>,
        preparation: Preparation,
        options: WriterOptions,
    ) -> (Self, oneshot::Receiver<Result<Prepared, DestinationError>>) {
        let units = (options.queue_bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let space = Arc::new(Semaphore::new(units));
        let failure = Arc::new(OnceLock::new());
        let (queue, groups) = mpsc::unbounded_channel();
        let (prepared, preparation_result) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let closer = CloseOnDrop(space.clone());
        let progress = Arc::<Progress>::default();
        let work = Work::new(destination, &preparation, options, groups, progress.clone());
        let first_failure = failure.clone();
        tokio::spawn(async move {
            // Dropped last, also when the destination panics: nobody waits for space that never comes.
            let _closer = closer;
            if let Some(end) = work.run(preparation, prepared, &first_failure).await {
                let _ = ended.send(end);
            }
        });
        (Self { queue, space, units, failure, end, progress }, preparation_result)
    }

    /// Waits until the group fits into the queue, then queues it. After the destination's first failure it returns that.
    ///
    /// # Errors
    /// The destination's first failure.
    pub async fn send(&self, group: Group) -> Result<(), DestinationError> {
        let units = group.bytes().div_ceil(UNIT).clamp(1, self.units) as u32;
        let space = self.space.clone().acquire_many_owned(units).await.map_err(|_| self.failure())?;
        self.queue.send(Queued { group, _space: space }).map_err(|_| self.failure())
    }

    /// Writes what is queued, commits and finishes. Returns what was made durable, also when something failed.
    pub async fn close(self) -> (WriterReport, Result<(), DestinationError>) {
        self.close_unless(pending()).await
    }

    /// The same, unless `given_up` ends first: then the destination is stuck, is left to itself, and may still store what it was given. The
    /// error says what is not known.
    pub async fn close_unless(
        self,
        given_up: impl Future<Output = ()>,
    ) -> (WriterReport, Result<(), DestinationError>) {
        let Self { queue, end, progress, .. } = self;
        drop(queue);
        let done = tokio::select! {
            biased;
            done = end => done.unwrap_or_else(|_| Err(stopped())),
            () = given_up => Err(progress.stuck()),
        };
        let report = progress.report().clone();
        (report, done)
    }

    fn failure(&self) -> DestinationError {
        self.failure.get().cloned().unwrap_or_else(stopped)
    }
}

fn stopped() -> DestinationError {
    DestinationError::Failed("the writer stopped unexpectedly; this is a fault of the host".to_owned())
}

struct CloseOnDrop(Arc<Semaphore>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What goes from thread to thread.
struct Work {
    destination: Box<dyn Destination>,
    groups: mpsc::UnboundedReceiver<Queued>,
    tables: Vec<String>,
    options: WriterOptions,
    progress: Arc<Progress>,
    transaction: Option<Transaction>,
    /// That of the sync.
    span: Span,
}

/// What is applied and not yet committed.
struct Transaction {
    began: Instant,
    bytes: usize,
    rows: BTreeMap<usize, u64>,
    deletes: BTreeMap<usize, u64>,
    groups: u64,
    patch: MergedPatch,
}

/// Does `job` on a thread that may block, and tells what it computed. None when it panicked.
async fn counted<R: Send + 'static>(gate: Arc<dyn RateGate>, job: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    let (done, result) = oneshot::channel();
    let heard = gate.clone();
    let timed = move || {
        let began = cpu_time();
        let result = job();
        heard.computed(cpu_time().saturating_sub(began));
        // Nobody listens any more where the runtime is going down.
        let _ = done.send(result);
    };
    gate.block(Box::new(timed)).await;
    result.await.ok()
}

/// Does `job` on a thread that may block. None when the destination panicked, and `work` is gone.
async fn blocking<R: Send + 'static>(
    mut work: Work,
    job: impl FnOnce(&mut Work) -> R + Send + 'static,
) -> Option<(Work, R)> {
    let gate = work.options.gate.clone();
    let done = counted(gate, move || {
        let result = job(&mut work);
        (work, result)
    });
    done.await
}

impl Work {
    fn new(
        destination: Box<dyn Destination>,
        preparation: &Preparation,
        options: WriterOptions,
        groups: mpsc::UnboundedReceiver<Queued>,
        progress: Arc<Progress>,
    ) -> Self {
        let tables = preparation.tables.iter().map(|table| table.name().to_owned()).collect();
        Self { destination, groups, tables, options, progress, transaction: None, span: Span::current() }
    }

    /// From the preparation to the end. None when the destination panicked.
    async fn run(
        self,
        preparation: Preparation,
        prepared: oneshot::Sender<Result<Prepared, DestinationError>>,
        first_failure: &OnceLock<DestinationError>,
    ) -> Option<Result<(), DestinationError>> {
        let (mut work, mut done) = blocking(self, |work| work.prepare(preparation, prepared)).await?;
        while done.is_ok() {
            let Some(next) = work.next().await else {
                (work, done) = blocking(work, Self::finish).await?;
                break;
            };
            (work, done) = blocking(work, |work| work.write(next)).await?;
        }
        if let Err(error) = &done {
            // Before the queue is closed, so that senders find it.
            let _ = first_failure.set(error.clone());
        }
        // Lets go of the destination's locks before anyone hears of the end.
        counted(work.options.gate.clone(), move || drop(work.destination)).await?;
        Some(done)
    }

    fn prepare(
        &mut self,
        preparation: Preparation,
        prepared: oneshot::Sender<Result<Prepared, DestinationError>>,
    ) -> Result<(), DestinationError> {
        self.destination.wait_with(self.options.waits.clone());
        let full_refresh = preparation.full_refresh;
        let found = self.destination.prepare(preparation).and_then(|state| {
            let lost = if full_refresh { Vec::new() } else { self.destination.lost_tables()? };
            Ok(Prepared { state, lost })
        });
        if let Ok(found) = &found {
            self.progress.report().state.clone_from(&found.state);
        }
        let done = found.as_ref().map(|_| ()).map_err(Clone::clone);
        self.progress.does(Doing::Write);
        let _ = prepared.send(found);
        done
    }

    /// The next group; `Some(None)` when the transaction came of age first, none at the end.
    async fn next(&mut self) -> Option<Option<Queued>> {
        let Some(transaction) = &self.transaction else {
            return self.groups.recv().await.map(Some);
        };
        let left = self.options.commit_after.saturating_sub(transaction.began.elapsed());
        timeout(left, self.groups.recv()).await.map_or(Some(None), |group| group.map(Some))
    }

    /// Writes `next` and what else is queued, or comes at once; at most until a transaction is committed, so that other writers get
    /// the thread too.
    fn write(&mut self, mut next: Option<Queued>) -> Result<(), DestinationError> {
        loop {
            if let Some(queued) = next {
                self.apply(queued)?;
            }
            if self.is_due() {
                return self.commit();
            }
            let soon = timeout(LINGER, self.groups.recv());
            match tokio::runtime::Handle::current().block_on(soon) {
                Ok(Some(queued)) => next = Some(queued),
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.commit()?;
        self.progress.does(Doing::Finish);
        self.destination.finish()
    }

    fn apply(&mut self, queued: Queued) -> Result<(), DestinationError> {
        let transaction = self.transaction.get_or_insert_with(|| Transaction {
            began: Instant::now(),
            bytes: 0,
            rows: BTreeMap::new(),
            deletes: BTreeMap::new(),
            groups: 0,
            patch: MergedPatch::new(),
        });
        transaction.bytes = transaction.bytes.saturating_add(queued.group.bytes());
        transaction.groups += 1;
        for change in &queued.group.changes {
            let counts = match change {
                Change::Upsert { .. } => &mut transaction.rows,
                Change::Delete { .. } => &mut transaction.deletes,
            };
            *counts.entry(change.table()).or_default() += change.batch().num_rows() as u64;
        }
        transaction.patch.extend(queued.group.patch.iter().cloned());
        self.destination.apply(queued.group)
    }

    fn is_due(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| {
            transaction.rows.values().sum::<u64>() >= self.options.commit_rows
                || transaction.bytes >= self.options.commit_bytes
                || transaction.began.elapsed() >= self.options.commit_after
        })
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        let Some(transaction) = self.transaction.take() else {
            return Ok(());
        };
        let began = Instant::now();
        self.progress.does(Doing::Commit);
        let rows = transaction.rows.values().sum::<u64>();
        let span = tracing::debug_span!(parent: &self.span, "commit", commit.rows = rows, error.type = Empty);
        let committed = span.in_scope(|| self.destination.commit());
        if committed.is_err() {
            span.record("error.type", ErrorKind::Destination.name());
        }
        drop(span);
        committed?;
        self.progress.does(Doing::Write);
        let mut report = self.progress.report();
        report.commit_took = began.elapsed();
        let name = |table: usize| self.tables.get(table).cloned().unwrap_or_default();
        for (table, count) in transaction.rows {
            *report.rows.entry(name(table)).or_default() += count;
        }
        for (table, count) in transaction.deletes {
            *report.deletes.entry(name(table)).or_default() += count;
        }
        report.checkpoints += transaction.groups;
        state::apply(&mut report.state, transaction.patch);
        (self.options.on_commit)(&report);
        Ok(())
    }
}
