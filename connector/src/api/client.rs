//! Requests to W&B with what every one of them needs: the key, a place in the limiter, retries, and errors that say what to do.

use std::cell::Cell;
use std::io::Read;
use std::time::Duration;

use crate::api::exchange::{Exchange, Request, Response, TransportError};
use crate::api::limiter::{LONGEST_WAIT, Limiter, Party, Permit};
use crate::api::url::shown;
use crate::api::{rate, web_page};
use crate::destination::{Destination, Level};
use crate::error::Error;

/// Retries after the first attempt.
const RETRIES: u32 = 5;
/// The first wait; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The backoff grows no further than to its last retry's.
const LAST_RETRY: u32 = RETRIES - 1;
/// For so long W&B may refuse every request for its rate and name a time each time.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// A pause that is worth telling.
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// After so long people are told again that requests wait.
const SAY_AGAIN: Duration = Duration::from_secs(60);
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
    /// Something was answered as W&B's API answers.
    answered: Cell<bool>,
    /// Since when every request was refused for its rate.
    refused_since: Cell<Option<Duration>>,
    /// Until when it was told that requests wait.
    told_until: Cell<Duration>,
    /// When a person was last told so.
    said_at: Cell<Option<Duration>>,
    /// A page for people came in the place of an answer.
    saw_page: Cell<bool>,
}

impl<'a, X: Exchange, D: Destination> Client<'a, X, D> {
    /// A client with at most `concurrency` requests in flight.
    pub fn new(exchange: &'a X, destination: &'a D, concurrency: u32) -> Self {
        Self {
            exchange,
            destination,
            limiter: Limiter::new(concurrency),
            requests: Cell::new(0),
            retries: Cell::new(0),
            answered: Cell::new(false),
            refused_since: Cell::new(None),
            told_until: Cell::new(Duration::ZERO),
            said_at: Cell::new(None),
            saw_page: Cell::new(false),
        }
    }

    /// Whether W&B has refused everything for its rate for so long that there is no use in going on.
    pub fn is_shut_out(&self) -> bool {
        self.refused_since.get().is_some_and(|since| self.exchange.now().saturating_sub(since) >= PATIENCE)
    }

    /// Whether a page for people came where an answer was asked for.
    pub fn saw_web_page(&self) -> bool {
        self.saw_page.get()
    }

    /// Requests made, retries included.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// How many of them were retries.
    pub fn retries(&self) -> u64 {
        self.retries.get()
    }

    /// Sends a request until `accept` takes the response, with up to five retries. Waits that W&B asks for at a 429 are none of them, for up
    /// to a quarter of an hour. `accept` sees responses of every status but those that are retried; `what` names the request in messages;
    /// `limit` bounds the body in bytes.
    pub async fn send<T>(
        &self,
        request: &Request,
        what: &str,
        limit: usize,
        mut accept: impl FnMut(&Response) -> Result<T, Failure>,
    ) -> Result<T, RequestError> {
        self.try_again(request, what, limit, RETRIES, &mut |response: &mut Response| accept(response)).await
    }

    /// Like [`send`](Self::send), with so many retries.
    pub async fn send_within<T>(
        &self,
        request: &Request,
        what: &str,
        limit: usize,
        retries: u32,
        mut accept: impl FnMut(&Response) -> Result<T, Failure>,
    ) -> Result<T, RequestError> {
        self.try_again(request, what, limit, retries, &mut |response: &mut Response| accept(response)).await
    }

    /// Like [`send`](Self::send), for callers that keep the body.
    pub async fn take<T>(
        &self,
        request: &Request,
        what: &str,
        limit: usize,
        mut accept: impl FnMut(&mut Response) -> Result<T, Failure>,
    ) -> Result<T, RequestError> {
        self.try_again(request, what, limit, RETRIES, &mut accept).await
    }

    async fn try_again<T>(
        &self,
        request: &Request,
        what: &str,
        limit: usize,
        retries: u32,
        accept: &mut impl FnMut(&mut Response) -> Result<T, Failure>,
    ) -> Result<T, RequestError> {
        let (mut attempt, mut refusals, mut refused_since) = (0, 0, None);
        let party = party(request);
        loop {
            let (status, reason, wait) = match self.attempt(request, limit, accept).await {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(RequestError::Failed(error)),
                Err(Failure::TooLarge(error)) => return Err(RequestError::TooLarge(error)),
                Err(Failure::Denied(error)) => return Err(RequestError::Denied(error)),
                Err(Failure::Again { status, reason, wait }) => (status, reason, wait),
            };
            // What a storage host does not give can be read in another way; W&B is waited for.
            // A wait of no time is no wish: it would be asked again and again.
            let is_wish = wait.is_some_and(|wait| !wait.is_zero());
            let asked_for = status == Some(429) && is_wish && party == Party::Api;
            if asked_for {
                let now = self.exchange.now();
                self.refused_since.set(self.refused_since.get().or(Some(now)));
                let since = *refused_since.get_or_insert(now);
                if self.is_shut_out() || now.saturating_sub(since) >= PATIENCE {
                    let minutes = PATIENCE.as_secs() / 60;
                    let message = format!("{what}: {reason}, again and again for {minutes} minutes");
                    return Err(RequestError::Failed(Error::RateLimited { message, retry_after: wait }));
                }
            } else if attempt == retries {
                return Err(RequestError::Failed(give_up(what, status, &reason, wait, retries)));
            }
            let delay = self.delay(attempt.max(refusals).min(LAST_RETRY), wait);
            self.say_retry(request, status, &reason, wait, delay);
            if status == Some(429) {
                self.say_throttled(delay);
            }
            self.exchange.sleep(delay).await;
            if asked_for {
                refusals += 1;
            } else {
                attempt += 1;
            }
            self.retries.set(self.retries.get() + 1);
            self.destination.progress("retries", self.retries.get(), None);
        }
    }

