//! Two syncs of one destination at once, and a destination that another program has locked. By `rest`, where each run is a request of its own.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use wandb_connector_tests::crash_oracle::{Ended, ExpectedWrites, Left, Running, Site, Storage};
use wandb_connector_tests::local_wandb::{Dialect, Fault, LocalWandb, Matcher, Mutation, When};

use crate::source::{ENTITY, PROJECT, Source};

const BOTH: [Storage; 2] = [Storage::Sqlite, Storage::Parquet];

fn site(server: &LocalWandb, storage: Storage) -> Site {
    Site::new(server, (ENTITY, PROJECT), (storage, Dialect::Rest), &json!({"concurrency": 2})).unwrap()
}

#[track_caller]
fn assert_whole(source: &Source, site: &Site) {
    let mut expected_writes = ExpectedWrites::new(source.truth());
    expected_writes.check(&Left::read(site).unwrap()).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(expected_writes.complete().len(), source.ids().len());
}

#[track_caller]
fn assert_refused(ended: &Ended, site: &Site) {
    assert_eq!(ended.code(), Some(6), "{ended:?}");
    let message = format!("another sync is writing to {}", site.url());
    let error = ended.summary().unwrap()["error"].clone();
    assert!(error.as_str().is_some_and(|error| error.contains(&message)), "{ended:?}");
    assert!(ended.stderr.contains(&message), "{ended:?}");
}

/// Waits until the sync has asked for histories.
fn wait_for_histories(server: &LocalWandb, sync: &mut Running, requests: usize) {
    assert!(sync.wait_until(|_| server.log().history_requests().len() >= requests).unwrap(), "the sync has ended");
}

#[test]
fn a_second_sync_is_refused_at_once_and_disturbs_nothing() {
    for storage in BOTH {
        let source = Source::start(Dialect::Rest);
        let server = &source.server;
        let site = site(server, storage);
        // The first one is in the middle of its work, with runs stored and runs to come, until the fault is lifted.
        server.fault(Matcher::history().when(When::After(12)), Fault::Stall(Duration::from_secs(20)));
        let mut first = site.start().unwrap();
        wait_for_histories(server, &mut first, 13);
        let listings = server.log().listing_requests().len();
        for _ in 0..3 {
            assert_refused(&site.sync().unwrap(), &site);
        }
        // The first one goes on asking for histories; a listing is what every sync begins with.
        assert_eq!(server.log().listing_requests().len(), listings, "a refused sync asks W&B for nothing");
        server.clear_faults();
        let ended = first.end().unwrap();
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        assert_whole(&source, &site);
    }
}

#[test]
fn of_syncs_that_start_together_each_is_refused_or_whole() {
    for storage in BOTH {
        let source = Source::start(Dialect::Rest);
        let site = site(&source.server, storage);
        let mut stored = 0;
        for _ in 0..3 {
            let started: Vec<Running> = (0..4).map(|_| site.start().unwrap()).collect();
            for ended in started.into_iter().map(|sync| sync.end().unwrap()) {
                if ended.code() == Some(0) {
                    stored += ended.summary().unwrap()["runs"]["synced"].as_u64().unwrap();
                } else {
                    assert_refused(&ended, &site);
                }
            }
            assert_whole(&source, &site);
        }
        assert_eq!(stored, source.ids().len() as u64, "no run is read by two of them");
    }
}

#[test]
fn a_sync_waits_while_another_program_writes_to_the_database() {
    let source = Source::start(Dialect::Rest);
    let server = &source.server;
    let site = site(server, Storage::Sqlite);
    assert_eq!(site.sync().unwrap().code(), Some(0));
    for id in source.ids() {
        let (entity, project) = (ENTITY.to_owned(), PROJECT.to_owned());
        let rename = Mutation::Touch { entity, project, run: id, display_name: Some("renamed".to_owned()), tags: None };
        server.mutate(&rename).unwrap();
    }
    server.log().clear();
    let other = Connection::open(site.destination_path()).unwrap();
    let mut sync = site.start().unwrap();
    // It has found the database free, and now has much to write.
    assert!(sync.wait_until(|_| server.log().len() >= 3).unwrap());
    other.busy_timeout(Duration::from_secs(60)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let renamed = || -> i64 {
        other.query_row("SELECT count(*) FROM runs WHERE name = 'renamed'", [], |row| row.get(0)).unwrap()
    };
    let (before, runs) = (renamed(), source.ids().len());
    assert!((before as usize) < runs, "the sync was too fast to meet anybody");
    let asked_for = || server.log().all().iter().map(|it| it.run_ids.len()).sum::<usize>();
    assert!(sync.wait_until(|_| asked_for() >= runs).unwrap());
    assert!(!sync.has_ended().unwrap() && renamed() == before, "it writes beside the other program");
    other.execute_batch("ROLLBACK").unwrap();
    let ended = sync.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_whole(&source, &site);
}

#[test]
fn a_destination_that_stays_locked_is_refused_before_anything_is_asked() {
    for storage in BOTH {
        let source = Source::start(Dialect::Rest);
        let site = site(&source.server, storage);
        assert_eq!(site.sync().unwrap().code(), Some(0));
        source.server.log().clear();
        let database = match storage {
            Storage::Sqlite => site.destination_path(),
            Storage::Parquet => site.destination_path().join("_elt/catalog.db"),
        };
        let other = Connection::open(database).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let ended = site.sync().unwrap();
        assert_eq!(ended.code(), Some(6), "{ended:?}");
        let error: Value = ended.summary().unwrap()["error"].clone();
        assert!(
            error
                .as_str()
                .is_some_and(|error| error.contains("another program has locked it") && error.contains("try again")),
            "{storage:?}: {error}"
        );
        assert!(source.server.log().is_empty(), "{storage:?}: {:?}", source.server.log().all());
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(site.sync().unwrap().code(), Some(0));
        assert_whole(&source, &site);
    }
}
