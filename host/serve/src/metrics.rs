//! Numbers for Prometheus, in the OpenMetrics text format.
//!
//! Counters are of this process, by tenant and outcome, from syncs that ended ([`Metrics::ended`]); gauges are what
//! [`Watch`] says when they are asked for. No other label is ever used: the number of series is bounded by the number of tenants. A
//! tenant that is no longer there has no series.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::overview::{Slots, TenantOverview, Watch};
use super::record::{SyncEnd, SyncRecord, between};
use super::tenant::TenantId;

/// What [`Metrics::text`] is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What every name begins with.
const PREFIX: &str = "connector";
/// Upper bounds of a sync's duration, in seconds: a project where nothing changed, …, one that is read for the first time.
const DURATIONS: [f64; 6] = [0.1, 1.0, 10.0, 60.0, 600.0, 3600.0];
/// Upper bounds of the time that a due sync waits for a slot, in seconds.
const DELAYS: [f64; 6] = [0.01, 0.1, 1.0, 10.0, 60.0, 600.0];

/// Counts syncs. One for a process.
#[derive(Default)]
pub struct Metrics {
    counted: Mutex<Counted>,
}

#[derive(Debug, Clone, Default)]
struct Counted {
    tenants: BTreeMap<TenantId, Vec<(Box<str>, Totals)>>,
    delays: Histogram<{ DELAYS.len() + 1 }>,
}

/// All syncs of one tenant that had one outcome.
#[derive(Debug, Clone, Default)]
struct Totals {
    durations: Histogram<{ DURATIONS.len() + 1 }>,
    rows: u64,
    requests: u64,
    retries: u64,
    throttled: Duration,
}

#[derive(Debug, Clone)]
struct Histogram<const BUCKETS: usize> {
    sum: f64,
    counts: [u64; BUCKETS],
}

impl<const BUCKETS: usize> Default for Histogram<BUCKETS> {
    fn default() -> Self {
        Self { sum: 0.0, counts: [0; BUCKETS] }
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    fn observe(&mut self, seconds: f64, bounds: &[f64]) {
        self.sum += seconds;
        let bucket = bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
    }

    fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn encode(&self, mut metric: MetricEncoder<'_>, bounds: &[f64]) -> fmt::Result {
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.counts).collect();
        metric.encode_histogram::<NoLabelSet>(self.sum, self.count(), &buckets, None)
    }
}

impl Totals {
    fn add(&mut self, took: Duration, end: &SyncEnd) {
        self.durations.observe(took.as_secs_f64(), &DURATIONS);
        self.rows = self.rows.saturating_add(end.rows);
        self.requests = self.requests.saturating_add(end.requests);
        self.retries = self.retries.saturating_add(end.retries);
        self.throttled = self.throttled.saturating_add(end.throttled);
    }
}

impl Metrics {
    /// Counts a sync that ended. One without an end is not counted.
    pub fn ended(&self, record: &SyncRecord) {
        let Some(end) = &record.end else { return };
        let (took, waited) = (between(record.started, end.at), between(record.due, record.started));
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.delays.observe(waited.as_secs_f64(), &DELAYS);
        let outcomes = counted.tenants.entry(record.tenant.clone()).or_default();
        match outcomes.iter_mut().find(|(outcome, _)| **outcome == end.outcome) {
            Some((_, totals)) => totals.add(took, end),
            None => {
                let mut totals = Totals::default();
                totals.add(took, end);
                outcomes.push((end.outcome.as_str().into(), totals));
            }
        }
    }

    /// Everything, as Prometheus reads it. Forgets tenants that `watch` does not know any more. Takes milliseconds for a thousand
    /// tenants.
    pub fn text(&self, watch: &dyn Watch, now: DateTime<Utc>) -> String {
        let tenants = watch.tenants();
        let counted = {
            let known: std::collections::HashSet<&TenantId> = tenants.iter().map(|tenant| &tenant.id).collect();
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.tenants.retain(|tenant, _| known.contains(tenant));
            // Copied, so that syncs that end meanwhile need not wait until everything is written.
            counted.clone()
        };
        let (ready, slots, problems) = (watch.is_ready(), watch.slots(), watch.problems().len());
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Scrape { now, counted, tenants, ready, slots, problems }));
        let mut text = String::new();
        // Writing to a `String` can't fail.
        encode(&mut text, &registry).ok();
        text
    }
}

