//! Exported histories through the built component in the host, against the local server: whatever the files are compressed with, and
//! whatever happens to a run after its export, the tables equal the ground truth.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use wandb_connector_tests::local_wandb::{
    Dialect, LocalWandb, Mutation, Options, ParquetCodec, ParquetOptions, Project, Run, World,
};
use wandb_connector_tests::product::Workspace;

const ENTITY: &str = "acme";
const PROJECT: &str = "demo";

/// Rows of every kind that files hold in columns of their own: numbers, booleans, texts, objects, lists, media, and what is often absent.
fn row(step: i64, life: u32) -> String {
    let mut row = format!(r#"{{"_step":{step},"_timestamp":{}.5,"_runtime":{step}.25"#, 1_750_000_000 + step);
    row += &format!(r#","loss":{:?},"tokens":{}"#, f64::from(life) + step as f64 / 7.0, step * 1000);
    if step % 3 == 0 {
        row += &format!(r#","ok":{},"note":"step {step} é","gpu":{{"0":{{"temp":{}.5}}}}"#, step % 2 == 0, step % 90);
    }
    if step % 100 == 7 {
        row += &format!(r#","big":{},"nan":NaN,"list":["a{step}"]"#, (1i64 << 60) + step);
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
