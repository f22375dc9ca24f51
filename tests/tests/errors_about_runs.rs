//! What W&B answers about one run costs that run and nothing else, whatever it is: the others are stored, and it is named. Only what the
//! listing or the key itself is refused ends a sync. The sync logic runs natively, with a clock that jumps ahead instead of waiting.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use wandb_connector::destination::Level;
use wandb_connector::error::Error;
use wandb_connector::sync::Summary;
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Mutation, Options, Project, Run, Truth, When, World,
};
use wandb_connector_tests::native::{Memory, sync_into};

const BOTH: [Dialect; 2] = [Dialect::Rest, Dialect::Graphql];
/// Names that hold the words of errors.
const ENTITY: &str = "unauthorized-api";
const PROJECT: &str = "forbidden-planet";

fn row(step: i64) -> String {
    format!(r#"{{"_step":{step},"_timestamp":{},"loss":{step}.5}}"#, 1_750_000_000 + step)
}

/// Run `n` has `10 * n` rows.
fn serve(runs: usize) -> LocalWandb {
    let mut world = World::default();
    let runs = (0..runs).map(|n| Run::new(format!("run{n}")).with_history((0..10 * n as i64).map(row)));
    *world.project_mut(ENTITY, PROJECT) = Project::new(runs);
    LocalWandb::start_blocking(Options::with_world(world)).unwrap()
}

fn config(server: &LocalWandb, dialect: Dialect) -> Value {
    let api = if dialect == Dialect::Rest { "rest" } else { "graphql" };
    json!({"api_key": server.api_key(), "base_url": server.base_url(), "entity": ENTITY, "project": PROJECT, "api": api,
           "page_size": 1000, "concurrency": 4})
}

fn ids(summary: &Summary) -> Vec<&str> {
    let mut ids: Vec<&str> = summary.quarantined.iter().map(|(id, _)| id.as_str()).collect();
    ids.sort_unstable();
    ids
}

fn delete(run: &str) -> Mutation {
    Mutation::Delete { entity: ENTITY.into(), project: PROJECT.into(), run: run.into() }
}

#[track_caller]
fn assert_holds(memory: &Memory, truth: &Truth, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stored.db");
    memory.stored().write_sqlite(&file).unwrap();
    let differences = compare_sqlite(&file, truth).unwrap();
    assert!(differences.is_empty(), "{what}: {:#?}", differences.first());
}

/// The truth without some runs.
fn truth_without(server: &LocalWandb, dialect: Dialect, left_out: &[&str]) -> Truth {
    let runs = server.world().project(ENTITY, PROJECT).unwrap().runs.clone();
    Truth::of(dialect, runs.iter().map(AsRef::as_ref).filter(|run| !left_out.contains(&run.id.as_str())))
}

fn body(text: &str) -> Fault {
    Fault::Body("application/json".to_owned(), text.into())
}

/// Everything that W&B was seen to say about one run, and its like.
fn about_one_run(dialect: Dialect) -> Vec<Fault> {
    let mut faults: Vec<Fault> = [400, 401, 403, 404, 410, 413, 422, 500, 501].map(Fault::status).into();
    faults.extend([
        body(r#"{"error":"permission denied"}"#),
        body(r#"{"error":{"message":"user is not logged in"}}"#),
        body(r#"{"error":{"message":"run not found","code":404}}"#),
    ]);
    if dialect == Dialect::Graphql {
        let path = r#""path":["project","run","history"]"#;
        faults.extend(
            [
                format!(r#"[{{"message":"permission denied",{path},"extensions":{{"code":"PERMISSION_ERROR"}}}}]"#),
                format!(r#"[{{"message":"run not found for history loading: {ENTITY}/{PROJECT}/run2",{path}}}]"#),
                format!(r#"[{{"message":"run not found for history loading: {ENTITY}/{PROJECT}/run2"}}]"#),
                r#"["user is not logged in"]"#.to_owned(),
                r#"[{"message":"x","extensions":{"code":"UNAUTHENTICATED"}}]"#.to_owned(),
                r#"[{"message":"Cannot query field 'history' on type 'Run'."}]"#.to_owned(),
                format!(r#"[{{"message":"the storage of {PROJECT} broke"}}]"#),
            ]
            .map(Fault::Errors),
        );
        faults.push(body(r#"{"data":{"project":null}}"#));
    }
    faults
}

#[tokio::test]
async fn whatever_is_answered_about_one_run_costs_that_run_and_no_other() {
    for dialect in BOTH {
        for fault in about_one_run(dialect) {
            let what = format!("{dialect:?} {fault}");
            let server = serve(6);
            server.fault(Matcher::any().run("run2"), fault);
            let (memory, config) = (Memory::new(), config(&server, dialect));
            for round in 0..2 {
                let said = memory.log_lines().len();
                let summary = sync_into(&memory, &config).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert_eq!(ids(&summary), ["run2"], "{what}");
                assert_eq!(summary.synced, if round == 0 { 5 } else { 0 }, "{what}");
                let lines = memory.log_lines().split_off(said);
                let severe: Vec<_> = lines.iter().filter(|(level, _)| *level == Level::Severe).collect();
                assert!(severe.len() == 1 && severe[0].1.contains("Run run2"), "{what}: {lines:?}");
                assert_holds(&memory, &truth_without(&server, dialect, &["run2"]), &what);
            }
            server.clear_faults();
            let summary = sync_into(&memory, &config).await.unwrap();
            assert_eq!((ids(&summary).len(), summary.synced), (0, 1), "{what}");
            assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), &what);
            let marks: Vec<_> = memory.stored().state.into_keys().filter(|key| key.starts_with("failed/")).collect();
            assert!(marks.is_empty(), "{what}: {marks:?}");
        }
    }
}

#[tokio::test]
async fn a_name_like_an_error_makes_an_error_mean_nothing_else() {
    let server = serve(3);
    let message = format!(r#"[{{"message":"the storage of {ENTITY}/{PROJECT} is busy, run 'api key' waits"}}]"#);
    // It is over the third time: what is taken for a refusal is not asked again.
    server.fault(Matcher::any().when(When::First(2)), Fault::Errors(message));
    let memory = Memory::new();
    let summary = sync_into(&memory, &config(&server, Dialect::Graphql)).await.unwrap();
    assert_eq!((summary.retries, summary.synced), (2, 3));
}

#[tokio::test]
async fn a_run_that_w_and_b_says_is_gone_when_asked_by_name_is_deleted_and_none_is_left_out() {
    let errors = [
        Fault::errors(&["run not found for history loading"]),
        Fault::Errors(r#"[{"message":"x","path":["project","run"],"extensions":{"code":"NOT_FOUND"}}]"#.to_owned()),
        Fault::status(404),
    ];
    for (dialect, fault) in BOTH.into_iter().flat_map(|dialect| errors.clone().map(|fault| (dialect, fault))) {
        if dialect == Dialect::Rest && !matches!(fault, Fault::Status(..)) {
            continue;
        }
        let server = serve(6);
        server.mutate_before(Matcher::any().run("run3").when(When::Nth(1)), delete("run3"));
        server.fault(Matcher::history().run("run3").when(When::Nth(1)), fault.clone());
        let memory = Memory::new();
        let summary = sync_into(&memory, &config(&server, dialect)).await.unwrap();
        assert_eq!((ids(&summary).len(), summary.synced), (0, 5), "{dialect:?} {fault}");
        assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), &fault.to_string());
    }
}

#[tokio::test]
async fn an_answer_without_the_project_is_asked_for_again_and_deletes_nothing() {
    let server = serve(6);
    server.fault(Matcher::history().when(When::Every(3)), body(r#"{"data":{"project":null}}"#));
    server.fault(Matcher::listing().when(When::Nth(2)), body(r#"{"data":{"project":null}}"#));
    let memory = Memory::new();
    let mut config = config(&server, Dialect::Graphql);
    config["page_size"] = json!(2);
    let summary = sync_into(&memory, &config).await.unwrap();
    assert_eq!((ids(&summary).len(), summary.synced), (0, 6));
    assert!(summary.retries >= 2, "{}", summary.retries);
    assert_holds(&memory, &server.truth(Dialect::Graphql, ENTITY, PROJECT), "asked again");
}

#[tokio::test]
async fn a_listing_or_a_key_that_is_refused_ends_the_sync_whatever_the_runs_say() {
    let permission = r#"[{"message":"x","path":["project"],"extensions":{"code":"PERMISSION_ERROR"}}]"#;
    type Fits = fn(&Error) -> bool;
    let cases: [(Dialect, Fault, Fits); 7] = [
        (Dialect::Rest, Fault::status(401), |error| matches!(error, Error::Authentication(_))),
        (Dialect::Graphql, Fault::status(401), |error| matches!(error, Error::Authentication(_))),
        (Dialect::Rest, Fault::status(403), |error| matches!(error, Error::Permission(_))),
        (Dialect::Rest, Fault::status(404), |error| matches!(error, Error::NotFound(_))),
        (Dialect::Rest, body(r#"{"error":"invalid API key"}"#), |error| matches!(error, Error::Authentication(_))),
        (Dialect::Graphql, Fault::errors(&["permission denied"]), |error| matches!(error, Error::Permission(_))),
        (Dialect::Graphql, Fault::Errors(permission.to_owned()), |error| matches!(error, Error::Permission(_))),
    ];
    for (dialect, fault, fits) in cases {
        // From the start, and after the listing and two runs.
        for after in [0, 3] {
            let server = serve(60);
            server.fault(Matcher::any().when(When::After(after)), fault.clone());
            let memory = Memory::new();
            let error = sync_into(&memory, &config(&server, dialect)).await.unwrap_err();
            assert!(fits(&error), "{dialect:?} {fault} after {after}: {error:?}");
            assert!(server.log().len() < 40, "{dialect:?} {fault}: {} requests", server.log().len());
            server.clear_faults();
            let summary = sync_into(&memory, &config(&server, dialect)).await.unwrap();
            assert_eq!(ids(&summary).len(), 0, "{dialect:?} {fault}");
            assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), &fault.to_string());
        }
    }
}

#[tokio::test]
async fn permission_error_also_means_that_nobody_is_signed_in() {
    let permission = r#"[{"message":"x","path":["project"],"extensions":{"code":"PERMISSION_ERROR"}}]"#;
    let server = serve(3);
    server.fault(Matcher::any().operation("Runs"), Fault::Errors(permission.to_owned()));
    server.fault(Matcher::any().operation("Viewer"), body(r#"{"data":{"viewer":null}}"#));
    let error = sync_into(&Memory::new(), &config(&server, Dialect::Graphql)).await.unwrap_err();
    assert!(matches!(error, Error::Authentication(_)), "{error:?}");
}

#[tokio::test]
async fn the_largest_runs_may_fail_for_ever_and_all_others_are_stored() {
    for dialect in BOTH {
        for fault in [Fault::status(502), Fault::ResetBefore, Fault::status(403)] {
            let what = format!("{dialect:?} {fault}");
            let server = serve(40);
            let failing: Vec<String> = (28..40).map(|n| format!("run{n}")).collect();
            for id in &failing {
                server.fault(Matcher::any().run(id), fault.clone());
            }
            let (memory, config) = (Memory::new(), config(&server, dialect));
            for round in 0..3 {
                server.log().clear();
                let summary = sync_into(&memory, &config).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert_eq!(ids(&summary), failing, "{what}");
                assert_eq!(summary.synced, if round == 0 { 28 } else { 0 }, "{what}");
                let failing: Vec<&str> = failing.iter().map(String::as_str).collect();
                assert_holds(&memory, &truth_without(&server, dialect, &failing), &what);
                assert!(server.log().len() < 180, "{what}: {} requests", server.log().len());
            }
            server.clear_faults();
            assert_eq!(sync_into(&memory, &config).await.unwrap().synced, 12, "{what}");
            assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), &what);
        }
    }
}

#[tokio::test]
async fn runs_that_failed_the_last_time_go_last() {
    for dialect in BOTH {
        let server = serve(12);
        for n in [3, 11] {
            server.fault(Matcher::any().run(&format!("run{n}")), Fault::status(400));
        }
        let (memory, mut config) = (Memory::new(), config(&server, dialect));
        config["concurrency"] = json!(1);
        assert_eq!(ids(&sync_into(&memory, &config).await.unwrap()), ["run11", "run3"]);
        let grown: Vec<String> = (0..12).filter(|n| n % 3 == 0).map(|n| format!("run{n}")).collect();
        for run in &grown {
            let (entity, project, rows) = (ENTITY.into(), PROJECT.into(), vec![row(5_000)]);
            server.mutate(&Mutation::Append { entity, project, run: run.clone(), rows }).unwrap();
        }
        server.log().clear();
        assert_eq!(ids(&sync_into(&memory, &config).await.unwrap()), ["run11", "run3"]);
        let asked: Vec<String> = server.log().all().into_iter().flat_map(|request| request.run_ids).collect();
        let first = |id: &str| asked.iter().position(|it| it == id).unwrap();
        let last_of_others = ["run0", "run6", "run9"].map(first).into_iter().max().unwrap();
        assert!(first("run3") > last_of_others && first("run11") > last_of_others, "{dialect:?}: {asked:?}");
    }
}

#[tokio::test]
async fn a_server_that_goes_down_midway_ends_the_sync_in_a_bounded_number_of_requests() {
    for dialect in BOTH {
        for fault in [Fault::status(503), Fault::ResetBefore, Fault::rate_limited(None)] {
            let what = format!("{dialect:?} {fault}");
            let server = serve(60);
            // Of which GraphQL needs one for the listing and one for fifty runs.
            let before = if dialect == Dialect::Graphql { 2 } else { 12 };
            server.fault(Matcher::any().when(When::After(before)), fault.clone());
            let (memory, config) = (Memory::new(), config(&server, dialect));
            let error = sync_into(&memory, &config).await.unwrap_err();
            match fault {
                Fault::Status(429, ..) => assert!(matches!(error, Error::RateLimited { .. }), "{what}: {error:?}"),
                _ => assert!(matches!(error, Error::Upstream { .. }), "{what}: {error:?}"),
            }
            assert!(error.to_string().contains("seems to be down"), "{what}: {error}");
            // Ten in a row, those that were under way before and beside them, and the question whether W&B is down.
            assert!(server.log().len() <= 12 + 17 * 6 + 6, "{what}: {} requests", server.log().len());
            assert!(!memory.stored().state.keys().any(|key| key.starts_with("failed/")), "no run is to blame");
            server.clear_faults();
            let summary = sync_into(&memory, &config).await.unwrap();
            // Of GraphQL the first joint answer was all that came.
            let done = if dialect == Dialect::Graphql { 1 } else { 5 };
            assert!(summary.unchanged >= done && ids(&summary).is_empty(), "{what}: {summary:?}");
            assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), &what);
        }
    }
}

#[tokio::test]
async fn a_server_that_lists_runs_and_reads_none_ends_the_sync_and_the_next_one_begins_with_others() {
    for dialect in BOTH {
        let server = serve(100);
        server.fault(Matcher::history(), Fault::status(502));
        let (memory, config) = (Memory::new(), config(&server, dialect));
        let mut tried = std::collections::BTreeSet::new();
        for _ in 0..2 {
            server.log().clear();
            let error = sync_into(&memory, &config).await.unwrap_err();
            assert!(matches!(error, Error::Upstream { status: Some(502), .. }), "{dialect:?}: {error:?}");
            assert!(server.log().len() < 28 * 6 + 30, "{dialect:?}: {} requests", server.log().len());
            // Alone; together with others every run is asked for.
            let asked = server.log().all().into_iter().filter_map(|request| request.run_id);
            let fresh = asked.filter(|id| tried.insert(id.clone())).count();
            assert!(fresh >= 20, "{dialect:?}: {fresh}");
        }
        server.clear_faults();
        assert_eq!(sync_into(&memory, &config).await.unwrap().synced, 100);
        assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), "healed");
    }
}
