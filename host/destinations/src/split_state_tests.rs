//! A process that stores rows and state in two places dies (SIGKILL) before, between and after each step of storing: the state is never
//! ahead of the rows, and the next sync makes both whole.
//!
//! The child is this test binary, told by the environment to run one test that does nothing otherwise.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use super::conformance::data::*;
use super::guarded::Guarded;
use super::sqlite::subject::read as read_sqlite;
use super::url::{Access, DestinationUrl};
use elt_host::destination::state_store::JsonFile;
use elt_host::{
    Change, Destination, DestinationError, Group, Preparation, Rows, SplitState, State, StatePatch, StateStore,
};

const FOLDER: &str = "APART_TEST_FOLDER";
const DIES_AT: &str = "APART_TEST_DIES_AT";
const REFRESH: &str = "APART_TEST_REFRESH";
const GROUPS: i64 = 6;
/// Groups of one commit.
const COMMIT: i64 = 2;

/// Dies when it is called for as many times as the environment says.
fn step() {
    static STEPS: AtomicUsize = AtomicUsize::new(0);
    let dies_at = std::env::var(DIES_AT).ok().and_then(|at| at.parse().ok());
    if Some(STEPS.fetch_add(1, Ordering::Relaxed)) == dies_at {
        kill_process(getpid(), Signal::KILL).unwrap();
        unreachable!("killed");
    }
}

/// Rows in SQLite, whose own state is not used.
struct Sqlite(Box<dyn Destination>);

impl Rows for Sqlite {
    fn prepare(&mut self, preparation: Preparation) -> Result<(), DestinationError> {
        self.0.prepare(preparation).map(drop)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), DestinationError> {
        self.0.apply(Group { changes, patch: StatePatch::new() })
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        step();
        self.0.commit()?;
        step();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.0.finish()
    }
}

struct Mortal(JsonFile);

impl StateStore for Mortal {
    fn load(&mut self) -> Result<State, DestinationError> {
        self.0.load()
    }

    fn replace(&mut self, state: &State) -> Result<(), DestinationError> {
        step();
        self.0.replace(state)?;
        step();
        Ok(())
    }
}

fn places(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("w.db"), folder.join("state.json"))
}

fn destination(folder: &Path) -> SplitState<Sqlite, Mortal> {
    let (rows, state) = places(folder);
    let url: DestinationUrl = format!("sqlite:{}", rows.display()).parse().unwrap();
    let rows = url.open(Access::ReadWrite).unwrap();
    SplitState::new(Sqlite(rows), Mortal(JsonFile::open(state).unwrap()))
}

fn rows(run: i64, steps: i64, value: f64) -> Vec<Vec<Value>> {
    (0..steps).map(|step| metric(&format!("r{run}"), step, "loss", value)).collect()
}

/// A run comes, and the one before it is logged anew, shorter.
fn group(number: i64) -> Group {
    let mut changes = vec![upsert(0, &metrics(), &rows(number, 4, 1.0), true)];
    if number > 0 {
        changes.push(delete(0, &metrics(), &[vec![format!("r{}", number - 1).as_str().into()]]));
        changes.push(upsert(0, &metrics(), &rows(number - 1, 2, 2.0), false));
    }
    Group { changes, patch: vec![("groups".to_owned(), Some((number + 1).to_string()))] }
}

/// What the table holds after so many groups.
fn expected(groups: i64) -> Contents {
    let all = (0..groups).flat_map(|run| if run + 1 < groups { rows(run, 2, 2.0) } else { rows(run, 4, 1.0) });
    all.map(|row| row.iter().map(shown).collect()).collect()
}

fn groups(state: &State) -> i64 {
    state.get("groups").map_or(0, |groups| groups.parse().unwrap())
}

#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let destination = Box::new(destination(Path::new(&folder)));
    let mut destination = Guarded::new(destination, "the two".to_owned(), Access::ReadWrite);
    let full_refresh = std::env::var_os(REFRESH).is_some();
    let state = destination.prepare(Preparation { full_refresh, ..preparation(&[metrics()]) }).unwrap();
    for number in groups(&state)..GROUPS {
        destination.apply(group(number)).unwrap();
        if number % COMMIT == COMMIT - 1 {
            destination.commit().unwrap();
        }
    }
    destination.commit().unwrap();
    destination.finish().unwrap();
}

