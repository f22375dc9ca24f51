//! Listings that are not what a listing should be: pages that shift, pages whose runs are hidden, entries that are no entries. What can be read is
//! stored, what can't is named, and nothing that a listing lacks for such a reason is taken for deleted.
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
const ENTITY: &str = "acme";
const PROJECT: &str = "demo";

fn run(id: &str) -> Run {
    let row = |step: i64| format!(r#"{{"_step":{step},"_timestamp":{},"loss":0.5}}"#, 1_750_000_000 + step);
    Run::new(id).with_history((0..3).map(row))
}

fn serve(runs: impl IntoIterator<Item = Run>) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut(ENTITY, PROJECT) = Project::new(runs);
    LocalWandb::start_blocking(Options::with_world(world)).unwrap()
}

fn serve_runs(count: usize) -> LocalWandb {
    serve((0..count).map(|n| run(&format!("run{n}"))))
}

fn config(server: &LocalWandb, dialect: Dialect, page_size: usize) -> Value {
    let api = if dialect == Dialect::Rest { "rest" } else { "graphql" };
    json!({"api_key": server.api_key(), "base_url": server.base_url(), "entity": ENTITY, "project": PROJECT, "api": api,
           "page_size": page_size, "deletes": "remove"})
}

fn ids(summary: &Summary) -> Vec<&str> {
    summary.quarantined.iter().map(|(id, _)| id.as_str()).collect()
}

#[track_caller]
fn assert_holds(memory: &Memory, truth: &Truth, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stored.db");
    memory.stored().write_sqlite(&file).unwrap();
    let differences = compare_sqlite(&file, truth).unwrap();
    assert!(differences.is_empty(), "{what}: {:#?}", differences.first());
}

fn says(memory: &Memory, level: Level, words: &str) -> bool {
    memory.log_lines().iter().any(|(of, line)| *of == level && line.contains(words))
}

#[tokio::test]
async fn hidden_runs_may_fill_any_number_of_pages() {
    for dialect in BOTH {
        // Three runs, each behind a hundred hidden ones, and a hundred at the end.
        let runs = (0..400).map(|n| Run { hidden: n % 101 != 100, ..run(&format!("run{n}")) });
        let server = serve(runs);
        let memory = Memory::new();
        let summary = sync_into(&memory, &config(&server, dialect, 2)).await.unwrap();
        assert_eq!((summary.seen, summary.synced, ids(&summary).len()), (3, 3, 0), "{dialect:?}");
        assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), "hidden");
        assert_eq!(server.log().listing_requests().len(), 200);
    }
}

#[tokio::test]
async fn empty_pages_without_end_still_end() {
    let server = serve_runs(3);
    server.fault(Matcher::listing(), Fault::EndlessHiddenPages);
    let error = sync_into(&Memory::new(), &config(&server, Dialect::Rest, 100)).await.unwrap_err();
    assert!(matches!(&error, Error::Upstream { message, .. } if message.contains("held no run")), "{error:?}");
    assert_eq!(server.log().listing_requests().len(), 5_000);
}

#[tokio::test]
async fn a_run_that_comes_twice_shows_that_pages_shifted_and_what_was_missed_is_found_in_the_same_sync() {
    for dialect in BOTH {
        let server = serve_runs(9);
        // It lies in a page that was read already, and pushes a run from there into the next one.
        let (entity, project, run) = (ENTITY.into(), PROJECT.into(), "offline".into());
        let upload = Mutation::Upload { entity, project, run, place: 1, rows: vec![r#"{"_step":0,"a":1}"#.into()] };
        server.mutate_before(Matcher::listing().when(When::Nth(2)), upload);
        let (memory, config) = (Memory::new(), config(&server, dialect, 3));
        let summary = sync_into(&memory, &config).await.unwrap();
        assert_eq!((summary.seen, summary.synced), (10, 10), "{dialect:?}");
        assert!(says(&memory, Level::Info, "1 run came twice") && says(&memory, Level::Info, "again"), "{dialect:?}");
        assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), "shifted");
        assert_eq!(sync_into(&memory, &config).await.unwrap().unchanged, 10);
    }
}

#[tokio::test]
async fn where_w_and_b_counts_no_more_runs_than_were_listed_they_are_not_listed_again() {
    let server = serve_runs(9);
    let (entity, project, run) = (ENTITY.into(), PROJECT.into(), "offline".into());
    // At the head of the page that is asked for: a run of the page before comes again, and this one is never seen, but another is gone.
    let upload = Mutation::Upload { entity, project, run, place: 1, rows: vec![] };
    server.mutate_before(Matcher::listing().when(When::Nth(2)), upload);
    let gone = |run: &str| Mutation::Delete { entity: ENTITY.into(), project: PROJECT.into(), run: run.into() };
    server.mutate_before(Matcher::listing().when(When::Nth(4)), gone("run0"));
    let memory = Memory::new();
    let summary = sync_into(&memory, &config(&server, Dialect::Graphql, 3)).await.unwrap();
    let counts = server.log().matching(|request| request.operation.as_deref() == Some("RunCount")).len();
    assert_eq!(counts, 1, "{summary:?}");
    assert!(says(&memory, Level::Info, "of 9 that W&B counts"), "{:?}", memory.log_lines());
}

