//! Connections, and the way of a request: read, log, hooks, faults, answer, compress, send.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;

use super::clock::{Clock, SECOND};
use super::connection::{ConnectionControl, Stream};
use super::faults::{self, Faults};
use super::graphql::{self, Schema};
use super::http::{Answer, Body, error, full, path_parts};
use super::log::{HistoryRead, LoggedRequest, RequestKind, RequestLog};
use super::options::Options;
use super::project::World;
use super::rate_limit::{Meter, Told};
use super::{control, file_stream, rest, storage};

/// What every request can reach.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) address: SocketAddr,
    pub(crate) world: Mutex<World>,
    pub(crate) clock: Clock,
    pub(crate) log: RequestLog,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) storage: storage::Storage,
    meter: Meter,
    /// Grows with every sampled answer, so that no two are alike.
    pub(crate) samplings: AtomicU64,
}

impl Shared {
    pub(crate) fn new(mut options: Options, address: SocketAddr) -> Self {
        let world = std::mem::take(&mut options.world);
        // The data's past must not lie in the clock's future.
        options.now = options.now.max(world.latest().map_or(0, |at| at + SECOND));
        Shared {
            address,
            world: Mutex::new(world),
            clock: Clock::at(options.now),
            log: RequestLog::default(),
            faults: Mutex::default(),
            storage: storage::Storage::default(),
            meter: Meter::default(),
            samplings: AtomicU64::new(0),
            options,
        }
    }

    /// The world, locked.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault rules, locked.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's address as a URL.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A number that differs from call to call.
    pub(crate) fn next_sampling(&self) -> u64 {
        self.samplings.fetch_add(1, Ordering::Relaxed)
    }
}

/// A request, read whole.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: http::Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) kind: RequestKind,
    pub(crate) graphql: Option<GraphqlRequest>,
    /// The history rows it turned out to read.
    pub(crate) reads: Vec<HistoryRead>,
}

/// The JSON body of a GraphQL request.
#[derive(Clone, Debug)]
pub(crate) struct GraphqlRequest {
    pub(crate) query: String,
    /// The operation to execute, where the request names one.
    pub(crate) selected: Option<String>,
    /// That, or the name of the query's first operation.
    pub(crate) operation: Option<String>,
    pub(crate) variables: Value,
}

impl GraphqlRequest {
    fn parse(body: &[u8]) -> Option<Self> {
        let mut body: Value = serde_json::from_slice(body).ok()?;
        let query = body.get("query")?.as_str()?.to_owned();
        // The SDK sends an empty name for none.
        let selected = body.get("operationName").and_then(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned);
        let operation = selected.clone().or_else(|| operation_name(&query));
        Some(GraphqlRequest { query, selected, operation, variables: body["variables"].take() })
    }
}

/// The name of a query's first operation, as `query Runs($x: Int)` says it.
fn operation_name(query: &str) -> Option<String> {
    let mut words = query.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.find(|word| matches!(*word, "query" | "mutation"))?;
    let name = words.next()?.to_owned();
    query.contains(&format!(" {name}")).then_some(name)
}

impl Request {
    /// The query of its URL.
    pub(crate) fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The server's URL as the client addressed it.
    pub(crate) fn base_url(&self, shared: &Shared) -> String {
        match self.headers.get(HOST).and_then(|host| host.to_str().ok()) {
            Some(host) => format!("http://{host}"),
            None => shared.base_url(),
        }
    }

    /// The run it is about, told by its path or its variables.
    pub(crate) fn run_id(&self) -> Option<String> {
        if let Some(graphql) = &self.graphql {
            let keys = ["run", "runName", "runId", "run_id", "name"];
            return keys.iter().find_map(|key| graphql.variables.get(key)?.as_str().map(str::to_owned));
        }
        let parts = path_parts(self.uri.path())?;
        let index = match self.kind {
            RequestKind::RestHistory | RequestKind::FileStream => 3,
            RequestKind::Storage => 4,
            _ => return None,
        };
        parts.into_iter().nth(index)
    }

    /// The runs that it is about: one, or those that a question about many names by numbered variables.
    pub(crate) fn run_ids(&self) -> Vec<String> {
        if let Some(id) = self.run_id() {
            return vec![id];
        }
        let variables = self.graphql.as_ref().and_then(|graphql| graphql.variables.as_object());
        let numbered = |key: &str| {
            key.strip_prefix("run")
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit()))
        };
        let ids = variables.into_iter().flatten().filter(|(key, _)| numbered(key));
        ids.filter_map(|(_, id)| id.as_str().map(str::to_owned)).collect()
    }

    fn log_entry(&self, shared: &Shared, connection: usize) -> LoggedRequest {
        let graphql = self.graphql.as_ref();
        LoggedRequest {
            number: 0,
            connection,
            method: self.method.to_string(),
            path: self.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            kind: self.kind,
            operation: graphql.and_then(|it| it.operation.clone()),
            query: graphql.map(|it| it.query.clone()),
            variables: graphql.map(|it| it.variables.clone()),
            run_id: self.run_id(),
            run_ids: self.run_ids(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            reads: Vec::new(),
            status: None,
            fault: None,
            body_bytes: 0,
            arrived: shared.log.elapsed(),
            answered: None,
        }
    }
}

