//! A destination against a model: random upserts, deletions, checkpoints, commits, refreshes and abandoned syncs end in the same rows
//! and the same state as in maps.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::data::*;
use super::subject::Subject;
use crate::kind::Access;
use elt_host::state;
use elt_host::{Change, Destination, Group, Preparation, State};

/// What happens to a destination, in order.
#[derive(Debug, Clone)]
enum Act {
    Upsert(Vec<(usize, i64, usize, f64)>, bool),
    UpsertRuns(Vec<(usize, u8)>),
    DeleteRuns(Vec<usize>),
    DeleteSteps(Vec<(usize, i64)>),
    DeleteKeys(Vec<(usize, i64, usize)>),
    Checkpoint(Vec<(usize, Option<u8>)>),
    Commit,
    /// The sync ends as it should; the next one may be a full refresh.
    Finish(bool),
    /// The sync ends without more commits, as by a crash.
    Abandon,
}

const RUNS: [&str; 4] = ["a", "b", "c\0d", "é"];
const NAMES: [&str; 3] = ["loss", "acc", "val/loss"];
const KEYS: [&str; 3] = ["jobs/a", "jobs/b", "newest"];

fn act() -> impl Strategy<Value = Act> {
    let double = prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(1.0),
        any::<f64>().prop_filter("SQLite keeps no payload of NaN", |value| !value.is_nan()),
    ];
    let metric = (0..RUNS.len(), 0i64..12, 0..NAMES.len(), double);
    prop_oneof![
        5 => (prop::collection::vec(metric, 0..40), any::<bool>()).prop_map(|(rows, dictionary)| Act::Upsert(rows, dictionary)),
        2 => prop::collection::vec((0..RUNS.len(), 0u8..3), 0..5).prop_map(Act::UpsertRuns),
        1 => prop::collection::vec(0..RUNS.len(), 0..3).prop_map(Act::DeleteRuns),
        1 => prop::collection::vec((0..RUNS.len(), 0i64..12), 0..3).prop_map(Act::DeleteSteps),
        1 => prop::collection::vec((0..RUNS.len(), 0i64..12, 0..NAMES.len()), 0..3).prop_map(Act::DeleteKeys),
        4 => prop::collection::vec((0..KEYS.len(), prop::option::of(0u8..3)), 0..3).prop_map(Act::Checkpoint),
        3 => Just(Act::Commit),
        1 => any::<bool>().prop_map(Act::Finish),
        1 => Just(Act::Abandon),
    ]
}

fn run_row(run: usize, version: u8) -> Vec<Value> {
    let text = |some: bool, text: String| if some { Value::Text(text) } else { Value::Null };
    vec![
        RUNS[run].into(),
        text(version > 0, format!("name {version}")),
        Value::Time(i64::from(version)),
        text(version != 1, format!("{{\"v\":{version}}}")),
        Value::Bool(version > 1),
    ]
}

#[derive(Debug, Clone, Default)]
struct World {
    metrics: BTreeMap<(String, i64, String), Vec<Value>>,
    runs: BTreeMap<String, Vec<Value>>,
    state: State,
}

impl World {
    fn contents(&self) -> [Contents; 2] {
        let shown = |row: &Vec<Value>| row.iter().map(shown).collect::<Vec<_>>();
        [self.runs.values().map(shown).collect(), self.metrics.values().map(shown).collect()]
    }
}

/// A destination under test, and where it is.
struct Site<'a> {
    subject: &'a dyn Subject,
    folder: &'a Path,
}

impl Site<'_> {
    fn open(&self, refresh: bool) -> (Box<dyn Destination>, State) {
        let mut destination = self.subject.open(self.folder);
        let preparation = Preparation { full_refresh: refresh, ..preparation(&[runs(), metrics()]) };
        let state = destination.prepare(preparation).unwrap();
        (destination, state)
    }

    fn check(&self, world: &World) {
        let found = [runs(), metrics()].map(|table| self.subject.read(self.folder, &table));
        assert_eq!(found, world.contents());
        // Before the first commit there may be nothing to open.
        let opened = self.subject.url(self.folder).open(Access::ReadOnly);
        let state = opened.map(|mut destination| destination.state().unwrap());
        assert_eq!(state.unwrap_or_default(), world.state);
    }
}

