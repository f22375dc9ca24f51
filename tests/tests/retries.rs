//! Faults of the network and of the server that pass: the sync rides them out and loses nothing. Faults that last: they end as the error
//! that they are. The sync logic runs natively, with a clock that jumps ahead instead of waiting.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use wandb_connector::destination::Level;
use wandb_connector::error::Error;
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{
    BadKey, Dialect, Fault, LocalWandb, Matcher, Mutation, Options, Project, Run, When, World,
};
use wandb_connector_tests::native::{Key, Memory, sync_into};

fn serve(options: Options) -> LocalWandb {
    let row =
        |step: i64| format!(r#"{{"_step":{step},"_timestamp":{},"loss":0.5,"note":"n{step}"}}"#, 1_750_000_000 + step);
    let mut world = World::default();
    let runs = (0..5).map(|n| Run::new(format!("run{n}")).with_history((0..60 * n).map(row)));
    *world.project_mut("acme", "demo") = Project::new(runs);
    LocalWandb::start_blocking(Options { world, ..options }).unwrap()
}

fn config(server: &LocalWandb, dialect: Dialect) -> Value {
    let api = if dialect == Dialect::Rest { "rest" } else { "graphql" };
    json!({"api_key": server.api_key(), "base_url": server.base_url(), "entity": "acme", "project": "demo", "api": api, "page_size": 50})
}

fn assert_stored(memory: &Memory, server: &LocalWandb, dialect: Dialect, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stored.db");
    memory.stored().write_sqlite(&file).unwrap();
    let differences = compare_sqlite(&file, &server.truth(dialect, "acme", "demo")).unwrap();
    assert!(differences.is_empty(), "{what}: {:#?}", differences.first());
}

/// Faults that may be over at the next attempt.
fn passing() -> Vec<Fault> {
    let mut faults: Vec<Fault> = [429, 500, 502, 503, 504, 408].map(Fault::status).into();
    faults.extend(
        [Some("0"), Some("3"), Some("86400"), Some("soon"), Some("Wed, 21 Oct 2015 07:28:00 GMT")]
            .map(Fault::rate_limited),
    );
    faults.extend([0, 1, 40].map(Fault::ResetAfter));
    faults.extend([1, 40].map(Fault::Truncate));
    faults.extend([
        Fault::ResetBefore,
        Fault::CutBody(40),
        Fault::ContentLength(1 << 40),
        Fault::html(),
        Fault::malformed_json(),
        Fault::DeepJson(100_000),
    ]);
    faults
}

#[tokio::test]
async fn faults_that_pass_lose_nothing() {
    for dialect in [Dialect::Rest, Dialect::Graphql] {
        let mut faults = passing();
        if dialect == Dialect::Graphql {
            faults.extend([
                Fault::invalid_utf8(),
                Fault::errors(&["internal server error"]),
                Fault::string_errors(&["context deadline exceeded"]),
                Fault::ErrorsBesideData(r#"[{"message":"upstream timed out"}]"#.to_owned()),
            ]);
        }
        for fault in faults {
            let server = serve(Options::default());
            server.fault(Matcher::listing().when(When::Nth(1)), fault.clone());
            server.fault(Matcher::history().run("run3").when(When::First(3)), fault.clone());
            let memory = Memory::new();
            let summary = sync_into(&memory, &config(&server, dialect)).await;
            let summary = summary.unwrap_or_else(|error| panic!("{dialect:?} {fault}: {error:?}"));
            assert_eq!(summary.quarantined, [], "{dialect:?} {fault}");
            // A request for several runs is tried again once as it is, then in parts, which is no retry.
            let retries = if dialect == Dialect::Graphql { 3..=4 } else { 4..=4 };
            assert!(retries.contains(&summary.retries), "{dialect:?} {fault}: {}", summary.retries);
            assert_stored(&memory, &server, dialect, &fault.to_string());
        }
    }
}

#[tokio::test]
async fn after_five_retries_a_listing_that_fails_ends_the_sync() {
    for (fault, limited) in
        [(Fault::status(503), false), (Fault::rate_limited(None), true), (Fault::malformed_json(), false)]
    {
        let server = serve(Options::default());
        server.fault(Matcher::any(), fault.clone());
        let result = sync_into(&Memory::new(), &config(&server, Dialect::Graphql)).await;
        match result {
            Err(Error::Upstream { .. }) if !limited => {}
            Err(Error::RateLimited { .. }) if limited => {}
            other => panic!("{fault}: {other:?}"),
        }
        assert_eq!(server.log().len(), 6, "{fault}");
    }
}

#[tokio::test]
async fn what_no_retry_cures_is_not_retried() {
    for dialect in [Dialect::Rest, Dialect::Graphql] {
        for status in [400, 401, 403, 404, 410, 501] {
            let server = serve(Options::default());
            server.fault(Matcher::any(), Fault::status(status));
            let error = sync_into(&Memory::new(), &config(&server, dialect)).await.unwrap_err();
            let fits = match status {
                401 => matches!(error, Error::Authentication(_)),
                403 => matches!(error, Error::Permission(_)),
                404 => matches!(error, Error::NotFound(_) | Error::Upstream { status: Some(404), .. }),
                _ => matches!(error, Error::Upstream { status: Some(said), .. } if said == status),
            };
            assert!(fits, "{dialect:?} {status}: {error:?}");
            assert_eq!(server.log().len(), 1, "{dialect:?} {status}");
        }
    }
}

#[tokio::test]
async fn a_key_that_nobody_has_is_an_authentication_error_also_in_a_200() {
    let server = serve(Options { bad_key: BadKey::NullViewer, ..Options::default() });
    let mut config = config(&server, Dialect::Graphql);
    config["api_key"] = json!("0".repeat(40));
    let error = sync_into(&Memory::new(), &config).await.unwrap_err();
    assert!(matches!(error, Error::Authentication(_)), "{error:?}");
}

#[tokio::test]
async fn pages_that_lead_astray_or_in_a_circle_end_the_listing() {
    for dialect in [Dialect::Rest, Dialect::Graphql] {
        let astray = Fault::Next("http://127.0.0.2:9/steal".to_owned());
        for fault in [Fault::Cycle, Fault::EndlessEmptyPages, Fault::EndlessPages, astray] {
            let leads_away = matches!(fault, Fault::Next(_));
            // Cursors lead nowhere else, and addresses that are always new may lead to an end.
            let is_empty = matches!(fault, Fault::EndlessEmptyPages);
            if (leads_away && dialect == Dialect::Graphql) || (is_empty && dialect == Dialect::Rest) {
                continue;
            }
            let server = serve(Options::default());
            server.fault(Matcher::listing(), fault.clone());
            let error = sync_into(&Memory::new(), &config(&server, dialect)).await.unwrap_err();
            assert!(matches!(error, Error::Upstream { .. }), "{dialect:?} {fault}: {error:?}");
            assert!(server.log().listing_requests().len() <= 15, "{dialect:?} {fault}");
        }
    }
}

#[tokio::test]
async fn a_history_that_leads_astray_or_in_a_circle_is_left_out() {
    let astray = Fault::Next("http://127.0.0.2:9/steal".to_owned());
    for fault in [Fault::Cycle, Fault::EndlessEmptyPages, Fault::EndlessPages, astray] {
        let server = serve(Options::default());
        server.fault(Matcher::history().run("run4"), fault.clone());
        let summary = sync_into(&Memory::new(), &config(&server, Dialect::Rest)).await.unwrap();
        let ids: Vec<&str> = summary.quarantined.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["run4"], "{fault}");
        assert!(server.log().len() < 60, "{fault}: {} requests", server.log().len());
    }
}

#[tokio::test]
async fn bombs_and_giants_are_refused_within_the_memory_of_a_page() {
    for fault in [Fault::GzipBomb(1 << 30), Fault::ContentLength(1 << 50)] {
        let server = serve(Options::default());
        server.fault(Matcher::history().run("run4"), fault.clone());
        let summary = sync_into(&Memory::new(), &config(&server, Dialect::Rest)).await.unwrap();
        assert_eq!(summary.quarantined.len(), 1, "{fault}");
        assert_eq!(summary.synced, 4, "{fault}");
    }
}

#[tokio::test]
async fn whatever_retry_after_says_the_wait_is_a_sensible_one() {
    let absurd = "1".to_owned() + &"0".repeat(30);
    let cases = [
        ("7", 7),
        (" 7 ", 7),
        ("0.4", 1),
        // A wish for the past is a wish for now.
        ("-5", 1),
        ("-inf", 1),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        // An endless one is cut.
        (absurd.as_str(), 60),
        ("1e30", 60),
        ("inf", 60),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60),
        // What can't be read is as if nothing were said.
        ("NaN", 1),
        ("soon", 1),
        ("", 1),
        ("Fri, 32 Dec 2025 25:61:61 GMT", 1),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", 1),
    ];
    for (said, seconds) in cases {
        for status in [429, 503] {
            let server = serve(Options::default());
            let headers = vec![("retry-after".to_owned(), said.to_owned())];
            server.fault(Matcher::listing().when(When::Nth(1)), Fault::Status(status, headers, String::new()));
            let memory = Memory::new();
            let summary = sync_into(&memory, &config(&server, Dialect::Rest)).await.unwrap();
            assert_eq!(summary.retries, 1, "{said:?}");
            assert_stored(&memory, &server, Dialect::Rest, said);
            let lines = memory.log_lines();
            let line = lines.iter().find_map(|(_, line)| line.rsplit_once("Retrying in ")).unwrap().1;
            let waited: u64 = line.trim_end_matches("s...").parse().unwrap();
            assert!((seconds..=seconds + 1).contains(&waited), "{said:?}: {waited} s");
        }
    }
}

