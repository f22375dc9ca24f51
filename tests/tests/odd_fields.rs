//! Fields of a run that are not what they should be cost themselves, and nothing else of the run.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use elt_host::Level;
use wandb_connector_tests::local_wandb::{Dialect, LocalWandb, Options, Project, Run, World};
use wandb_connector_tests::product::{Workspace, assert_ok, assert_stored};

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_or_config_that_is_no_json_costs_itself_and_not_the_metrics() {
    let run = |id: &str, summary: &str, config: &str| {
        let mut run = Run::new(id).with_history([r#"{"_step":0,"loss":0.5}"#, r#"{"_step":1,"loss":0.25}"#]);
        (run.summary, run.config) = (Some(summary.to_owned()), Some(config.to_owned()));
        run
    };
    let mut world = World::default();
    *world.project_mut("acme", "demo") = Project::new([
        run("fine", r#"{"a":1}"#, r#"{"lr":{"value":1}}"#),
        run("cut-summary", r#"{"a":1,"b":"#, r#"{"lr":{"value":1}}"#),
        run("odd-config", r#"{"a":1}"#, "lr=1"),
        run("both", "<html>", "["),
    ]);
    let server = LocalWandb::start(Options::with_world(world)).await.unwrap();
    let mut workspace = Workspace::new(&server, Dialect::Graphql, "acme", "demo");
    let outcome = workspace.sync().await;
    assert_ok(&outcome, "first");
    assert_eq!((outcome.items.synced, outcome.rows["metrics"], outcome.retries), (4, 8, 0));
    assert_stored(&workspace, &server, "first");
    let mut told: Vec<String> = workspace
        .recorder
        .log()
        .into_iter()
        .filter(|(level, _)| *level == Level::Warning)
        .map(|(_, line)| line)
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "Run both: its config can't be read and is left out: it ends too early (line 1, column 1)",
            "Run both: its summary can't be read and is left out: it is not JSON (line 1, column 1)",
            "Run cut-summary: its summary can't be read and is left out: it ends too early (line 1, column 11)",
            "Run odd-config: its config can't be read and is left out: it is not JSON (line 1, column 1)",
        ]
    );
    let outcome = workspace.sync().await;
    assert_ok(&outcome, "second");
    assert_eq!((outcome.items.synced, outcome.items.unchanged), (0, 4));
}
