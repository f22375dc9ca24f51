//! A process that writes is killed at any moment (SIGKILL), or meets a write that fails; what it leaves is whole, for every
//! reader and for the next sync.
//!
//! The child is the test binary, told by the environment to run one test that does nothing otherwise: [`child`].

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::data::*;
use super::subject::Subject;
use crate::kind::Access;
use elt_host::{DestinationError, Group};

const FOLDER: &str = "CONFORMANCE_KILLS_FOLDER";
/// Tells the child to write until a write fails, and to end in good order then.
const UNTIL_FAILURE: &str = "CONFORMANCE_KILLS_UNTIL_FAILURE";
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

/// What the state says, as anybody may ask at any moment.
fn groups(subject: &dyn Subject, folder: &Path) -> i64 {
    // Before the first commit there may be nothing to open.
    let Ok(mut destination) = subject.url(folder).open(Access::ReadOnly) else { return 0 };
    destination.state().unwrap().get("groups").map_or(0, |groups| groups.parse().unwrap())
}

/// The part of a process that is killed: writes on from where the state says. Does nothing unless the tests here run it.
pub fn child(subject: &dyn Subject) {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut destination = subject.open(Path::new(&folder));
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

/// The test's name in its binary, without the crate's.
fn test_name(path: &str) -> &str {
    path.split_once("::").map_or(path, |(_, name)| name)
}

/// The system refuses to let any file grow beyond a limit (`ulimit -f`), as a full disk or a quota would, at ever other places. `child`
/// is the path of the test that calls [`child`].
pub fn a_failing_write_tears_nothing(subject: &dyn Subject, child: &str) {
    for blocks in (80..600).step_by(40) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f \"$LIMIT\"; exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(test_name(child))
            .env(FOLDER, folder)
            .envs([(UNTIL_FAILURE, "1".to_owned()), ("LIMIT", blocks.to_string())])
            .output()
            .unwrap();
        assert!(child.status.success(), "{blocks}: {}", String::from_utf8_lossy(&child.stdout));
        let claimed = groups(subject, folder);
        assert!(subject.read(folder, &metrics()) == expected(claimed), "{blocks} blocks: {claimed} groups");
        // With room again the next sync goes on.
        let mut destination = subject.open(folder);
        destination.prepare(preparation(&[metrics()])).unwrap();
        destination.apply(group(claimed)).unwrap();
        destination.commit().unwrap();
        destination.finish().unwrap();
        drop(destination);
        assert!(subject.read(folder, &metrics()) == expected(claimed + 1));
    }
}

/// Killed 60 times in one place, each time after another while.
pub fn a_killed_sync_leaves_rows_and_state_that_agree(subject: &dyn Subject, child: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut last = 0;
    for _ in 0..60 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test_name(child)])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The moment is what is tried, and any will do; nothing is waited for.
        std::thread::sleep(Duration::from_micros(seed % 150_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // As any reader finds it, before anybody puts anything in order: the rows hold what the state says, and perhaps the next commit.
        let claimed = groups(subject, folder);
        assert!(claimed >= last);
        let found = subject.read(folder, &metrics());
        let whole = (claimed..claimed + 4).find(|groups| found == expected(*groups));
        assert!(whole.is_some(), "state says {claimed} groups, and {} rows are there", found.len());
        // And after recovery exactly that.
        let mut destination = subject.open(folder);
        destination.prepare(preparation(&[metrics()])).unwrap();
        destination.finish().unwrap();
        drop(destination);
        assert_eq!(groups(subject, folder), claimed);
        assert!(subject.read(folder, &metrics()) == expected(claimed), "after recovery");
        last = claimed;
    }
    assert!(last > 0, "no child lived long enough to commit");
}
