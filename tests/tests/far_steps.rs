//! Steps that do not begin at 0: times as steps. The first row is found with few questions, and every row is read from a complete answer.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::json;
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{Dialect, LocalWandb, Mutation, Options, ParquetOptions, Project, Run, World};
use wandb_connector_tests::native::{Memory, sync_into};

fn row(step: i64) -> String {
    format!(r#"{{"_step":{step},"_timestamp":{},"loss":0.5,"note":"n"}}"#, 1_750_000_000 + step % 1000)
}

fn serve(steps: &[i64], parquet: bool) -> LocalWandb {
    let mut world = World::default();
    let history = steps.iter().map(|step| row(*step));
    *world.project_mut("acme", "demo") = Project::new([Run::new("far").with_history(history)]);
    let parquet = ParquetOptions { enabled: parquet, ..ParquetOptions::default() };
    LocalWandb::start_blocking(Options { parquet, ..Options::with_world(world) }).unwrap()
}

/// Syncs, and returns how many requests were made.
async fn sync(server: &LocalWandb, memory: &Memory, what: &str) -> usize {
    server.log().clear();
    let config = json!({"api_key": server.api_key(), "base_url": server.base_url(), "entity": "acme", "project": "demo", "api": "graphql"});
    let summary = sync_into(memory, &config).await.unwrap();
    assert_eq!((summary.synced, summary.quarantined), (1, vec![]), "{what}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stored.db");
    memory.stored().write_sqlite(&file).unwrap();
    let differences = compare_sqlite(&file, &server.truth(Dialect::Graphql, "acme", "demo")).unwrap();
    assert!(differences.is_empty(), "{what}: {:#?}", differences.first());
    server.log().len()
}

#[tokio::test]
async fn steps_far_from_zero_are_read_with_fewer_than_twenty_requests() {
    const MILLISECONDS: i64 = 1_750_000_000_000;
    const MICROSECONDS: i64 = 1_750_000_000_000_000;
    let cases: [(&str, Vec<i64>); 7] = [
        ("one row in milliseconds", vec![MILLISECONDS]),
        ("a second apart, in milliseconds", (0..10_000).map(|n| MILLISECONDS + n * 1000).collect()),
        ("a millisecond apart, in milliseconds", (0..10_000).map(|n| MILLISECONDS + n).collect()),
        ("a second apart, in microseconds", (0..10_000).map(|n| MICROSECONDS + n * 1_000_000).collect()),
        ("0, then 10^12", vec![0, 1_000_000_000_000]),
        (
            "1,000 from 0, then 1,000 in milliseconds",
            (0..1000).chain((0..1000).map(|n| MILLISECONDS + n * 250)).collect(),
        ),
        ("two sessions a day apart", (0..2000).map(|n| MILLISECONDS + n * 100 + (n / 1000) * 86_400_000).collect()),
    ];
    for parquet in [false, true] {
        for (what, steps) in &cases {
            let server = serve(steps, parquet);
            let memory = Memory::new();
            let requests = sync(&server, &memory, what).await;
            assert!(requests < 20, "{what}: {requests} requests");
            // Rows are taken from complete answers alone: what was sampled only said where they are.
            let reads = server.log().history_reads();
            assert!(reads.iter().filter(|read| read.sampled).all(|read| read.samples == Some(100)), "{what}");

            let last = *steps.last().unwrap();
            let rows = (1..4).map(|n| row(last + n * 60_000)).collect();
            let (entity, project) = ("acme".to_owned(), "demo".to_owned());
            server.mutate(&Mutation::Append { entity, project, run: "far".to_owned(), rows }).unwrap();
            let requests = sync(&server, &memory, what).await;
            assert!(requests <= 6, "{what}, grown: {requests} requests");
        }
    }
}
