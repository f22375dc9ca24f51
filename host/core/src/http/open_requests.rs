//! How many requests of one sync are under way at once.
//!
//! A request that finds no free permit waits for one. It may not fail at once: a permit is returned on another thread, a moment after the
//! guest has read the last byte of a response, so that a guest with as many requests under way as are allowed would fail by chance. But a
//! guest that leaves all responses unread and sends one more request would wait for itself. So each permit records whether its request makes
//! progress without the guest, as it does while it waits for the rate limit or for its server, which have time limits of their own. When
//! none of them has made progress for a while, the wait ends with an error.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The permits of one sync. Clones share them.
#[derive(Clone)]
pub(crate) struct OpenRequests {
    places: Arc<Semaphore>,
    going: Arc<Going>,
}

/// How many permits make progress without the guest, and how often that number changed.
#[derive(Default)]
struct Going {
    now: AtomicUsize,
    changes: AtomicU64,
}

/// The right to have one request under way. Given back when it is dropped.
pub(crate) struct RequestPermit {
    going: Arc<Going>,
    _permit: OwnedSemaphorePermit,
}

impl OpenRequests {
    /// Room for `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), going: Arc::default() }
    }

    /// A place, if one is free.
    pub(crate) fn free(&self) -> Option<RequestPermit> {
        self.places.clone().try_acquire_owned().ok().map(|permit| self.place(permit))
    }

    /// Waits for a place. None when no other one has gone on for as long as `patience`.
    pub(crate) async fn wait(&self, patience: Duration) -> Option<RequestPermit> {
        let mut permit = pin!(self.places.clone().acquire_owned());
        loop {
            let before = self.going.changes.load(Ordering::SeqCst);
            match timeout(patience, permit.as_mut()).await {
                // Never closed.
                Ok(permit) => return permit.ok().map(|permit| self.place(permit)),
                Err(_) => {
                    let still = self.going.changes.load(Ordering::SeqCst) == before;
                    if still && self.going.now.load(Ordering::SeqCst) == 0 {
                        return None;
                    }
                }
            }
        }
    }

    fn place(&self, permit: OwnedSemaphorePermit) -> RequestPermit {
        RequestPermit { going: self.going.clone(), _permit: permit }
    }
}

impl RequestPermit {
    /// Does `work`, which does not wait for the guest and ends by itself.
    pub(crate) async fn goes_on<T>(&self, work: impl Future<Output = T>) -> T {
        let _begun = Begun::new(&self.going);
        work.await
    }
}

struct Begun<'a>(&'a Going);

impl<'a> Begun<'a> {
    fn new(going: &'a Going) -> Self {
        going.now.fetch_add(1, Ordering::SeqCst);
        going.changes.fetch_add(1, Ordering::SeqCst);
        Self(going)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::pending;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn who_finds_no_place_waits_until_one_is_given_back() {
        let open = OpenRequests::new(2);
        let (first, second) = (open.free().unwrap(), open.free().unwrap());
        assert!(open.free().is_none());
        let mut third = Box::pin(open.wait(Duration::from_secs(3600)));
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        drop(first);
        let third = third.await;
        assert!(third.is_some() && open.free().is_none());
        drop(second);
        assert!(open.free().is_some());
    }

    #[tokio::test]
    async fn a_wait_ends_when_no_place_goes_on_and_not_before() {
        let open = OpenRequests::new(2);
        let (unread, asked) = (open.free().unwrap(), open.free().unwrap());
        // It waits for its server, for longer than the patience.
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let mut going = Box::pin(asked.goes_on(answered));
        assert!(futures_util::poll!(going.as_mut()).is_pending());
        let mut wait = Box::pin(open.wait(PATIENCE));
        // That nothing happens has no event: it is given ten times the time in which it could.
        tokio::select! {
            _ = &mut wait => panic!("it was given up although a request was going on"),
            () = tokio::time::sleep(PATIENCE * 10) => {}
        }
        answer.send(()).unwrap();
        going.await.unwrap();
        assert!(wait.await.is_none(), "both places wait for the guest now");
        drop((unread, asked));
    }

    #[tokio::test]
    async fn what_is_dropped_on_its_way_goes_on_no_more() {
        let open = OpenRequests::new(1);
        let place = open.free().unwrap();
        let mut work = Box::pin(place.goes_on(pending::<()>()));
        assert!(futures_util::poll!(work.as_mut()).is_pending());
        drop(work);
        assert!(open.wait(PATIENCE).await.is_none());
    }
}
