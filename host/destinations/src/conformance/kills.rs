//! A process that writes is killed at any moment (SIGKILL), or meets a write that fails; what it leaves is whole, for every
//! reader and for the next sync.
//!
//! The child is this test binary, told by the environment to run one test that does nothing otherwise.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::data::*;
use crate::url::{Access, DestinationUrl, open};
use elt_host::destination::{DestinationError, Group};
use elt_host::schema::Table;

const URL: &str = "STORE_KILL_TEST_URL";
/// Tells the child to write until a write fails, and to end in good order then.
const UNTIL_FAILURE: &str = "STORE_KILL_TEST_UNTIL_FAILURE";
/// Steps of each group's run.
const STEPS: i64 = 40;

/// Group number `number`: run `r<number>` with all its steps, the run before it grown by one step and rewritten in its last one, and a state that says so.
fn group(number: i64) -> Group {
    let rows = |run: i64, steps: std::ops::Range<i64>, value: f64| {
        steps
            .flat_map(move |step| ["acc", "loss"].map(|name| metric(&format!("r{run}"), step, name, value)))
            .collect::<Vec<_>>()
    };
    let mut changes = vec![upsert(0, &metrics(), &rows(number, 0..STEPS, 1.0), true)];
    if number > 0 {
        changes.push(upsert(0, &metrics(), &rows(number - 1, STEPS - 1..STEPS + 1, 2.0), true));
    }
    if number > 2 {
        // Deleted and logged again, shorter.
        changes.push(delete(0, &metrics(), &[vec![format!("r{}", number - 3).as_str().into()]]));
        changes.push(upsert(0, &metrics(), &rows(number - 3, 0..2, 3.0), false));
    }
    Group { changes, patch: vec![("groups".to_owned(), Some((number + 1).to_string()))] }
}

/// What the tables must hold when the state says `groups`.
fn expected(groups: i64) -> Contents {
    let mut rows = Contents::new();
    let mut add = |run: i64, steps: std::ops::Range<i64>, value: f64| {
        for step in steps {
            for name in ["acc", "loss"] {
                rows.insert(metric(&format!("r{run}"), step, name, value).iter().map(shown).collect());
            }
        }
    };
    for run in 0..groups {
        if run + 3 < groups {
            add(run, 0..2, 3.0);
        } else if run + 1 < groups {
            add(run, 0..STEPS - 1, 1.0);
            add(run, STEPS - 1..STEPS + 1, 2.0);
        } else {
            add(run, 0..STEPS, 1.0);
        }
    }
    rows
}

fn groups(url: &DestinationUrl) -> i64 {
    // Before the first commit there may be nothing to open.
    let Ok(mut destination) = open(url, Access::ReadOnly) else { return 0 };
    destination.state().unwrap().get("groups").map_or(0, |groups| groups.parse().unwrap())
}

/// Writes on from where the state says, until killed.
#[test]
fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let url: DestinationUrl = url.parse().unwrap();
    let mut destination = open(&url, Access::ReadWrite).unwrap();
    let state = destination.prepare(preparation(&[metrics()])).unwrap();
    if std::env::var_os(UNTIL_FAILURE).is_some() {
        let failure =
            (0..).find_map(|number| destination.apply(group(number)).and_then(|()| destination.commit()).err());
        assert!(matches!(failure, Some(DestinationError::Failed(_))), "{failure:?}");
        // Nothing goes on after it, whatever the caller does.
        assert!(destination.apply(group(0)).is_err() && destination.commit().is_err());
        return;
    }
    let from: i64 = state.get("groups").map_or(0, |groups| groups.parse().unwrap());
    for number in from.. {
        destination.apply(group(number)).unwrap();
        if number % 3 == 0 {
            destination.commit().unwrap();
        }
    }
}

fn child_name() -> String {
    format!("{}::child", module_path!().split_once("::").unwrap().1)
}

/// The system refuses to let any file grow beyond a limit (`ulimit -f`), as a full disk or a quota would, at ever other places.
fn fail_at_many_sizes(place: fn(&Path) -> DestinationUrl, read: fn(&Path, &Table) -> Contents) {
    for blocks in (80..600).step_by(40) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.db");
        let url = place(&path);
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f \"$LIMIT\"; exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(child_name())
            .envs([(URL, url.to_string()), (UNTIL_FAILURE, "1".to_owned()), ("LIMIT", blocks.to_string())])
            .output()
            .unwrap();
        assert!(child.status.success(), "{blocks}: {}", String::from_utf8_lossy(&child.stdout));
        let claimed = groups(&url);
        assert!(read(&path, &metrics()) == expected(claimed), "{blocks} blocks: {claimed} groups");
        // With room again the next sync goes on.
        let mut destination = open(&url, Access::ReadWrite).unwrap();
        destination.prepare(preparation(&[metrics()])).unwrap();
        destination.apply(group(claimed)).unwrap();
        destination.commit().unwrap();
        destination.finish().unwrap();
        drop(destination);
        assert!(read(&path, &metrics()) == expected(claimed + 1));
    }
}

#[test]
fn a_failing_write_tears_nothing_in_sqlite() {
    fail_at_many_sizes(|path| DestinationUrl::Sqlite(path.to_owned()), read_sqlite);
}

#[test]
fn a_failing_write_tears_nothing_in_parquet() {
    fail_at_many_sizes(|path| DestinationUrl::Parquet(path.to_owned()), read_parquet);
}

fn kill_again_and_again(url: &DestinationUrl, path: &Path, read: fn(&Path, &Table) -> Contents, kills: u64) {
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut last = 0;
    for _ in 0..kills {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &child_name()])
            .env(URL, url.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(seed % 150_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // As any reader finds it, before anybody puts anything in order: the rows hold what the state says, and perhaps the next commit.
        let claimed = groups(url);
        assert!(claimed >= last);
        let found = read(path, &metrics());
        let whole = (claimed..claimed + 4).find(|groups| found == expected(*groups));
        assert!(whole.is_some(), "state says {claimed} groups, and {} rows are there", found.len());
        // And after recovery exactly that.
        let mut destination = open(url, Access::ReadWrite).unwrap();
        destination.prepare(preparation(&[metrics()])).unwrap();
        destination.finish().unwrap();
        drop(destination);
        assert_eq!(groups(url), claimed);
        assert!(read(path, &metrics()) == expected(claimed), "after recovery");
        last = claimed;
    }
    assert!(last > 0, "no child lived long enough to commit");
}

fn place(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

#[test]
fn a_killed_sqlite_sync_leaves_rows_and_state_that_agree() {
    let (_folder, path) = place("w.db");
    kill_again_and_again(&DestinationUrl::Sqlite(path.clone()), &path, read_sqlite, 60);
}

#[test]
fn a_killed_parquet_sync_leaves_rows_and_state_that_agree() {
    let (_folder, path) = place("w");
    kill_again_and_again(&DestinationUrl::Parquet(path.clone()), &path, read_parquet, 60);
}