/// Binds the port.
pub(crate) fn bind(port: u16) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves connections until the runtime ends.
pub(crate) async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let schema = graphql::schema(shared.clone());
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let _ = socket.set_nodelay(true);
        let control = Arc::new(ConnectionControl::new(shared.log.open_connection()));
        let stream = TokioIo::new(Stream::new(socket, control.clone()));
        let (shared, schema) = (shared.clone(), schema.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (shared, schema, control) = (shared.clone(), schema.clone(), control.clone());
                async move { exchange(&shared, &schema, &control, request).await }
            });
            // A client that hangs up is no error of the server.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .max_buf_size(1 << 20)
                .serve_connection(stream, service)
                .await;
        });
    }
}

async fn exchange(
    shared: &Arc<Shared>,
    schema: &Schema,
    connection: &Arc<ConnectionControl>,
    incoming: http::Request<Incoming>,
) -> io::Result<Response<Body>> {
    let _in_flight = shared.log.enter();
    let (parts, body) = incoming.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let graphql = (parts.uri.path() == "/graphql").then(|| GraphqlRequest::parse(&body)).flatten();
    let mut request = Request {
        kind: RequestKind::of(parts.uri.path(), graphql.as_ref().map(|it| it.query.as_str())),
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body,
        graphql,
        reads: Vec::new(),
    };
    if request.uri.path().starts_with("/_control/") {
        return Ok(control::answer(shared, &request).map(full));
    }
    let number = shared.log.arrive(request.log_entry(shared, connection.number));
    let (hooks, fault) = shared.faults().decide(&request);
    if let Some(fault) = &fault {
        shared.log.note(number, |entry| entry.fault = Some(fault.to_string()));
    }
    for hook in hooks {
        hook.run(shared);
    }
    if !shared.options.latency.is_zero() {
        tokio::time::sleep(shared.options.latency).await;
    }
    let answered = match &fault {
        Some(fault) => fault.before(connection).await?,
        None => None,
    };
    let limit = shared.options.rate_limit.as_ref().filter(|_| request.kind != RequestKind::Storage);
    let told = limit.map(|limit| shared.meter.count(limit));
    let mut answer = match (answered, &told) {
        (Some(answer), _) => answer,
        (None, Some(Told { refused: true, .. })) => Told::refusal(),
        (None, _) => answer(shared, schema, &mut request).await,
    };
    if let Some(told) = told {
        told.write_to(&mut answer);
    }
    shared.log.answer(number, |entry| {
        entry.status = Some(answer.status().as_u16());
        entry.body_bytes = answer.body().len();
        entry.reads = std::mem::take(&mut request.reads);
    });
    match fault {
        Some(fault) => {
            let own_url = format!("{}{}", request.base_url(shared), request.uri);
            Ok(faults::send(fault, answer, connection.clone(), &own_url))
        }
        None => Ok(compressed(shared, &request, answer).map(full)),
    }
}

async fn answer(shared: &Arc<Shared>, schema: &Schema, request: &mut Request) -> Answer {
    let Some(parts) = path_parts(request.uri.path()) else {
        return error(StatusCode::BAD_REQUEST, "the path is not UTF-8");
    };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let options = &shared.options;
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["projects", entity, project, "runs"]) if options.rest => rest::runs(shared, request, entity, project),
        ("GET", ["runs", entity, project, id, "history"]) if options.rest => {
            rest::history(shared, request, entity, project, id)
        }
        ("POST", ["graphql"]) if options.graphql => graphql::answer(shared, schema, request).await,
        ("GET" | "HEAD", ["_storage", ..]) => storage::answer(shared, request, &parts),
        ("PUT", ["_upload", entity, project, id, path @ ..]) => {
            file_stream::upload(shared, request, entity, project, id, &path.join("/"))
        }
        ("POST", ["files", entity, project, id, "file_stream"]) => {
            file_stream::answer(shared, request, entity, project, id)
        }
        _ => error(StatusCode::NOT_FOUND, "not found"),
    }
}

/// The smallest body worth compressing.
const GZIP_FROM: usize = 1024;

fn compressed(shared: &Shared, request: &Request, answer: Answer) -> Answer {
    let accepted =
        request.headers.get(ACCEPT_ENCODING).and_then(|it| it.to_str().ok()).is_some_and(|it| it.contains("gzip"));
    if !shared.options.gzip || !accepted || answer.body().len() < GZIP_FROM || request.kind == RequestKind::Storage {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    parts.headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, gzip(&body))
}

/// Fast gzip.
pub(crate) fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
}
