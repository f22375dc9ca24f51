//! OpenTelemetry traces: a span for every sync, and in it one for each request and each commit, sent by OTLP over HTTP as JSON.
//!
//! The standard variables say where to: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT`, to which `/v1/traces` is
//! added. Without them nothing is recorded. `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`,
//! `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` and `OTEL_SDK_DISABLED` are honoured as well.
//!
//! Spans hold names and numbers. There is no URL in them (a signed one is a credential), no header and no message. When spans come faster
//! than they can be sent they are dropped; a sync never waits for them.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use super::record::SyncRecord;
use super::tenant::TenantId;
use elt_host::{Event, Observer};

/// How long one batch of spans may take to be sent.
const SEND: Duration = Duration::from_secs(10);
/// Bytes of a collector's answer.
const ANSWER_BYTES: usize = 64 << 10;

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The environment asks for what is not here.
    #[error("traces can't be sent as `{0}` asks for: only OTLP over HTTP is supported (`http/json`)")]
    Protocol(&'static str),
    /// The endpoint is no URL.
    #[error("traces can't be sent: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Sends spans. One for a process.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// As the environment says, with `service` as the service's name where it names none; none when it names no endpoint. Spans are sent by the runtime that this is called in.
    ///
    /// # Errors
    /// The environment asks for gRPC, or the endpoint is no URL.
    pub fn from_env(service: &str) -> Result<Option<Self>, TracesError> {
        let Some(endpoint) = endpoint(|name| std::env::var(name).ok())? else { return Ok(None) };
        Self::to(&endpoint, service).map(Some)
    }

    /// Sends spans to `endpoint`, a whole URL, as those of `service` unless the environment has another name. They are sent by the runtime that this is called in.
    ///
    /// # Errors
    /// The endpoint is no URL.
    pub fn to(endpoint: &str, service: &str) -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Transport::new(Handle::current()))
            .with_protocol(Protocol::HttpJson)
            .with_endpoint(endpoint)
            .build()?;
        let provider =
            SdkTracerProvider::builder().with_resource(resource(service)).with_batch_exporter(exporter).build();
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        Ok(Self { provider, tracer })
    }

    /// A sync of `tenant` that begins now. What it reports goes on to `events`.
    pub fn sync(&self, tenant: &TenantId, events: Arc<dyn Observer>) -> Arc<SyncTrace> {
        let tenant = KeyValue::new("tenant.id", tenant.as_str().to_owned());
        let span = self.tracer.span_builder("sync").with_attributes([tenant.clone()]);
        let span = self.tracer.build_with_context(span, &Context::new());
        let (context, tracer) = (Context::new().with_span(span), self.tracer.clone());
        Arc::new(SyncTrace { tracer, context, tenant, events, committed: Mutex::new(0) })
    }

    /// Sends what was recorded so far, and nothing after that. Waits a few seconds at most.
    pub async fn shutdown(&self) {
        // The thread that is waited for needs the runtime to send.
        let provider = self.provider.clone();
        let _ = tokio::task::spawn_blocking(move || provider.shutdown()).await;
    }
}

