//! Rules that make chosen requests go wrong, and hooks that change data at a chosen moment.
//!
//! A rule is a [`Matcher`] (which requests, and which of those) and a [`Fault`] (what happens to them). The first rule
//! that fires decides. How each fault looks on the wire is in `fault_wire.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::log::RequestKind;
use super::random::Random;
use super::server::{Request, Shared};

pub(crate) use super::fault_wire::send;

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// That status, those headers and that body instead of the answer.
    Status(u16, Vec<(String, String)>, String),
    /// 200 with that content type and body: HTML, malformed JSON, invalid UTF-8.
    Body(String, Vec<u8>),
    /// The connection is reset before an answer.
    ResetBefore,
    /// The connection is reset after so many bytes of the body.
    ResetAfter(usize),
    /// The connection ends cleanly after so many bytes of a body whose length was declared right.
    Truncate(usize),
    /// The declared length is this, whatever the body's.
    ContentLength(u64),
    /// Nothing is sent for this long, then the answer.
    Stall(Duration),
    /// Nothing happens until the semaphore is closed.
    Hold(Arc<Semaphore>),
    /// Nothing follows so many bytes of the body for this long, then the rest does.
    StallAfter(usize, Duration),
    /// The body comes in pieces of so many bytes, one each time this long has passed.
    Drip(usize, Duration),
    /// A redirect with that status to that URL.
    Redirect(u16, String),
    /// The answer's body, cut after so many bytes and sent as if whole.
    CutBody(usize),
    /// GraphQL `errors` (this JSON list) in a 200 without data.
    Errors(String),
    /// A GraphQL error with these members (a JSON object) and a `path` to the run of this id, which is null. What else was asked for comes.
    RunError(String, String),
    /// The same, with the whole project null.
    SpreadRunError(String, String),
    /// GraphQL `errors` (this JSON list) beside the answer's data.
    ErrorsBesideData(String),
    /// The page says that this URL (REST) or cursor (GraphQL) is the next.
    Next(String),
    /// The page says that it is its own next.
    Cycle,
    /// The page is as it should be, but always has a next one.
    EndlessPages,
    /// The page is empty, and always has a next one.
    EndlessEmptyPages,
    /// The page is empty, and has a next one that lies further on: as when runs are hidden from the key, but without end.
    EndlessHiddenPages,
    /// The listing shows this JSON where the run of this id is: in place of the run (REST) or of the node (GraphQL).
    OddEntry(String, String),
    /// The listing shows this JSON in place of the edge (GraphQL) that holds the run of this id.
    OddEdge(String, String),
    /// The listing leaves out the run of this id, which is still there: as when pages shift while they are read.
    HideRun(String),
    /// Gzip that unpacks to so many bytes of spaces.
    GzipBomb(usize),
    /// JSON nested so deep.
    DeepJson(usize),
}

