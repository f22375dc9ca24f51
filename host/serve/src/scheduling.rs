//! Syncs that compute for long go on on threads of lower priority, so that those beside them hardly notice.
//!
//! This is what operating systems do with processes (a multilevel feedback queue): whoever has used little of the processor goes first.
//! A sync begins in the foreground with some credit, which its connector's computing and its destination's writing use up and time gives
//! back. Without credit it is in the background until nearly all of it is back; there the system's scheduler sees to it that it gets
//! what the foreground leaves, and a little besides.
//!
//! **Why not epochs alone.** A guest gives way every 10 ms, but whoever is in line comes after each guest that computes. When this was made,
//! four endless loops beside 50 ordinary tenants on two cores made a sync of 4 ms take 52 ms by epochs alone, and 4 ms with this; since then
//! `tests/bench/RESULTS.md` has, beside one loop and four, 1.16 and 1.11 times the slowest hundredth of syncs whose source answers after 20 ms.
//! Shorter slices were not measured.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

/// What a sync may compute before it goes to the background: ten times what one takes that finds little new.
const CREDIT: Duration = Duration::from_millis(50);
/// The share of the time that comes back as credit.
const REFILL: f64 = 0.05;
/// The background's threads have this much less priority, in the system's units; a thread of ordinary priority that competes with one
/// of them gets ten times as much.
const NICENESS: i32 = 10;
/// The least priority there is, in those units.
const LEAST: i32 = 19;

/// Threads of lower priority, for all syncs of a process. Only on Linux their priority is lower.
pub(super) struct Background {
    foreground: Handle,
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts them. The foreground is the runtime that this is called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.enable_all().thread_name("background").on_thread_start(giving_way());
        Ok(Self { foreground: Handle::current(), runtime: Some(builder.build()?) })
    }

    /// A class for one sync, or for those of one tenant. It begins in the foreground.
    pub(super) fn scheduling(&self) -> SchedulingClass {
        let background = self.runtime.as_ref().map(|runtime| runtime.handle().clone());
        let threads = |background| Threads {
            foreground: self.foreground.clone(),
            background,
            credit: Mutex::new(Credit::new(Instant::now())),
        };
        SchedulingClass { threads: background.map(|background| Arc::new(threads(background))) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // This may be in async code, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where a sync computes: in the foreground or, after a while, in the background. Cheap to clone; clones share everything. The default is
/// where everything else is, for ever.
#[derive(Clone, Default)]
pub(super) struct SchedulingClass {
    threads: Option<Arc<Threads>>,
}

struct Threads {
    foreground: Handle,
    background: Handle,
    credit: Mutex<Credit>,
}

impl SchedulingClass {
    /// Runs `work` where it belongs, and moves it when it belongs elsewhere.
    pub(super) async fn run<F>(&self, work: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let Some(threads) = self.threads.clone() else { return work.await };
        let mut work = Box::pin(work);
        loop {
            let begun_in = threads.is_in_background();
            let watched = threads.clone();
            let part = async move {
                let done = poll_fn(|context| match work.as_mut().poll(context) {
                    Poll::Ready(done) => Poll::Ready(Some(done)),
                    Poll::Pending if watched.is_in_background() != begun_in => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                });
                let done = done.await;
                (work, done)
            };
            // A set, since it ends its task when it is dropped.
            let mut part_alone = JoinSet::new();
            part_alone.spawn_on(part, threads.handle(begun_in));
            match part_alone.join_next().await {
                Some(Ok((_, Some(done)))) => return done,
                Some(Ok((same, None))) => work = same,
                Some(Err(ended)) if ended.is_panic() => resume_unwind(ended.into_panic()),
                // The background is being shut down, and the process with it.
                Some(Err(_)) | None => return std::future::pending().await,
            }
        }
    }

    /// Does `work`, which may block, on a thread for such work; ends when it has ended, or has panicked.
    pub(super) fn block(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Some(threads) = &self.threads else {
            return Box::pin(async move { drop(tokio::task::spawn_blocking(work).await) });
        };
        let handle = threads.handle(threads.is_in_background());
        // A thread has the priority of the one that starts it, which must be one of that runtime's own.
        let done = handle.spawn(async move { drop(tokio::task::spawn_blocking(work).await) });
        Box::pin(async move { drop(done.await) })
    }

    /// The sync computed for so long.
    pub(super) fn spent(&self, time: Duration) {
        if let Some(threads) = &self.threads {
            threads.spent(time);
        }
    }
}

impl fmt::Debug for SchedulingClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.threads {
            None => "none",
            Some(threads) if threads.is_in_background() => "background",
            Some(_) => "foreground",
        };
        formatter.debug_tuple("SchedulingClass").field(&name).finish()
    }
}

