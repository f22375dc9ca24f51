//! How a sync is ended when its connector goes too far: the first breach is remembered, the guest is asked to stop, and
//! stopped if it does not.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wasmtime::ResourceLimiter;

use crate::error::Error;
use crate::http::rate_gate::RateGate;
use crate::runtime::machine;
use elt_support::thread_clock::cpu_time;

/// Elements of all tables of functions: a connector has a few thousand functions.
const TABLE_ELEMENTS: usize = 100_000;

/// Why a sync has to end, shared by everything that can find a reason. The first reason counts: others follow from it.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopSignal {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    reason: Mutex<Option<Error>>,
    given: Notify,
}

impl StopSignal {
    /// Ends the sync for `reason`, if it has none yet.
    pub(crate) fn give(&self, reason: Error) {
        let mut slot = self.inner.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(reason);
            self.inner.given.notify_waiters();
        }
    }

    /// The reason, if there is one.
    pub(crate) fn reason(&self) -> Option<Error> {
        self.inner.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until there is a reason.
    pub(crate) async fn given(&self) {
        let given = self.inner.given.notified();
        if self.reason().is_none() {
            given.await;
        }
    }
}

/// Says that the limit `name` of [`crate::runtime::policy::Limits`] was reached.
pub(crate) fn breach(limit: &'static str, detail: impl Into<String>) -> Error {
    Error::Limit { limit, detail: detail.into() }
}

/// What the instances of one session have used of the machine.
pub(crate) struct Usage {
    gate: Arc<dyn RateGate>,
    nanoseconds: AtomicU64,
    memory: AtomicU64,
}

impl Usage {
    /// Nothing so far. `gate` hears of computing.
    pub(crate) fn new(gate: Arc<dyn RateGate>) -> Self {
        Self { gate, nanoseconds: AtomicU64::new(0), memory: AtomicU64::new(0) }
    }

    /// Adds processor time of a guest, or of what is done for it. All of it so far.
    pub(crate) fn computed(&self, more: Duration) -> Duration {
        self.gate.computed(more);
        let more = u64::try_from(more.as_nanos()).unwrap_or(u64::MAX);
        let before = self.nanoseconds.fetch_add(more, Ordering::Relaxed);
        Duration::from_nanos(before.saturating_add(more))
    }

    /// An instance had this much memory at its end, which is the most that it ever had: linear memory never shrinks.
    pub(crate) fn held(&self, bytes: usize) {
        self.memory.fetch_max(bytes as u64, Ordering::Relaxed);
    }

    /// Processor time of guests, and of what was done for them.
    pub(crate) fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// The most memory that an instance had, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }
}

/// Counts what the host computes for a guest beside it, and ends the sync when all of it is too much.
#[derive(Clone)]
pub(crate) struct Meter {
    usage: Arc<Usage>,
    most: Duration,
    stop: StopSignal,
}

impl Meter {
    /// Counts in `usage`, of which `most` may be used.
    pub(crate) fn new(usage: Arc<Usage>, most: Duration, stop: StopSignal) -> Self {
        Self { usage, most, stop }
    }

    /// Does `work`, whose computing counts.
    pub(crate) async fn measured<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            let began = cpu_time();
            let polled = work.as_mut().poll(context);
            if self.usage.computed(cpu_time().saturating_sub(began)) > self.most {
                self.stop.give(too_much_computed(self.most));
            }
            polled
        })
        .await
    }
}

/// The error of a sync that computed for longer than `most`.
pub(crate) fn too_much_computed(most: Duration) -> Error {
    breach("cpu_time", format!("{most:?} allowed"))
}

/// Bounds the memory of all instances in a store together. A guest that is refused memory usually crashes; what it was refused is
/// remembered, since that is the cause.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    most: usize,
    used: usize,
    elements: usize,
    refused: Option<usize>,
    /// What the machine did not give although the limit allows it.
    failed: Option<Error>,
}

impl MemoryLimit {
    /// At most `most` bytes of linear memory.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, used: 0, elements: 0, refused: None, failed: None }
    }

    /// Bytes of linear memory that the guest has.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Why, if the guest was ever refused memory.
    pub(crate) fn breach(&self) -> Option<Error> {
        let refused = |asked| breach("memory", format!("{} bytes allowed, {asked} asked for", self.most));
        self.refused.map(refused).or_else(|| self.failed.clone())
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.used.saturating_sub(current).saturating_add(desired);
        if total > self.most {
            self.refused = Some(total);
            return Ok(false);
        }
        self.used = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, why: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed = machine::refusal(&why).or(self.failed.take());
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.elements.saturating_sub(current).saturating_add(desired);
        let fits = total <= TABLE_ELEMENTS;
        if fits {
            self.elements = total;
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limit = MemoryLimit::new(100);
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert!(limit.memory_growing(0, 40, None).unwrap());
        assert!(limit.breach().is_none());
        assert!(!limit.memory_growing(40, 41, None).unwrap());
        assert!(matches!(limit.breach(), Some(Error::Limit { limit: "memory", .. })));
    }

    #[tokio::test]
    async fn the_first_reason_counts() {
        let stop = StopSignal::default();
        assert!(stop.reason().is_none());
        stop.give(breach("rows", "1"));
        stop.give(Error::Interrupted);
        stop.given().await;
        assert!(matches!(stop.reason(), Some(Error::Limit { limit: "rows", .. })));
    }
}
