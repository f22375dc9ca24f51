//! A source that changes between any two requests, and a destination that fails at any call: after the source is quiet and the
//! destination well, one more sync makes the tables equal the truth. The sync logic runs natively, so that thousands of
//! requests take a second.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use serde_json::json;
use wandb_connector::records::time;
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{Dialect, LocalWandb, Matcher, Mutation, Options, Run, SECOND, When, World};
use wandb_connector_tests::native::{Key, Memory, sync_into};

const ENTITY: &str = "acme";
const PROJECT: &str = "demo";
const RUNS: usize = 6;

/// A change at the source, before the n-th request of a sync (or between two syncs).
#[derive(Debug, Clone)]
struct Change {
    before: usize,
    run: Index,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Append(u8),
    Edit(u8),
    Rewind(Index, u8),
    CompleteLast,
    Finish,
    Delete,
    Create(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let what = prop_oneof![
        4 => (1u8..40).prop_map(What::Append),
        2 => any::<u8>().prop_map(What::Edit),
        2 => (any::<Index>(), 0u8..30).prop_map(|(at, rows)| What::Rewind(at, rows)),
        1 => Just(What::CompleteLast),
        1 => Just(What::Finish),
        1 => Just(What::Delete),
        2 => (0u8..30).prop_map(What::Create),
    ];
    (1usize..25, any::<Index>(), what).prop_map(|(before, run, what)| Change { before, run, what })
}

/// What happens around one sync.
#[derive(Debug, Clone)]
struct Round {
    changes: Vec<Change>,
    /// The destination fails after so many calls.
    fails_after: Option<u64>,
    /// Changes do not move the clock to another second.
    tied: bool,
    /// How far the server's clock is ahead of the client's.
    skew_hours: i64,
}

fn round() -> impl Strategy<Value = Round> {
    let fails = prop_oneof![2 => Just(None), 1 => (0u64..40).prop_map(Some)];
    let skew = prop_oneof![Just(0), -30i64..30];
    (proptest::collection::vec(change(), 0..6), fails, any::<bool>(), skew)
        .prop_map(|(changes, fails_after, tied, skew_hours)| Round { changes, fails_after, tied, skew_hours })
}

/// The model: what the test knows to be at the source, enough to make valid changes.
struct Source {
    server: LocalWandb,
    steps: Vec<(String, i64)>,
    gone: BTreeSet<String>,
    serial: u64,
}

impl Source {
    fn start() -> Self {
        let mut world = World::default();
        let project = world.project_mut(ENTITY, PROJECT);
        let mut steps = Vec::new();
        for number in 0..RUNS {
            let id = format!("run{number}");
            let rows = number as i64 * 15;
            let mut run = Run::new(&id).with_history((0..rows).map(|step| row(step, 0)));
            run.exported_rows = 0;
            if number % 2 == 0 {
                run.state = "running".to_owned();
            }
            project.runs.push(run.into());
            steps.push((id, rows));
        }
        let server = LocalWandb::start_blocking(Options::with_world(world)).unwrap();
        Self { server, steps, gone: BTreeSet::new(), serial: 1 }
    }

