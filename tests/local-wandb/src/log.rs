//! The record of every request, which tests read to see what a client asked for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a request is about, told from its path and, for GraphQL, from what its query selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// `GET /projects/{entity}/{project}/runs`
    RestRuns,
    /// `GET /runs/{entity}/{project}/{run}/history`
    RestHistory,
    /// A GraphQL query of a run's history by steps (or sampled).
    GraphqlHistory,
    /// A GraphQL query of a run's parquet exports.
    GraphqlParquet,
    /// A GraphQL listing of runs.
    GraphqlRuns,
    /// A GraphQL query of one run.
    GraphqlRun,
    /// A GraphQL query of the viewer.
    GraphqlViewer,
    /// Any other GraphQL request.
    GraphqlOther,
    /// A download of an exported file.
    Storage,
    /// The SDK's log of a run.
    FileStream,
    /// The SDK's upload of a file.
    Upload,
    /// Any other path.
    Other,
}

impl RequestKind {
    /// What a path asks for; `query` is the text of a GraphQL query.
    pub fn of(path: &str, query: Option<&str>) -> Self {
        if let Some(query) = query {
            return Self::of_query(query);
        }
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            ["projects", _, _, "runs"] => RequestKind::RestRuns,
            ["runs", _, _, _, "history"] => RequestKind::RestHistory,
            ["graphql"] => RequestKind::GraphqlOther,
            ["_storage", ..] => RequestKind::Storage,
            ["_upload", ..] => RequestKind::Upload,
            ["files", .., "file_stream"] => RequestKind::FileStream,
            _ => RequestKind::Other,
        }
    }

    fn of_query(query: &str) -> Self {
        let compact: String = query.chars().filter(|c| !c.is_whitespace()).collect();
        let selects = |field: &str| compact.contains(field);
        if selects("parquetHistory(") {
            RequestKind::GraphqlParquet
        } else if selects("history(") || selects("sampledHistory(") {
            RequestKind::GraphqlHistory
        } else if selects("runs(") {
            RequestKind::GraphqlRuns
        } else if selects("run(") {
            RequestKind::GraphqlRun
        } else if selects("viewer{") {
            RequestKind::GraphqlViewer
        } else {
            RequestKind::GraphqlOther
        }
    }

    /// Whether it belongs to the `rest` dialect.
    pub fn is_rest(self) -> bool {
        matches!(self, RequestKind::RestRuns | RequestKind::RestHistory)
    }

    /// Whether it belongs to the `graphql` dialect.
    pub fn is_graphql(self) -> bool {
        use RequestKind::*;
        matches!(self, GraphqlHistory | GraphqlParquet | GraphqlRuns | GraphqlRun | GraphqlViewer | GraphqlOther)
    }

    /// Whether it reads a run's history, in whatever way.
    pub fn is_history(self) -> bool {
        use RequestKind::*;
        matches!(self, RestHistory | GraphqlHistory | GraphqlParquet | Storage)
    }

    /// Whether it lists runs.
    pub fn is_listing(self) -> bool {
        matches!(self, RequestKind::RestRuns | RequestKind::GraphqlRuns)
    }
}

/// A read of history rows that a request made; a GraphQL request can make several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRead {
    /// The run.
    pub run_id: String,
    /// The lowest step asked for, if one was.
    pub min_step: Option<i64>,
    /// The step before which to end, if one was asked for.
    pub max_step: Option<i64>,
    /// How many samples were asked for, if it was said.
    pub samples: Option<usize>,
    /// How many rows were sent.
    pub rows: usize,
    /// Whether rows were left out because fewer samples were asked for.
    pub sampled: bool,
}

/// One request and how it was answered.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// Its number, from 0, in order of arrival.
    pub number: usize,
    /// The connection it came by.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// What it asks for.
    pub kind: RequestKind,
    /// The GraphQL operation's name.
    pub operation: Option<String>,
    /// The text of the GraphQL query.
    pub query: Option<String>,
    /// The GraphQL variables.
    pub variables: Option<Value>,
    /// The run it is about.
    pub run_id: Option<String>,
    /// The runs that it is about, also where there are many.
    pub run_ids: Vec<String>,
    /// Every header, names in lower case; `authorization` included.
    pub headers: Vec<(String, String)>,
    /// The history rows it read.
    pub reads: Vec<HistoryRead>,
    /// The status sent; `None` while under way, or when the connection was cut before one.
    pub status: Option<u16>,
    /// The fault that was injected.
    pub fault: Option<String>,
    /// The size of the answer's body as made, before compression.
    pub body_bytes: usize,
    /// When it arrived, since the server's start.
    pub arrived: Duration,
    /// When its answer was ready, since the server's start.
    pub answered: Option<Duration>,
}