impl Threads {
    fn handle(&self, in_background: bool) -> &Handle {
        match in_background {
            true => &self.background,
            false => &self.foreground,
        }
    }

    fn is_in_background(&self) -> bool {
        self.credit.lock().unwrap_or_else(PoisonError::into_inner).used_up
    }

    fn spent(&self, time: Duration) {
        self.credit.lock().unwrap_or_else(PoisonError::into_inner).spend(time, Instant::now());
    }
}

/// What a sync may still compute in the foreground.
#[derive(Debug)]
struct Credit {
    /// Seconds; down to as much below zero as it can be above.
    left: f64,
    at: Instant,
    /// It was used up, and is not all back.
    used_up: bool,
}

impl Credit {
    fn new(now: Instant) -> Self {
        Self { left: CREDIT.as_secs_f64(), at: now, used_up: false }
    }

    fn spend(&mut self, time: Duration, now: Instant) {
        let most = CREDIT.as_secs_f64();
        let back = now.saturating_duration_since(self.at).as_secs_f64() * REFILL;
        self.at = now;
        self.left = ((self.left + back).min(most) - time.as_secs_f64()).max(-most);
        self.used_up = match self.used_up {
            // Not all of it: whatever does anything spends some.
            true => self.left < most * 0.9,
            false => self.left <= 0.0,
        };
    }
}

/// What lowers a thread's priority below that of the thread that calls this.
#[cfg(target_os = "linux")]
fn giving_way() -> impl Fn() + Send + Sync + 'static {
    // On Linux, of the calling thread. Lowering it is always allowed; without it syncs are less fair, and nothing else.
    let own = rustix::process::getpriority_process(None).unwrap_or(0);
    move || {
        let _ = rustix::process::setpriority_process(None, own.saturating_add(NICENESS).min(LEAST));
    }
}

