use std::sync::LazyLock;
use std::time::Duration;

use elt_host::{ConfigurationProblem, Spec};

use super::*;

fn outcome() -> Outcome {
    let mut outcome = Outcome::default();
    outcome.items.unit = "run".into();
    outcome.items.units = "runs".into();
    outcome.items.seen = 48;
    outcome.items.synced = 11;
    outcome.items.unchanged = 36;
    outcome.items.deleted = 3;
    outcome.items.quarantined = 1;
    outcome.rows = [("runs".into(), 11), ("metrics".into(), 31_204)].into();
    outcome.deletes = [("metrics".into(), 2)].into();
    outcome.requests = 130;
    outcome.retries = 3;
    outcome.checkpoints = 12;
    outcome.elapsed = Duration::from_millis(4_250);
    outcome.state = [("runs_hwm_utc".into(), "2025-06-01T12:00:00Z".into())].into();
    outcome.quarantined = vec![("3f\u{1b}[2J".into(), "502 five times".into())];
    outcome
}

fn summary(outcome: &Outcome) -> Summary<'_> {
    Summary { outcome, full_refresh: false, tables: &["runs", "metrics", "metric_objects"], vocabulary: built_in() }
}

fn built_in() -> &'static Vocabulary {
    static BUILT_IN: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::of(None, true));
    &BUILT_IN
}

#[test]
fn another_component_has_its_own_words() {
    let spec = r#"{"properties": {}, "x-elt-items": {"singular": "query", "plural": "queries"}, "x-elt-state": {"watermark": "status"}}"#;
    let vocabulary = Vocabulary::of(Spec::parse(spec).ok().as_ref(), false);
    let mut outcome = Outcome::default();
    (outcome.items.unit, outcome.items.units) = ("query".into(), "queries".into());
    (outcome.items.seen, outcome.items.synced, outcome.checkpoints) = (1, 1, 1);
    outcome.state = [("status".into(), "7".into())].into();
    let summary = Summary { outcome: &outcome, full_refresh: false, tables: &["answers"], vocabulary: &vocabulary };
    insta::assert_snapshot!(summary.json(), @r#"
    {"status":"ok","queries":{"seen":1,"synced":1,"unchanged":0,"deleted":0,"quarantined":0},"rows":{"answers":0},"requests":0,"retries":0,"checkpoints":1,"seconds":0.0,"watermark":"7","error":null,"error_kind":null}
    "#);
    assert!(summary.text().contains("1 query seen: 1 synced"), "{}", summary.text());
}

#[test]
fn people_see_a_table_and_a_few_sentences() {
    insta::assert_snapshot!(summary(&outcome()).text(), @r#"
    Operation   |  Calls
    ------------+-------
    Upserts     | 31,215
    Updates     |      0
    Deletes     |      2
    Truncates   |      0
    Checkpoints |     12

    Table          |   Rows
    ---------------+-------
    runs           |     11
    metrics        | 31,204
    metric_objects |      0

    48 runs seen: 11 synced, 36 unchanged, 1 quarantined, 3 deleted at the source
    130 requests (3 retries) in 4.2 s
    watermark 2025-06-01T12:00:00Z

    quarantined, to be tried again by the next sync:
      3f\u{1b}[2J: 502 five times
    "#);
}

#[test]
fn programs_see_one_object() {
    insta::assert_snapshot!(summary(&outcome()).json(), @r#"
    {"status":"partial","runs":{"seen":48,"synced":11,"unchanged":36,"deleted":3,"quarantined":1},"rows":{"runs":11,"metrics":31204,"metric_objects":0},"requests":130,"retries":3,"checkpoints":12,"seconds":4.25,"runs_hwm_utc":"2025-06-01T12:00:00Z","error":null,"error_kind":null}
    "#);
}

#[test]
fn a_sync_that_never_began_still_has_its_object_and_no_table() {
    let problems = [("entity", "is missing"), ("page_size", "must be a number, but is \"a\u{9b}\"")];
    let problems =
        problems.map(|(key, message)| ConfigurationProblem { key: Some(key.into()), message: message.into() });
    let failed = Outcome::failed(Error::Configuration(problems.into()));
    insta::assert_snapshot!(summary(&failed).json(), @r#"
    {"status":"failed","runs":{"seen":0,"synced":0,"unchanged":0,"deleted":0,"quarantined":0},"rows":{"runs":0,"metrics":0,"metric_objects":0},"requests":0,"retries":0,"checkpoints":0,"seconds":0.0,"runs_hwm_utc":null,"error":"the configuration can't be used: `entity`: is missing; `page_size`: must be a number, but is \"a\u009b\"","error_kind":"configuration"}
    "#);
    assert_eq!(summary(&failed).text(), "");
}

#[test]
fn status_follows_from_how_the_sync_ended() {
    let with = |error: Option<Error>, quarantined: u64| {
        let mut outcome = Outcome::default();
        outcome.error = error;
        outcome.items.quarantined = quarantined;
        summary(&outcome).status()
    };
    assert_eq!(with(None, 0), "ok");
    assert_eq!(with(None, 1), "partial");
    assert_eq!(with(Some(Error::Interrupted), 1), "interrupted");
    assert_eq!(with(Some(Error::Internal(String::new())), 1), "failed");
}
