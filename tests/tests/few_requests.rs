//! Many runs come in one request, and what goes wrong with some of them costs those alone. The sync logic runs natively, with a clock of
//! its own that the server goes by too; requests are counted, and no time is measured.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wandb_connector::sync::Summary;
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Mutation, Options, Project, RateLimit, RequestKind, Run, Time, When, World,
};
use wandb_connector_tests::native::{HurriedExchange, Memory, sync_into, sync_within};

const SECOND: Duration = Duration::from_secs(1);

fn row(step: i64) -> String {
    format!(r#"{{"_step":{step},"_timestamp":{},"loss":0.5,"accuracy":{step}.25,"epoch":1}}"#, 1_750_000_000 + step)
}

fn runs(count: usize, steps: i64) -> impl Iterator<Item = Run> {
    (0..count).map(move |number| Run::new(format!("run{number:04}")).with_history((0..steps).map(row)))
}

fn serve_within(runs: impl IntoIterator<Item = Run>, rate_limit: Option<RateLimit>) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = Project::new(runs);
    LocalWandb::start_blocking(Options { rate_limit, ..Options::with_world(world) }).unwrap()
}

fn serve(runs: impl IntoIterator<Item = Run>) -> LocalWandb {
    serve_within(runs, None)
}

fn config(server: &LocalWandb) -> Value {
    json!({"api_key": server.api_key(), "base_url": server.base_url(), "entity": "acme", "project": "demo", "api": "graphql"})
}

#[track_caller]
fn assert_stored(memory: &Memory, server: &LocalWandb) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stored.db");
    memory.stored().write_sqlite(&file).unwrap();
    let differences = compare_sqlite(&file, &server.truth(Dialect::Graphql, "acme", "demo")).unwrap();
    assert!(differences.is_empty(), "{:#?}", differences.first());
}

/// Syncs, and compares what is stored with what W&B holds.
#[track_caller]
fn assert_whole(summary: &Summary, synced: u64, memory: &Memory, server: &LocalWandb) {
    assert_eq!((summary.synced, summary.quarantined.as_slice()), (synced, [].as_slice()));
    assert_stored(memory, server);
}

fn joint(server: &LocalWandb) -> Vec<usize> {
    server.log().all().iter().map(|request| request.run_ids.len()).filter(|runs| *runs > 1).collect()
}

#[tokio::test]
async fn a_thousand_small_runs_take_a_few_dozen_requests() {
    for (count, most) in [(1000, 60), (5000, 250)] {
        let (server, memory) = (serve(runs(count, 20)), Memory::new());
        let summary = sync_into(&memory, &config(&server)).await.unwrap();
        // The larger one is counted: comparing it value by value takes long, and shows nothing that the smaller one does not.
        match count {
            1000 => assert_whole(&summary, 1000, &memory, &server),
            _ => assert_eq!(memory.stored().tables["metrics"].len(), count * 20 * 3),
        }
        assert_eq!((summary.synced, summary.quarantined.len()), (count as u64, 0));
        assert!(server.log().len() <= most, "{count} runs: {} requests", server.log().len());
        assert!(summary.requests <= most as u64, "{count} runs: {} requests", summary.requests);
        // What is asked again may not have arrived; all else has.
        let arrived = server.log().len() as u64;
        assert!(
            (summary.requests - summary.retries..=summary.requests).contains(&arrived),
            "{arrived} of {}",
            summary.requests
        );
    }
}

#[tokio::test]
async fn a_step_of_each_of_many_running_runs_takes_a_few_requests() {
    let running = runs(300, 40).map(|run| Run { state: "running".to_owned(), ..run });
    let (server, memory) = (serve(running), Memory::new());
    sync_into(&memory, &config(&server)).await.unwrap();
    for number in 0..300 {
        let run = format!("run{number:04}");
        let append = Mutation::Append { entity: "acme".into(), project: "demo".into(), run, rows: vec![row(40)] };
        server.mutate(&append).unwrap();
    }
    server.log().clear();
    let summary = sync_into(&memory, &config(&server)).await.unwrap();
    assert_whole(&summary, 300, &memory, &server);
    assert!(server.log().len() <= 15, "{} requests", server.log().len());
    let reads = server.log().history_reads();
    assert!(reads.len() == 300 && reads.iter().all(|read| read.min_step == Some(39) && read.rows == 2), "{reads:?}");
}