    /// Sends a request once. None: no whole response came.
    pub async fn ask(&self, request: &Request, limit: usize) -> Option<Response> {
        let _permit = self.permit(party(request)).await;
        self.requests.set(self.requests.get() + 1);
        let response = self.exchange.send(request, limit).await.ok()?;
        decompressed(response, limit, &request.url).ok()
    }

    /// A place among the requests in flight, once the rate limit lets another one begin.
    async fn permit(&self, party: Party) -> Permit<'_> {
        loop {
            match self.limiter.acquire(party, || self.exchange.now()).await {
                Ok(permit) => return permit,
                Err(pause) => {
                    if party == Party::Api && pause >= LONG_PAUSE {
                        self.say_throttled(pause);
                    }
                    self.exchange.sleep(pause).await;
                }
            }
        }
    }

    /// Tells the host that requests wait, once for all that wait until the same moment.
    fn say_throttled(&self, wait: Duration) {
        let until = self.exchange.now() + wait;
        if until > self.told_until.get() {
            self.told_until.set(until);
            self.destination.throttled(wait);
        }
        let now = self.exchange.now();
        if self.said_at.get().is_none_or(|at| now.saturating_sub(at) >= SAY_AGAIN) {
            self.said_at.set(Some(now));
            let seconds = wait.as_secs_f64().ceil();
            let message = format!("W&B's rate limit is nearly used up; requests wait for it (now for {seconds}s)");
            self.destination.log(Level::Info, &message);
        }
    }

    async fn attempt<T>(
        &self,
        request: &Request,
        limit: usize,
        accept: &mut impl FnMut(&mut Response) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let party = party(request);
        let permit = self.permit(party).await;
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
        let now = self.exchange.now();
        if let Some(left) = rate::left(&response, self.exchange) {
            self.limiter.told(party, left, began, now);
            if left.parts <= 0.0 && left.renewed_in > LONGEST_WAIT {
                let (wish, wait) = (left.renewed_in.as_secs(), LONGEST_WAIT.as_secs());
                let message = format!("The rate limit is used up for {wish}s; the next request is tried after {wait}s");
                self.destination.log(Level::Warning, &message);
            }
        }
        let refused = response.status == 429;
        if refused {
            self.limiter.refused(party, began, now, rate::refused_for(&response, self.exchange));
        } else {
            self.limiter.succeeded(party, began);
        }
        if again(response.status) {
            let wait = match refused {
                true => rate::refused_for(&response, self.exchange),
                false => rate::retry_after(&response, self.exchange),
            };
            return Err(Failure::Again {
                status: Some(response.status),
                reason: format!("HTTP {}", response.status),
                wait,
            });
        }
        if party == Party::Api {
            self.refused_since.set(None);
        }
        // The body of an answer that is retried is not read, so its encoding does not matter.
        let mut response = decompressed(response, limit, &request.url)?;
        self.limiter.received(response.body.len());
        self.saw_page.set(self.saw_page.get() || web_page::is_html(&response));
        let accepted = accept(&mut response);
        if accepted.is_ok() {
            self.answered.set(true);
        } else if !self.answered.get() && web_page::is_one(&response) && self.answers_web_pages(&request.url).await {
            return Err(Failure::Final(web_page::error(&request.url)));
        }
        accepted
    }

    /// Whether the server of `url` answers with a web page where nothing is, so that one in the place of an answer is no passing fault.
    async fn answers_web_pages(&self, url: &str) -> bool {
        match web_page::question(url) {
            Some(question) => self.ask(&question, BODY_LIMIT).await.is_some_and(|response| web_page::is_one(&response)),
            None => false,
        }
    }

    /// Exponential, with up to a quarter of jitter either way, so that clients that failed together do not come back together.
    fn delay(&self, attempt: u32, wait: Option<Duration>) -> Duration {
        let part = (self.exchange.random() >> 11) as f64 / (1u64 << 53) as f64;
        let backoff = (FIRST_WAIT * 2u32.pow(attempt)).mul_f64(0.75 + part / 2.0);
        match wait {
            // Never earlier than asked.
            Some(wait) => wait.min(LONGEST_WAIT).max(backoff) + FIRST_WAIT.mul_f64(part / 4.0),
            None => backoff,
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

/// Whom a request is for. W&B's API is what is asked with the key.
fn party(request: &Request) -> Party {
    let with_key = request.headers.iter().any(|(name, _)| *name == "authorization");
    if with_key { Party::Api } else { Party::Storage }
}

/// Whether a status may be another one next time. 501 (the method is not implemented) and 505 will not.
fn again(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504 | 506..)
}

fn give_up(what: &str, status: Option<u16>, reason: &str, wait: Option<Duration>, retries: u32) -> Error {
    let message = format!("{what}: {reason}, also after {retries} retries");
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
            message: format!(
                "{what}: HTTP {status}, a redirect{}, which is not followed; check `base_url`",
                leads_to(response)
            ),
        }),
        status => Some(Error::Upstream { status: Some(status), message: format!("{what}: HTTP {status}") }),
    }
}

/// Where a redirect leads to, for a message.
fn leads_to(response: &Response) -> String {
    match response.header("location").map(shown).filter(|place| !place.is_empty()) {
        Some(place) => format!(" to {}", place.chars().take(200).collect::<String>()),
        None => String::new(),
    }
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
