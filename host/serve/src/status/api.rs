//! What the pages show, for programs: JSON. Times are RFC 3339 in UTC, durations seconds.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::state::{Filter, State};
use crate::overview::{TenantOverview, Watch};
use crate::record::{SyncRecord, between};

/// All tenants that `filter` leaves.
pub(super) fn tenants(watch: &dyn Watch, filter: &str, now: DateTime<Utc>) -> String {
    let (filter, slots) = (Filter::new(filter), watch.slots());
    let tenants = watch.tenants();
    let tenants: Vec<Value> =
        tenants.iter().filter(|tenant| filter.matches(tenant)).map(|tenant| shown(tenant, now)).collect();
    line(json!({
        "ready": watch.is_ready(),
        "slots": { "taken": slots.taken, "all": slots.all },
        "problems": watch.problems(),
        "tenants": tenants,
    }))
}

/// One tenant.
pub(super) fn tenant(tenant: &TenantOverview, now: DateTime<Utc>) -> String {
    line(shown(tenant, now))
}

/// Syncs of one tenant.
pub(super) fn history(records: &[SyncRecord]) -> String {
    line(json!({ "syncs": records.iter().map(sync).collect::<Vec<Value>>() }))
}

fn line(value: Value) -> String {
    format!("{value}\n")
}

fn shown(tenant: &TenantOverview, now: DateTime<Utc>) -> Value {
    let running = tenant.running.as_ref().map(
        |running| json!({ "started": time(running.started), "rows": running.rows, "throttled": running.throttled }),
    );
    json!({
        "id": tenant.id.as_str(),
        "labels": tenant.labels,
        "state": State::of(tenant).word(),
        "next": tenant.next.map(time),
        "waits": tenant.waits,
        "running": running,
        "last": tenant.last.as_ref().map(sync),
        "fresh_as_of": tenant.fresh_as_of.map(time),
        "lag_seconds": tenant.fresh_as_of.map(|fresh| seconds(fresh, now)),
    })
}

fn sync(record: &SyncRecord) -> Value {
    let end = record.end.as_ref().map(|end| {
        json!({
            "at": time(end.at),
            "seconds": seconds(record.started, end.at),
            "outcome": end.outcome,
            "message": end.message,
            "rows": end.rows,
            "items": { "written": end.items.0, "left_out": end.items.1 },
            "requests": end.requests,
            "retries": end.retries,
            "throttled_seconds": end.throttled.as_secs_f64(),
            "memory_bytes": end.memory,
        })
    });
    json!({ "due": time(record.due), "started": time(record.started), "end": end })
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    between(from, to).as_secs_f64()
}
