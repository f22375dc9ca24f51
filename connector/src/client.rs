//! Requests to W&B with what every one of them needs: the key, a place in the limiter, retries, and errors that say what to do.

use std::cell::Cell;
use std::io::Read;
use std::time::Duration;

use chrono::DateTime;

use crate::destination::{Destination, Level};
use crate::error::Error;
use crate::exchange::{Exchange, Request, Response, TransportError};
use crate::limiter::Limiter;

/// Retries after the first attempt.
const RETRIES: u32 = 5;
/// The first wait; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait that a `Retry-After` is granted.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The largest body of one response, as it comes over the wire and after decompression.
pub const BODY_LIMIT: usize = 64 << 20;

/// Why one attempt failed.
#[derive(Debug)]
pub enum Failure {
    /// Another attempt may help.
    Again {
        /// The HTTP status, if a response came.
        status: Option<u16>,
        /// What went wrong.
        reason: String,
        /// How long the server wants to be left alone.
        wait: Option<Duration>,
    },
    /// The response was larger than the caller's limit.
    TooLarge(Error),
    /// The host sends no such request.
    Denied(Error),
    /// Another attempt would end the same way.
    Final(Error),
}

impl Failure {
    /// A body that is not what it should be. Another attempt may bring it whole.
    pub fn malformed(status: u16, reason: impl std::fmt::Display) -> Self {
        Self::Again { status: Some(status), reason: format!("malformed response: {reason}"), wait: None }
    }
}

/// Why a request brought nothing, after all its retries.
#[derive(Debug)]
pub enum RequestError {
    /// The response was larger than the caller's limit; a smaller question may help.
    TooLarge(Error),
    /// The host sends no such request: its policy forbids it, or it does not trust the server.
    Denied(Error),
    /// All else.
    Failed(Error),
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::TooLarge(error) | RequestError::Denied(error) | RequestError::Failed(error) => error,
        }
    }
}

/// Sends requests for one sync.
#[derive(Debug)]
pub struct Client<'a, X, D> {
    /// The outside.
    pub exchange: &'a X,
    /// Where words for people go.
    pub destination: &'a D,
    limiter: Limiter,
    requests: Cell<u64>,
    retries: Cell<u64>,
}

impl<'a, X: Exchange, D: Destination> Client<'a, X, D> {
    /// A client with at most `concurrency` requests in flight.
    pub fn new(exchange: &'a X, destination: &'a D, concurrency: u32) -> Self {
        let limiter = Limiter::new(concurrency);
        Self { exchange, destination, limiter, requests: Cell::new(0), retries: Cell::new(0) }
    }

    /// Requests made, retries included.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// How many of them were retries.
    pub fn retries(&self) -> u64 {
        self.retries.get()
    }

    /// Sends a request until `accept` takes the response, with up to five retries. `accept` sees responses of every status but those that
    /// are retried; `what` names the request in messages; `limit` bounds the body in bytes.
    pub async fn send<T>(
        &self,
        request: &Request,
        what: &str,
        limit: usize,
        mut accept: impl FnMut(&Response) -> Result<T, Failure>,
    ) -> Result<T, RequestError> {
        self.take(request, what, limit, |response| accept(response)).await
    }

    /// Like [`send`](Self::send), for callers that keep the body.
    pub async fn take<T>(
        &self,
        request: &Request,
        what: &str,
        limit: usize,
        mut accept: impl FnMut(&mut Response) -> Result<T, Failure>,
    ) -> Result<T, RequestError> {
        let mut attempt = 0;
        loop {
            let (status, reason, wait) = match self.attempt(request, limit, &mut accept).await {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(RequestError::Failed(error)),
                Err(Failure::TooLarge(error)) => return Err(RequestError::TooLarge(error)),
                Err(Failure::Denied(error)) => return Err(RequestError::Denied(error)),
                Err(Failure::Again { status, reason, wait }) => (status, reason, wait),
            };
            if attempt == RETRIES {
                return Err(RequestError::Failed(give_up(what, status, &reason, wait)));
            }
            let delay = self.delay(attempt, wait);
            self.say_retry(request, status, &reason, wait, delay);
            if status == Some(429) {
                self.destination.throttled(delay);
            }
            self.exchange.sleep(delay).await;
            attempt += 1;
            self.retries.set(self.retries.get() + 1);
            self.destination.progress("retries", self.retries.get(), None);
        }
    }

    async fn attempt<T>(
        &self,
        request: &Request,
        limit: usize,
        accept: &mut impl FnMut(&mut Response) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let permit = self.limiter.acquire().await;
        while let Some(pause) = self.limiter.pause(self.exchange.now()) {
            self.exchange.sleep(pause).await;
        }
        let began = self.exchange.now();
        self.requests.set(self.requests.get() + 1);
        let response = self.exchange.send(request, limit).await;
        drop(permit);
        let response = response.map_err(|error| match error {
            TransportError::Denied(why) => Failure::Denied(Error::upstream(format!("{why} ({})", shown(&request.url)))),
            TransportError::TooLarge(_) => {
                Failure::TooLarge(Error::upstream(format!("{error} ({})", shown(&request.url))))
            }
            TransportError::Failed(reason) => Failure::Again { status: None, reason, wait: None },
        })?;
        if response.status == 429 {
            let wait = retry_after(&response, self.exchange);
            self.limiter.refused(began, self.exchange.now(), wait.map(|wait| wait.min(LONGEST_WAIT)));
        } else {
            self.limiter.succeeded(began);
        }
        if let Some(wait) = again(response.status).then(|| retry_after(&response, self.exchange)) {
            return Err(Failure::Again {
                status: Some(response.status),
                reason: format!("HTTP {}", response.status),
                wait,
            });
        }
        // Of what is tried again nobody reads the body, however it is encoded.
        let mut response = decompressed(response, limit, &request.url)?;
        self.limiter.received(response.body.len());
        accept(&mut response)
    }