/// Where the environment wants traces.
fn endpoint(variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>, TracesError> {
    let set = |name| variable(name).filter(|value| !value.trim().is_empty());
    let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if disabled || set("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter != "otlp") {
        return Ok(None);
    }
    let for_all = || set("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| format!("{}/v1/traces", base.trim_end_matches('/')));
    let Some(endpoint) = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(for_all) else { return Ok(None) };
    let protocols = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    if let Some(name) = protocols.into_iter().find(|name| set(name).is_some())
        && set(name).is_some_and(|protocol| protocol == "grpc")
    {
        return Err(TracesError::Protocol(name));
    }
    Ok(Some(endpoint))
}

/// Who sends: what the environment says, and a name in any case.
fn resource(service: &str) -> Resource {
    let resource = Resource::builder().build();
    let named = resource.get(&Key::new("service.name"));
    if named.is_none_or(|name| name.as_str().starts_with("unknown_service")) {
        return Resource::builder().with_service_name(service.to_owned()).build();
    }
    resource
}

/// The spans of one sync. Give it to the sync as its observer, then [`end`](Self::end) it.
pub struct SyncTrace {
    tracer: SdkTracer,
    context: Context,
    tenant: KeyValue,
    events: Arc<dyn Observer>,
    /// Rows of the commits so far.
    committed: Mutex<u64>,
}

impl SyncTrace {
    /// Ends the span of the sync, with what is known of its end.
    pub fn end(&self, record: &SyncRecord) {
        let span = self.context.span();
        if let Some(end) = &record.end {
            let count = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
            span.set_attributes([
                KeyValue::new("sync.outcome", end.outcome.clone()),
                KeyValue::new("sync.rows", count(end.rows)),
                KeyValue::new("sync.requests", count(end.requests)),
                KeyValue::new("sync.retries", count(end.retries)),
                KeyValue::new("sync.throttled_seconds", end.throttled.as_secs_f64()),
                KeyValue::new("sync.memory_bytes", count(end.memory)),
            ]);
            if !matches!(&*end.outcome, "ok" | "partial") {
                span.set_attribute(KeyValue::new("error.type", end.outcome.clone()));
                span.set_status(Status::error(""));
            }
        }
        span.end();
    }

    /// A span in that of the sync.
    fn child(
        &self,
        name: String,
        kind: SpanKind,
        (started, elapsed): (SystemTime, Duration),
        attributes: impl IntoIterator<Item = KeyValue>,
        error: Option<String>,
    ) {
        let attributes = [self.tenant.clone()].into_iter().chain(attributes);
        let span = self.tracer.span_builder(name).with_kind(kind).with_start_time(started).with_attributes(attributes);
        let mut span = self.tracer.build_with_context(span, &self.context);
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(started.checked_add(elapsed).unwrap_or(started));
    }

    fn commit(&self, rows: u64, elapsed: Duration) {
        let now = SystemTime::now();
        let before = {
            let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *committed, rows)
        };
        let new = i64::try_from(rows.saturating_sub(before)).unwrap_or(i64::MAX);
        let times = (now.checked_sub(elapsed).unwrap_or(now), elapsed);
        self.child("commit".to_owned(), SpanKind::Internal, times, [KeyValue::new("commit.rows", new)], None);
    }
}

impl Observer for SyncTrace {
    fn event(&self, event: Event) {
        match &event {
            Event::Request { method, host, status, error, started, elapsed } => {
                let status = status.map(|status| KeyValue::new("http.response.status_code", i64::from(status)));
                let known = [
                    KeyValue::new("http.request.method", method.clone()),
                    KeyValue::new("server.address", host.clone()),
                ];
                // As the conventions for HTTP clients have it, a status from 400 on is an error, named by its number.
                let refused = || status.as_ref().map(|status| status.value.to_string());
                let is_error = matches!(&event, Event::Request { status: Some(400..), .. });
                let error = error.clone().or_else(|| if is_error { refused() } else { None });
                let attributes = known.into_iter().chain(status.clone());
                self.child(method.to_string(), SpanKind::Client, (*started, *elapsed), attributes, error);
            }
            Event::Committed { rows, elapsed } => self.commit(rows.values().sum(), *elapsed),
            _ => {}
        }
        self.events.event(event);
    }
}

/// Sends batches on a runtime. They are put together on a thread of their own, which is none of the runtime's.
struct Transport {
    runtime: Handle,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    fn new(runtime: Handle) -> Self {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(elt_support::certificates::system_tls())
            .https_or_http()
            .enable_all_versions()
            .build();
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { runtime, client }
    }
}

impl HttpClient for Transport {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = self.client.clone();
        let exchange = async move {
            let response = client.request(request.map(Full::new)).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(parts, body.to_bytes()))
        };
        let sent = self.runtime.spawn(async move { tokio::time::timeout(SEND, exchange).await });
        Box::pin(async move { sent.await?? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        endpoint(value).map_err(|error| error.to_string())
    }

    #[test]
    fn the_standard_variables_say_where_traces_go() {
        let (all, traces) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        assert_eq!(asked(&[]), Ok(None));
        assert_eq!(asked(&[(all, " ")]), Ok(None));
        assert_eq!(asked(&[(all, "http://c:4318/")]), Ok(Some("http://c:4318/v1/traces".into())));
        assert_eq!(asked(&[(all, "http://c:4318"), (traces, "http://t/x")]), Ok(Some("http://t/x".into())));
        assert_eq!(asked(&[(all, "http://c:4318"), ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(asked(&[(all, "http://c:4318"), ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let refused = asked(&[(all, "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(refused.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && refused.contains("http/json"), "{refused}");
        let json = [
            (all, "http://c"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ];
        assert!(asked(&json).unwrap().is_some(), "that for traces counts");
    }
}
