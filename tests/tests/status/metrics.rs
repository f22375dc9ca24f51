//! What Prometheus reads.

use std::time::Instant;

use chrono::{TimeDelta, Utc};
use elt_serve::metrics::Metrics;
use elt_serve::tenant::TenantId;

use crate::fake::{Fake, Running, record};

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(|value| value.parse().unwrap())
}

#[test]
fn syncs_are_counted_by_tenant_and_outcome() {
    let (watch, metrics, now) = (Fake::default(), Metrics::default(), Utc::now());
    watch.add("acme", &["ok", "limit"]);
    watch.add("other", &[]);
    watch.run("other", 5, false);
    let acme: TenantId = "acme".parse().unwrap();
    for (millis, outcome) in [(50, "ok"), (5_000, "ok"), (30_000, "ok"), (7_200_000, "limit")] {
        metrics.ended(&record(&acme, now, TimeDelta::milliseconds(millis), outcome));
    }
    let unfinished = { elt_serve::record::SyncRecord { end: None, ..record(&acme, now, TimeDelta::zero(), "ok") } };
    metrics.ended(&unfinished);
    let text = metrics.text(&watch, now);
    let expected = [
        ("connector_syncs_total{tenant=\"acme\",outcome=\"ok\"}", 3.0),
        ("connector_syncs_total{tenant=\"acme\",outcome=\"limit\"}", 1.0),
        ("connector_rows_total{tenant=\"acme\",outcome=\"ok\"}", 3702.0),
        ("connector_requests_total{tenant=\"acme\",outcome=\"ok\"}", 60.0),
        ("connector_retries_total{tenant=\"acme\",outcome=\"limit\"}", 2.0),
        ("connector_throttled_seconds_total{tenant=\"acme\",outcome=\"ok\"}", 4.5),
        ("connector_sync_duration_seconds_sum{tenant=\"acme\",outcome=\"ok\"}", 35.05),
        ("connector_sync_duration_seconds_count{tenant=\"acme\",outcome=\"ok\"}", 3.0),
        ("connector_sync_duration_seconds_bucket{le=\"0.1\",tenant=\"acme\",outcome=\"ok\"}", 1.0),
        ("connector_sync_duration_seconds_bucket{le=\"10.0\",tenant=\"acme\",outcome=\"ok\"}", 2.0),
        ("connector_sync_duration_seconds_bucket{le=\"+Inf\",tenant=\"acme\",outcome=\"ok\"}", 3.0),
        ("connector_sync_duration_seconds_bucket{le=\"3600.0\",tenant=\"acme\",outcome=\"limit\"}", 0.0),
        ("connector_memory_peak_bytes{tenant=\"acme\"}", f64::from(3 << 20)),
        ("connector_running{tenant=\"acme\"}", 0.0),
        ("connector_running{tenant=\"other\"}", 1.0),
        ("connector_overdue_seconds{tenant=\"acme\"}", 0.0),
        ("connector_start_delay_seconds_sum", 8.0),
        ("connector_start_delay_seconds_bucket{le=\"10.0\"}", 4.0),
        ("connector_start_delay_seconds_bucket{le=\"1.0\"}", 0.0),
        ("connector_ready", 0.0),
        ("connector_tenants", 2.0),
        ("connector_slots", 16.0),
        ("connector_slots_taken", 1.0),
        ("connector_problems", 0.0),
    ];
    for (series, expected) in expected {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
    let lag = value(&text, "connector_lag_seconds{tenant=\"acme\"}").unwrap();
    assert!((500.0..=600.0).contains(&lag), "since the start of the last complete sync: {lag}");
    assert!(!text.contains("connector_lag_seconds{tenant=\"other\"}"), "it was never complete");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn no_label_but_tenant_outcome_and_bound_is_used() {
    let (watch, metrics) = (Fake::default(), Metrics::default());
    watch.add("acme", &["upstream"]);
    metrics.ended(&record(&"acme".parse().unwrap(), Utc::now(), TimeDelta::seconds(1), "upstream"));
    for line in metrics.text(&watch, Utc::now()).lines().filter(|line| !line.starts_with('#')) {
        let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let name = label.split_once('=').unwrap().0;
            assert!(["tenant", "outcome", "le"].contains(&name), "{line}");
        }
    }
}

#[test]
fn a_tenant_that_is_gone_has_no_series() {
    let (watch, metrics) = (Fake::default(), Metrics::default());
    for id in ["acme", "gone"] {
        watch.add(id, &["ok"]);
        metrics.ended(&record(&id.parse().unwrap(), Utc::now(), TimeDelta::seconds(1), "ok"));
    }
    assert!(metrics.text(&watch, Utc::now()).contains("\"gone\""));
    watch.tenants.lock().unwrap().retain(|tenant| tenant.id.as_str() != "gone");
    let text = metrics.text(&watch, Utc::now());
    assert!(!text.contains("\"gone\"") && text.contains("\"acme\""));
    watch.add("gone", &[]);
    assert!(!metrics.text(&watch, Utc::now()).contains("syncs_total{tenant=\"gone\""), "it begins anew");
}

#[tokio::test]
async fn ten_thousand_tenants_are_one_scrape() {
    let server = Running::open().await;
    for nth in 0..10_000 {
        let id = format!("tenant-{nth:05}");
        server.watch.add(&id, &["ok"]);
        for outcome in ["ok", "upstream"] {
            server.metrics.ended(&record(&id.parse().unwrap(), Utc::now(), TimeDelta::seconds(1), outcome));
        }
    }
    let began = Instant::now();
    let plain = server.get("/metrics", &[]).await;
    let took = began.elapsed();
    let type_of = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((plain.status, plain.header("content-type")), (200, Some(type_of)));
    let began = Instant::now();
    let packed = server.get("/metrics", &["accept-encoding: gzip"]).await;
    eprintln!(
        "metrics of 10,000 tenants: {} bytes in {took:?}; gzip: {} bytes in {:?}",
        plain.body.len(),
        packed.body.len(),
        began.elapsed()
    );
    let text = plain.text();
    let count = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(count("connector_syncs_total{"), 20_000);
    assert_eq!(count("connector_sync_duration_seconds_bucket{"), 140_000);
    assert_eq!(count("connector_lag_seconds{"), 10_000);
    assert!(packed.body.len() < 4 << 20, "{}", packed.body.len());
}