#[tokio::test]
async fn a_listing_that_shifts_for_ever_is_read_a_bounded_number_of_times_and_told() {
    for dialect in BOTH {
        let server = serve_runs(6);
        let pages = 60;
        for page in (2..pages).filter(|page| page % 2 == 0) {
            let (entity, project, run) = (ENTITY.into(), PROJECT.into(), format!("new{page}"));
            let upload = Mutation::Upload { entity, project, run, place: 0, rows: vec![] };
            server.mutate_before(Matcher::listing().when(When::Nth(page)), upload);
        }
        let memory = Memory::new();
        let summary = sync_into(&memory, &config(&server, dialect, 3)).await.unwrap();
        assert!(says(&memory, Level::Warning, "in each of 3 listings"), "{dialect:?}: {:?}", memory.log_lines());
        assert!(server.log().listing_requests().len() < 40, "{dialect:?}");
        assert!(!memory.stored().state.contains_key("runs_hwm_utc"), "below it there may be more: {summary:?}");
        server.clear_faults();
        sync_into(&memory, &config(&server, dialect, 3)).await.unwrap();
        assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), "quiet again");
    }
}

/// Entries that are none, and by what name each is told.
fn odd(dialect: Dialect) -> Vec<(Fault, &'static str)> {
    let entry = |text: &str| Fault::OddEntry("run4".to_owned(), text.to_owned());
    let edge = |text: &str| Fault::OddEdge("run4".to_owned(), text.to_owned());
    let nameless = "(entry 5 of the listing)";
    let mut odd: Vec<_> = [
        "null",
        "7",
        "[]",
        "\"x\"",
        "{}",
        r#"{"name":null,"id":null}"#,
        r#"{"name":7,"id":7}"#,
        r#"{"name":"","id":""}"#,
    ]
    .map(|text| (entry(text), nameless))
    .into();
    odd.extend(
        [
            r#"{"name":"run4","id":"run4","displayName":7}"#,
            r#"{"name":"run4","id":"run4","user":"ada"}"#,
            r#"{"name":"run4","id":"run4","createdAt":1750000000}"#,
            r#"{"name":"run4","id":"run4","state":["running"]}"#,
        ]
        .map(|text| (entry(text), "run4")),
    );
    if dialect == Dialect::Graphql {
        odd.extend(["null", "7", "{}", r#"{"cursor":"x"}"#].map(|text| (edge(text), nameless)));
        let path = r#"["project","runs","edges",4,"node","user"]"#;
        let errors = format!(r#"[{{"message":"user not found","path":{path},"extensions":{{"code":"NOT_FOUND"}}}}]"#);
        odd.push((Fault::ErrorsBesideData(errors), "run4"));
    }
    odd
}

#[tokio::test]
async fn an_odd_entry_costs_itself_and_is_named_and_no_run_is_taken_for_deleted() {
    for dialect in BOTH {
        for (fault, name) in odd(dialect) {
            let what = format!("{dialect:?} {fault}");
            let server = serve_runs(9);
            let (memory, config) = (Memory::new(), config(&server, dialect, 100));
            // First seen like that, then known, then well, and then like that again.
            server.fault(Matcher::listing(), fault.clone());
            let summary = sync_into(&memory, &config).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!((ids(&summary), summary.synced, summary.retries), (vec![name], 8, 0), "{what}");
            assert!(!memory.stored().state.contains_key("runs_hwm_utc"), "{what}: nobody knows what lies below");
            server.clear_faults();
            let summary = sync_into(&memory, &config).await.unwrap();
            assert_eq!((ids(&summary).len(), summary.synced), (0, 1), "{what}");
            let truth = server.truth(dialect, ENTITY, PROJECT);
            assert_holds(&memory, &truth, &what);

            let (entity, project, run) = (ENTITY.into(), PROJECT.into(), "run7".into());
            server.mutate(&Mutation::Delete { entity, project, run }).unwrap();
            server.fault(Matcher::listing(), fault);
            server.log().clear();
            let summary = sync_into(&memory, &config).await.unwrap();
            assert_eq!((ids(&summary), summary.unchanged, summary.deleted), (vec![name], 7, 0), "{what}");
            assert_eq!(server.log().len(), 1, "{what}: nobody is asked for");
            assert!(says(&memory, Level::Warning, "run7"), "{what}");
            assert_holds(&memory, &truth, &what);
            server.clear_faults();
            assert_eq!(sync_into(&memory, &config).await.unwrap().deleted, 1, "{what}");
            assert_holds(&memory, &server.truth(dialect, ENTITY, PROJECT), &what);
        }
    }
}

#[tokio::test]
async fn text_that_is_not_quite_json_is_no_odd_entry() {
    for dialect in BOTH {
        let server = serve_runs(3);
        let entry = r#"{"id":"run1","name":"run1","displayName":"\ud83e lone","state":"finished"}"#;
        server.fault(Matcher::listing(), Fault::OddEntry("run1".to_owned(), entry.to_owned()));
        let memory = Memory::new();
        let summary = sync_into(&memory, &config(&server, dialect, 100)).await.unwrap();
        assert_eq!((ids(&summary).len(), summary.synced), (0, 3), "{dialect:?}");
    }
}
