//! `wasi:http/outgoing-handler`: every request passes the egress policy, gets its credentials, and counts against limits.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use http::header;
use http_body_util::BodyExt;
use hyper::body::Body;
use tracing::Span;
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody, WasiHttpHooks};

use super::http_failures::FailureLog;
use crate::http::body::ahead::{AheadBody, Readers};
use crate::http::body::gzip as http_gzip;
use crate::http::body::gzip::{Coding, GzipBody};
use crate::http::body::limited::{LimitedBody, OnLimit};
use crate::http::body::masked::MaskedBody;
use crate::http::body::sent::SentBody;
use crate::http::body::watched::{Exchange, WatchedBody};
use crate::http::client::HttpClient;
use crate::http::egress::{Egress, Origin, Permit};
use crate::http::mask::Mask;
use crate::http::open_requests::{OpenRequests, RequestPermit};
use crate::http::quota::{Quota, head_bytes};
use crate::http::secrets::Secrets;
use crate::runtime::events::Level;
use crate::runtime::limits::{Meter, StopSignal, Usage, breach};
use crate::runtime::policy::{Limits, Policy};
use crate::runtime::report::Reporter;

/// Bytes of a request's body that a guest may have the host hold at once. Queries are a few KiB.
const BODY_CHUNK: usize = 64 << 10;

/// What stands between a guest and the network.
pub(crate) struct Gate {
    client: HttpClient,
    egress: Egress,
    mask: Mask,
    secrets: Secrets,
    networks: Vec<ipnet::IpNet>,
    limits: Limits,
    open: OpenRequests,
    readers: Readers,
    quota: Arc<Quota>,
    told_to_wait: Once,
    told_of_no_place: Once,
    throttled: AtomicU64,
    /// That of the sync.
    span: Span,
    report: Arc<Reporter>,
    stop: StopSignal,
    failures_told: Arc<FailureLog>,
}

type Answer = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), WasiError>> + Send>);

