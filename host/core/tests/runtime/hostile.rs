//! Components that do their worst. Each ends its own sync with a typed error, within its limits, and nothing else.

use std::time::{Duration, Instant};

use elt_host::{Error, Limits};
use serde_json::{Value, json};

use crate::support::{KEY, Run, Script, connector};

fn small() -> Limits {
    Limits::default()
        .memory(64 << 20)
        .wall_time(Duration::from_secs(20))
        .batch_bytes(4 << 20)
        .group_bytes(8 << 20)
        .rows(1_000_000)
        .state_bytes(10 << 20)
        .log_lines(100)
}

/// Runs one act after a group that was validly committed.
async fn act(step: Value, limits: Limits) -> Run {
    let steps = json!([["rows", 0, 2], ["checkpoint", {"a": "1"}], ["rows", 2, 2], step]);
    let run = tokio::time::timeout(Duration::from_secs(60), Script::new(steps).limits(limits).run()).await.unwrap();
    assert!(run.outcome.error.is_some(), "nothing stopped it");
    assert_eq!(run.outcome.state["a"], "1", "what was committed is kept: {}", run.error());
    run
}

async fn limit_of(step: Value, limits: Limits) -> &'static str {
    let run = act(step, limits).await;
    match run.outcome.error {
        Some(Error::Limit { limit, .. }) => limit,
        _ => panic!("{}", run.error()),
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    assert_eq!(limit_of(json!(["memory"]), small()).await, "memory");
}

