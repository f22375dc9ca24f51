//! One connection. A client can be slow, silent or endless without cost: every part of an exchange has an end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Shared, routes};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// A request's head; and how long a connection may be silent.
    head: Duration,
    /// All requests of a connection: a client that reads slowly, or asks forever, is disconnected.
    all: Duration,
    /// The response that is on its way then.
    last: Duration,
}

impl Times {
    const USUAL: Self =
        Self { head: Duration::from_secs(10), all: Duration::from_secs(60), last: Duration::from_secs(30) };
}

/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Fields of a request's head.
const HEAD_FIELDS: usize = 64;

/// Answers the requests of a connection, until it ends or is `closing`.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>, closing: CancellationToken) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(routes::answer_to(&shared, request).await) }
    });
    serve_within(Times::USUAL, stream, service, closing).await;
}

async fn serve_within<S>(times: Times, stream: TcpStream, service: S, closing: CancellationToken)
where
    S: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.head)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // Whatever was wrong was wrong with the client.
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(times.all) => {}
        () = closing.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(times.last, connection).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::Response;
    use tokio::net::TcpListener;

    use super::*;

    /// A client that sends `requests` and reads nothing, until the server has done with it. How many were answered.
    async fn served(times: Times, requests: usize, body: usize) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all("GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(requests).as_bytes()).unwrap();
        let answered = Arc::new(AtomicUsize::new(0));
        let counted = answered.clone();
        let service = service_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { Ok(Response::new(Full::new(Bytes::from(vec![b'x'; body])))) }
        });
        let (stream, _) = listener.accept().await.unwrap();
        let serving = serve_within(times, stream, service, CancellationToken::new());
        tokio::time::timeout(Duration::from_secs(30), serving).await.expect("the connection stays");
        // Then it is closed: what comes ends.
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let _ = client.read_to_end(&mut Vec::new());
        answered.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_let_go() {
        let moment = Duration::from_millis(50);
        let times = Times { all: moment, last: moment, ..Times::USUAL };
        assert_eq!(served(times, 1, 64 << 20).await, 1);
    }

    #[tokio::test]
    async fn a_client_that_has_no_more_to_ask_is_let_go() {
        assert_eq!(served(Times { head: Duration::from_millis(50), ..Times::USUAL }, 3, 10).await, 3);
        assert_eq!(served(Times { all: Duration::from_millis(50), ..Times::USUAL }, 3, 10).await, 3);
    }
}
