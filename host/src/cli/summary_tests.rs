use std::time::Duration;

use wandb_connector_host::error::ConfigurationProblem;
use wandb_connector_host::sync::Items;

use super::*;

fn outcome() -> Outcome {
    Outcome {
        items: Items { unit: "run".into(), seen: 48, synced: 11, unchanged: 36, quarantined: 1 },
        rows: [("runs".into(), 11), ("metrics".into(), 31_204)].into(),
        deletes: [("metrics".into(), 2)].into(),
        requests: 130,
        retries: 3,
        checkpoints: 12,
        elapsed: Duration::from_millis(4_250),
        state: [(WATERMARK.into(), "2025-06-01T12:00:00Z".into())].into(),
        quarantined: vec![("3f\u{1b}[2J".into(), "502 five times".into())],
        error: None,
    }
}

fn summary(outcome: &Outcome) -> Summary<'_> {
    Summary { outcome, full_refresh: false, tables: &TABLES }
}

#[test]
fn people_see_a_table_and_a_few_sentences() {
    insta::assert_snapshot!(summary(&outcome()).text(), @"");
}

#[test]
fn programs_see_one_object() {
    insta::assert_snapshot!(summary(&outcome()).json(), @"");
}

#[test]
fn a_sync_that_never_began_still_has_its_object_and_no_table() {
    let problems = [("entity", "is missing"), ("page_size", "must be a number, but is \"a\u{9b}\"")];
    let problems =
        problems.map(|(key, message)| ConfigurationProblem { key: Some(key.into()), message: message.into() });
    let failed = Outcome { error: Some(Error::Configuration(problems.into())), ..Outcome::default() };
    insta::assert_snapshot!(summary(&failed).json(), @"");
    assert_eq!(summary(&failed).text(), "");
}

#[test]
fn status_follows_from_how_the_sync_ended() {
    let with = |error: Option<Error>, quarantined: u64| {
        let items = Items { quarantined, ..Items::default() };
        summary(&Outcome { error, items, ..Outcome::default() }).status()
    };
    assert_eq!(with(None, 0), "ok");
    assert_eq!(with(None, 1), "partial");
    assert_eq!(with(Some(Error::Interrupted), 1), "interrupted");
    assert_eq!(with(Some(Error::Internal(String::new())), 1), "failed");
}