#[tokio::test]
async fn edited_runs_come_in_a_few_requests_without_their_histories() {
    let (server, memory) = (serve(runs(200, 5)), Memory::new());
    sync_into(&memory, &config(&server)).await.unwrap();
    server.project_mut("acme", "demo", |project| {
        (0..200)
            .for_each(|number| project.run_mut(&format!("run{number:04}")).unwrap().display_name = Some("new".into()));
    });
    server.log().clear();
    let summary = sync_into(&memory, &config(&server)).await.unwrap();
    assert_whole(&summary, 200, &memory, &server);
    assert!(server.log().len() <= 8 && server.log().history_reads().is_empty(), "{} requests", server.log().len());
}

#[tokio::test]
async fn three_hundred_runs_behind_five_requests_a_second_are_soon_there() {
    let exchange = HurriedExchange::default();
    let rate_limit = RateLimit { requests: 5, window: SECOND, time: Time::Virtual(exchange.time.clone()) };
    let (server, memory) = (serve_within(runs(300, 20), Some(rate_limit)), Memory::new());
    let summary = sync_within(&memory, &config(&server), &exchange).await.unwrap();
    assert_whole(&summary, 300, &memory, &server);
    assert!(summary.retries <= 5, "{} retries", summary.retries);
    assert!(exchange.time.now() < 12 * SECOND, "{:?}", exchange.time.now());
}

#[tokio::test]
async fn large_runs_come_by_themselves() {
    let large = Run::new("large").with_history((0..3000).map(row));
    let (server, memory) = (serve(runs(60, 20).chain([large])), Memory::new());
    let summary = sync_into(&memory, &config(&server)).await.unwrap();
    assert_whole(&summary, 61, &memory, &server);
    let with_large = server.log().matching(|request| request.run_ids.contains(&"large".to_owned()));
    assert!(with_large.iter().all(|request| request.run_ids.len() == 1), "{with_large:?}");
    assert!(!joint(&server).is_empty());
}

