//! Joins what operators look at to a [`Scheduler`](super::scheduler::Scheduler): metrics and traces are told what happens, before
//! another listener does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::metrics::Metrics;
use super::record::SyncRecord;
use super::scheduler::Listener;
use super::tenant::TenantId;
use super::traces::{SyncTrace, Traces};
use elt_host::{Event, Level, Observer};

/// The trace of a sync has nobody to pass events on to: who listens to all syncs hears them already.
struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}

/// A listener that counts and traces, and passes everything on.
pub struct Operations {
    metrics: Arc<Metrics>,
    traces: Option<Traces>,
    /// Of the syncs that run, by tenant: a tenant has one at a time.
    open: Mutex<HashMap<TenantId, Arc<SyncTrace>>>,
    next: Arc<dyn Listener>,
}

impl Operations {
    /// Passes on to `next`. Without `traces` nothing is traced.
    pub fn new(metrics: Arc<Metrics>, traces: Option<Traces>, next: Arc<dyn Listener>) -> Self {
        Self { metrics, traces, open: Mutex::default(), next }
    }

    /// Sends the spans that were recorded. Waits a few seconds at most.
    pub async fn shutdown(&self) {
        if let Some(traces) = &self.traces {
            traces.shutdown().await;
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<SyncTrace>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Operations {
    fn event(&self, tenant: &TenantId, event: Event) {
        let trace = self.open().get(tenant).cloned();
        if let Some(trace) = trace {
            trace.event(event.clone());
        }
        self.next.event(tenant, event);
    }

    fn started(&self, record: &SyncRecord) {
        if let Some(traces) = &self.traces {
            self.open().insert(record.tenant.clone(), traces.sync(&record.tenant, Arc::new(Silent)));
        }
        self.next.started(record);
    }

    fn ended(&self, record: &SyncRecord) {
        self.metrics.ended(record);
        let trace = self.open().remove(&record.tenant);
        if let Some(trace) = trace {
            trace.end(record);
        }
        self.next.ended(record);
    }

    fn log(&self, level: Level, message: String) {
        self.next.log(level, message);
    }
}