    /// Exponential, with up to a quarter of jitter either way, so that clients that failed together do not come back together.
    fn delay(&self, attempt: u32, wait: Option<Duration>) -> Duration {
        let part = (self.exchange.random() >> 11) as f64 / (1u64 << 53) as f64;
        let backoff = FIRST_WAIT * 2u32.pow(attempt);
        match wait {
            // Never earlier than asked.
            Some(wait) => wait.min(LONGEST_WAIT) + FIRST_WAIT.mul_f64(part / 4.0),
            None => backoff.mul_f64(0.75 + part / 2.0),
        }
    }

    fn say_retry(&self, request: &Request, status: Option<u16>, reason: &str, wait: Option<Duration>, delay: Duration) {
        let url = shown(&request.url);
        let what = match status {
            Some(status) if again(status) => format!("Rate-limit/server error {status} for {url}."),
            _ => format!("Request to {url} failed: {reason}."),
        };
        let message = format!("{what} Retrying in {}s...", delay.as_secs_f64().round().max(1.0));
        self.destination.log(Level::Warning, &message);
        if let Some(wait) = wait.filter(|wait| *wait > LONGEST_WAIT) {
            let asked = wait.as_secs();
            self.destination.log(
                Level::Warning,
                &format!(
                    "{url} asked for {asked}s before the next request; waiting {}s instead.",
                    LONGEST_WAIT.as_secs()
                ),
            );
        }
    }
}

/// Whether a status may be another one next time. 501 (the method is not implemented) and 505 will not.
fn again(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504 | 506..)
}

fn give_up(what: &str, status: Option<u16>, reason: &str, wait: Option<Duration>) -> Error {
    let message = format!("{what}: {reason}, also after {RETRIES} retries");
    match status {
        Some(429) => Error::RateLimited { message, retry_after: wait },
        status => Error::Upstream { status, message },
    }
}

/// What a status that no retry cures means. `what` names the request, `hint` says what was looked for when it is absent.
pub fn refusal(response: &Response, what: &str, hint: &str) -> Option<Error> {
    match response.status {
        200..=299 => None,
        401 => Some(Error::Authentication(format!(
            "W&B does not accept the API key ({what}: HTTP 401); check it, or get a new one"
        ))),
        403 => Some(Error::Permission(format!(
            "the API key may not read this ({what}: HTTP 403); ask the owner of {hint} for access"
        ))),
        404 => Some(Error::NotFound(format!(
            "{hint} was not found ({what}: HTTP 404); check the spelling, and that the API key may read it"
        ))),
        status @ 300..=399 => Some(Error::Upstream {
            status: Some(status),
            message: format!("{what}: HTTP {status}, a redirect, which is not followed; check `base_url`"),
        }),
        status => Some(Error::Upstream { status: Some(status), message: format!("{what}: HTTP {status}") }),
    }
}

/// `Retry-After`: seconds or a date.
fn retry_after(response: &Response, exchange: &impl Exchange) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        // An absurd number of seconds is a wish for a long wait, which is what it is treated as.
        let seconds = if seconds.is_nan() {
            return None;
        } else {
            seconds.clamp(0.0, 1e9)
        };
        return Some(Duration::from_secs_f64(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.to_utc() - exchange.wall_clock()).to_std().unwrap_or(Duration::ZERO))
}

/// The response with its body as it was before `content-encoding: gzip`. The limit holds for what comes out: a small body can hold a large one.
fn decompressed(mut response: Response, limit: usize, url: &str) -> Result<Response, Failure> {
    match response.header("content-encoding").map(str::trim) {
        None | Some("" | "identity") => return Ok(response),
        Some(encoding) if encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip") => {}
        Some(encoding) => {
            return Err(Failure::malformed(
                response.status,
                format!("content-encoding {encoding:?} was not asked for"),
            ));
        }
    }
    let mut body = Vec::with_capacity((response.body.len() * 6).min(limit));
    let decoder = flate2::bufread::MultiGzDecoder::new(response.body.as_slice());
    let result = decoder.take(limit as u64 + 1).read_to_end(&mut body);
    if body.len() > limit {
        return Err(Failure::TooLarge(Error::upstream(format!(
            "{} ({})",
            TransportError::TooLarge(limit),
            shown(url)
        ))));
    }
    result.map_err(|_| Failure::malformed(response.status, "it is not valid gzip, or cut short"))?;
    response.body = body;
    Ok(response)
}

/// A URL for a message: without its query, which may hold a signature.
pub fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