#[tokio::test]
async fn an_error_that_names_one_run_of_many_costs_that_run_alone() {
    let told = |code: &str| format!(r#"{{"message":"it broke","extensions":{{"code":"{code}"}}}}"#);
    // Whether it passes or not, and whether the null in the run's place spreads up to the project.
    for (spreads, code, when, left_out, most) in [
        (false, "INTERNAL_SERVER_ERROR", When::First(1), 0, 8),
        (false, "INTERNAL_SERVER_ERROR", When::Always, 1, 14),
        (false, "PERMISSION_ERROR", When::Always, 1, 10),
        (true, "INTERNAL_SERVER_ERROR", When::First(3), 0, 14),
        (true, "INTERNAL_SERVER_ERROR", When::Always, 1, 32),
    ] {
        let (server, memory) = (serve(runs(100, 6)), Memory::new());
        let (id, error) = ("run0033".to_owned(), told(code));
        let fault = if spreads { Fault::SpreadRunError(id, error) } else { Fault::RunError(id, error) };
        server.fault(Matcher::history().run("run0033").when(when), fault);
        let summary = sync_into(&memory, &config(&server)).await.unwrap();
        assert_eq!(
            (summary.synced, summary.quarantined.len()),
            (100 - left_out, left_out as usize),
            "{code} {spreads}"
        );
        assert!(summary.quarantined.iter().all(|(id, _)| id == "run0033"), "{:?}", summary.quarantined);
        assert!(server.log().len() <= most, "{code} {spreads}: {} requests", server.log().len());
        assert_eq!(memory.stored().tables["metrics"].len(), (100 - left_out as usize) * 18);
        server.clear_faults();
        let summary = sync_into(&memory, &config(&server)).await.unwrap();
        assert_whole(&summary, left_out, &memory, &server);
    }
}

#[tokio::test]
async fn a_run_that_is_deleted_meanwhile_costs_no_other() {
    let (server, memory) = (serve(runs(60, 4)), Memory::new());
    let delete = Mutation::Delete { entity: "acme".into(), project: "demo".into(), run: "run0007".into() };
    server.mutate_before(Matcher::history().when(When::First(1)), delete);
    let summary = sync_into(&memory, &config(&server)).await.unwrap();
    assert_whole(&summary, 59, &memory, &server);
}

#[tokio::test]
async fn a_server_that_refuses_so_many_runs_at_once_is_asked_for_fewer_and_that_is_remembered() {
    for (most, bodies) in [(7, 400), (1, 400), (1, 200)] {
        let (server, memory) = (serve(runs(300, 4)), Memory::new());
        let said = r#"{"data":null,"errors":[{"message":"too many aliases","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}"#;
        let fault = Fault::Status(bodies, Vec::new(), said.to_owned());
        server.fault(Matcher::any().more_runs_than(most), fault);
        let summary = sync_into(&memory, &config(&server)).await.unwrap();
        assert_whole(&summary, 300, &memory, &server);
        let refused = server.log().matching(|request| request.fault.is_some());
        // Of each size no more than were under way at once.
        assert!(refused.len() <= 5 * 16, "{most}: {} refused", refused.len());
        assert_eq!(summary.retries, 0, "what is refused is not asked again as it was");
    }
}

#[tokio::test]
async fn a_joint_answer_that_is_too_large_comes_in_parts() {
    // A hundred times what is expected of a row before any was seen: fifty of them would be 15 MiB.
    let text = "x".repeat(50_000);
    let wide = |number: usize| {
        let rows = (0..6).map(|step| format!(r#"{{"_step":{step},"text":"{text}{number}"}}"#));
        Run::new(format!("wide{number:03}")).with_history(rows)
    };
    let (server, memory) = (serve((0..80).map(wide)), Memory::new());
    let summary = sync_into(&memory, &config(&server)).await.unwrap();
    assert_whole(&summary, 80, &memory, &server);
    let requests = server.log().len();
    assert!(requests < 60, "{requests} requests of {:?} runs", joint(&server));
}

#[tokio::test]
async fn what_joint_requests_suffer_as_a_whole_changes_nothing_that_is_stored() {
    let faults: [(&str, Matcher, Fault); 9] = [
        ("too slow", Matcher::any().more_runs_than(10), Fault::status(504)),
        ("the connection breaks", Matcher::any().more_runs_than(10), Fault::ResetBefore),
        ("half an answer", Matcher::any().more_runs_than(10), Fault::CutBody(2000)),
        ("half an answer, then the rest", Matcher::history().when(When::Every(2)), Fault::Truncate(900)),
        ("errors without a path", Matcher::any().more_runs_than(3), Fault::errors(&["it broke"])),
        ("errors beside data", Matcher::any().more_runs_than(5), Fault::ErrorsBesideData(r#"["timeout"]"#.to_owned())),
        ("a page for people", Matcher::any().more_runs_than(20), Fault::html()),
        (
            "no project",
            Matcher::any().more_runs_than(20),
            Fault::Body("application/json".into(), br#"{"data":{"project":null}}"#.to_vec()),
        ),
        (
            "no runs",
            Matcher::any().more_runs_than(1),
            Fault::Body("application/json".into(), br#"{"data":{"project":{}}}"#.to_vec()),
        ),
    ];
    for (what, matcher, fault) in faults {
        let (server, memory) = (serve(runs(120, 6)), Memory::new());
        server.fault(matcher, fault);
        let summary = sync_into(&memory, &config(&server)).await.unwrap();
        assert_eq!((summary.synced, summary.quarantined.len()), (120, 0), "{what}");
        assert_stored(&memory, &server);
        assert!(server.log().matching(|request| request.fault.is_some()).len() <= 120, "{what}");
    }
}

#[tokio::test]
async fn rewound_and_shortened_runs_are_told_from_others_in_a_joint_answer() {
    let running = runs(80, 30).map(|run| Run { state: "running".to_owned(), ..run });
    let (server, memory) = (serve(running), Memory::new());
    sync_into(&memory, &config(&server)).await.unwrap();
    let anew = |step: i64| format!(r#"{{"_step":{step},"_timestamp":{},"loss":7}}"#, 1_760_000_000 + step);
    server.project_mut("acme", "demo", |project| {
        for number in 0..80 {
            let run = project.run_mut(&format!("run{number:04}")).unwrap();
            match number % 4 {
                // Logged anew past the old end, shortened, or grown.
                0 => {
                    Arc::make_mut(&mut run.history).truncate(20);
                    (20..40).for_each(|step| Arc::make_mut(&mut run.history).push(&anew(step)));
                }
                1 => Arc::make_mut(&mut run.history).truncate(10),
                2 => Arc::make_mut(&mut run.history).push(&row(30)),
                _ => {}
            }
        }
    });
    let summary = sync_into(&memory, &config(&server)).await.unwrap();
    assert_whole(&summary, 60, &memory, &server);
}

#[tokio::test]
async fn deletions_are_asked_for_together() {
    let (server, memory) = (serve(runs(150, 2)), Memory::new());
    let mut config = config(&server);
    config["deletes"] = json!("remove");
    sync_into(&memory, &config).await.unwrap();
    server.project_mut("acme", "demo", |project| project.runs.retain(|run| run.id.as_str() >= "run0120"));
    server.log().clear();
    let summary = sync_into(&memory, &config).await.unwrap();
    assert_eq!(summary.deleted, 120);
    assert_stored(&memory, &server);
    assert!(server.log().len() <= 8, "{} requests", server.log().len());
    assert!(server.log().matching(|request| request.kind == RequestKind::GraphqlRun).len() >= 2);
}