impl LoggedRequest {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Every request since the start, or since [`RequestLog::clear`].
#[derive(Debug)]
pub struct RequestLog {
    started: Instant,
    entries: Mutex<Vec<LoggedRequest>>,
    changed: Condvar,
    cleared: AtomicUsize,
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    max_in_flight: AtomicUsize,
}

impl Default for RequestLog {
    fn default() -> Self {
        RequestLog {
            started: Instant::now(),
            entries: Mutex::default(),
            changed: Condvar::new(),
            cleared: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            max_in_flight: AtomicUsize::new(0),
        }
    }
}

impl RequestLog {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<LoggedRequest>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the requests so far are as wanted, for at most so long; tells whether they are. Blocks the thread.
    pub fn wait_for(&self, most: Duration, is_so: impl Fn(&[LoggedRequest]) -> bool) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), most, |requests| !is_so(requests));
        let (requests, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_so(&requests)
    }

    /// Every request so far.
    pub fn all(&self) -> Vec<LoggedRequest> {
        self.lock().clone()
    }

    /// The requests that a condition holds for.
    pub fn matching(&self, condition: impl Fn(&LoggedRequest) -> bool) -> Vec<LoggedRequest> {
        self.lock().iter().filter(|request| condition(request)).cloned().collect()
    }

    /// The requests that read history, in whatever way.
    pub fn history_requests(&self) -> Vec<LoggedRequest> {
        self.matching(|request| request.kind.is_history())
    }

    /// The requests that listed runs.
    pub fn listing_requests(&self) -> Vec<LoggedRequest> {
        self.matching(|request| request.kind.is_listing())
    }

    /// Every read of history rows, in order of arrival.
    pub fn history_reads(&self) -> Vec<HistoryRead> {
        self.lock().iter().flat_map(|request| request.reads.clone()).collect()
    }

    /// How many requests there were.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the requests so far, and the most in flight; connections stay counted.
    pub fn clear(&self) {
        let mut entries = self.lock();
        self.cleared.fetch_add(entries.len(), Ordering::SeqCst);
        entries.clear();
        self.max_in_flight.store(self.in_flight.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The most requests seen under way at once.
    pub fn max_in_flight(&self) -> usize {
        self.max_in_flight.load(Ordering::SeqCst)
    }

    /// Time since the server's start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts a connection, and numbers it.
    pub(crate) fn open_connection(&self) -> usize {
        self.connections.fetch_add(1, Ordering::SeqCst)
    }

    /// Counts a request as under way until the guard is dropped.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.max_in_flight.fetch_max(now, Ordering::SeqCst);
        InFlight(&self.in_flight)
    }

    /// Notes a request's arrival, and numbers it.
    pub(crate) fn arrive(&self, mut request: LoggedRequest) -> usize {
        let mut entries = self.lock();
        request.number = self.cleared.load(Ordering::SeqCst) + entries.len();
        let number = request.number;
        entries.push(request);
        self.changed.notify_all();
        number
    }

    /// Notes how a request was answered.
    pub(crate) fn answer(&self, number: usize, note: impl FnOnce(&mut LoggedRequest)) {
        let answered = self.elapsed();
        self.note(number, |entry| {
            entry.answered = Some(answered);
            note(entry);
        });
    }

    /// Notes something about a request, unless the log was cleared since.
    pub(crate) fn note(&self, number: usize, note: impl FnOnce(&mut LoggedRequest)) {
        let mut entries = self.lock();
        let index = number.checked_sub(self.cleared.load(Ordering::SeqCst));
        if let Some(entry) = index.and_then(|index| entries.get_mut(index)) {
            note(entry);
            self.changed.notify_all();
        }
    }
}

/// A request under way.
pub(crate) struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_classed_by_what_it_selects() {
        let cases = [
            ("/projects/a/b/runs", None, RequestKind::RestRuns),
            ("/runs/a/b/c%2Fd/history", None, RequestKind::RestHistory),
            ("/graphql", Some("{project{runs(first:2){edges{node{historyLineCount}}}}}"), RequestKind::GraphqlRuns),
            ("/graphql", Some("{project{run(name:\"x\"){history (minStep:0)}}}"), RequestKind::GraphqlHistory),
            ("/graphql", Some("{project{run(name:\"x\"){historyKeys}}}"), RequestKind::GraphqlRun),
            ("/graphql", Some("{project{run(name:\"x\"){parquetHistory(liveKeys:[])}}}"), RequestKind::GraphqlParquet),
            ("/graphql", Some("query V { viewer { id } }"), RequestKind::GraphqlViewer),
            ("/files/a/b/c/file_stream", None, RequestKind::FileStream),
        ];
        for (path, query, kind) in cases {
            assert_eq!(RequestKind::of(path, query), kind, "{path} {query:?}");
        }
    }
}
