//! What a server answers, written down as text; and the calls of a sync, driven without a runtime.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::{DateTime, Utc};
use wandb_connector::api::exchange::{Exchange, Request, Response, TransportError};

/// Where the configuration of every target says that W&B is.
pub const BASE_URL: &str = "https://api.example";
/// The key of every target. It goes to [`BASE_URL`] and nowhere else.
pub const API_KEY: &str = "0123456789abcdef0123456789abcdef01234567";

/// What stands between two answers.
const BETWEEN: &[u8] = b"\n----\n";

/// A server that gives its answers in their order, the last one again and again, whatever it is asked.
#[derive(Debug)]
pub struct Server {
    answers: Vec<Response>,
    asked: Cell<usize>,
    /// After so many requests it can't be reached.
    most_requests: usize,
    /// The first sleep never ends: what would be tried again is given up.
    impatient: bool,
    slept: RefCell<Vec<Duration>>,
}

impl Server {
    /// Answers as `text` says: a status, headers, an empty line and a body, with `----` on a line between two answers.
    pub fn scripted(text: &[u8], most_requests: usize) -> Self {
        let mut answers = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
            answers.push(response(&rest[..at]));
            rest = &rest[at + BETWEEN.len()..];
        }
        answers.push(response(rest));
        Self { answers, asked: Cell::new(0), most_requests, impatient: false, slept: RefCell::default() }
    }

    /// Gives one answer to one request, and lets nobody try again.
    pub fn once(answer: Response) -> Self {
        Self {
            answers: vec![answer],
            asked: Cell::new(0),
            most_requests: usize::MAX,
            impatient: true,
            slept: RefCell::default(),
        }
    }

    /// Gives one page to one request.
    pub fn page(body: &[u8]) -> Self {
        Self::once(Response { status: 200, headers: Vec::new(), body: body.to_vec() })
    }

    /// How long was slept, each time.
    pub fn slept(&self) -> Vec<Duration> {
        self.slept.borrow().clone()
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.asked.get()
    }
}

/// Reads one answer: a status, headers, an empty line, and the body. What is missing is 200, none and empty.
pub fn response(text: &[u8]) -> Response {
    let end = text.windows(2).position(|window| window == b"\n\n");
    let (head, body) = end.map_or((text, [].as_slice()), |end| (&text[..end], &text[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| std::str::from_utf8(line).ok()).and_then(|line| line.trim().parse().ok());
    let header = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?.trim().to_ascii_lowercase();
        Some((name, line[colon + 1..].trim_ascii().to_vec()))
    };
    Response { status: status.unwrap_or(200), headers: lines.filter_map(header).collect(), body: body.to_vec() }
}

impl Exchange for Server {
    async fn send(&self, request: &Request, limit: usize) -> Result<Response, TransportError> {
        check_request(request);
        let asked = self.asked.replace(self.asked.get() + 1);
        if asked >= self.most_requests {
            return Err(TransportError::Failed("connection refused".to_owned()));
        }
        match self.answers.get(asked).or(self.answers.last()) {
            Some(answer) if answer.body.len() > limit => Err(TransportError::TooLarge(limit)),
            Some(answer) => Ok(answer.clone()),
            None => Err(TransportError::Failed("connection refused".to_owned())),
        }
    }

    async fn sleep(&self, duration: Duration) {
        self.slept.borrow_mut().push(duration);
        if self.impatient {
            std::future::pending().await
        }
    }

    fn now(&self) -> Duration {
        self.slept.borrow().iter().sum()
    }

    fn wall_clock(&self) -> DateTime<Utc> {
        // 2025-06-15T15:06:40Z
        DateTime::from_timestamp(1_750_000_000, 0).unwrap_or_default()
    }

    fn random(&self) -> u64 {
        (self.asked.get() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The key goes to the configured origin and nowhere else, and into one header.
pub fn check_request(request: &Request) {
    let own = request.url.strip_prefix(BASE_URL).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let carries = request.headers.iter().any(|(name, _)| *name == "authorization");
    assert!(own || !carries, "the key would go to {}", request.url);
    let elsewhere =
        request.headers.iter().filter(|(name, _)| *name != "authorization").map(|(_, value)| value.as_str());
    let elsewhere = elsewhere.chain([request.url.as_str()]);
    assert!(elsewhere.into_iter().all(|text| !text.contains(API_KEY)), "the key is not in its place: {request:?}");
}

/// Runs a future that never waits, unless for what never comes: then none.
pub fn attempt<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Runs a future that only ever waits for itself. None: it waits for something that never comes.
pub fn drive<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    // Some combinators give way now and then, though they could go on.
    for _ in 0..100_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
    }
    None
}
