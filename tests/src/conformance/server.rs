//! The server that the conformance component sends its requests to: each path is one way in which a server can behave.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::plain_http::{PlainServer, Request, answer};

/// How many requests `/together` waits for; as in the component.
const TOGETHER: usize = 16;
/// No request waits longer for another.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than the component's connect timeout for `/slow`, by far.
const SLOW: Duration = Duration::from_millis(1200);
/// `zipped`, compressed.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\xca,(HM\x01\x00Wh\xc2\xe2\x06\x00\x00\x00";
const LARGE: usize = 3 << 20;

/// Starts the kit's server.
///
/// # Errors
/// No port can be had.
pub fn start_server() -> io::Result<PlainServer> {
    let shared = Shared::default();
    PlainServer::start(move |request, connection| shared.respond(request, connection))
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// What requests wait for.
#[derive(Default)]
struct Waiting {
    /// Requests of `/together` so far.
    arrived: usize,
    /// Whether `/release` was asked for.
    released: bool,
}

impl Shared {
    /// Answers, and says whether the connection lives on.
    fn respond(&self, request: &Request, mut to: &TcpStream) -> io::Result<bool> {
        match request.path.split('?').next().unwrap_or_default() {
            "/hello" => answer(to, "200 OK", "", b"hello")?,
            "/echo" => {
                let (Request { method, path, body, .. }, probe) = (request, request.header("x-probe"));
                let sum: u64 = body.iter().copied().map(u64::from).sum();
                let text = format!("{method} {path}, x-probe: {probe}, {} bytes, sum {sum}", body.len());
                answer(to, "200 OK", "", text.as_bytes())?;
            }
            "/headers" => answer(to, "200 OK", "X-One: a b\r\nx-two: 1\r\nx-two: 2\r\n", b"")?,
            "/redirect" => answer(to, "302 Found", "location: /hello\r\n", b"")?,
            "/gzip" => answer(to, "200 OK", "content-encoding: gzip\r\n", GZIP)?,
            "/large" => {
                let body: Vec<u8> = (0..LARGE).map(|place| (place % 251) as u8).collect();
                answer(to, "200 OK", "", &body)?;
            }
            "/together" => match self.wait_for_all() {
                true => answer(to, "200 OK", "", b"together")?,
                false => answer(to, "500 Alone", "", b"")?,
            },
            "/halves" => {
                to.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\nfirst, \r\n")?;
                if !self.wait_for_release() {
                    return Ok(false);
                }
                to.write_all(b"6\r\nsecond\r\n0\r\n\r\n")?;
            }
            "/release" => {
                self.waiting().released = true;
                self.changed.notify_all();
                answer(to, "200 OK", "", b"")?;
            }
            "/cut" => {
                to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789")?;
                return Ok(false);
            }
            "/silent" => {
                // Until the client gives up.
                to.set_read_timeout(Some(PATIENCE))?;
                return Ok(to.read(&mut [0])? != 0);
            }
            "/slow" => {
                thread::sleep(SLOW);
                answer(to, "200 OK", "", b"slow")?;
            }
            _ => answer(to, "404 Not Found", "", b"no such path")?,
        }
        Ok(true)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it came true before the patience ended.
    fn wait(&self, waiting: MutexGuard<'_, Waiting>, until: impl Fn(&Waiting) -> bool) -> bool {
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(waiting, PATIENCE, |waiting| !until(waiting));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn wait_for_all(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.arrived += 1;
        // Each sync brings a whole number of them.
        let goal = waiting.arrived.div_ceil(TOGETHER) * TOGETHER;
        self.wait(waiting, |waiting| waiting.arrived >= goal)
    }

    fn wait_for_release(&self) -> bool {
        let released = self.wait(self.waiting(), |waiting| waiting.released);
        self.waiting().released = false;
        released
    }
}
