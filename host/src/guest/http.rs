//! `wasi:http/outgoing-handler`: every request passes the egress policy, gets its credentials, and counts against limits.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use http::header;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody, WasiHttpHooks};

use crate::egress::{Egress, Origin, Permit};
use crate::http_ahead::AheadBody;
use crate::http_body::{LimitedBody, OnLimit};
use crate::http_client::HttpClient;
use crate::http_gzip::{self, Coding, GzipBody};
use crate::http_masked::MaskedBody;
use crate::http_sent::SentBody;
use crate::http_watched::{Exchange, WatchedBody};
use crate::limits::{Verdict, breach};
use crate::mask::Mask;
use crate::pace::Pace;
use crate::policy::{Limits, Policy};
use crate::quota::{Quota, head_bytes};
use crate::report::Reporter;
use crate::secrets::Secrets;
use crate::sync::Level;

/// Bytes of a request's body that a guest may have the host hold at once. Queries are a few KiB.
const BODY_CHUNK: usize = 64 << 10;
/// Different complaints that are shown; each of them once.
const MOST_COMPLAINTS: usize = 100;

/// What stands between a guest and the network.
pub(crate) struct Gate {
    client: HttpClient,
    egress: Egress,
    mask: Mask,
    secrets: Secrets,
    networks: Vec<ipnet::IpNet>,
    limits: Limits,
    open: Arc<Semaphore>,
    quota: Arc<Quota>,
    told_to_wait: Once,
    pace: Arc<dyn Pace>,
    throttled: AtomicU64,
    report: Arc<Reporter>,
    verdict: Verdict,
    complaints: Mutex<Complaints>,
}

#[derive(Default)]
struct Complaints {
    seen: HashSet<String>,
    last: Option<String>,
}

type Answer = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), WasiError>> + Send>);

impl Gate {
    pub(crate) fn new(
        client: HttpClient,
        egress: Egress,
        secrets: Secrets,
        policy: &Policy,
        pace: Arc<dyn Pace>,
        report: Arc<Reporter>,
        verdict: Verdict,
    ) -> Self {
        Self {
            client,
            egress,
            mask: secrets.mask(),
            secrets,
            networks: policy.networks.clone(),
            limits: policy.limits.clone(),
            open: Arc::new(Semaphore::new(policy.limits.open_requests.min(Semaphore::MAX_PERMITS))),
            quota: Arc::new(Quota::new(&policy.limits, verdict.clone())),
            told_to_wait: Once::new(),
            pace,
            throttled: AtomicU64::new(0),
            report,
            verdict,
            complaints: Mutex::default(),
        }
    }

    /// Hides the secrets of this sync.
    pub(crate) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// What the sync has used of the network.
    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// The guest waits for a rate limit, as it says for so many milliseconds.
    pub(crate) fn throttled(&self, milliseconds: u64) {
        let add = |told: u64| Some(told.saturating_add(milliseconds));
        let _ = self.throttled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        let wait = Duration::from_millis(milliseconds);
        self.report.throttled(wait);
        self.pace.throttled(wait);
    }

    /// All waits that the guest told of.
    pub(crate) fn told_waits(&self) -> Duration {
        Duration::from_millis(self.throttled.load(Ordering::Relaxed))
    }

