//! A wire between a client and a local server that a test can cut anywhere: it passes requests on, and sends the answers byte by
//! byte as the test says. What no HTTP library would send is sent here: heads that break off, lengths that are wrong, connections
//! that end the moment they are used again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

use crate::local_wandb::LocalWandb;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By `content-length`.
    Length,
    /// In chunks of so many bytes.
    Chunked(usize),
    /// By the end of the connection.
    UntilClose,
}

/// One step of an answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// Bytes as they are.
    Send(Bytes),
    /// Nothing for a while.
    Wait(Duration),
    /// The connection ends in a TCP reset.
    Reset,
    /// The connection ends cleanly.
    End,
}

/// A request, and what the server answered.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its number on its connection, from 1.
    pub on_connection: usize,
    /// The request: head and body.
    pub request: String,
    /// The answer's status line.
    pub status: String,
    /// The answer's headers, but for those that frame the body.
    pub headers: Vec<String>,
    /// The answer's body.
    pub body: Bytes,
}

impl Exchange {
    /// The answer with another body.
    pub fn with_body(&self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self.clone() }
    }

    /// The answer with another header, written `name: value`.
    pub fn with_header(&self, header: impl Into<String>) -> Self {
        let mut changed = self.clone();
        changed.headers.push(header.into());
        changed
    }

    /// The body with every `from` replaced; the answer must not be compressed.
    pub fn replaced(&self, from: &str, to: &str) -> Self {
        self.with_body(String::from_utf8_lossy(&self.body).replace(from, to))
    }

    /// The answer's bytes.
    pub fn bytes(&self, framing: Framing) -> Bytes {
        let (end, body) = match framing {
            Framing::Length => (format!("content-length: {}\r\n", self.body.len()), self.body.to_vec()),
            Framing::Chunked(size) => {
                let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
                let chunks = self.body.chunks(size.max(1)).flat_map(chunk);
                ("transfer-encoding: chunked\r\n".to_owned(), chunks.chain(*b"0\r\n\r\n").collect())
            }
            Framing::UntilClose => ("connection: close\r\n".to_owned(), self.body.to_vec()),
        };
        let headers: String = self.headers.iter().map(|header| format!("{header}\r\n")).collect();
        [format!("{}\r\n{headers}{end}\r\n", self.status).into_bytes(), body].concat().into()
    }

    /// The answer as it should be.
    pub fn whole(&self) -> Vec<Step> {
        vec![Step::Send(self.bytes(Framing::Length))]
    }

    /// The answer up to this byte, and then `end`.
    pub fn cut(&self, framing: Framing, at: usize, end: Step) -> Vec<Step> {
        let bytes = self.bytes(framing);
        vec![Step::Send(bytes.slice(..at.min(bytes.len()))), end]
    }
}

type Play = Arc<dyn Fn(&Exchange) -> Vec<Step> + Send + Sync>;

struct Shared {
    server: SocketAddr,
    play: Mutex<Play>,
    requests: AtomicUsize,
    connections: AtomicUsize,
}

/// The wire. It ends when dropped.
pub struct Wire {
    address: SocketAddr,
    waiting: Mutex<Option<TcpSocket>>,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Wire {
    /// A wire to `server`.
    ///
    /// # Errors
    /// No port can be bound.
    pub fn to(server: &LocalWandb) -> io::Result<Self> {
        let wire = Self::closed(server)?;
        wire.open()?;
        Ok(wire)
    }

    /// A wire that refuses connections until it is opened.
    ///
    /// # Errors
    /// No port can be bound.
    pub fn closed(server: &LocalWandb) -> io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("wire").enable_all().build()?;
        // Bound and not listening: the port is taken, and whoever connects is refused.
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let shared = Shared {
            server: server.address(),
            play: Mutex::new(Arc::new(Exchange::whole)),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        };
        Ok(Self {
            address: socket.local_addr()?,
            waiting: Mutex::new(Some(socket)),
            shared: Arc::new(shared),
            runtime: Some(runtime),
        })
    }

    /// Takes connections from now on.
    ///
    /// # Errors
    /// The port can't be listened on.
    pub fn open(&self) -> io::Result<()> {
        let socket = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(socket), Some(runtime)) = (socket, &self.runtime) else { return Ok(()) };
        let listener = {
            let _context = runtime.enter();
            socket.listen(128)?
        };
        let shared = self.shared.clone();
        runtime.spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(connection, shared.clone()));
            }
        });
        Ok(())
    }

    /// What to send for each answer from now on.
    pub fn play(&self, play: impl Fn(&Exchange) -> Vec<Step> + Send + Sync + 'static) {
        *self.shared.play.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(play);
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(connection: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut connection = BufReader::new(connection);
    for on_connection in 1.. {
        let Some(request) = read_message(&mut connection).await? else { break };
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let exchange = pass_on(shared.server, &request, on_connection).await?;
        let play = shared.play.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let steps = play(&exchange);
        for step in steps {
            match step {
                Step::Send(bytes) => connection.get_mut().write_all(&bytes).await?,
                Step::Wait(wait) => tokio::time::sleep(wait).await,
                Step::Reset => return connection.get_ref().set_zero_linger(),
                Step::End => return Ok(()),
            }
        }
    }
    Ok(())
}

/// A head and its body; none at the end of the connection.
async fn read_message(connection: &mut BufReader<TcpStream>) -> io::Result<Option<(String, Vec<u8>)>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if connection.read_line(&mut head).await? == 0 {
            return Ok(None);
        }
        let line = &head[start..];
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    Ok(Some((head, body)))
}

async fn pass_on(server: SocketAddr, (head, body): &(String, Vec<u8>), on_connection: usize) -> io::Result<Exchange> {
    let mut upstream = BufReader::new(TcpStream::connect(server).await?);
    upstream.get_mut().write_all(&[head.as_bytes(), body].concat()).await?;
    let answer = read_message(&mut upstream).await?;
    let (answered, answer) = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut lines = answered.trim_end().split("\r\n").map(str::to_owned);
    let status = lines.next().unwrap_or_default();
    let frames = |line: &str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        matches!(name.as_str(), "content-length" | "connection" | "transfer-encoding")
    };
    Ok(Exchange {
        on_connection,
        request: format!("{head}{}", String::from_utf8_lossy(body)),
        status,
        headers: lines.filter(|line| !frames(line)).collect(),
        body: answer.into(),
    })
}
