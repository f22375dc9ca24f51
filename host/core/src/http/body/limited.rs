//! The body of a response on its way to the guest: it may not stall, and may not grow without end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error as WasiError;

use crate::http::error as http_error;
use crate::http::quota::{Quota, head_bytes};

/// How long data that the client has already received may take to reach the guest.
const SECOND_CHANCE: Duration = Duration::from_secs(1);

/// Called when a body is larger than it may be.
pub(crate) type OnLimit = Arc<dyn Fn() + Send + Sync>;

/// A response's body under limits.
pub(crate) struct LimitedBody {
    incoming: Incoming,
    quota: Arc<Quota>,
    /// Bytes that may still come.
    left: u64,
    most: u64,
    between_bytes: Duration,
    stall: Pin<Box<Sleep>>,
    stalled: bool,
    on_limit: OnLimit,
}

impl LimitedBody {
    /// Wraps `incoming`, which counts against `quota`. `on_limit` is called when more than `most` bytes came.
    pub(crate) fn new(
        incoming: Incoming,
        quota: Arc<Quota>,
        most: u64,
        between_bytes: Duration,
        on_limit: OnLimit,
    ) -> Self {
        let stall = Box::pin(tokio::time::sleep(between_bytes));
        Self { incoming, quota, left: most, most, between_bytes, stall, stalled: false, on_limit }
    }

    fn too_large(&mut self) -> WasiError {
        self.left = 0;
        (self.on_limit)();
        WasiError::HttpResponseBodySize(Some(self.most))
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = WasiError;

    /// The next frame as it came, within the limits of time and size.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(why))) => return Poll::Ready(Some(Err(http_error::body_code(&why)))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                ready!(this.stall.as_mut().poll(cx));
                if this.stalled {
                    return Poll::Ready(Some(Err(WasiError::ConnectionReadTimeout)));
                }
                // It may have been the guest that was away. What came in the meantime gets a moment to come through.
                this.stalled = true;
                this.stall.as_mut().reset(Instant::now() + SECOND_CHANCE);
                ready!(this.stall.as_mut().poll(cx));
                return Poll::Ready(Some(Err(WasiError::ConnectionReadTimeout)));
            }
        };
        this.stalled = false;
        this.stall.as_mut().reset(Instant::now() + this.between_bytes);
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        if !this.quota.received(bytes + frame.trailers_ref().map_or(0, head_bytes)) {
            return Poll::Ready(Some(Err(WasiError::HttpResponseBodySize(None))));
        }
        match this.left.checked_sub(bytes) {
            Some(left) => {
                this.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err(this.too_large()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