#[tokio::test]
async fn an_endless_loop_ends_with_the_time_it_has() {
    let started = Instant::now();
    assert_eq!(limit_of(json!(["loop"]), small().wall_time(Duration::from_secs(1))).await, "wall_time");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_endless_wait_ends_with_the_time_it_has() {
    assert_eq!(limit_of(json!(["sleep", 1_000_000_000]), small().wall_time(Duration::from_secs(1))).await, "wall_time");
}

#[tokio::test]
async fn a_loop_does_not_hold_up_the_thread() {
    // One thread for all: beside a guest that never gave way nothing else would come to its end, this test included.
    let hog = Script::new(json!([["log", "loops"], ["loop"]])).limits(small());
    let cancel = hog.cancel.clone();
    let (hog, loops) = hog.start_and_tell(connector(), "loops");
    loops.await.unwrap();
    let run = Script::new(json!([["rows", 0, 1], ["sleep", 50], ["log", "done"]])).run().await;
    assert_eq!(run.log(), ["done"]);
    assert!(!hog.is_finished(), "it looped all the while");
    cancel.cancel();
    assert!(matches!(hog.await.unwrap().outcome.error, Some(Error::Interrupted)));
}

#[tokio::test]
async fn a_crash_is_an_error_of_the_connector() {
    for step in [json!(["panic"]), json!(["recurse"]), json!(["random"])] {
        let run = act(step.clone(), small()).await;
        assert!(
            matches!(&run.outcome.error, Some(Error::Internal(why)) if why.starts_with("the connector crashed")),
            "{step}: {}",
            run.error()
        );
        assert_eq!(run.contents.rows(), 2);
    }
}

#[tokio::test]
async fn a_flood_of_lines_is_dropped() {
    let run = act(json!(["log-forever"]), small().wall_time(Duration::from_secs(1))).await;
    assert!(run.log().len() <= 102, "{}", run.log().len());
    assert!(run.log().last().unwrap().contains("were dropped"));
}

#[tokio::test]
async fn every_batch_that_breaks_the_contract_ends_the_sync() {
    let kinds = [
        "ragged",
        "null out of range",
        "nulls unsorted",
        "timestamp",
        "json",
        "unknown column",
        "type",
        "twice",
        "dictionary",
        "null key",
        "no key",
    ];
    for kind in kinds {
        let run = act(json!(["batch", kind]), small()).await;
        assert!(matches!(run.outcome.error, Some(Error::Contract(_))), "{kind}: {}", run.error());
        assert_eq!(run.contents.rows(), 2, "{kind}");
    }
    let run = act(json!(["rows-of", "sqlite_master"]), small()).await;
    assert!(matches!(run.outcome.error, Some(Error::Contract(_))), "{}", run.error());
}

#[tokio::test]
async fn giant_batches_groups_and_states_meet_their_limits() {
    assert_eq!(limit_of(json!(["batch", "large"]), small().memory(512 << 20)).await, "batch_bytes");
    assert_eq!(limit_of(json!(["rows-forever", 100_000]), small()).await, "group_bytes");
    assert_eq!(limit_of(json!(["rows-forever", 1]), small()).await, "group_bytes");
    assert_eq!(limit_of(json!(["deletes-forever"]), small()).await, "group_bytes");
    assert_eq!(limit_of(json!(["state"]), small()).await, "state_bytes");
    assert_eq!(limit_of(json!(["checkpoints-forever", 100_000]), small()).await, "rows");
}

#[tokio::test]
async fn a_checkpoint_counts_as_rows_do() {
    assert_eq!(limit_of(json!(["rewrite", 8 << 20, 1]), small()).await, "group_bytes");
    // More than one call may hold at all.
    assert_eq!(limit_of(json!(["rewrite", 12 << 20, 1]), small()).await, "batch_bytes");
    // An entry counts although its value is empty: as many of them as the state may have bytes would take far more memory than that.
    let run = act(json!(["empty-values", 1000]), small()).await;
    assert!(matches!(run.outcome.error, Some(Error::Limit { limit: "state_bytes", .. })), "{}", run.error());
    let stored = run.contents.state.len();
    assert!(stored > 1000 && stored < (10 << 20) / 64, "{stored}");
}

#[tokio::test]
async fn what_is_rewritten_again_and_again_is_committed_before_it_piles_up() {
    let value = 6 << 20;
    let run = Script::new(json!([["rewrite", value, 60]])).limits(small()).run().await;
    assert_eq!((run.error().as_str(), run.outcome.checkpoints), ("", 60));
    assert_eq!(run.contents.state["key"].len(), value);
    // A destination may have to keep what is not committed: that is bounded in bytes, though there is not a single row.
    let most = run.contents.most_pending;
    assert!(most >= value && most <= (64 << 20) + 2 * value, "{most}");
}

#[tokio::test]
async fn a_guest_that_goes_on_after_an_error_is_stopped() {
    let started = Instant::now();
    let run = act(json!(["rows-forever", 100_000]), small()).await;
    assert!(matches!(run.outcome.error, Some(Error::Limit { limit: "group_bytes", .. })));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test]
async fn handles_are_bounded() {
    for step in [json!(["timers", 1_000_000]), json!(["fields", 100_000, 10]), json!(["methods", 10_000])] {
        assert_eq!(limit_of(step.clone(), small().memory(256 << 20)).await, "handles", "{step}");
    }
    let few = small().handles(10);
    assert_eq!(limit_of(json!(["timers", 11]), few.clone()).await, "handles");
    let run = Script::new(json!([["timers", 4], ["log", "fine"]])).limits(few).run().await;
    assert_eq!((run.log(), run.error().as_str()), (vec!["fine"], ""));
}

#[tokio::test]
async fn headers_are_bounded() {
    for step in [json!(["headers", 100_000, 4]), json!(["headers", 4, 1 << 20]), json!(["fields", 1, 1_000_000])] {
        assert_eq!(limit_of(step.clone(), small()).await, "header_bytes", "{step}");
    }
    let run = Script::new(json!([["headers", 10, 10]])).run().await;
    assert_eq!((run.log(), run.error().as_str()), (vec!["10 headers"], ""));
}

#[tokio::test]
async fn endless_small_checkpoints_end_with_the_time_they_have() {
    let limits = small().wall_time(Duration::from_secs(1));
    assert_eq!(limit_of(json!(["checkpoints-forever", 0]), limits.clone()).await, "wall_time");
    assert_eq!(limit_of(json!(["progress-forever"]), limits).await, "wall_time");
}

#[tokio::test]
async fn what_a_guest_stores_or_says_holds_no_key_wherever_it_has_it_from() {
    // As if it had decoded what no host can look into.
    let reversed: String = KEY.chars().rev().collect();
    let run = Script::new(json!([
        ["store-reversed", reversed],
        ["checkpoint", {"a": "1"}],
        ["say-reversed", reversed],
        ["fail-reversed", reversed],
    ]))
    .run()
    .await;
    assert_eq!(run.contents.rows(), 1);
    assert!(format!("{:?}", run.contents).contains(&"*".repeat(KEY.len())));
    let told = "a secret of the configuration was found in 2 places of responses and rows; stars stand there";
    assert_eq!(run.log(), ["it is ***", told]);
    assert_eq!(run.error(), "the connector failed: it was ***");
    run.assert_discreet();
}

#[tokio::test]
async fn a_state_that_holds_the_key_is_refused_and_not_rewritten() {
    let reversed: String = KEY.chars().rev().collect();
    for (key, value) in [("a ?", "1"), ("a", "b ?"), ("a", r#"{"b":"\u006b3?"}"#)] {
        // In the last case the letters that JSON escapes are missing from what is put in.
        let reversed = if value.contains('\\') { &reversed[..reversed.len() - 2] } else { &reversed };
        let steps = json!([["checkpoint", {"before": "1"}], ["checkpoint-reversed", reversed, key, value]]);
        let run = Script::new(steps).run().await;
        assert!(matches!(run.outcome.error, Some(Error::Contract(_))), "{}", run.error());
        assert!(run.error().contains("a checkpoint holds a secret of the configuration"), "{}", run.error());
        assert_eq!(run.contents.state.keys().collect::<Vec<_>>(), ["before"]);
        run.assert_discreet();
    }
}

#[tokio::test]
async fn a_short_secret_changes_no_row_and_no_state() {
    // Words of everybody's data, as a test server's key may be.
    for secret in ["loss", "1234", "fifteen-letters"] {
        let reversed: String = secret.chars().rev().collect();
        let state = json!({(format!("jobs/{secret}")): secret, "jobs/****": "1"});
        let steps = json!([["store-reversed", reversed], ["checkpoint", state]]);
        let run = Script::new(steps).with("api_key", json!(secret)).run().await;
        assert_eq!((run.error().as_str(), run.log().len()), ("", 0), "{:?}", run.log());
        let rows = format!("{:?}", run.contents.groups);
        assert!(
            rows.contains(&format!("id {secret}")) && rows.contains(&format!("{{\\\"body\\\":\\\"{secret}")),
            "{rows}"
        );
        assert_eq!(run.contents.state[&format!("jobs/{secret}")], secret);
        assert_eq!(run.contents.state.len(), 2);
    }
}

#[tokio::test]
async fn an_error_that_is_ignored_still_ends_the_sync() {
    let run = Script::new(json!([["checkpoint", {}], ["try-rows", 0, 300_000], ["log", "went on"]]))
        .limits(small())
        .run()
        .await;
    assert!(matches!(run.outcome.error, Some(Error::Limit { limit: "batch_bytes", .. })), "{}", run.error());
    assert!(run.log().contains(&"went on"));
    assert_eq!(run.contents.rows(), 0);
}

#[tokio::test]
async fn what_a_guest_says_is_shown_escaped() {
    let run = Script::new(json!([
        ["log", "\u{1b}[2Jtwo\nlines"],
        ["progress", "\u{1b}runs", 1, null],
        ["fail", "permission", "bad \u{202e}txt\r"],
    ]))
    .run()
    .await;
    assert_eq!(run.log(), ["\\u{1b}[2Jtwo\\nlines"]);
    assert_eq!(run.error(), "bad \\u{202e}txt\\r");
    let run = Script::new(json!([])).with("quarantine", json!(true)).run().await;
    assert_eq!(run.outcome.quarantined, [("q\\u{1b}[1m".to_owned(), "has \"***\"".to_owned())]);
}
