//! A server on this machine that answers every request as the test says, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How to answer: parts with pauses between them, or `Close` in the middle.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// Ends the connection.
    Close,
    /// Ends the connection the hard way.
    Reset,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    /// Answers a request's path with what `answer` says.
    pub(crate) async fn start(answer: impl Fn(&str) -> Vec<Part> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::default(), Arc::<Mutex<usize>>::default());
        let server = Self { address, requests: Arc::clone(&requests), connections: connections.clone() };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                tokio::spawn(serve(connection, answer.clone(), requests.clone()));
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Heads and bodies of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn serve(
    connection: TcpStream,
    answer: Arc<impl Fn(&str) -> Vec<Part> + Send + Sync + 'static>,
    requests: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut request = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            request += &line;
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await?;
        request += &String::from_utf8_lossy(&body);
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        requests.lock().unwrap().push(request);
        for part in answer(&path) {
            match part {
                Part::Bytes(bytes) => connection.write_all(&bytes).await?,
                Part::Pause(duration) => tokio::time::sleep(duration).await,
                Part::Close => return Ok(()),
                Part::Reset => return connection.get_ref().set_zero_linger(),
            }
            connection.flush().await?;
        }
    }
}

/// A whole answer.
pub(crate) fn answer(status: &str, body: &str) -> Vec<Part> {
    vec![Part::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())]
}

/// A whole answer, compressed.
pub(crate) fn gzip(body: &str) -> Vec<Part> {
    let body = gzipped(body.as_bytes());
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
    vec![Part::Bytes([head.into_bytes(), body].concat())]
}

pub(crate) fn gzipped(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}