#[tokio::test]
async fn retries_are_said_as_the_specification_says_them() {
    let server = serve(Options::default());
    server.fault(Matcher::listing().when(When::Nth(1)), Fault::rate_limited(Some("86400")));
    let memory = Memory::new();
    sync_into(&memory, &config(&server, Dialect::Rest)).await.unwrap();
    let lines: Vec<String> =
        memory.log_lines().into_iter().filter(|(level, _)| *level == Level::Warning).map(|(_, line)| line).collect();
    let url = format!("{}/projects/acme/demo/runs", server.base_url());
    assert!(lines[0].starts_with(&format!("Rate-limit/server error 429 for {url}. Retrying in 6")), "{lines:?}");
    assert!(lines[1].contains("asked for 86400s"), "a longer wish is told: {lines:?}");
}

/// What a run can be poisoned with.
fn lasting(dialect: Dialect) -> Vec<Fault> {
    let mut faults = vec![
        Fault::status(502),
        Fault::status(400),
        Fault::rate_limited(None),
        Fault::ResetBefore,
        Fault::Truncate(40),
        Fault::html(),
        Fault::malformed_json(),
        Fault::DeepJson(100_000),
    ];
    if dialect == Dialect::Graphql {
        faults
            .extend([Fault::errors(&["internal server error"]), Fault::string_errors(&["context deadline exceeded"])]);
    }
    faults
}

