//! The body of a response without the secrets that a server may have echoed in it ([`crate::http::mask`]).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::http::mask::{BodyMask, Mask};

/// A body under a mask.
pub(crate) struct MaskedBody {
    incoming: WasiBody,
    mask: BodyMask,
    trailers: Mask,
    /// The frame that ended the body, kept until what the mask held back is out.
    last: Option<Frame<Bytes>>,
}

impl MaskedBody {
    /// Hides what `mask` looks for in the bytes of `incoming`, and in its trailers.
    pub(crate) fn new(incoming: WasiBody, mask: &Mask) -> Self {
        Self { incoming, mask: mask.body(), trailers: mask.clone(), last: None }
    }
}

impl Body for MaskedBody {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        let this = &mut *self;
        loop {
            if let Some(last) = this.last.take() {
                return Poll::Ready(Some(Ok(last)));
            }
            let end = match ready!(Pin::new(&mut this.incoming).poll_frame(cx)) {
                Some(Err(why)) => return Poll::Ready(Some(Err(why))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => match this.mask.push(data) {
                        part if part.is_empty() => continue,
                        part => return Poll::Ready(Some(Ok(Frame::data(part)))),
                    },
                    Err(mut frame) => {
                        if let Some(trailers) = frame.trailers_mut() {
                            this.trailers.headers(trailers);
                        }
                        Some(frame)
                    }
                },
                None => None,
            };
            this.last = end;
            match this.mask.finish() {
                Some(rest) => return Poll::Ready(Some(Ok(Frame::data(rest)))),
                None if this.last.is_none() => return Poll::Ready(None),
                None => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.mask.is_empty() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