    /// The last thing that the host had to say about a request, which the guest can't know.
    pub(crate) fn last_complaint(&self) -> Option<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    async fn send(
        self: Arc<Self>,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Answer, WasiError> {
        if self.verdict.reason().is_some() {
            return Err(WasiError::HttpRequestDenied);
        }
        let Ok(open) = self.open.clone().try_acquire_owned() else {
            self.verdict.give(breach("open_requests", format!("{} allowed at once", self.limits.open_requests)));
            return Err(WasiError::ConnectionLimitReached);
        };
        let (request, permit, origin) = self.admit(request)?;
        let head = request.method().as_str().len() + request.uri().to_string().len();
        if !self.quota.request() || !self.quota.sent(head as u64 + head_bytes(request.headers())) {
            return Err(WasiError::ConnectionLimitReached);
        }
        self.turn(&origin).await;
        let request = request.map(|body| SentBody::new(body, self.quota.clone()).boxed_unsync());
        let timeouts = self.client.timeouts(options);
        let mut exchange = Exchange::begin(&request, self.report.clone());
        let mut answer = self.client.send(&self.networks, request, timeouts).await.map_err(|failure| {
            if let Some(advice) = failure.advice {
                self.complain(advice);
            }
            exchange.failed(&failure.code);
            failure.code
        })?;
        exchange.answered(answer.status());
        self.forget_complaint();
        if !self.quota.received(head_bytes(answer.headers())) {
            return Err(WasiError::ConnectionLimitReached);
        }
        // Only who was sent the key can echo it.
        let mask = (permit == Permit::WithCredentials).then_some(&self.mask);
        if let Some(mask) = mask {
            mask.headers(answer.headers_mut());
        }
        // What has no body, such as the answer to a HEAD, is not compressed whatever its head says.
        let coding = match answer.body().is_end_stream() {
            true => Coding::Identity,
            false => Coding::of(answer.status(), answer.headers()),
        };
        if let (Coding::Other(coding), Some(_)) = (&coding, mask) {
            let refused = WasiError::HttpResponseContentCoding(Some(coding.clone()));
            exchange.failed(&refused);
            return Err(refused);
        }
        if coding == Coding::Gzip {
            // Neither is true any more.
            answer.headers_mut().remove(header::CONTENT_ENCODING);
            answer.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let most = self.limits.response_bytes;
        let gate = self.clone();
        let on_limit: OnLimit =
            Arc::new(move || gate.complain(format!("a response was larger than the limit `response_bytes` ({most})")));
        let answer = answer.map(|body| {
            let body = LimitedBody::new(body, self.quota.clone(), most, timeouts.between_bytes, open, on_limit.clone())
                .boxed_unsync();
            let body = match coding {
                Coding::Gzip => GzipBody::new(body, most, on_limit).boxed_unsync(),
                Coding::Identity | Coding::Other(_) => body,
            };
            let body = match mask {
                Some(mask) => MaskedBody::new(body, mask).boxed_unsync(),
                None => body,
            };
            let body = WatchedBody::new(body, exchange).boxed_unsync();
            if body.is_end_stream() { body } else { AheadBody::start(body).boxed_unsync() }
        });
        Ok((answer, Box::new(std::future::ready(Ok(())))))
    }

    /// Waits until a request may be sent.
    async fn turn(&self, origin: &Origin) {
        let wait = self.quota.turn();
        if !wait.is_zero() {
            let most = self.limits.requests_per_minute;
            let line =
                format!("requests wait for their turn: the limit `requests_per_minute` was reached ({most} allowed)");
            self.told_to_wait.call_once(|| self.report.line(Level::Warning, &line));
            tokio::time::sleep(wait).await;
        }
        self.pace.before_request(origin).await;
    }

    /// Checks where a request goes, and gives it the credentials that belong there.
    fn admit(&self, request: http::Request<WasiBody>) -> Result<(http::Request<WasiBody>, Permit, Origin), WasiError> {
        let (mut parts, body) = request.into_parts();
        let refuse = |why: &dyn std::fmt::Display| {
            let host = parts.uri.host().unwrap_or_default();
            self.complain(format!("a request to `{}` was refused: {why}", crate::report::cut(host, 255)));
            WasiError::HttpRequestDenied
        };
        if parts.method == http::Method::CONNECT {
            return Err(refuse(&"a connector may open no tunnel"));
        }
        let (permit, origin) = self.egress.decide(&parts.uri).map_err(|why| refuse(&why))?;
        let authorized = self.secrets.authorize(&parts.uri, &mut parts.headers, permit == Permit::WithCredentials);
        authorized.map_err(|why| refuse(&why))?;
        if permit == Permit::WithCredentials {
            http_gzip::narrow(&mut parts.headers);
        }
        Ok((http::Request::from_parts(parts, body), permit, origin))
    }

    /// Tells people what the guest can't: each thing once.
    fn complain(&self, message: String) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.last = Some(message.clone());
        if complaints.seen.len() < MOST_COMPLAINTS && complaints.seen.insert(message.clone()) {
            drop(complaints);
            self.report.line(Level::Warning, &message);
        }
    }

    /// After a request that went well, an earlier complaint explains nothing any more.
    fn forget_complaint(&self) {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).last = None;
    }
}

/// Connects wasmtime's wasi:http to the gate.
pub(crate) struct Hooks {
    pub(crate) gate: Arc<Gate>,
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), WasiError>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, WasiError>> + Send> {
        Box::new(self.gate.clone().send(request, options))
    }

    /// The client sets it where it belongs: in HTTP/2 the authority takes its place.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }
}