#[cfg(not(target_os = "linux"))]
fn giving_way() -> impl Fn() + Send + Sync + 'static {
    || {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Whether it is called by a thread of the background, by its name and by its priority, which is less than the main thread's.
    fn here() -> (bool, bool) {
        let name = std::thread::current().name().map(str::to_owned);
        let niceness = |thread| rustix::process::getpriority_process(thread).unwrap();
        let lowered = niceness(None) - niceness(Some(rustix::process::getpid()));
        (name.as_deref() == Some("background"), lowered >= NICENESS)
    }

    /// Where blocking work is done, or none where it panicked.
    async fn blocks<R: Send + 'static>(
        class: &SchedulingClass,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let (done, result) = tokio::sync::oneshot::channel();
        class.block(Box::new(move || drop(done.send(work())))).await;
        result.await.ok()
    }

    const FOREGROUND: (bool, bool) = (false, false);
    const BACKGROUND: (bool, bool) = (true, true);

    #[test]
    fn who_computes_for_long_has_no_credit_until_it_has_waited_for_long() {
        let start = Instant::now();
        let mut credit = Credit::new(start);
        credit.spend(CREDIT / 2, start);
        assert!(!credit.used_up);
        credit.spend(CREDIT / 2, start);
        assert!(credit.used_up);
        credit.spend(CREDIT * 1000, start);
        // It owes as much as it can have, no more; a twentieth of the time is given back.
        credit.spend(Duration::ZERO, start + CREDIT * 35);
        assert!(credit.used_up);
        credit.spend(Duration::ZERO, start + CREDIT * 40);
        assert!(!credit.used_up);
        // What waits does not gather more than that.
        credit.spend(CREDIT, start + CREDIT * 1_000_000);
        assert!(credit.used_up);
    }

    #[test]
    fn a_little_computing_now_and_then_uses_nothing_up() {
        let start = Instant::now();
        let mut credit = Credit::new(start);
        for round in 1..1000 {
            credit.spend(Duration::from_millis(1), start + Duration::from_millis(21) * round);
            assert!(!credit.used_up);
        }
    }

    #[tokio::test]
    async fn work_that_has_computed_for_long_goes_on_in_the_background_and_comes_back() {
        let background = Background::start().unwrap();
        let scheduling = background.scheduling();
        let inside = scheduling.clone();
        let work = async move {
            let mut places = vec![here(), blocks(&inside, here).await.unwrap()];
            inside.spent(CREDIT);
            tokio::task::yield_now().await;
            places.extend([here(), blocks(&inside, here).await.unwrap()]);
            let began = Instant::now();
            while here() == BACKGROUND && began.elapsed() < Duration::from_secs(20) {
                tokio::time::sleep(Duration::from_millis(10)).await;
                inside.spent(Duration::ZERO);
            }
            places.push(here());
            places
        };
        assert_eq!(scheduling.run(work).await, [FOREGROUND, FOREGROUND, BACKGROUND, BACKGROUND, FOREGROUND]);
    }

    #[tokio::test]
    async fn a_thread_of_the_foreground_has_its_priority_though_the_background_asked_for_it() {
        let background = Background::start().unwrap();
        let scheduling = background.scheduling();
        let asks = background.runtime.as_ref().unwrap().spawn(async move { (here(), blocks(&scheduling, here).await) });
        assert_eq!(asks.await.unwrap(), (BACKGROUND, Some(FOREGROUND)));
    }

    #[tokio::test]
    async fn a_wait_that_ends_in_the_other_class_is_heard() {
        let background = Background::start().unwrap();
        let scheduling = background.scheduling();
        let (inside, (send, receive)) = (scheduling.clone(), tokio::sync::oneshot::channel());
        let work = async move {
            let slept = tokio::time::sleep(Duration::from_millis(20));
            let mut slept = std::pin::pin!(slept);
            // Its first look registers it with the foreground's timers.
            assert!(futures_util::poll!(slept.as_mut()).is_pending());
            inside.spent(CREDIT);
            slept.await;
            (here(), receive.await.unwrap())
        };
        tokio::spawn(async move { send.send("heard") });
        assert_eq!(scheduling.run(work).await, (BACKGROUND, "heard"));
    }

    #[tokio::test]
    async fn a_panic_is_told_and_what_was_computed_counts() {
        let background = Background::start().unwrap();
        let scheduling = background.scheduling();
        assert_eq!(format!("{scheduling:?}"), r#"SchedulingClass("foreground")"#);
        assert_eq!(blocks(&scheduling, || -> () { panic!("as planned") }).await, None);
        scheduling.spent(CREDIT);
        assert_eq!(format!("{scheduling:?}"), r#"SchedulingClass("background")"#);
        let panics = tokio::spawn(async move { scheduling.run(async { panic!("as planned") }).await });
        assert!(panics.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_dropped() {
        let background = Background::start().unwrap();
        let (scheduling, (held, released)) = (background.scheduling(), tokio::sync::oneshot::channel::<()>());
        let (started, starts) = tokio::sync::oneshot::channel();
        let work = async move {
            let _held = held;
            started.send(()).unwrap();
            std::future::pending::<()>().await;
        };
        let waits = tokio::spawn(async move { scheduling.run(work).await });
        starts.await.unwrap();
        waits.abort();
        assert!(released.await.is_err());
    }

    #[tokio::test]
    async fn without_a_background_everything_stays_where_it_is() {
        let scheduling = SchedulingClass::default();
        scheduling.spent(CREDIT * 100);
        assert_eq!(
            (scheduling.run(async { here() }).await, blocks(&scheduling, here).await),
            (FOREGROUND, Some(FOREGROUND))
        );
    }
}
