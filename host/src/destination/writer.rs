//! Runs a destination on a thread of its own, so that storing goes on beside the guest.
//!
//! Groups wait in a channel whose *bytes* are bounded: [`Writer::send`] waits while too much is queued, which holds the
//! guest back. The thread has no async runtime. It commits when enough rows are applied or enough time has passed since
//! the first of them, whether or not more arrives, and once more at the end.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Change, Destination, DestinationError, Group, Preparation};
use crate::state::{self, State, StatePatch};

/// A semaphore counts in this many bytes, since one call takes at most 2^32 permits.
const UNIT: usize = 1 << 10;

/// Bytes of groups that wait for the destination. Beside one group being gathered and one being written, this is what a
/// sync keeps of the data in the host's memory.
const QUEUE_BYTES: usize = 8 << 20;
/// A transaction ends with this many rows: enough for its costs not to matter, few enough to be stored within a second or two.
const COMMIT_ROWS: u64 = 250_000;
/// Or at this age, which is what a crash can lose.
pub(crate) const COMMIT_AFTER: Duration = Duration::from_secs(5);

/// Runs a destination on its own thread. Groups wait in a channel bounded in bytes.
///
/// Dropped without [`close`](Writer::close), it still stores the groups that were sent, in the background.
pub struct Writer {
    queue: mpsc::Sender<Queued>,
    space: Arc<Semaphore>,
    units: usize,
    failure: Arc<OnceLock<DestinationError>>,
    end: oneshot::Receiver<(WriterReport, Result<(), DestinationError>)>,
    thread: JoinHandle<()>,
}

/// How a [`Writer`] queues and commits.
pub struct WriterOptions {
    /// Bytes of groups that may wait. A larger group waits until the queue is empty and passes alone.
    pub queue_bytes: usize,
    /// Rows after which a transaction is committed.
    pub commit_rows: u64,
    /// Age at which a transaction is committed, however few its rows.
    pub commit_after: Duration,
    /// Called on the writer's thread after each commit.
    pub on_commit: Box<dyn Fn(&WriterReport) + Send>,
}