impl Gate {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        client: HttpClient,
        egress: Egress,
        secrets: Secrets,
        policy: &Policy,
        report: Arc<Reporter>,
        usage: Arc<Usage>,
        stop: StopSignal,
    ) -> Self {
        Self {
            client,
            egress,
            mask: secrets.mask(),
            secrets,
            networks: policy.networks.clone(),
            limits: policy.limits.clone(),
            open: OpenRequests::new(policy.limits.open_requests),
            readers: Readers::new(Meter::new(usage, policy.limits.cpu_time, stop.clone())),
            quota: Arc::new(Quota::new(&policy.limits, stop.clone())),
            told_to_wait: Once::new(),
            told_of_no_place: Once::new(),
            throttled: AtomicU64::new(0),
            span: Span::current(),
            failures_told: Arc::new(FailureLog::new(report.clone())),
            report,
            stop,
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
        self.client.gate().throttled(wait);
    }

    /// All waits that the guest told of.
    pub(crate) fn told_waits(&self) -> Duration {
        Duration::from_millis(self.throttled.load(Ordering::Relaxed))
    }

    /// Why requests fail now, as far as the host knows what the guest can't.
    pub(crate) fn cause_of_trouble(&self) -> Option<String> {
        self.failures_told.cause()
    }

    async fn send(
        self: Arc<Self>,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Answer, WasiError> {
        if self.stop.reason().is_some() {
            return Err(WasiError::HttpRequestDenied);
        }
        let (request, permit, origin) = self.admit(request)?;
        let place = self.place().await?;
        let head = request.method().as_str().len() + request.uri().to_string().len();
        if !self.quota.request() || !self.quota.sent(head as u64 + head_bytes(request.headers())) {
            return Err(WasiError::ConnectionLimitReached);
        }
        place.goes_on(self.turn(&origin)).await;
        // Only who was sent the key can echo it.
        let mask = (permit == Permit::WithCredentials).then(|| self.mask.with_sent(request.headers()));
        let request = request.map(|body| SentBody::new(body, self.quota.clone()).boxed_unsync());
        let timeouts = self.client.timeouts(options);
        let mut exchange = Exchange::begin(&request, &self.span, self.report.clone(), self.failures_told.clone());
        let answer = place.goes_on(self.client.send(&self.networks, request, timeouts)).await;
        let mut answer = answer.map_err(|failure| {
            exchange.failed(&failure.code, failure.advice);
            failure.code
        })?;
        exchange.answered(answer.status());
        self.failures_told.succeeded();
        if !self.quota.received(head_bytes(answer.headers())) {
            return Err(WasiError::ConnectionLimitReached);
        }
        if let Some(mask) = &mask {
            mask.headers(answer.headers_mut());
        }
        // What has no body, such as the answer to a HEAD, is not compressed whatever its head says.
        let coding = match answer.body().is_end_stream() {
            true => Coding::Identity,
            false => Coding::of(answer.status(), answer.headers()),
        };
        if let (Coding::Other(coding), Some(_)) = (&coding, &mask) {
            let refused = WasiError::HttpResponseContentCoding(Some(coding.clone()));
            exchange.failed(&refused, None);
            return Err(refused);
        }
        if coding == Coding::Gzip {
            // Neither is true any more.
            answer.headers_mut().remove(header::CONTENT_ENCODING);
            answer.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let most = self.limits.response_bytes;
        let failures_told = self.failures_told.clone();
        let on_limit: OnLimit = Arc::new(move || {
            failures_told.failed(Some(format!("a response was larger than the limit `response_bytes` ({most})")));
        });
        let answer = answer.map(|body| {
            let body = LimitedBody::new(body, self.quota.clone(), most, timeouts.between_bytes, on_limit.clone())
                .boxed_unsync();
            let body = match coding {
                Coding::Gzip => GzipBody::new(body, most, on_limit).boxed_unsync(),
                Coding::Identity | Coding::Other(_) => body,
            };
            let body = match mask {
                Some(mask) => MaskedBody::new(body, &mask).boxed_unsync(),
                None => body,
            };
            let body = WatchedBody::new(body, exchange).boxed_unsync();
            match body.is_end_stream() {
                true => body,
                false => AheadBody::start(body, place, &self.readers).boxed_unsync(),
            }
        });
        Ok((answer, Box::new(std::future::ready(Ok(())))))
    }

    /// Waits until one more request may be under way. A guest that would wait for itself is stopped.
    async fn place(&self) -> Result<RequestPermit, WasiError> {
        if let Some(place) = self.open.free() {
            return Ok(place);
        }
        let (most, patience) = (self.limits.open_requests, self.client.longest().between_bytes);
        let line =
            format!("requests wait for others to end: the limit `open_requests` was reached ({most} allowed at once)");
        self.told_of_no_place.call_once(|| self.report.line(Level::Warning, &line));
        tokio::select! {
            biased;
            () = self.stop.given() => Err(WasiError::HttpRequestDenied),
            place = self.open.wait(patience) => place.ok_or_else(|| {
                let why = format!("{most} allowed at once, whose responses were not read for {patience:?} while more requests waited");
                self.stop.give(breach("open_requests", why));
                WasiError::ConnectionLimitReached
            }),
        }
    }

    /// Waits until a request may be sent.
    async fn turn(&self, origin: &Origin) {
        let wait = self.quota.reserve();
        if !wait.is_zero() {
            let most = self.limits.requests_per_minute;
            let line =
                format!("requests wait for their turn: the limit `requests_per_minute` was reached ({most} allowed)");
            self.told_to_wait.call_once(|| self.report.line(Level::Warning, &line));
            tokio::time::sleep(wait).await;
        }
        self.client.gate().before_request(&origin.to_string()).await;
    }

    /// Checks where a request goes, and gives it the credentials that belong there.
    fn admit(&self, request: http::Request<WasiBody>) -> Result<(http::Request<WasiBody>, Permit, Origin), WasiError> {
        let (mut parts, body) = request.into_parts();
        let refuse = |why: &dyn std::fmt::Display| {
            let host = parts.uri.host().unwrap_or_default();
            let what = format!("a request to `{}` was refused: {why}", elt_support::printable::cut(host, 255));
            self.failures_told.failed(Some(what));
            WasiError::HttpRequestDenied
        };
        if parts.method == http::Method::CONNECT {
            return Err(refuse(&"a connector may open no tunnel"));
        }
        let (permit, origin) = self.egress.decide(&parts.uri).map_err(|why| refuse(&why))?;
        let credentials = (permit == Permit::WithCredentials).then_some(&origin);
        let authorized = self.secrets.authorize(&parts.uri, &mut parts.headers, credentials);
        authorized.map_err(|why| refuse(&why))?;
        if permit == Permit::WithCredentials {
            http_gzip::narrow(&mut parts.headers);
        }
        Ok((http::Request::from_parts(parts, body), permit, origin))
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
