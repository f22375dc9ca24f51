//! An [`Exchange`] with a clock of its own. It stands still while there is something to do, and jumps to where the first sleeper wakes when
//! there is not, so that what takes an hour takes no time, and always takes the same course.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chrono::{DateTime, Utc};
use wandb_connector::api::exchange::{Exchange, Request, Response, TransportError};

use super::NativeExchange;
use crate::local_wandb::VirtualTime;

/// What a request takes, however long it takes.
const REQUEST: Duration = Duration::from_millis(1);

/// Requests as [`NativeExchange`] sends them, in a time of its own.
#[derive(Debug, Default)]
pub struct HurriedExchange {
    inner: NativeExchange,
    /// The clock, which a server can go by too.
    pub time: VirtualTime,
    in_flight: Cell<usize>,
    sleepers: RefCell<Vec<(Duration, Waker)>>,
}

/// Tells whether there is something to do.
struct Notice {
    outer: Mutex<Waker>,
    woken: AtomicBool,
}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.outer.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

impl HurriedExchange {
    /// Runs what uses this exchange, and moves its clock.
    pub async fn drive<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let notice = Arc::new(Notice { outer: Mutex::new(Waker::noop().clone()), woken: AtomicBool::new(false) });
        let waker = Waker::from(notice.clone());
        poll_fn(|context| {
            *notice.outer.lock().unwrap_or_else(PoisonError::into_inner) = context.waker().clone();
            notice.woken.store(false, Ordering::SeqCst);
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_pending() && !notice.woken.load(Ordering::SeqCst) && self.in_flight.get() == 0 {
                self.skip();
            }
            polled
        })
        .await
    }

    /// Moves the clock to where the first sleeper wakes.
    fn skip(&self) {
        let Some(first) = self.sleepers.borrow().iter().map(|(until, _)| *until).min() else { return };
        self.time.move_to(first);
        let (awake, asleep) = self.sleepers.take().into_iter().partition(|(until, _)| *until <= first);
        *self.sleepers.borrow_mut() = asleep;
        let awake: Vec<(Duration, Waker)> = awake;
        awake.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// Counts a request as long as it is under way.
struct InFlight<'e>(&'e HurriedExchange);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.time.move_to(self.0.time.now() + REQUEST);
    }
}

impl Exchange for HurriedExchange {
    async fn send(&self, request: &Request, limit: usize) -> Result<Response, TransportError> {
        self.in_flight.set(self.in_flight.get() + 1);
        let _in_flight = InFlight(self);
        self.inner.send(request, limit).await
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.time.now() + duration;
        poll_fn(|context| {
            if self.time.now() >= until {
                return Poll::Ready(());
            }
            self.sleepers.borrow_mut().push((until, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn now(&self) -> Duration {
        self.time.now()
    }

    fn wall_clock(&self) -> DateTime<Utc> {
        self.inner.wall_clock()
    }

    fn random(&self) -> u64 {
        self.inner.random()
    }
}
