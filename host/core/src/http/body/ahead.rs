//! The body of a response, made ready while the guest is busy with what it has.
//!
//! Decoding and masking take a third as long as parsing does in the guest. Done when the guest asks, they would add to its time;
//! in a task of their own they run concurrently, and are counted as its processor time. One piece waits, and one more is being made, as long as
//! all bodies of the sync together have no more than [`PIECES`] ready. Beyond that, a body is read only while the guest waits for it: so
//! bodies that the guest leaves unread can't block those that it reads.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::http::open_requests::RequestPermit;
use crate::runtime::limits::Meter;

/// Pieces that the bodies of one sync may have ready, all together. A piece of what was compressed has 128 KiB, others what a connection
/// brings at once: 16 KiB in HTTP/2, up to 400 KiB else.
const PIECES: usize = 64;

/// What the bodies of one sync share.
pub(crate) struct Readers {
    room: Arc<Semaphore>,
    meter: Meter,
}

impl Readers {
    /// What they compute counts with `meter`.
    pub(crate) fn new(meter: Meter) -> Self {
        Self { room: Arc::new(Semaphore::new(PIECES)), meter }
    }
}

/// What the task sends last when all went well. Without it the body is not whole.
struct End;

type Piece = Result<Frame<Bytes>, WasiError>;

/// A piece, and the permit that it holds until the guest has it.
type Ready = (Result<Piece, End>, Option<OwnedSemaphorePermit>);

/// A body that a task reads.
pub(crate) struct AheadBody {
    pieces: mpsc::Receiver<Ready>,
    /// The guest waits for a piece.
    wanted: Arc<Notify>,
    ended: bool,
}

impl AheadBody {
    /// Starts to read `incoming`, the response to the request that has `place`. The task ends with the body, or when it is dropped.
    pub(crate) fn start(mut incoming: WasiBody, place: RequestPermit, readers: &Readers) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let (room, meter, wanted) = (readers.room.clone(), readers.meter.clone(), Arc::new(Notify::new()));
        let body = Self { pieces, wanted: wanted.clone(), ended: false };
        tokio::spawn(async move {
            loop {
                let room = tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    room = room.clone().acquire_owned() => room.ok(),
                    () = wanted.notified() => None,
                };
                let piece = tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    piece = place.goes_on(meter.measured(incoming.frame())) => piece,
                };
                let last = !matches!(piece, Some(Ok(_)));
                if sender.send((piece.ok_or(End), room)).await.is_err() || last {
                    return;
                }
            }
        });
        body
    }
}

impl Body for AheadBody {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(piece) = self.pieces.poll_recv(cx) else {
            self.wanted.notify_one();
            return Poll::Pending;
        };
        let piece = piece.map(|(piece, _)| piece);
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::error::Error;
    use crate::http::open_requests::OpenRequests;
    use crate::http::rate_gate::Ungated;
    use crate::runtime::limits::{StopSignal, Usage};

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

    fn readers(most: Duration) -> (Readers, StopSignal) {
        let stop = StopSignal::default();
        (Readers::new(Meter::new(Arc::new(Usage::new(Arc::new(Ungated))), most, stop.clone())), stop)
    }

    fn read_with(readers: &Readers, pieces: usize, end: fn() -> Option<Piece>) -> (AheadBody, Arc<AtomicUsize>) {
        let (given, place) = (Arc::new(AtomicUsize::new(0)), OpenRequests::new(1).free().unwrap());
        (AheadBody::start(Source { pieces, given: given.clone(), end }.boxed_unsync(), place, readers), given)
    }

    fn read_ahead(pieces: usize, end: fn() -> Option<Piece>) -> (AheadBody, Arc<AtomicUsize>) {
        read_with(&readers(Duration::MAX).0, pieces, end)
    }

    async fn settle() {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
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
        settle().await;
        assert_eq!(given.load(Ordering::SeqCst), 2, "one waits in the channel, one to get into it");
        drop(body);
        settle().await;
        assert_eq!((given.load(Ordering::SeqCst), Arc::strong_count(&given)), (2, 1), "the source is gone");
    }

    #[tokio::test]
    async fn all_bodies_together_have_so_much_ready_and_each_can_be_read_all_the_same() {
        let (readers, _) = readers(Duration::MAX);
        let (bodies, given): (Vec<_>, Vec<_>) = (0..PIECES).map(|_| read_with(&readers, 1000, || None)).unzip();
        settle().await;
        let made = || given.iter().map(|given| given.load(Ordering::SeqCst)).sum::<usize>();
        assert_eq!(made(), PIECES);
        // Nobody reads the others, and they keep what they have.
        let (mut last, _) = read_with(&readers, 1000, || None);
        for number in 0..1000_usize {
            let piece = last.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(piece.as_ref(), [number as u8]);
        }
        assert!(last.frame().await.is_none());
        assert_eq!(made(), PIECES);
        drop(bodies);
        let (_body, given) = read_with(&readers, 1000, || None);
        settle().await;
        assert_eq!(given.load(Ordering::SeqCst), 2, "there is room again");
    }

    #[tokio::test]
    async fn what_is_computed_for_a_body_counts_and_ends_the_sync() {
        fn compute() -> Option<Piece> {
            let began = elt_support::thread_clock::cpu_time();
            while elt_support::thread_clock::cpu_time() - began < Duration::from_millis(20) {
                std::hint::spin_loop();
            }
            None
        }
        let usage = Arc::new(Usage::new(Arc::new(Ungated)));
        let stop = StopSignal::default();
        let readers = Readers::new(Meter::new(usage.clone(), Duration::from_millis(10), stop.clone()));
        let (mut body, _) = read_with(&readers, 1, compute);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.is_none());
        assert!(usage.cpu_time() >= Duration::from_millis(20));
        assert!(matches!(stop.reason(), Some(Error::Limit { limit: "cpu_time", .. })));
    }
}