#[tokio::test]
async fn a_run_that_fails_for_ever_is_named_each_time_and_heals_by_itself() {
    for dialect in [Dialect::Rest, Dialect::Graphql] {
        for fault in lasting(dialect) {
            let server = serve(Options::default());
            let memory = Memory::new();
            let config = config(&server, dialect);
            sync_into(&memory, &config).await.unwrap();
            let rows_of = |id: &str| {
                let stored = memory.stored();
                let rows = stored.tables["metrics"].clone().into_iter();
                rows.filter(|(key, _)| key[0] == Key::Text(id.to_owned())).collect::<Vec<_>>()
            };
            let before = rows_of("run3");
            server.fault(Matcher::any().run("run3"), fault.clone());
            for round in 0..3 {
                let grow = |run: &str| {
                    let rows =
                        vec![format!(r#"{{"_step":{},"_timestamp":1750009999,"loss":{round}.5}}"#, 1000 + round)];
                    let (entity, project) = ("acme".to_owned(), "demo".to_owned());
                    server.mutate(&Mutation::Append { entity, project, run: run.to_owned(), rows }).unwrap();
                };
                if round == 0 {
                    grow("run3");
                }
                grow("run1");
                let said = memory.log_lines().len();
                server.log().clear();
                let summary = sync_into(&memory, &config).await.unwrap();
                let quarantined: Vec<&str> = summary.quarantined.iter().map(|(id, _)| id.as_str()).collect();
                assert_eq!((quarantined, summary.synced), (vec!["run3"], 1), "{dialect:?} {fault}");
                let lines = memory.log_lines().split_off(said);
                let severe: Vec<&String> =
                    lines.iter().filter(|(level, _)| *level == Level::Severe).map(|(_, line)| line).collect();
                let reason = &summary.quarantined[0].1;
                assert!(severe.len() == 1 && severe[0].contains("run3") && severe[0].contains(reason), "{lines:?}");
                assert!(server.log().len() <= 3 + 6 + 1, "{dialect:?} {fault}: {} requests", server.log().len());
                assert_eq!(rows_of("run3"), before, "{dialect:?} {fault}: what was stored stays whole");
            }
            server.clear_faults();
            let summary = sync_into(&memory, &config).await.unwrap();
            assert_eq!((summary.quarantined, summary.synced), (vec![], 1), "{dialect:?} {fault}");
            assert_stored(&memory, &server, dialect, &fault.to_string());
        }
    }
}
