//! The built component in the host, against the local server, in both dialects: after every kind of change one sync makes the tables
//! equal the ground truth, and asks for no more than it has to.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use elt_host::Error;
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Mutation, Options, Project, Run, START, When, World, awkward, generate,
};
use wandb_connector_tests::product::{Workspace, assert_ok, assert_stored};

const BOTH: [Dialect; 2] = [Dialect::Rest, Dialect::Graphql];
const ENTITY: &str = "acme";
const PROJECT: &str = "demo";

async fn serve(project: Project) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut(ENTITY, PROJECT) = project;
    LocalWandb::start(Options::with_world(world)).await.unwrap()
}

fn workspace(server: &LocalWandb, dialect: Dialect) -> Workspace {
    Workspace::new(server, dialect, ENTITY, PROJECT)
}

/// A run of `steps` steps of one metric.
fn run(id: &str, steps: i64) -> Run {
    Run::new(id).with_history((0..steps).map(|step| row(step, step as f64 / 10.0)))
}

fn row(step: i64, loss: f64) -> String {
    format!(r#"{{"_step":{step},"_timestamp":{},"loss":{loss:?}}}"#, 1_750_000_000 + step)
}

fn append(run: &str, rows: Vec<String>) -> Mutation {
    Mutation::Append { entity: ENTITY.into(), project: PROJECT.into(), run: run.into(), rows }
}

fn touch(run: &str, name: &str) -> Mutation {
    let display_name = Some(name.to_owned());
    Mutation::Touch { entity: ENTITY.into(), project: PROJECT.into(), run: run.into(), display_name, tags: None }
}

fn delete(run: &str) -> Mutation {
    Mutation::Delete { entity: ENTITY.into(), project: PROJECT.into(), run: run.into() }
}

fn rewind(run: &str, step: i64, rows: Vec<String>) -> Mutation {
    Mutation::Rewind { entity: ENTITY.into(), project: PROJECT.into(), run: run.into(), step, rows }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_brings_everything_and_a_second_one_asks_for_no_history() {
    for dialect in BOTH {
        let server = serve(generate::realistic(60, 1)).await;
        let mut workspace = workspace(&server, dialect).with("page_size", 25);
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.seen, outcome.items.synced, outcome.items.unchanged), (60, 60, 0));
        assert_stored(&workspace, &server, dialect);
        assert!(outcome.state.contains_key("runs_hwm_utc"), "{:?}", outcome.state.keys());

        server.log().clear();
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.synced, outcome.items.unchanged), (0, 60));
        assert_eq!(server.log().len(), 3, "three pages of the listing, and nothing else");
        assert_stored(&workspace, &server, dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_awkward_value_arrives_as_it_was() {
    for dialect in BOTH {
        let server = serve(awkward::awkward()).await;
        let mut workspace = workspace(&server, dialect).with("page_size", 3);
        assert_ok(&workspace.sync().await, dialect);
        assert_stored(&workspace, &server, dialect);
        server.log().clear();
        assert_ok(&workspace.sync().await, dialect);
        assert_eq!(server.log().history_requests().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_list_is_the_whole_history() {
    let mut project = Project::new([run("a", 250), run("b", 0)]);
    project.rest_history = wandb_connector_tests::local_wandb::RestHistory::BareList;
    let server = serve(project).await;
    let mut workspace = workspace(&server, Dialect::Rest);
    assert_ok(&workspace.sync().await, Dialect::Graphql);
    assert_stored(&workspace, &server, Dialect::Graphql);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_grew_costs_only_its_new_steps() {
    for dialect in BOTH {
        let mut live = run("live", 100);
        live.state = "running".to_owned();
        let server = serve(Project::new([live, run("done", 50)])).await;
        let mut workspace = workspace(&server, dialect);
        assert_ok(&workspace.sync().await, dialect);
        server.mutate(&append("live", (100..130).map(|step| row(step, 0.5)).collect())).unwrap();
        server.log().clear();
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.synced, outcome.items.unchanged), (1, 1));
        assert_stored(&workspace, &server, dialect);
        let reads = server.log().history_reads();
        assert!(reads.iter().all(|read| read.run_id == "live"), "{reads:?}");
        assert_eq!(outcome.rows["metrics"], 31, "the new rows, and the last known one again");
        if dialect == Dialect::Graphql {
            assert_eq!(reads.iter().map(|read| read.min_step).min(), Some(Some(99)), "{reads:?}");
            assert_eq!(reads.iter().map(|read| read.rows).sum::<usize>(), 31);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_row_that_was_incomplete_is_completed() {
    for dialect in BOTH {
        let server = serve(Project::new([run("live", 10)])).await;
        let mut workspace = workspace(&server, dialect);
        assert_ok(&workspace.sync().await, dialect);
        let completed = r#"{"_step":9,"_timestamp":1750000009,"loss":0.9,"val/acc":0.5}"#.to_owned();
        let replace = Mutation::ReplaceLast {
            entity: ENTITY.into(),
            project: PROJECT.into(),
            run: "live".into(),
            row: completed,
        };
        server.mutate(&replace).unwrap();
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!(outcome.rows["metrics"], 2, "only the last row comes again");
        assert_stored(&workspace, &server, dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_run_costs_its_row() {
    for dialect in BOTH {
        let server = serve(generate::realistic(20, 2)).await;
        let mut workspace = workspace(&server, dialect);
        assert_ok(&workspace.sync().await, dialect);
        let id = server.world().project(ENTITY, PROJECT).unwrap().runs[3].id.clone();
        server.mutate(&touch(&id, "a better name")).unwrap();
        server.log().clear();
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.synced, outcome.items.unchanged), (1, 19));
        assert_stored(&workspace, &server, dialect);
        if dialect == Dialect::Graphql {
            assert_eq!(server.log().history_requests().len(), 0);
            assert_eq!(server.log().len(), 2, "the listing and the run");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_within_the_second_of_the_watermark_are_not_lost() {
    for dialect in BOTH {
        let mut runs = [run("a", 5), run("b", 5), run("c", 5)];
        for run in &mut runs {
            (run.updated_at, run.heartbeat_at) = (Some(START), START);
        }
        let server = serve(Project::new(runs)).await;
        server.clock().set(START);
        server.clock().set_tick(0);
        let mut workspace = workspace(&server, dialect);
        assert_ok(&workspace.sync().await, dialect);
        let watermark = workspace.state()["runs_hwm_utc"].clone();
        server.mutate(&touch("b", "another name")).unwrap();
        let mut late = run("d", 7);
        (late.updated_at, late.heartbeat_at) = (Some(START), START);
        server.project_mut(ENTITY, PROJECT, |project| project.runs.push(late.into()));
        if dialect == Dialect::Graphql {
            server.mutate(&append("a", vec![row(5, 0.5)])).unwrap();
        }
        assert_ok(&workspace.sync().await, dialect);
        assert_stored(&workspace, &server, dialect);
        assert_eq!(workspace.state()["runs_hwm_utc"], watermark);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewound_run_leaves_no_ghosts() {
    for dialect in BOTH {
        let server = serve(Project::new([run("a", 40), run("b", 40), run("c", 40), run("d", 40)])).await;
        let mut workspace = workspace(&server, dialect);
        assert_ok(&workspace.sync().await, dialect);
        // Shorter than it was; as long; longer; and longer with another spacing of steps.
        server.mutate(&rewind("a", 19, vec![row(20, 7.0)])).unwrap();
        server.mutate(&rewind("b", 19, (20..40).map(|step| row(step, 8.0)).collect())).unwrap();
        server.mutate(&rewind("c", 19, (20..60).map(|step| row(step, 9.0)).collect())).unwrap();
        server.mutate(&rewind("d", 19, (0..40).map(|n| row(21 + 2 * n, 9.0)).collect())).unwrap();
        assert_ok(&workspace.sync().await, dialect);
        assert_stored(&workspace, &server, dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_watermark_is_taken_over_from_fivetran() {
    for dialect in BOTH {
        let times = [START - 2_000_000, START - 1_000_000, START, START + 1_000_000];
        let runs = ["old", "older", "tied", "new"].into_iter().zip(times).map(|(id, time)| {
            let mut run = run(id, 5);
            (run.updated_at, run.heartbeat_at) = (Some(time), time);
            run
        });
        let server = serve(Project::new(runs)).await;
        let mut workspace = workspace(&server, dialect);
        let watermark = chrono::DateTime::from_timestamp_micros(START).unwrap().to_rfc3339();
        workspace.set_state(&[("runs_hwm_utc".to_owned(), watermark)].into());
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!((outcome.items.synced, outcome.items.unchanged), (2, 2), "the tied one and the new one are read");
        let mut expected = server.truth(dialect, ENTITY, PROJECT);
        expected.drop_run("old");
        expected.drop_run("older");
        assert!(workspace.differences_from(&expected).is_empty());

        server.log().clear();
        assert_ok(&workspace.sync().await, dialect);
        assert_eq!(server.log().history_requests().len(), 0, "runs below the watermark were recorded as seen");
        // An old run that grows is read whole, since nothing of it is here.
        server.clock().set(START + 10_000_000);
        server.mutate(&append("old", vec![row(5, 0.5)])).unwrap();
        assert_ok(&workspace.sync().await, dialect);
        let mut expected = server.truth(dialect, ENTITY, PROJECT);
        expected.drop_run("older");
        assert!(workspace.differences_from(&expected).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_change_or_go_between_two_listing_pages_are_caught_up_with() {
    for dialect in BOTH {
        let server = serve(Project::new((0..30).map(|n| run(&format!("run{n:02}"), 20)))).await;
        server.mutate_before(Matcher::listing().when(When::Nth(2)), delete("run03"));
        server.mutate_before(Matcher::listing().when(When::Nth(2)), append("run04", vec![row(20, 1.0)]));
        server.mutate_before(Matcher::history().when(When::Nth(4)), touch("run25", "renamed"));
        let mut workspace = workspace(&server, dialect).with("page_size", 10).with("concurrency", 2);
        assert_ok(&workspace.sync().await, dialect);
        assert_ok(&workspace.sync().await, dialect);
        let mut expected = server.truth(dialect, ENTITY, PROJECT);
        // A deleted run's rows stay, if it was read before it went.
        let stored = workspace.state().contains_key("runs/run03");
        if stored {
            let whole = serve(Project::new([run("run03", 20)])).await;
            expected.keep_run(&whole.truth(dialect, ENTITY, PROJECT), "run03");
        }
        let differences = workspace.differences_from(&expected);
        assert!(differences.is_empty(), "{:#?}", &differences[..differences.len().min(5)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_deleted_while_it_is_read_is_no_failure() {
    for dialect in BOTH {
        let server = serve(Project::new((0..6).map(|n| run(&format!("run{n}"), 20)))).await;
        server.mutate_before(Matcher::history().run("run4").when(When::Nth(1)), delete("run4"));
        let mut workspace = workspace(&server, dialect);
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!(outcome.items.synced, 5);
        assert_stored(&workspace, &server, dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sparse_steps_are_jumped_over() {
    let steps = [0, 1, 1000, 5_000_000, (1i64 << 31) - 1, 1 << 31, (1 << 31) + 70_000];
    let sparse = Run::new("sparse").with_history(steps.map(|step| row(step, 1.0)));
    let server = serve(Project::new([sparse])).await;
    let mut workspace = workspace(&server, Dialect::Graphql);
    assert_ok(&workspace.sync().await, Dialect::Graphql);
    assert_stored(&workspace, &server, Dialect::Graphql);
    let requests = server.log().history_requests().len();
    assert!(requests <= 8, "{requests} requests");
    assert!(server.log().history_reads().iter().all(|read| !read.sampled));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_leaves_out_is_left_out_and_read_when_it_is_wanted() {
    for dialect in BOTH {
        let server = serve(generate::realistic(10, 3)).await;
        let mut workspace = workspace(&server, dialect).with("tables", "runs");
        assert_ok(&workspace.sync().await, dialect);
        assert_eq!(server.log().history_requests().len(), 0);
        workspace.config.remove("tables");
        let outcome = workspace.sync().await;
        assert_ok(&outcome, dialect);
        assert_eq!(outcome.items.synced, 10, "another selection: every run is read anew");
        assert_stored(&workspace, &server, dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_finds_the_dialect_that_the_server_speaks() {
    for (rest, graphql, dialect) in
        [(true, false, Dialect::Rest), (true, true, Dialect::Graphql), (false, true, Dialect::Graphql)]
    {
        let mut world = World::default();
        *world.project_mut(ENTITY, PROJECT) = Project::new([run("a", 5)]);
        let options = Options { rest, graphql, ..Options::with_world(world) };
        let server = LocalWandb::start(options).await.unwrap();
        let mut workspace = workspace(&server, dialect).with("api", "auto");
        assert_ok(&workspace.sync().await, dialect);
        assert_stored(&workspace, &server, dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_run_is_left_out_and_heals_by_itself() {
    // Five retries take half a minute, so both dialects wait at once.
    tokio::join!(poisoned(Dialect::Rest), poisoned(Dialect::Graphql));
}

async fn poisoned(dialect: Dialect) {
    let server = serve(Project::new((0..8).map(|n| run(&format!("run{n}"), 20)))).await;
    server.fault(Matcher::history().run("run5"), Fault::status(502));
    let mut workspace = workspace(&server, dialect);
    let outcome = workspace.sync().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!((outcome.items.synced, outcome.items.quarantined), (7, 1));
    assert_eq!(outcome.quarantined[0].0, "run5");
    assert!(outcome.quarantined[0].1.contains("502"), "{:?}", outcome.quarantined);
    let mut expected = server.truth(dialect, ENTITY, PROJECT);
    expected.drop_run("run5");
    assert!(workspace.differences_from(&expected).is_empty());
    server.clear_faults();
    server.log().clear();
    let outcome = workspace.sync().await;
    assert_ok(&outcome, dialect);
    assert_eq!((outcome.items.synced, outcome.items.unchanged), (1, 7));
    assert_stored(&workspace, &server, dialect);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_project_is_not_mixed_in() {
    let server = serve(Project::new([run("a", 5)])).await;
    let mut workspace = workspace(&server, Dialect::Graphql);
    assert_ok(&workspace.sync().await, Dialect::Graphql);
    workspace.config.insert("project".into(), "other".into());
    server.log().clear();
    let outcome = workspace.sync().await;
    let Some(Error::Destination(message)) = &outcome.error else { panic!("{:?}", outcome.error) };
    assert!(message.contains("acme/demo") && message.contains("acme/other"), "{message}");
    assert_eq!(server.log().len(), 0, "it is refused before anything is asked");
}
