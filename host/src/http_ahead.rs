//! The body of a response, made ready while the guest is busy with what it has.
//!
//! Decoding and masking take a third as long as parsing does in the guest. Done when the guest asks, they would add to its time;
//! in a task of their own they go on beside it. One piece waits, and one more is being made: that bounds what they take.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

/// What the task sends last when all went well. Without it the body is not whole.
struct End;

type Piece = Result<Frame<Bytes>, WasiError>;

/// A body that a task reads.
pub(crate) struct AheadBody {
    pieces: mpsc::Receiver<Result<Piece, End>>,
    ended: bool,
}

impl AheadBody {
    /// Starts to read `incoming`. The task ends with the body, or when it is dropped.
    pub(crate) fn start(mut incoming: WasiBody) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let piece = tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    piece = incoming.frame() => piece,
                };
                let last = !matches!(piece, Some(Ok(_)));
                if sender.send(piece.ok_or(End)).await.is_err() || last {
                    return;
                }
            }
        });
        Self { pieces, ended: false }
    }
}

impl Body for AheadBody {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(cx));
        self.ended = !matches!(piece, Some(Ok(Ok(_))));
        Poll::Ready(match piece {
            Some(Ok(piece)) => Some(piece),
            Some(Err(End)) => None,
            None => Some(Err(WasiError::InternalError(Some("the body could not be read to its end".into())))),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Gives `pieces` pieces, then ends, fails or panics.
    struct Source {
        pieces: usize,
        given: Arc<AtomicUsize>,
        end: fn() -> Option<Piece>,
    }

    impl Body for Source {
        type Data = Bytes;
        type Error = WasiError;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Piece>> {
            let given = self.given.fetch_add(1, Ordering::SeqCst);
            Poll::Ready(if given < self.pieces {
                Some(Ok(Frame::data(vec![given as u8].into())))
            } else {
                (self.end)()
            })
        }
    }

    fn read_ahead(pieces: usize, end: fn() -> Option<Piece>) -> (AheadBody, Arc<AtomicUsize>) {
        let given = Arc::new(AtomicUsize::new(0));
        (AheadBody::start(Source { pieces, given: given.clone(), end }.boxed_unsync()), given)
    }

    #[tokio::test]
    async fn what_came_is_passed_on_in_order_to_the_end() {
        let (body, _) = read_ahead(5, || None);
        assert_eq!(body.collect().await.unwrap().to_bytes().as_ref(), [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn an_error_comes_after_what_came_before_it() {
        let (mut body, _) = read_ahead(1, || Some(Err(WasiError::ConnectionReadTimeout)));
        assert!(body.frame().await.unwrap().is_ok());
        assert!(matches!(body.frame().await, Some(Err(WasiError::ConnectionReadTimeout))));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_body_whose_reader_is_lost_is_not_taken_for_whole() {
        let (mut body, _) = read_ahead(1, || panic!("as a fault of a decoder would"));
        assert!(body.frame().await.unwrap().is_ok());
        assert!(matches!(body.frame().await, Some(Err(WasiError::InternalError(_)))));
    }

    #[tokio::test]
    async fn little_is_read_ahead_of_the_guest_and_nothing_after_it_is_gone() {
        let (body, given) = read_ahead(usize::MAX, || None);
        let settle = async || {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        settle().await;
        assert_eq!(given.load(Ordering::SeqCst), 2, "one waits in the channel, one to get into it");
        drop(body);
        settle().await;
        assert_eq!((given.load(Ordering::SeqCst), Arc::strong_count(&given)), (2, 1), "the source is gone");
    }
}
