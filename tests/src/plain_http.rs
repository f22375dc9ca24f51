//! A plain HTTP server, for tests that say byte by byte what it answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A running server. Dropping it ends it.
pub struct PlainServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

/// What a client asked.
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As long as `content-length` says.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

impl PlainServer {
    /// Listens on a free port of this machine. `respond` is called for each request, on a thread of the connection's own; it says
    /// whether the connection lives on.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start(
        respond: impl Fn(&Request, &TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = PlainServer { address: listener.local_addr()?, ended: Arc::default() };
        let (ended, respond) = (server.ended.clone(), Arc::new(respond));
        thread::spawn(move || {
            for connection in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(connection), respond) = (connection, respond.clone()) else { continue };
                // A client that goes away is none of the server's concern.
                thread::spawn(move || drop(serve(&connection, respond.as_ref())));
            }
        });
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for PlainServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(connection: &TcpStream, respond: impl Fn(&Request, &TcpStream) -> io::Result<bool>) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    while let Some(request) = read(&mut reader)? {
        if !respond(&request, connection)? {
            break;
        }
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut parts = line.split_whitespace().map(str::to_owned);
    let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut request = Request { method, path, headers: Vec::new(), body: Vec::new() };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").parse().unwrap_or_default();
    reader.take(length).read_to_end(&mut request.body)?;
    Ok(Some(request))
}

/// Writes an answer. `headers` are whole lines.
///
/// # Errors
/// The client is gone.
pub fn answer(mut to: impl Write, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    to.write_all(format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len()).as_bytes())?;
    to.write_all(body)
}
