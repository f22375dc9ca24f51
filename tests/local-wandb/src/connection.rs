//! A connection that can be cut the hard way, as a crashed proxy or a network cuts it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection as its requests see it.
#[derive(Debug)]
pub(crate) struct ConnectionControl {
    /// Its number, from 0.
    pub(crate) number: usize,
    reset: AtomicBool,
}

impl ConnectionControl {
    pub(crate) fn new(number: usize) -> Self {
        ConnectionControl { number, reset: AtomicBool::new(false) }
    }

    /// Makes the connection end with a TCP reset, now or when it is next used.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
    }

    fn is_reset(&self) -> bool {
        self.reset.load(Ordering::SeqCst)
    }
}

/// A TCP stream that its [`ConnectionControl`] can cut.
pub(crate) struct Stream {
    socket: TcpStream,
    control: std::sync::Arc<ConnectionControl>,
}

impl Stream {
    pub(crate) fn new(socket: TcpStream, control: std::sync::Arc<ConnectionControl>) -> Self {
        Stream { socket, control }
    }

    fn check(&self) -> io::Result<()> {
        if self.control.is_reset() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.control.is_reset() {
            // Closing with no linger time is what makes TCP send a reset rather than an end.
            let _ = self.socket.set_zero_linger();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