impl Fault {
    /// 429, with `Retry-After` when given.
    pub fn rate_limited(retry_after: Option<&str>) -> Self {
        let headers = retry_after.map(|wait| ("retry-after".to_owned(), wait.to_owned()));
        Fault::Status(429, headers.into_iter().collect(), r#"{"error":"rate limit exceeded"}"#.to_owned())
    }

    /// That status with a short JSON body.
    pub fn status(status: u16) -> Self {
        Fault::Status(status, Vec::new(), format!("{{\"error\":\"status {status}\"}}"))
    }

    /// 200 with a page for people, as a captive portal or a proxy answers.
    pub fn html() -> Self {
        Fault::Body("text/html".to_owned(), b"<!doctype html><title>Sign in</title><p>Please sign in.".to_vec())
    }

    /// 200 with JSON that ends too early.
    pub fn malformed_json() -> Self {
        Fault::Body("application/json".to_owned(), b"{\"runs\":[{\"id\":".to_vec())
    }

    /// 200 with a JSON string that is not UTF-8.
    pub fn invalid_utf8() -> Self {
        Fault::Body("application/json".to_owned(), b"{\"runs\":[],\"data\":null,\"x\":\"\xff\xfe\"}".to_vec())
    }

    /// GraphQL errors in a 200, as objects with these messages.
    pub fn errors(messages: &[&str]) -> Self {
        let errors: Vec<_> = messages.iter().map(|message| serde_json::json!({ "message": message })).collect();
        Fault::Errors(serde_json::Value::from(errors).to_string())
    }

    /// GraphQL errors in a 200, as bare strings.
    pub fn string_errors(messages: &[&str]) -> Self {
        Fault::Errors(serde_json::json!(messages).to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Status(status, ..) => write!(f, "status {status}"),
            Fault::Body(kind, _) => write!(f, "{kind} body"),
            Fault::GzipBomb(bytes) => write!(f, "gzip bomb of {bytes} bytes"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Which of the requests that match.
#[derive(Clone, Debug)]
pub enum When {
    /// Each.
    Always,
    /// The n-th, from 1.
    Nth(usize),
    /// The first n.
    First(usize),
    /// All after the first n.
    After(usize),
    /// Every n-th.
    Every(usize),
    /// Each with this probability, drawn from this seed.
    Probability(f64, u64),
}

/// Which requests. `Matcher::any()` narrowed by its methods.
#[derive(Clone, Debug)]
pub struct Matcher {
    kinds: Option<Vec<RequestKind>>,
    path: Option<String>,
    operation: Option<String>,
    run_id: Option<String>,
    more_runs_than: Option<usize>,
    when: When,
    seen: usize,
    random: Random,
}

impl Matcher {
    /// Every request.
    pub fn any() -> Self {
        Matcher {
            kinds: None,
            path: None,
            operation: None,
            run_id: None,
            more_runs_than: None,
            when: When::Always,
            seen: 0,
            random: Random::new(0),
        }
    }

    /// Requests of these kinds.
    pub fn kinds(kinds: &[RequestKind]) -> Self {
        Matcher { kinds: Some(kinds.to_vec()), ..Matcher::any() }
    }

    /// Listings of runs, in both dialects.
    pub fn listing() -> Self {
        Matcher::kinds(&[RequestKind::RestRuns, RequestKind::GraphqlRuns])
    }

    /// Reads of history over the API, in both dialects.
    pub fn history() -> Self {
        Matcher::kinds(&[RequestKind::RestHistory, RequestKind::GraphqlHistory])
    }

    /// Only those whose path and query contain this.
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only that GraphQL operation.
    pub fn operation(mut self, name: &str) -> Self {
        self.operation = Some(name.to_owned());
        self
    }

    /// Only those about that run, alone or among others.
    pub fn run(mut self, id: &str) -> Self {
        self.run_id = Some(id.to_owned());
        self
    }

    /// Only those about more runs than that at once.
    pub fn more_runs_than(mut self, most: usize) -> Self {
        self.more_runs_than = Some(most);
        self
    }

    /// Only these of the matching ones.
    pub fn when(mut self, when: When) -> Self {
        if let When::Probability(_, seed) = when {
            self.random = Random::new(seed);
        }
        self.when = when;
        self
    }

    fn describes(&self, request: &Request) -> bool {
        let path = request.uri.path_and_query().map(|it| it.as_str()).unwrap_or_default();
        let operation = request.graphql.as_ref().and_then(|it| it.operation.as_deref());
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&request.kind))
            && self.path.as_ref().is_none_or(|part| path.contains(part.as_str()))
            && self.operation.as_ref().is_none_or(|name| operation == Some(name))
            && self.run_id.as_ref().is_none_or(|id| request.run_ids().contains(id))
            && self.more_runs_than.is_none_or(|most| request.run_ids().len() > most)
    }

    /// Whether a request fires it; counts the request.
    fn fires(&mut self, request: &Request) -> bool {
        if !self.describes(request) {
            return false;
        }
        self.seen += 1;
        match self.when {
            When::Always => true,
            When::Nth(n) => self.seen == n,
            When::First(n) => self.seen <= n,
            When::After(n) => self.seen > n,
            When::Every(n) => n > 0 && self.seen.is_multiple_of(n),
            When::Probability(p, _) => self.random.unit() < p,
        }
    }
}

/// Something done to the server before a request is answered.
#[derive(Clone)]
pub(crate) struct Hook(Arc<dyn Fn(&Shared) + Send + Sync>);

impl Hook {
    pub(crate) fn new(run: impl Fn(&Shared) + Send + Sync + 'static) -> Self {
        Hook(Arc::new(run))
    }

    pub(crate) fn run(&self, shared: &Shared) {
        (self.0)(shared);
    }
}

/// Every rule and hook.
#[derive(Default)]
pub(crate) struct Faults {
    rules: Vec<(Matcher, Fault)>,
    hooks: Vec<(Matcher, Hook)>,
}

impl Faults {
    pub(crate) fn add(&mut self, matcher: Matcher, fault: Fault) {
        self.rules.push((matcher, fault));
    }

    pub(crate) fn add_hook(&mut self, matcher: Matcher, hook: Hook) {
        self.hooks.push((matcher, hook));
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
        self.hooks.clear();
    }

    /// The hooks that this request fires, and the fault it suffers. Every matcher counts the request.
    pub(crate) fn decide(&mut self, request: &Request) -> (Vec<Hook>, Option<Fault>) {
        let hooks = self.hooks.iter_mut().filter_map(|(matcher, hook)| matcher.fires(request).then(|| hook.clone()));
        let hooks = hooks.collect();
        let mut fault = None;
        for (matcher, it) in &mut self.rules {
            if matcher.fires(request) && fault.is_none() {
                fault = Some(it.clone());
            }
        }
        (hooks, fault)
    }
}
