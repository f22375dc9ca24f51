//! A server on this machine that answers every request as the test says, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

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
    /// Tells of every request.
    pub(crate) asked: Arc<Notify>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    /// Answers a request's path with what `answer` says.
    pub(crate) async fn start(answer: impl Fn(&str) -> Vec<Part> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, asked, connections) = (Arc::default(), Arc::new(Notify::new()), Arc::<Mutex<usize>>::default());
        let server =
            Self { address, requests: Arc::clone(&requests), asked: asked.clone(), connections: connections.clone() };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                tokio::spawn(serve(connection, answer.clone(), requests.clone(), asked.clone()));
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
    asked: Arc<Notify>,
) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut request = String::new();
        if !read_lines(&mut connection, &mut request).await? {
            return Ok(());
        }
        let head = request.to_ascii_lowercase();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        match value("transfer-encoding:") {
            Some("chunked") => read_chunks(&mut connection, &mut request).await?,
            _ => {
                let length = value("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
                read_bytes(&mut connection, length, &mut request).await?;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        requests.lock().unwrap().push(request);
        asked.notify_waiters();
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

/// Lines up to an empty one: a head, or trailers. False at the end of the connection.
async fn read_lines(connection: &mut BufReader<TcpStream>, text: &mut String) -> std::io::Result<bool> {
    loop {
        let start = text.len();
        if connection.read_line(text).await? == 0 {
            return Ok(false);
        }
        if &text[start..] == "\r\n" {
            return Ok(true);
        }
    }
}

async fn read_bytes(connection: &mut BufReader<TcpStream>, length: usize, text: &mut String) -> std::io::Result<()> {
    let mut bytes = vec![0; length];
    connection.read_exact(&mut bytes).await?;
    *text += &String::from_utf8_lossy(&bytes);
    Ok(())
}

/// A body in chunks as it is on the wire, with its trailers.
async fn read_chunks(connection: &mut BufReader<TcpStream>, text: &mut String) -> std::io::Result<()> {
    loop {
        let start = text.len();
        connection.read_line(text).await?;
        match usize::from_str_radix(text[start..].trim(), 16).unwrap_or(0) {
            0 => return read_lines(connection, text).await.map(drop),
            length => read_bytes(connection, length + 2, text).await?,
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
