//! Runs that were deleted at W&B, through the built component into a database: they are found by a complete listing and a question
//! for each by name, reported, and kept, marked or removed as the configuration says.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use elt_host::{Error, Level};
use rusqlite::Connection;
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Mutation, Options, Project, RequestKind, Run, Truth, When, World,
};
use wandb_connector_tests::product::{Workspace, assert_holds, assert_ok};

const BOTH: [Dialect; 2] = [Dialect::Rest, Dialect::Graphql];
const ENTITY: &str = "acme";
const PROJECT: &str = "demo";

async fn serve(runs: usize) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut(ENTITY, PROJECT) = Project::new((0..runs).map(|n| run(&format!("run{n}"))));
    LocalWandb::start(Options::with_world(world)).await.unwrap()
}

fn run(id: &str) -> Run {
    Run::new(id).with_history((0..20).map(|step| row(step, 0.5)))
}

fn row(step: i64, loss: f64) -> String {
    format!(r#"{{"_step":{step},"_timestamp":{},"loss":{loss:?},"note":"n"}}"#, 1_750_000_000 + step)
}

fn delete(server: &LocalWandb, run: &str) {
    let (entity, project, run) = (ENTITY.into(), PROJECT.into(), run.into());
    server.mutate(&Mutation::Delete { entity, project, run }).unwrap();
}

/// Starts a run anew under an id that may have been used before.
fn start(server: &LocalWandb, run: &str, steps: i64) {
    let (entity, project, run) = (ENTITY.into(), PROJECT.into(), run.into());
    let rows = (0..steps).map(|step| row(step, 9.25)).collect();
    server.mutate(&Mutation::Add { entity, project, run, rows }).unwrap();
}

fn workspace(server: &LocalWandb, dialect: Dialect, deletes: &str) -> Workspace {
    Workspace::new(server, dialect, ENTITY, PROJECT).with("page_size", 4).with("deletes", deletes)
}

/// A server with so many runs, and someone who has synced them.
async fn synced(runs: usize, dialect: Dialect, deletes: &str) -> (LocalWandb, Workspace) {
    let server = serve(runs).await;
    let mut workspace = workspace(&server, dialect, deletes);
    assert_ok(&workspace.sync().await, dialect);
    (server, workspace)
}

fn truth(server: &LocalWandb, dialect: Dialect) -> Truth {
    server.truth(dialect, ENTITY, PROJECT)
}

fn warnings(workspace: &Workspace) -> Vec<String> {
    let lines = workspace.recorder.log().into_iter();
    lines.filter(|(level, _)| *level >= Level::Warning).map(|(_, message)| message).collect()
}

/// The table `deleted_runs`; none where there is no such table.
fn marks(workspace: &Workspace) -> Option<Vec<String>> {
    let database = Connection::open(workspace.database()).unwrap();
    database.table_exists(None, "deleted_runs").unwrap().then(|| {
        let mut statement = database.prepare("SELECT run_id, noticed_at FROM deleted_runs ORDER BY run_id").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
        let rows = rows.map(|row| row.unwrap());
        rows.inspect(|(_, noticed_at)| assert!(noticed_at.starts_with("20") && noticed_at.ends_with('Z')))
            .map(|(id, _)| id)
            .collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_runs_are_reported_their_rows_stay_and_nobody_asks_again() {
    for dialect in BOTH {
        let server = serve(9).await;
        let mut workspace = Workspace::new(&server, dialect, ENTITY, PROJECT).with("page_size", 4);
        assert_ok(&workspace.sync().await, dialect);
        let before = truth(&server, dialect);
        delete(&server, "run2");
        delete(&server, "run7");

        server.log().clear();
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.seen, outcome.items.synced, outcome.items.deleted), (7, 0, 2));
        assert_eq!(
            warnings(&workspace),
            ["Deleted at W&B: 2 runs (run2, run7); what is stored of them stays"],
            "{dialect:?}"
        );
        // Which GraphQL asks for both at once.
        let questions = if dialect == Dialect::Graphql { 1 } else { 2 };
        assert_eq!(
            server.log().len(),
            2 + questions + 1,
            "two pages, whether the runs are there, and a question that must be answered with yes"
        );
        assert_holds(&workspace, &before, dialect);

        server.log().clear();
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.unchanged, outcome.items.deleted), (7, 2));
        assert_eq!(server.log().len(), 2, "the listing and nothing else");
        assert_eq!((warnings(&workspace), marks(&workspace)), (vec![], None));
        assert_holds(&workspace, &before, dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_remove_the_rows_and_what_is_remembered_go_together() {
    for dialect in BOTH {
        let (server, mut workspace) = synced(9, dialect, "remove").await;
        delete(&server, "run2");
        delete(&server, "run7");
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.deleted, outcome.deletes["metrics"]), (2, 2));
        assert_eq!(warnings(&workspace), ["Deleted at W&B: 2 runs (run2, run7); their rows are removed"]);
        assert_holds(&workspace, &truth(&server, dialect), dialect);
        assert!(!workspace.state().contains_key("runs/run2"));
        server.log().clear();
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.deleted, server.log().len()), (0, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mark_the_rows_stay_and_a_table_names_the_runs() {
    for dialect in BOTH {
        let (server, mut workspace) = synced(9, dialect, "mark").await;
        assert_eq!(marks(&workspace), Some(vec![]));
        let before = truth(&server, dialect);
        delete(&server, "run2");
        assert_ok(&workspace.sync().await, dialect);
        assert_eq!(marks(&workspace), Some(vec!["run2".to_owned()]));
        assert_eq!(warnings(&workspace), ["Deleted at W&B: 1 run (run2); it is marked in the table deleted_runs"]);
        assert_holds(&workspace, &before, dialect);
        server.log().clear();
        let outcome = workspace.sync().await;
        assert_eq!((outcome.items.deleted, outcome.rows.get("deleted_runs"), server.log().len()), (1, None, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_choice_later_applies_to_runs_that_were_found_deleted_before() {
    for dialect in BOTH {
        for deletes in ["mark", "remove"] {
            let (server, mut workspace) = synced(9, dialect, "keep").await;
            let before = truth(&server, dialect);
            delete(&server, "run2");
            assert_ok(&workspace.sync().await, dialect);
            workspace.config.insert("deletes".into(), deletes.into());
            server.log().clear();
            let outcome = workspace.sync().await;
            assert_ok(&outcome, dialect);
            assert_eq!((outcome.items.deleted, server.log().len()), (1, 2), "{deletes}: nobody is asked again");
            if deletes == "mark" {
                assert_eq!(marks(&workspace), Some(vec!["run2".to_owned()]));
                assert_holds(&workspace, &before, dialect);
                workspace.config.insert("deletes".into(), "remove".into());
                assert_ok(&workspace.sync().await, dialect);
            }
            assert_holds(&workspace, &truth(&server, dialect), dialect);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_listing_deletes_nothing() {
    for dialect in BOTH {
        let (server, mut workspace) = synced(9, dialect, "remove").await;
        let before = truth(&server, dialect);
        delete(&server, "run2");
        server.fault(Matcher::listing().when(When::Nth(2)), Fault::status(400));
        server.log().clear();
        let outcome = workspace.sync().await;
        assert!(matches!(outcome.error, Some(Error::Upstream { status: Some(400), .. })), "{:?}", outcome.error);
        assert_eq!((outcome.items.deleted, server.log().len()), (0, 2), "nobody is asked for");
        assert_holds(&workspace, &before, dialect);
        server.clear_faults();
        assert_ok(&workspace.sync().await, dialect);
        assert_holds(&workspace, &truth(&server, dialect), dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_the_listing_missed_is_not_deleted() {
    for dialect in BOTH {
        for deletes in ["mark", "remove"] {
            let (server, mut workspace) = synced(9, dialect, deletes).await;
            server.fault(Matcher::listing(), Fault::HideRun("run4".to_owned()));
            let outcome = workspace.sync().await;
            assert_ok(&outcome, dialect);
            assert_eq!((outcome.items.seen, outcome.items.deleted), (8, 0));
            assert_eq!(warnings(&workspace), Vec::<String>::new());
            assert!(marks(&workspace).unwrap_or_default().is_empty());
            assert_holds(&workspace, &truth(&server, dialect), dialect);
        }
    }
}

/// Requests that ask whether a run is there.
fn question(dialect: Dialect) -> Matcher {
    match dialect {
        Dialect::Rest => Matcher::history(),
        Dialect::Graphql => Matcher::kinds(&[RequestKind::GraphqlRun]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_fails_is_no_deletion_and_is_asked_again() {
    for dialect in BOTH {
        let (server, mut workspace) = synced(9, dialect, "remove").await;
        let before = truth(&server, dialect);
        delete(&server, "run2");
        server.fault(question(dialect).run("run2"), Fault::status(400));
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!(outcome.items.deleted, 0);
        let said = warnings(&workspace);
        assert!(said.len() == 1 && said[0].contains("asks again") && said[0].contains("400"), "{said:?}");
        assert_holds(&workspace, &before, dialect);
        server.clear_faults();
        assert_eq!(workspace.sync().await.items.deleted, 1);
        assert_holds(&workspace, &truth(&server, dialect), dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_finds_nothing_at_all_deletes_nothing() {
    let answer = |text: &str| Fault::Body("application/json".to_owned(), text.into());
    let nowhere = [
        (Dialect::Rest, Fault::status(404)),
        (Dialect::Graphql, answer(r#"{"data":{"project":{"run":null}}}"#)),
        (Dialect::Graphql, answer(r#"{"data":{"project":null}}"#)),
        (Dialect::Graphql, Fault::errors(&["project not found"])),
        (Dialect::Graphql, Fault::status(404)),
    ];
    for (dialect, fault) in nowhere {
        let (server, mut workspace) = synced(9, dialect, "remove").await;
        let before = truth(&server, dialect);
        delete(&server, "run2");
        server.fault(question(dialect), fault.clone());
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.deleted, warnings(&workspace).len()), (0, 1), "{fault}");
        assert_holds(&workspace, &before, dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_back_is_a_new_run() {
    for dialect in BOTH {
        for deletes in ["keep", "mark", "remove"] {
            let (server, mut workspace) = synced(5, dialect, deletes).await;
            delete(&server, "run3");
            assert_ok(&workspace.sync().await, dialect);
            start(&server, "run3", 7);
            let outcome = workspace.sync().await;
            assert_ok(&outcome, dialect);
            assert_eq!((outcome.items.synced, outcome.items.deleted), (1, 0), "{dialect:?} {deletes}");
            assert_holds(&workspace, &truth(&server, dialect), dialect);
            assert!(marks(&workspace).unwrap_or_default().is_empty(), "{dialect:?} {deletes}");
            server.log().clear();
            assert_ok(&workspace.sync().await, dialect);
            assert_eq!(server.log().len(), 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_that_went_stale_while_nobody_kept_them_are_put_right() {
    for between in ["keep", "remove"] {
        let (server, mut workspace) = synced(9, Dialect::Graphql, "mark").await;
        delete(&server, "run3");
        assert_ok(&workspace.sync().await, Dialect::Graphql);
        workspace.config.insert("deletes".into(), between.into());
        assert_ok(&workspace.sync().await, Dialect::Graphql);
        start(&server, "run3", 7);
        assert_ok(&workspace.sync().await, Dialect::Graphql);
        delete(&server, "run5");
        workspace.config.insert("deletes".into(), "mark".into());
        assert_ok(&workspace.sync().await, Dialect::Graphql);
        assert_eq!(marks(&workspace), Some(vec!["run5".to_owned()]), "{between}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_whose_every_run_was_deleted_is_empty() {
    for dialect in BOTH {
        let (server, mut workspace) = synced(6, dialect, "remove").await;
        (0..6).for_each(|n| delete(&server, &format!("run{n}")));
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!(outcome.items.deleted, 6);
        assert_eq!(
            warnings(&workspace),
            ["Deleted at W&B: 6 runs (run0, run1, run2, run3, run4, …); their rows are removed"]
        );
        assert_holds(&workspace, &truth(&server, dialect), dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_left_out_by_their_age_are_listed_all_the_same() {
    for dialect in BOTH {
        let (server, mut workspace) = synced(6, dialect, "remove").await;
        workspace.config.insert("start_time".into(), "2099-01-01T00:00:00Z".into());
        delete(&server, "run1");
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.seen, outcome.items.deleted), (0, 1));
        assert_holds(&workspace, &truth(&server, dialect), dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_data_sets_lose_and_mark_runs_too() {
    let server = serve(9).await;
    for deletes in ["mark", "remove"] {
        let mut workspace = workspace(&server, Dialect::Graphql, deletes).into_parquet();
        start(&server, "gone", 7);
        assert_ok(&workspace.sync().await, Dialect::Graphql);
        assert!(workspace.parquet_run_ids("metrics").contains("gone"));
        delete(&server, "gone");
        assert_ok(&workspace.sync().await, Dialect::Graphql);
        let stored = workspace.parquet_run_ids("metrics");
        assert_eq!((stored.len(), stored.contains("gone")), (if deletes == "mark" { (10, true) } else { (9, false) }));
        assert_eq!(workspace.parquet_run_ids("runs"), stored);
        let marked: Vec<String> = workspace.parquet_run_ids("deleted_runs").into_iter().collect();
        assert_eq!(marked, if deletes == "mark" { vec!["gone".to_owned()] } else { vec![] });
    }
}
