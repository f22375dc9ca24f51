//! Runs a future over `wasi:io/poll`: when nothing can go on, all pollables that are waited for are handed to the host at once.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::bindings::wasi::io::poll::{self, Pollable};

/// One future's wait for a pollable.
struct Wait {
    pollable: Pollable,
    waker: RefCell<Waker>,
}

thread_local! {
    /// The waits that are under way. A wait that was dropped leaves a dead entry, removed at the next turn.
    static WAITS: RefCell<Vec<Weak<Wait>>> = const { RefCell::new(Vec::new()) };
}

/// Waits until the pollable is ready.
pub(super) async fn ready(pollable: Pollable) {
    let mut wait: Option<Rc<Wait>> = None;
    let mut pollable = Some(pollable);
    std::future::poll_fn(|context| {
        if let Some(wait) = &wait {
            if wait.pollable.ready() {
                return Poll::Ready(());
            }
            wait.waker.replace(context.waker().clone());
        } else if let Some(pollable) = pollable.take() {
            if pollable.ready() {
                return Poll::Ready(());
            }
            let new = Rc::new(Wait { pollable, waker: RefCell::new(context.waker().clone()) });
            WAITS.with_borrow_mut(|waits| waits.push(Rc::downgrade(&new)));
            wait = Some(new);
        }
        Poll::Pending
    })
    .await;
}

/// Whether the outermost future wants to be polled.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if woken.0.swap(false, Ordering::Relaxed)
            && let Poll::Ready(value) = future.as_mut().poll(&mut context)
        {
            return value;
        }
        if !woken.0.load(Ordering::Relaxed) {
            turn();
        }
    }
}

/// Waits until one pollable or more are ready, and wakes those who wait for them.
fn turn() {
    let waits: Vec<Rc<Wait>> = WAITS.with_borrow_mut(|waits| {
        waits.retain(|wait| wait.strong_count() > 0);
        waits.iter().filter_map(Weak::upgrade).collect()
    });
    assert!(!waits.is_empty(), "the sync waits for nothing: a fault of the connector");
    let pollables: Vec<&Pollable> = waits.iter().map(|wait| &wait.pollable).collect();
    for index in poll::poll(&pollables) {
        waits[index as usize].waker.borrow().wake_by_ref();
    }
}
