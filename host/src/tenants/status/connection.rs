//! One connection. A client can be slow, silent or endless without cost: every part of an exchange has an end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Shared, routes};

/// How long a request's head may take, and how long a connection may be silent.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Fields of a request's head.
const HEAD_FIELDS: usize = 64;
/// After this a connection takes no further request: a client that reads slowly, or asks forever, makes room.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long the last response may take then.
const LAST: Duration = Duration::from_secs(30);

/// Answers the requests of a connection, until it ends or is `closing`.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>, closing: CancellationToken) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(routes::answer_to(&shared, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // Whatever was wrong was wrong with the client.
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(LIFETIME) => {}
        () = closing.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST, connection).await;
}
