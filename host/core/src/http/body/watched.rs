//! What becomes of a request that was sent, told once: when the response's body has ended, when something fails, or when the guest
//! loses interest.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::Method;
use hyper::body::{Body, Frame, SizeHint};
use tracing::Span;
use tracing::field::Empty;
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::imports::http_failures::FailureLog;
use crate::runtime::events::Event;
use crate::runtime::report::Reporter;

/// One request on its way.
pub(crate) struct Exchange {
    report: Arc<Reporter>,
    failures_told: Arc<FailureLog>,
    started: SystemTime,
    clock: Instant,
    /// Gone when its end was told.
    open: Option<Open>,
}

struct Open {
    /// Open as long as this is.
    span: Span,
    method: Method,
    host: String,
    status: Option<u16>,
}

impl Exchange {
    /// A request that is about to be sent, in the span of its `sync`.
    pub(crate) fn begin<B>(
        request: &http::Request<B>,
        sync: &Span,
        report: Arc<Reporter>,
        failures_told: Arc<FailureLog>,
    ) -> Self {
        let (method, host) = (request.method().clone(), request.uri().host().unwrap_or_default().to_owned());
        // The names of OpenTelemetry's conventions. No URL: a signed one is a credential.
        let span = tracing::debug_span!(
            parent: sync,
            "request",
            http.request.method = %method,
            server.address = %host,
            http.response.status_code = Empty,
            error.type = Empty,
        );
        let open = Open { span, method, host, status: None };
        Self { report, failures_told, started: SystemTime::now(), clock: Instant::now(), open: Some(open) }
    }

    /// The head of the response came.
    pub(crate) fn answered(&mut self, status: http::StatusCode) {
        if let Some(open) = &mut self.open {
            open.status = Some(status.as_u16());
            open.span.record("http.response.status_code", status.as_u16());
        }
    }

    /// It failed. `advice` is what there is to say beyond the code.
    pub(crate) fn failed(&mut self, why: &WasiError, advice: Option<String>) {
        self.failures_told.failed(advice);
        self.end_with(why);
    }

    /// The body of the response broke off.
    fn broke_off(&mut self, why: &WasiError) {
        // Of a response that is too large was told when that was found.
        if !matches!(why, WasiError::HttpResponseBodySize(_)) {
            self.failures_told.failed(None);
        }
        self.end_with(why);
    }

    fn end_with(&mut self, why: &WasiError) {
        // Just the name of the case: what it holds can be a server's words.
        let name = format!("{why:?}");
        let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        self.end(Some(name[..end].to_owned()));
    }

    fn end(&mut self, error: Option<String>) {
        let Some(Open { span, method, host, status }) = self.open.take() else { return };
        if let Some(error) = &error {
            span.record("error.type", error.as_str());
        }
        drop(span);
        let (started, elapsed) = (self.started, self.clock.elapsed());
        self.report.event(Event::Request { method: method.to_string(), host, status, error, started, elapsed });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let unanswered = self.open.as_ref().is_some_and(|open| open.status.is_none());
        self.end(unanswered.then(|| "Cancelled".to_owned()));
    }
}

/// A response's body that ends its exchange.
pub(crate) struct WatchedBody {
    incoming: WasiBody,
    exchange: Exchange,
}

impl WatchedBody {
    /// Watches `incoming`, the body of the response to `exchange`.
    pub(crate) fn new(incoming: WasiBody, mut exchange: Exchange) -> Self {
        if incoming.is_end_stream() {
            exchange.end(None);
        }
        Self { incoming, exchange }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            Some(Ok(_)) if self.incoming.is_end_stream() => self.exchange.end(None),
            Some(Ok(_)) => {}
            Some(Err(why)) => self.exchange.broke_off(why),
            None => self.exchange.end(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