impl Default for WriterOptions {
    /// As a sync has them: 8 MiB in the queue, a commit every 250,000 rows or 5 seconds.
    fn default() -> Self {
        Self {
            queue_bytes: QUEUE_BYTES,
            commit_rows: COMMIT_ROWS,
            commit_after: COMMIT_AFTER,
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

struct Queued {
    group: Group,
    // Given back when the group has been applied and its memory is free.
    _space: OwnedSemaphorePermit,
}

impl Writer {
    /// Starts the thread, which prepares the destination first and sends the result: the state, or why the sync can't be.
    pub fn start(
        destination: Box<dyn Destination>,
        preparation: Preparation,
        options: WriterOptions,
    ) -> (Self, oneshot::Receiver<Result<State, DestinationError>>) {
        let units = (options.queue_bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let space = Arc::new(Semaphore::new(units));
        let failure = Arc::new(OnceLock::new());
        let (queue, groups) = mpsc::channel();
        let (prepared, preparation_result) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let closer = CloseOnDrop(space.clone());
        let first_failure = failure.clone();
        let thread = std::thread::spawn(move || {
            // Dropped last, also when the destination panics: nobody waits for space that never comes.
            let _closer = closer;
            let mut work = Work::new(destination, &preparation, options);
            let result = work.run(preparation, prepared, &groups);
            if let Err(error) = &result {
                let _ = first_failure.set(error.clone());
            }
            let report = work.report;
            // Lets go of the destination's locks before anyone hears of the end.
            drop(work.destination);
            let _ = ended.send((report, result));
        });
        (Self { queue, space, units, failure, end, thread }, preparation_result)
    }

    /// Waits until the group fits into the queue, then queues it. After the destination's first failure it returns that.
    pub async fn send(&self, group: Group) -> Result<(), DestinationError> {
        let units = group.bytes().div_ceil(UNIT).clamp(1, self.units) as u32;
        let space = self.space.clone().acquire_many_owned(units).await.map_err(|_| self.failure())?;
        self.queue.send(Queued { group, _space: space }).map_err(|_| self.failure())
    }

    /// Writes what is queued, commits, finishes and joins. Returns what was made durable, also when something failed.
    pub async fn close(self) -> (WriterReport, Result<(), DestinationError>) {
        drop(self.queue);
        let end = self.end.await;
        let joined = self.thread.join();
        match (end, joined) {
            (Ok(end), Ok(())) => end,
            _ => (WriterReport::default(), Err(stopped())),
        }
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

/// What the thread works on.
struct Work {
    destination: Box<dyn Destination>,
    tables: Vec<String>,
    options: WriterOptions,
    report: WriterReport,
    transaction: Option<Transaction>,
}

/// What is applied and not yet committed.
struct Transaction {
    began: Instant,
    rows: BTreeMap<usize, u64>,
    deletes: BTreeMap<usize, u64>,
    patches: Vec<StatePatch>,
}

impl Work {
    fn new(destination: Box<dyn Destination>, preparation: &Preparation, options: WriterOptions) -> Self {
        let tables = preparation.tables.iter().map(|table| table.name().to_owned()).collect();
        Self { destination, tables, options, report: WriterReport::default(), transaction: None }
    }

    fn run(
        &mut self,
        preparation: Preparation,
        prepared: oneshot::Sender<Result<State, DestinationError>>,
        groups: &mpsc::Receiver<Queued>,
    ) -> Result<(), DestinationError> {
        match self.destination.prepare(preparation) {
            Ok(state) => {
                self.report.state.clone_from(&state);
                let _ = prepared.send(Ok(state));
            }
            Err(error) => {
                let _ = prepared.send(Err(error.clone()));
                return Err(error);
            }
        }
        while let Some(wait) = self.next(groups) {
            if let Some(queued) = wait {
                self.apply(queued)?;
            }
            if self.is_due() {
                self.commit()?;
            }
        }
        self.commit()?;
        self.destination.finish()
    }

    /// The next group; `Some(None)` when the transaction came of age first, none at the end.
    fn next(&self, groups: &mpsc::Receiver<Queued>) -> Option<Option<Queued>> {
        let Some(transaction) = &self.transaction else {
            return groups.recv().ok().map(Some);
        };
        match groups.recv_timeout(self.options.commit_after.saturating_sub(transaction.began.elapsed())) {
            Ok(queued) => Some(Some(queued)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn apply(&mut self, queued: Queued) -> Result<(), DestinationError> {
        let transaction = self.transaction.get_or_insert_with(|| Transaction {
            began: Instant::now(),
            rows: BTreeMap::new(),
            deletes: BTreeMap::new(),
            patches: Vec::new(),
        });
        for change in &queued.group.changes {
            let counts = match change {
                Change::Upsert { .. } => &mut transaction.rows,
                Change::Delete { .. } => &mut transaction.deletes,
            };
            *counts.entry(change.table()).or_default() += change.batch().num_rows() as u64;
        }
        transaction.patches.push(queued.group.patch.clone());
        self.destination.apply(queued.group)
    }

    fn is_due(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| {
            transaction.rows.values().sum::<u64>() >= self.options.commit_rows
                || transaction.began.elapsed() >= self.options.commit_after
        })
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        let Some(transaction) = self.transaction.take() else {
            return Ok(());
        };
        let began = Instant::now();
        self.destination.commit()?;
        self.report.commit_took = began.elapsed();
        let name = |table: usize| self.tables.get(table).cloned().unwrap_or_default();
        for (table, count) in transaction.rows {
            *self.report.rows.entry(name(table)).or_default() += count;
        }
        for (table, count) in transaction.deletes {
            *self.report.deletes.entry(name(table)).or_default() += count;
        }
        for patch in transaction.patches {
            self.report.checkpoints += 1;
            state::apply(&mut self.report.state, patch);
        }
        (self.options.on_commit)(&self.report);
        Ok(())
    }
}