    /// Arranges for the change to happen before a request of the next sync.
    fn arrange(&mut self, change: &Change) {
        self.serial += 1;
        let serial = self.serial;
        let index = change.run.index(self.steps.len());
        let (run, steps) = self.steps[index].clone();
        let (entity, project) = (ENTITY.to_owned(), PROJECT.to_owned());
        let mutation = match &change.what {
            What::Append(rows) => {
                let rows = i64::from(*rows);
                self.steps[index].1 = steps + rows;
                let rows = (steps..steps + rows).map(|step| row(step, serial)).collect();
                Mutation::Append { entity, project, run, rows }
            }
            What::Edit(number) => {
                Mutation::Touch { entity, project, run, display_name: Some(format!("name {number}")), tags: None }
            }
            What::Rewind(at, rows) => {
                let at = at.index(steps.max(1) as usize) as i64;
                let rows = i64::from(*rows);
                self.steps[index].1 = at + 1 + rows;
                let rows = (at + 1..at + 1 + rows).map(|step| row(step, serial)).collect();
                Mutation::Rewind { entity, project, run, step: at, rows }
            }
            What::CompleteLast if steps > 0 => {
                let row = row(steps - 1, serial);
                Mutation::ReplaceLast { entity, project, run, row }
            }
            What::CompleteLast | What::Finish => {
                Mutation::SetState { entity, project, run, state: "finished".to_owned() }
            }
            What::Delete => {
                self.gone.insert(run.clone());
                Mutation::Delete { entity, project, run }
            }
            What::Create(rows) => {
                let id = format!("new{serial}");
                self.steps.push((id.clone(), i64::from(*rows)));
                let mut run = Run::new(&id).with_history((0..i64::from(*rows)).map(|step| row(step, serial)));
                run.exported_rows = 0;
                let now = self.server.clock().tick();
                (run.created_at, run.updated_at, run.heartbeat_at) = (now, Some(now), now);
                self.server.project_mut(ENTITY, PROJECT, |project| project.runs.push(run.into()));
                return;
            }
        };
        self.server.mutate_before(Matcher::any().when(When::Nth(change.before)), mutation);
    }
}

fn row(step: i64, serial: u64) -> String {
    // Values and times depend on when the row was logged, as real ones do.
    format!(
        r#"{{"_step":{step},"_timestamp":{}.5,"loss":{}.25,"note":"s{serial}"}}"#,
        1_750_000_000 + step + serial as i64 * 1000,
        step + serial as i64
    )
}

fn check(dialect: Dialect, rounds: &[Round], page_size: u32, deletes: &str) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut source = Source::start();
    let memory = Memory::new();
    let config = json!({
        "deletes": deletes,
        "api_key": source.server.api_key(), "base_url": source.server.base_url(), "entity": ENTITY, "project": PROJECT,
        "api": if dialect == Dialect::Rest { "rest" } else { "graphql" }, "page_size": page_size, "concurrency": 3,
    });
    let mut watermark = None;
    for (number, round) in rounds.iter().enumerate() {
        // Set anew each time, so it may also step back. No two rounds share a second.
        let skew = (round.skew_hours * 3600 + number as i64 * 300) * SECOND;
        source.server.clock().set(chrono::Utc::now().timestamp_micros() / SECOND * SECOND + skew);
        // Only what the listing shows can be seen. That of `graphql` counts rows, so there new rows show without a new time.
        let tied = round.tied && dialect == Dialect::Graphql;
        source.server.clock().set_tick(if tied { 0 } else { 1_000_000 });
        // In the order in which they will happen: the steps of a run only ever rise.
        let mut changes = round.changes.clone();
        changes.sort_by_key(|change| change.before);
        for change in &changes {
            let shows = !matches!(change.what, What::CompleteLast | What::Rewind(..));
            if shows || !tied {
                source.arrange(change);
            }
        }
        memory.fail_after(round.fails_after);
        let result = runtime.block_on(sync_into(&memory, &config));
        // What was arranged for requests that never came does not happen.
        source.server.clear_faults();
        prop_assert!(result.is_ok() || round.fails_after.is_some(), "{result:?}");
        let now = memory.stored().state.get("runs_hwm_utc").and_then(|text| time::parse(text));
        prop_assert!(now >= watermark, "the watermark fell from {watermark:?} to {now:?}");
        watermark = now;
    }
    // Nor was everything deleted that was to be.
    source.gone.retain(|id| source.server.run(ENTITY, PROJECT, id).is_none());
    memory.fail_after(None);
    let summary = runtime.block_on(sync_into(&memory, &config));
    prop_assert!(summary.is_ok(), "{summary:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stored.db");
    let mut stored = memory.stored();
    let of = |key: &[Key]| match &key[0] {
        Key::Text(id) => id.clone(),
        Key::Integer(_) => String::new(),
    };
    let marked: BTreeSet<String> =
        stored.tables.remove("deleted_runs").unwrap_or_default().keys().map(|key| of(key)).collect();
    if deletes == "mark" {
        let kept = stored.tables.get("runs").into_iter().flatten().map(|(key, _)| of(key));
        let kept: BTreeSet<String> = kept.filter(|id| source.gone.contains(id)).collect();
        prop_assert!(marked.is_superset(&kept), "not all of {kept:?} are marked: {marked:?}");
        prop_assert!(marked.is_subset(&source.gone), "marked though they live: {marked:?}");
    }
    if deletes != "remove" {
        // Rows of runs that were deleted stay; they are not compared.
        for rows in stored.tables.values_mut() {
            rows.retain(|key, _| !source.gone.contains(&of(key)));
        }
    }
    stored.write_sqlite(&file).unwrap();
    let mut truth = source.server.truth(dialect, ENTITY, PROJECT);
    source.gone.iter().for_each(|id| truth.drop_run(id));
    let differences = compare_sqlite(&file, &truth).unwrap();
    prop_assert!(differences.is_empty(), "{:#?}\n{:?}", &differences[..differences.len().min(3)], memory.log_lines());
    // And with nothing changed there is nothing to do.
    source.server.log().clear();
    let summary = runtime.block_on(sync_into(&memory, &config)).unwrap();
    prop_assert_eq!((summary.synced, source.server.log().history_requests().len()), (0, 0));
    Ok(())
}

fn deletes() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("keep"), Just("mark"), Just("remove")]
}

fn cases() -> u32 {
    if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 60 }
}

fn seed() -> RngSeed {
    if std::env::var_os("PROPTEST_RNG_SEED").is_some() {
        ProptestConfig::default().rng_seed
    } else {
        RngSeed::Fixed(20)
    }
}

proptest! {
    // The same cases each time, so that a change is judged by itself; PROPTEST_CASES and PROPTEST_RNG_SEED look further.
    #![proptest_config(ProptestConfig { cases: cases(), rng_seed: seed(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn one_quiet_sync_makes_all_equal_in_graphql(rounds in proptest::collection::vec(round(), 1..5), page_size in 1u32..8, deletes in deletes()) {
        check(Dialect::Graphql, &rounds, page_size, deletes)?;
    }

    #[test]
    fn one_quiet_sync_makes_all_equal_in_rest(rounds in proptest::collection::vec(round(), 1..5), page_size in 1u32..8, deletes in deletes()) {
        check(Dialect::Rest, &rounds, page_size, deletes)?;
    }
}
