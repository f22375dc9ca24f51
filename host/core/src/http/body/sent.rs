//! The body of a request on its way out, counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::http::quota::{Quota, head_bytes};

/// A request's body that counts against the sync's quota.
pub(crate) struct SentBody {
    body: WasiBody,
    quota: Arc<Quota>,
}

impl SentBody {
    pub(crate) fn new(body: WasiBody, quota: Arc<Quota>) -> Self {
        Self { body, quota }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes =
                frame.data_ref().map_or(0, |data| data.len() as u64) + frame.trailers_ref().map_or(0, head_bytes);
            if !self.quota.sent(bytes) {
                return Poll::Ready(Some(Err(WasiError::HttpRequestBodySize(None))));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