/// One moment.
#[derive(Debug)]
struct Scrape {
    now: DateTime<Utc>,
    counted: Counted,
    tenants: Vec<TenantOverview>,
    ready: bool,
    slots: Slots,
    problems: usize,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.process(encoder)?;

        self.counters(encoder, "syncs", "Syncs that ended.", None, |totals| totals.durations.count())?;
        self.counters(encoder, "rows", "Rows committed, of all tables.", None, |totals| totals.rows)?;
        self.counters(encoder, "requests", "HTTP requests, retries among them.", None, |totals| totals.requests)?;
        self.counters(encoder, "retries", "HTTP requests that were retries.", None, |totals| totals.retries)?;
        let waited = "Time spent waiting for rate limits.";
        self.counters(encoder, "throttled", waited, Some(&Unit::Seconds), |totals| totals.throttled.as_secs_f64())?;
        self.durations(encoder)?;

        let lag = "Age of the source's state that the destination has: since the last complete sync began.";
        self.gauges(encoder, "lag", lag, Some(&Unit::Seconds), |tenant| Some(self.since(tenant.fresh_as_of?)))?;
        let memory = "The most memory that the connector had in the last sync.";
        self.gauges(encoder, "memory_peak", memory, Some(&Unit::Bytes), |tenant| {
            Some(tenant.last.as_ref()?.end.as_ref()?.memory)
        })?;
        self.gauges(encoder, "running", "1 while a sync runs.", None, |tenant| {
            Some(u32::from(tenant.running.is_some()))
        })?;
        let overdue = "How long a sync that is due has been waiting for its turn.";
        self.gauges(encoder, "overdue", overdue, Some(&Unit::Seconds), |tenant| {
            let waits = tenant.running.is_none();
            Some(tenant.next.filter(|_| waits).map_or(0.0, |next| self.since(next)))
        })
    }
}

impl Scrape {
    fn since(&self, then: DateTime<Utc>) -> f64 {
        between(then, self.now).as_secs_f64()
    }

    /// What is not a tenant's.
    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let count = |amount: usize| u64::try_from(amount).unwrap_or(u64::MAX);
        let gauges = [
            ("ready", "1 while syncs are being started.", u64::from(self.ready)),
            ("tenants", "Tenants that are known.", count(self.tenants.len())),
            ("problems", "Entries of the tenants' files that can't be used.", count(self.problems)),
            ("slots", "Syncs that may run at once.", count(self.slots.all)),
            ("slots_taken", "Syncs that run and do not wait for a rate limit.", count(self.slots.taken)),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let help = "From when a sync was due to its start.";
        let metric = encoder.encode_descriptor("start_delay", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        self.counted.delays.encode(metric, &DELAYS)
    }

    fn outcomes(&self) -> impl Iterator<Item = ([(&'static str, &str); 2], &Totals)> {
        self.counted.tenants.iter().flat_map(|(tenant, outcomes)| {
            outcomes.iter().map(|(outcome, totals)| ([("tenant", tenant.as_str()), ("outcome", &**outcome)], totals))
        })
    }

    fn counters<V: EncodeCounterValue>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl Fn(&Totals) -> V,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, totals) in self.outcomes() {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value(totals), None)?;
        }
        Ok(())
    }

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "From a sync's start to its end.";
        let mut metric =
            encoder.encode_descriptor("sync_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, totals) in self.outcomes() {
            totals.durations.encode(metric.encode_family(&labels)?, &DURATIONS)?;
        }
        Ok(())
    }

    fn gauges<V: EncodeGaugeValue>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl Fn(&TenantOverview) -> Option<V>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for tenant in &self.tenants {
            if let Some(value) = value(tenant) {
                metric.encode_family(&[("tenant", tenant.id.as_str())])?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}