fn run(subject: &Site<'_>, acts: &[Act]) {
    // After the last commit; with the groups applied since; and with the open group.
    let mut committed = World::default();
    let mut applied = World::default();
    let mut open_group = World::default();
    let mut changes: Vec<Change> = Vec::new();
    let mut any_applied = false;
    let (mut destination, _) = subject.open(false);
    let key = |run: usize, step: i64, name: usize| (RUNS[run].to_owned(), step, NAMES[name].to_owned());
    for act in acts {
        let world = &mut open_group;
        match act {
            Act::Upsert(rows, dictionary) => {
                let table: Vec<_> = rows
                    .iter()
                    .map(|(run, step, name, value)| metric(RUNS[*run], *step, NAMES[*name], *value))
                    .collect();
                changes.push(upsert(1, &metrics(), &table, *dictionary));
                world.metrics.extend(rows.iter().zip(table).map(|(row, cells)| (key(row.0, row.1, row.2), cells)));
            }
            Act::UpsertRuns(rows) => {
                let table: Vec<_> = rows.iter().map(|(run, version)| run_row(*run, *version)).collect();
                changes.push(upsert(0, &runs(), &table, false));
                world.runs.extend(rows.iter().zip(table).map(|(row, cells)| (RUNS[row.0].to_owned(), cells)));
            }
            Act::DeleteRuns(keys) => {
                for (number, table) in [runs(), metrics()].iter().enumerate() {
                    let keys: Vec<_> = keys.iter().map(|run| vec![RUNS[*run].into()]).collect();
                    changes.push(delete(number, table, &keys));
                }
                for run in keys {
                    world.runs.remove(RUNS[*run]);
                    world.metrics.retain(|key, _| key.0 != RUNS[*run]);
                }
            }
            Act::DeleteSteps(keys) => {
                let cells: Vec<_> = keys.iter().map(|(run, step)| vec![RUNS[*run].into(), (*step).into()]).collect();
                changes.push(delete(1, &metrics(), &cells));
                for (run, step) in keys {
                    world.metrics.retain(|key, _| (key.0.as_str(), key.1) != (RUNS[*run], *step));
                }
            }
            Act::DeleteKeys(keys) => {
                let cells: Vec<_> = keys
                    .iter()
                    .map(|(run, step, name)| vec![RUNS[*run].into(), (*step).into(), NAMES[*name].into()])
                    .collect();
                changes.push(delete(1, &metrics(), &cells));
                for (run, step, name) in keys {
                    world.metrics.remove(&key(*run, *step, *name));
                }
            }
            Act::Checkpoint(patch) => {
                let patch: Vec<_> = patch
                    .iter()
                    .map(|(key, value)| (KEYS[*key].to_owned(), value.map(|value| value.to_string())))
                    .collect();
                state::apply(&mut world.state, patch.clone());
                destination.apply(Group { changes: std::mem::take(&mut changes), patch }).unwrap();
                any_applied = true;
                applied = world.clone();
            }
            Act::Commit => {
                destination.commit().unwrap();
                if std::mem::take(&mut any_applied) {
                    committed = applied.clone();
                }
                subject.check(&committed);
            }
            Act::Finish(full_refresh) => {
                destination.commit().unwrap();
                if std::mem::take(&mut any_applied) {
                    committed = applied.clone();
                }
                destination.finish().unwrap();
                drop(destination);
                subject.check(&committed);
                let state;
                (destination, state) = subject.open(*full_refresh);
                assert_eq!(state, if *full_refresh { State::new() } else { committed.state.clone() });
                changes.clear();
                open_group = if *full_refresh { World::default() } else { committed.clone() };
                applied = open_group.clone();
            }
            Act::Abandon => {
                drop(destination);
                subject.check(&committed);
                let state;
                (destination, state) = subject.open(false);
                assert_eq!(state, committed.state);
                any_applied = false;
                changes.clear();
                open_group = committed.clone();
                applied = committed.clone();
            }
        }
    }
}

/// Random syncs end in the same rows and the same state as in maps.
pub fn it_holds_what_the_model_holds(subject: &dyn Subject) {
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let tested = TestRunner::new(config).run(&prop::collection::vec(act(), 1..40), |acts| {
        let folder = tempfile::tempdir().unwrap();
        run(&Site { subject, folder: folder.path() }, &acts);
        Ok(())
    });
    tested.unwrap_or_else(|failure| panic!("{failure}"));
}
