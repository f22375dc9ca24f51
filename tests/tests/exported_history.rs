//! Exported histories through the built component in the host, against the local server: whatever the files are compressed with, and
//! whatever happens to a run after its export, the tables equal the ground truth.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use wandb_connector_tests::local_wandb::{
    Dialect, LocalWandb, Mutation, Options, ParquetCodec, ParquetOptions, Project, Run, World,
};
use wandb_connector_tests::product::Workspace;

const ENTITY: &str = "acme";
const PROJECT: &str = "demo";

const KINDS: [&str; 7] = ["0.5", "NaN", "\"text\"", "true", "[1,\"a\",null]", "{\"x\":{\"y\":1}}", "-Infinity"];

/// Rows of every kind that files hold in columns of their own: numbers, booleans, texts, objects, lists, media, and what is often absent.
fn row(step: i64, life: u32) -> String {
    let mut row = format!(r#"{{"_step":{step},"_timestamp":{}.5,"_runtime":{step}.25"#, 1_750_000_000 + step);
    row += &format!(r#","loss":{:?},"tokens":{}"#, f64::from(life) + step as f64 / 7.0, step * 1000);
    if step % 3 == 0 {
        row += &format!(r#","ok":{},"note":"step {step} é","gpu":{{"0":{{"temp":{}.5}}}}"#, step % 2 == 0, step % 90);
    }
    if step % 50 == 3 {
        // Values of several kinds.
        row += &format!(r#","kinds":{},"outer":{{"kind":{}}}"#, KINDS[step as usize % 7], KINDS[step as usize % 5]);
    }
    if step % 100 == 7 {
        row += &format!(r#","big":{},"nan":NaN,"list":["a{step}",{step},NaN,[true]]"#, 1i64 << 52);
        row += &format!(r#","img":{{"_type":"image-file","size":{step},"path":"media/{step}.png"}}"#);
    }
    row + "}"
}

fn rows(steps: std::ops::Range<i64>, life: u32) -> Vec<String> {
    steps.map(|step| row(step, life)).collect()
}

async fn sync(workspace: &mut Workspace, server: &LocalWandb) {
    let outcome = workspace.sync().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.quarantined, []);
    let differences = workspace.differences(server);
    assert!(
        differences.is_empty(),
        "{} differences, the first: {:#?}",
        differences.len(),
        &differences[..differences.len().min(5)]
    );
}

async fn follow(codec: ParquetCodec) {
    let mut run = Run::new("long").with_history(rows(0..12_000, 0));
    run.state = "running".to_owned();
    run.exported_rows = 10_500;
    let mut world = World::default();
    *world.project_mut(ENTITY, PROJECT) = Project::new([run, Run::new("short").with_history(rows(0..300, 0))]);
    let parquet = ParquetOptions { codec, rows_per_file: 4_000, overlap: 200, ..ParquetOptions::default() };
    let server = LocalWandb::start(Options { parquet, ..Options::with_world(world) }).await.unwrap();
    let mut workspace = Workspace::new(&server, Dialect::Graphql, ENTITY, PROJECT);

    sync(&mut workspace, &server).await;
    let (entity, project, run) = (ENTITY.to_owned(), PROJECT.to_owned(), "long".to_owned());
    let grow = |rows| Mutation::Append { entity: entity.clone(), project: project.clone(), run: run.clone(), rows };
    let export = |rows| Mutation::Export { entity: entity.clone(), project: project.clone(), run: run.clone(), rows };
    server.mutate(&grow(rows(12_000..19_000, 0))).unwrap();
    server.mutate(&export(Some(18_000))).unwrap();
    sync(&mut workspace, &server).await;

    let rewind = Mutation::Rewind {
        entity: entity.clone(),
        project: project.clone(),
        run: run.clone(),
        step: 9_000,
        rows: rows(9_001..26_000, 1),
    };
    server.mutate(&rewind).unwrap();
    sync(&mut workspace, &server).await;
    server.mutate(&export(None)).unwrap();
    server.mutate(&grow(rows(26_000..26_001, 1))).unwrap();
    sync(&mut workspace, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_through_growth_export_and_rewinding_with_every_codec() {
    for codec in [ParquetCodec::Zstd, ParquetCodec::Snappy, ParquetCodec::Gzip, ParquetCodec::Lz4, ParquetCodec::None] {
        follow(codec).await;
    }
}

fn serve(run: Run, rows_per_file: usize) -> impl Future<Output = std::io::Result<LocalWandb>> {
    let mut world = World::default();
    *world.project_mut(ENTITY, PROJECT) = Project::new([run]);
    let parquet = ParquetOptions { rows_per_file, ..ParquetOptions::default() };
    LocalWandb::start(Options { parquet, ..Options::with_world(world) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_with_one_nan_is_found_under_its_name_also_where_only_it_is_wanted() {
    let row = |step: i64| {
        let loss = if step == 4_321 { "NaN".to_owned() } else { format!("{:?}", step as f64 / 8.0) };
        format!(r#"{{"_step":{step},"loss":{loss},"other":"text"}}"#)
    };
    let server = serve(Run::new("long").with_history((0..6_000).map(row)), 100_000).await.unwrap();
    let mut workspace = Workspace::new(&server, Dialect::Graphql, ENTITY, PROJECT)
        .with("metrics", serde_json::json!({"include": ["loss"]}));
    let outcome = workspace.sync().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert!(server.log().history_reads().iter().all(|read| read.rows < 10), "it was read from its export");
    let mut truth = server.truth(Dialect::Graphql, ENTITY, PROJECT);
    truth.metrics.retain(|key, _| key.2 == "loss");
    truth.objects.clear();
    assert_eq!(truth.metrics.len(), 6_000);
    assert_eq!(workspace.differences_from(&truth), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_step_are_merged_and_what_they_both_have_is_told_once() {
    let line = |row: i64| match row {
        // Two rows of one step within a file, three of which a file ends and another begins, and some that share a metric.
        1_001 => r#"{"_step":1000,"b":-1}"#.to_owned(),
        2_500 | 2_501 => format!(r#"{{"_step":2499,"m{row}":{row},"a":{row}}}"#),
        4_000 | 4_001 => format!(r#"{{"_step":3999,"m{row}":{row}}}"#),
        _ => format!(r#"{{"_step":{row},"a":{row}.5}}"#),
    };
    let lines: Vec<String> = (0..9_000).map(line).collect();
    let ways = [
        (Dialect::Graphql, Some(100_000)),
        (Dialect::Graphql, Some(4_000)),
        (Dialect::Graphql, None),
        (Dialect::Rest, None),
    ];
    for (dialect, per_file) in ways {
        let mut run = Run::new("long").with_history(&lines);
        run.exported_rows = per_file.map_or(0, |_| lines.len());
        let server = serve(run, per_file.unwrap_or(1)).await.unwrap();
        let mut workspace = Workspace::new(&server, dialect, ENTITY, PROJECT).with("page_size", 1_000);
        sync(&mut workspace, &server).await;
        let log = workspace.recorder.log();
        let told: Vec<&String> = log.iter().map(|(_, line)| line).filter(|line| line.contains("of one step")).collect();
        let expected = "Run long: two history rows of one step have the same metric (such as \"a\" at step 2499); the last one is kept";
        assert_eq!(told, [expected], "{dialect:?} {per_file:?}");
        if per_file == Some(100_000) {
            assert!(server.log().history_reads().iter().all(|read| read.rows < 10), "it was read from its export");
        }
    }
}