/// One sync in a process of its own; whether it lived to its end.
fn sync(folder: &Path, full_refresh: bool, dies_at: Option<usize>) -> bool {
    let child = format!("{}::child", module_path!().split_once("::").unwrap().1);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &child]).env(FOLDER, folder);
    if full_refresh {
        command.env(REFRESH, "1");
    }
    if let Some(step) = dies_at {
        command.env(DIES_AT, step.to_string());
    }
    let output = command.output().unwrap();
    assert!(output.status.code().is_none_or(|code| code == 0), "{}", String::from_utf8_lossy(&output.stdout));
    output.status.success()
}

fn stored(folder: &Path) -> (State, Contents) {
    let (rows, state) = places(folder);
    (JsonFile::open(state).unwrap().load().unwrap(), read_sqlite(&rows, &metrics()))
}

#[test]
fn whoever_dies_between_rows_and_state_leaves_the_state_behind() {
    let (mut behind, mut deaths) = (0, 0);
    for dies_at in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let lived = sync(folder.path(), false, Some(dies_at));
        let (state, found) = stored(folder.path());
        let claimed = groups(&state);
        let held = (claimed..=claimed + COMMIT).find(|groups| found == expected(*groups));
        let held = held.unwrap_or_else(|| panic!("step {dies_at}: the state says {claimed} groups: {found:?}"));
        behind += usize::from(held > claimed);
        assert!(sync(folder.path(), false, None), "step {dies_at}: the next sync");
        let (state, found) = stored(folder.path());
        assert_eq!((groups(&state), found), (GROUPS, expected(GROUPS)), "step {dies_at}: after the next sync");
        if lived {
            break;
        }
        deaths += 1;
    }
    assert_eq!((deaths, behind), (12, 6), "four steps of three commits; between rows and state there are two of them");
}

#[test]
fn a_full_refresh_that_dies_leaves_no_state_that_answers_for_rows_that_went() {
    let old = || vec![upsert(0, &metrics(), &rows(99, 3, 0.5), true)];
    let old_rows: Contents = rows(99, 3, 0.5).iter().map(|row| row.iter().map(shown).collect()).collect();
    let mut deaths = 0;
    for dies_at in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let mut before = destination(folder.path());
        before.prepare(preparation(&[metrics()])).unwrap();
        before.apply(Group { changes: old(), patch: vec![("old".into(), Some("99".into()))] }).unwrap();
        before.commit().unwrap();
        before.finish().unwrap();
        drop(before);
        let lived = sync(folder.path(), true, Some(dies_at));
        let (state, found) = stored(folder.path());
        assert!(!state.contains_key("old") || found == old_rows, "step {dies_at}: {state:?}, {found:?}");
        let claimed = groups(&state);
        let fits = (claimed..=claimed + COMMIT).any(|groups| found == expected(groups));
        assert!(fits || claimed == 0 && found == old_rows, "step {dies_at}: {state:?}, {found:?}");
        assert!(sync(folder.path(), true, None), "step {dies_at}: the next sync");
        assert_eq!(stored(folder.path()).1, expected(GROUPS), "step {dies_at}: after the next sync");
        if lived {
            break;
        }
        deaths += 1;
    }
    assert_eq!(deaths, 14, "and the two of emptying the state");
}

#[test]
fn without_groups_a_commit_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Box::new(destination(folder.path()));
    let mut destination = Guarded::new(destination, "the two".to_owned(), Access::ReadWrite);
    let state = State::from([("groups".to_owned(), "3".to_owned())]);
    destination.replace_state(&state).unwrap();
    destination.prepare(Preparation { full_refresh: true, ..preparation(&[metrics()]) }).unwrap();
    destination.commit().unwrap();
    assert_eq!(destination.state().unwrap(), state);
    assert_eq!(destination.prepare(preparation(&[metrics()])).unwrap(), state);
}
