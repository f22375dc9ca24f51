//! A full disk: from some moment of a sync on, the system refuses to let any file grow beyond a size (as `ulimit -f` does), at ever other
//! moments and sizes. Unlike a full disk, this can be had by everybody, and it is met by the same code.

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use wandb_connector_tests::crash_oracle::{Ended, ExpectedWrites, Left, Running, Site, Storage};
use wandb_connector_tests::local_wandb::{Dialect, Random};
use wandb_connector_tests::product;

use crate::source::{ENTITY, PROJECT, Source};

/// A sync whose files may not grow beyond `bytes` once the server has seen its first request. Whether the signal that goes with it is
/// ignored is up to whoever starts a program.
fn sync_within(source: &Source, site: &Site, bytes: u64, ignored: bool) -> Ended {
    let mut command = site.command("sh");
    command.args(["-c", if ignored { "trap '' XFSZ; exec \"$0\" \"$@\"" } else { "exec \"$0\" \"$@\"" }]);
    command.arg(product::binary()).args(site.sync_arguments());
    source.server.log().clear();
    let mut sync = Running::start(command).unwrap();
    // Before that, the system would refuse memory to the component: it counts as a file.
    if sync.wait_until(|_| !source.server.log().is_empty()).unwrap() {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        prlimit(Pid::from_raw(sync.id() as i32), Resource::Fsize, limit).unwrap();
    }
    sync.end().unwrap()
}

/// Lets syncs fail at sizes up to one at which they succeed. Returns how many failed, and how many of them had stored something.
fn fail_at_many_sizes(storage: Storage, dialect: Dialect, sizes: impl Iterator<Item = u64>) {
    let mut source = Source::start(dialect);
    let site = Site::new(&source.server, (ENTITY, PROJECT), (storage, dialect), &json!({"concurrency": 2})).unwrap();
    let mut random = Random::new(7);
    let mut expected_writes = ExpectedWrites::new(source.truth());
    let (mut failures, mut after_commits) = (0, 0);
    for (number, bytes) in sizes.enumerate() {
        let before = expected_writes.complete().len();
        let ended = sync_within(&source, &site, bytes, number % 2 == 0);
        let told = format!("{storage:?}, {bytes} bytes: {ended:?}");
        let mut check =
            || expected_writes.check(&Left::read(&site).unwrap()).unwrap_or_else(|error| panic!("{error:#}; {told}"));
        check();
        if ended.code() == Some(0) {
            continue;
        }
        failures += 1;
        assert_eq!(ended.code(), Some(6), "{told}");
        let summary = ended.summary().unwrap();
        let error = summary["error"].as_str().unwrap_or_default();
        assert!(error.contains("sync again") && error.contains("ulimit -f") && error.contains(&site.url()), "{told}");
        assert!(ended.stderr.contains(error), "{told}");
        after_commits += u64::from(expected_writes.complete().len() > before);
        // With room again, the next sync goes on from there.
        if number % 3 == 2 {
            let complete: Vec<String> = expected_writes.complete().into_iter().map(str::to_owned).collect();
            source.server.log().clear();
            let ended = site.sync().unwrap();
            assert_eq!(ended.code(), Some(0), "{ended:?}");
            let again = source.asked_for(&complete);
            assert!(again.is_empty(), "asked again for a run that is complete: {:?}", again[0]);
            expected_writes
                .check(&Left::read(&site).unwrap())
                .unwrap_or_else(|error| panic!("{error:#}; after {told}"));
            assert_eq!(expected_writes.complete().len(), source.ids().len());
            if number % 2 == 0 {
                site.empty().unwrap();
                expected_writes.emptied();
            } else {
                source.change(&mut random);
                expected_writes.changed(source.truth());
            }
        }
    }
    eprintln!("{storage:?} {dialect:?}: {failures} syncs met the limit, {after_commits} of them after a commit");
    assert!(failures >= 10 && after_commits >= 1, "{failures} failures, {after_commits} after a commit");
}

#[test]
fn a_limit_on_file_sizes_tears_nothing_in_sqlite() {
    fail_at_many_sizes(Storage::Sqlite, Dialect::Graphql, (0..36).map(|number| number * number * 6_000));
}

#[test]
fn a_limit_on_file_sizes_tears_nothing_in_parquet() {
    fail_at_many_sizes(Storage::Parquet, Dialect::Graphql, (0..36).map(|number| number * number * 100));
}
