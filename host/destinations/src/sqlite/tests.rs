use std::path::{Path, PathBuf};
use std::slice::from_ref;

use std::time::Duration;

use rusqlite::types::Value as Stored;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::destination::Sqlite;
use super::reader::SqliteReader;
use crate::conformance::data;
use crate::conformance::data::{Value, column, group, metric, metrics, preparation, refusal, runs, upsert};
use crate::guarded::Guarded;
use crate::reader::Reader;
use crate::url::{Access, DestinationUrl};
use elt_host::{CancellationToken, Column, DataType, Destination, DestinationError, Group, Preparation, Table, Waits};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open_with(path: &Path, access: Access) -> Result<Box<dyn Destination>, DestinationError> {
    format!("sqlite:{}", path.display()).parse::<DestinationUrl>().unwrap().open(access)
}

fn open(path: &Path) -> Box<dyn Destination> {
    open_with(path, Access::ReadWrite).unwrap()
}

/// One sync of `groups`, committed after each.
fn sync(path: &Path, preparation: Preparation, groups: Vec<Group>) {
    data::sync(open(path), preparation, groups);
}

fn rows(path: &Path, sql: &str) -> Vec<Vec<Stored>> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
    rows.map(Result::unwrap).collect()
}

fn text(value: &str) -> Stored {
    Stored::Text(value.to_owned())
}

#[test]
fn every_type_is_stored_as_documented() {
    let folder = folder();
    let path = folder.path().join("w.db");
    let columns = vec![
        Column { name: "group".into(), data_type: DataType::Text, nullable: false },
        Column { name: "flag".into(), data_type: DataType::Boolean, nullable: true },
        Column { name: "count".into(), data_type: DataType::Integer, nullable: true },
        Column { name: "score".into(), data_type: DataType::Double, nullable: true },
        Column { name: "doc".into(), data_type: DataType::Json, nullable: true },
        Column { name: "at".into(), data_type: DataType::Timestamp, nullable: true },
    ];
    let table = Table::new("select".into(), columns, &["group".into()]).unwrap();
    let full = |key: &str, score: f64| -> Vec<Value> {
        vec![key.into(), Value::Bool(true), i64::MIN.into(), score.into(), "{\"a\":1e400}".into(), Value::Time(-1)]
    };
    let mut nulls = vec![Value::Null; 6];
    nulls[0] = "".into();
    let all = [full("123", 1.5), full("nan", f64::NAN), full("z\0z", f64::NEG_INFINITY), full("2.0", 2.0), nulls];
    for dictionary in [false, true] {
        sync(&path, preparation(from_ref(&table)), vec![group(vec![upsert(0, &table, &all, dictionary)], &[])]);
        let stored = |key: &str, score: Stored| {
            let at = text("2023-11-14T22:13:20.123456Z");
            vec![
                text(key),
                Stored::Integer(1),
                Stored::Integer(i64::MIN),
                score,
                text("{\"a\":1e400}"),
                text("1969-12-31T23:59:59.999999Z"),
                at,
            ]
        };
        let mut none = vec![Stored::Null; 7];
        (none[0], none[6]) = (text(""), text("2023-11-14T22:13:20.123456Z"));
        assert_eq!(
            rows(&path, "SELECT * FROM \"select\" ORDER BY 1"),
            [
                none,
                stored("123", Stored::Real(1.5)),
                stored("2.0", Stored::Real(2.0)),
                stored("nan", Stored::Null),
                stored("z\0z", Stored::Real(f64::NEG_INFINITY)),
            ]
        );
        let sql = "SELECT sql FROM sqlite_schema WHERE name = 'select'";
        assert_eq!(
            rows(&path, sql)[0][0],
            text(
                "CREATE TABLE \"select\" (\"group\" TEXT NOT NULL, \"flag\" INTEGER, \"count\" INTEGER, \"score\" REAL, \
                 \"doc\" TEXT, \"at\" TEXT, \"_synced_at\" TEXT, PRIMARY KEY (\"group\")) WITHOUT ROWID"
            )
        );
    }
}

#[test]
fn rows_that_did_not_change_keep_their_synced_at() {
    let folder = folder();
    let path = folder.path().join("w.db");
    let table = metrics();
    let nan = metric("r", 2, "loss", f64::NAN);
    let first = [metric("r", 0, "loss", 1.0), metric("r", 1, "loss", 1.0), nan.clone()];
    sync(&path, preparation(from_ref(&table)), vec![group(vec![upsert(0, &table, &first, true)], &[])]);
    let second = [metric("r", 0, "loss", 1.0), metric("r", 1, "loss", 2.0), nan];
    let later = Preparation { synced_at: 0, ..preparation(from_ref(&table)) };
    sync(&path, later, vec![group(vec![upsert(0, &table, &second, true)], &[])]);
    let (old, new) = (text("2023-11-14T22:13:20.123456Z"), text("1970-01-01T00:00:00.000000Z"));
    assert_eq!(rows(&path, "SELECT _synced_at FROM metrics ORDER BY step"), [[old.clone()], [new], [old]]);
}

#[test]
fn a_finished_sync_leaves_one_file_marked_as_ours() {
    let folder = folder();
    let path = folder.path().join("w.db");
    sync(&path, preparation(&[runs()]), vec![group(vec![], &[])]);
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["w.db"]);
    assert_eq!(rows(&path, "PRAGMA application_id"), [[Stored::Integer(APPLICATION_ID_NUMBER)]]);
    assert_eq!(rows(&path, "PRAGMA user_version"), [[Stored::Integer(1)]]);
}

const APPLICATION_ID_NUMBER: i64 = 0x656c_7463;

/// The journal mode of a file, and what lies beside it.
fn left(path: &Path) -> (String, usize) {
    let how = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, how).unwrap();
    let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    drop(connection);
    (mode, std::fs::read_dir(path.parent().unwrap()).unwrap().count())
}

fn one_file() -> (String, usize) {
    ("delete".to_owned(), 1)
}

#[test]
fn finish_makes_all_durable_although_somebody_reads_an_older_state_and_the_next_end_leaves_one_file() {
    let folder = folder();
    let path = folder.path().join("w.db");
    let mut writing = open(&path);
    writing.prepare(preparation(&[runs()])).unwrap();
    writing.apply(group(vec![], &[("a", Some("1"))])).unwrap();
    writing.commit().unwrap();
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM _elt_state").unwrap();
    writing.apply(group(vec![], &[("a", Some("2"))])).unwrap();
    writing.commit().unwrap();
    writing.finish().unwrap();
    assert_eq!(rows(&path, "SELECT value FROM _elt_state"), [[text("2")]]);
    let seen: String = reader.query_row("SELECT value FROM _elt_state", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, "1");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(rows(&path, "PRAGMA journal_mode"), [[text("wal")]]);
    drop(reader);
    sync(&path, preparation(&[runs()]), vec![group(vec![], &[("a", Some("3"))])]);
    assert_eq!(left(&path), one_file());
}

#[test]
fn somebody_elses_database_in_wal_mode_stays_in_it() {
    let folder = folder();
    let path = folder.path().join("w.db");
    let theirs = Connection::open(&path).unwrap();
    theirs.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    theirs.execute_batch("CREATE TABLE diary(day TEXT)").unwrap();
    drop(theirs);
    sync(&path, preparation(&[runs()]), vec![group(vec![], &[("a", Some("1"))])]);
    assert_eq!(rows(&path, "PRAGMA journal_mode"), [[text("wal")]]);
}

#[test]
fn looking_at_the_state_leaves_nothing_beside_the_file_also_of_an_earlier_version() {
    let folder = folder();
    let path = folder.path().join("w.db");
    sync(&path, preparation(&[runs()]), vec![group(vec![], &[("a", Some("1"))])]);
    // As an earlier version left it.
    Connection::open(&path).unwrap().query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    let before = std::fs::read(&path).unwrap();
    for _ in 0..2 {
        let mut looking = open_with(&path, Access::ReadOnly).unwrap();
        assert_eq!(looking.state().unwrap()["a"], "1");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// What a sync of these tables would find lost.
fn lost(path: &Path, preparation: Preparation) -> Vec<(String, bool)> {
    let mut destination = open(path);
    destination.prepare(preparation).unwrap();
    destination.lost_tables().unwrap().into_iter().map(|lost| (lost.name, lost.is_certain)).collect()
}

#[test]
fn a_table_that_was_dropped_is_missed_until_it_is_made_anew() {
    let folder = folder();
    let path = folder.path().join("w.db");
    let (both, one) = (|| preparation(&[runs(), metrics()]), || preparation(&[runs()]));
    let state = || group(vec![], &[("a", Some("1"))]);
    let none: [(String, bool); 0] = [];
    assert_eq!(lost(&path, both()), none, "there is nothing yet");
    sync(&path, one(), vec![state()]);
    assert_eq!(lost(&path, both()), none, "it was never asked for");
    sync(&path, both(), vec![state()]);
    assert_eq!(lost(&path, both()), none);
    Connection::open(&path).unwrap().execute_batch("DROP TABLE metrics").unwrap();
    for _ in 0..2 {
        // Whoever was stopped before the first commit has changed nothing.
        assert_eq!(lost(&path, both()), [("metrics".to_owned(), true)]);
    }
    assert_eq!(lost(&path, one()), none, "nobody asks for it");
    sync(&path, both(), vec![state()]);
    assert_eq!(lost(&path, both()), none);

    // Dropped while it is not asked for: to ask for it is something new then.
    sync(&path, one(), vec![state()]);
    Connection::open(&path).unwrap().execute_batch("DROP TABLE metrics").unwrap();
    sync(&path, one(), vec![state()]);
    assert_eq!(lost(&path, both()), none);

    // An earlier version noted nothing.
    Connection::open(&path).unwrap().execute_batch("DROP TABLE _elt_tables; DROP TABLE runs").unwrap();
    let uncertain = ["runs", "metrics"].map(|name| (name.to_owned(), false));
    assert_eq!(lost(&path, both()), uncertain);
    sync(&path, Preparation { full_refresh: true, ..both() }, vec![state()]);
    assert_eq!(lost(&path, both()), none);
}

#[test]
fn a_second_sync_is_refused_at_once_also_through_a_symbolic_link() {
    let folder = folder();
    let path = folder.path().join("w.db");
    sync(&path, preparation(&[runs()]), vec![group(vec![], &[])]);
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let first = open(&path);
    for path in [&path, &link] {
        let message = refusal(open_with(path, Access::ReadWrite));
        assert!(message.contains("another sync is writing to sqlite:"), "{message}");
    }
    drop(first);
    open(&link);
}

#[test]
fn places_that_cant_be_a_database_are_refused_with_nothing_written() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(
        at("notes.txt"),
        "Dear diary, today I did not write a database, but this text is long enough for a header.",
    )
    .unwrap();
    std::fs::create_dir(at("dir")).unwrap();
    let foreign = Connection::open(at("foreign.db")).unwrap();
    foreign.execute_batch("PRAGMA application_id = 252006673; CREATE TABLE event(x)").unwrap();
    drop(foreign);
    let newer = Connection::open(at("newer.db")).unwrap();
    newer
        .execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID_NUMBER}; PRAGMA user_version = 2; CREATE TABLE x(x)"
        ))
        .unwrap();
    drop(newer);
    for (name, hint) in [
        ("notes.txt", "not a SQLite database"),
        ("dir", "it is a folder"),
        ("no/such/w.db", "does not exist. Create it first."),
        ("notes.txt/w.db", "notes.txt"),
        ("foreign.db", "belongs to another application (its application_id is 252006673)"),
        ("newer.db", "layout 2"),
    ] {
        let before = std::fs::read(at(name)).ok();
        let opened = open_with(&at(name), Access::ReadWrite);
        let message = refusal(opened.and_then(|mut destination| destination.prepare(preparation(&[runs()]))));
        assert!(message.contains(hint), "{name}: {message}");
        assert_eq!(std::fs::read(at(name)).ok(), before);
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "{left:?}");
    let message = refusal(open_with(&at("none.db"), Access::ReadOnly));
    assert!(message.contains("there is no such file. Run a sync first."), "{message}");
}

#[test]
fn tables_that_dont_fit_are_refused_by_name_and_nothing_is_written() {
    let good = "run_id TEXT NOT NULL, step INTEGER NOT NULL, metric_name TEXT NOT NULL";
    for (create, hint) in [
        (
            format!(
                "CREATE TABLE metrics({good}, metric_value TEXT, timestamp TEXT, PRIMARY KEY(run_id, step, metric_name))"
            ),
            "column `metric_value` is TEXT, expected REAL",
        ),
        (
            format!("CREATE TABLE metrics({good}, metric_value REAL, timestamp TEXT, PRIMARY KEY(run_id, step))"),
            "its primary key is (run_id, step), expected (run_id, step, metric_name)",
        ),
        (format!("CREATE TABLE metrics({good}, metric_value REAL, timestamp TEXT)"), "its primary key is none"),
        ("CREATE TABLE metrics(run_id TEXT PRIMARY KEY, metric_name TEXT)".to_owned(), "lacks the column `step`"),
        (
            format!(
                "CREATE TABLE metrics({good}, metric_value REAL NOT NULL, timestamp TEXT, PRIMARY KEY(run_id, step, metric_name))"
            ),
            "column `metric_value` is NOT NULL",
        ),
        (
            format!(
                "CREATE TABLE metrics({good}, metric_value REAL, timestamp TEXT, mine TEXT NOT NULL, PRIMARY KEY(run_id, step, metric_name))"
            ),
            "column `mine` is NOT NULL without a default",
        ),
        (
            format!(
                "CREATE TABLE metrics({good}, metric_value REAL AS (1.0), timestamp TEXT, PRIMARY KEY(run_id, step, metric_name))"
            ),
            "column `metric_value` is generated",
        ),
        ("CREATE VIEW Metrics AS SELECT 1".to_owned(), "`metrics` in it is a view"),
        ("CREATE TABLE _elt_state(key TEXT, value TEXT)".to_owned(), "its table `_elt_state` does not fit"),
    ] {
        let folder = folder();
        let path = folder.path().join("w.db");
        Connection::open(&path).unwrap().execute_batch(&create).unwrap();
        let before = std::fs::read(&path).unwrap();
        let mut destination = open(&path);
        let message = refusal(destination.prepare(preparation(&[runs(), metrics()])));
        assert!(message.contains(hint), "{create}: {message}");
        drop(destination);
        assert_eq!(std::fs::read(&path).unwrap(), before, "{create}");
    }
}

#[test]
fn a_users_own_database_with_other_tables_and_extra_columns_is_used_and_left_as_it_is() {
    let folder = folder();
    let path = folder.path().join("w.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE diary(day TEXT); INSERT INTO diary VALUES ('monday');
             CREATE TABLE metrics(note TEXT, run_id VARCHAR(20) NOT NULL, Step BIGINT, metric_name TEXT, metric_value DOUBLE,
                                  rating INTEGER NOT NULL DEFAULT 5, PRIMARY KEY(run_id, step, metric_name));
             INSERT INTO metrics VALUES ('mine', 'r', 0, 'x', 0.5, 1);",
        )
        .unwrap();
    let table = metrics();
    let batch = [metric("r", 0, "x", 1.0), metric("r", 1, "x", 2.0)];
    sync(&path, preparation(from_ref(&table)), vec![group(vec![upsert(0, &table, &batch, false)], &[])]);
    assert_eq!(rows(&path, "SELECT day FROM diary"), [[text("monday")]]);
    assert_eq!(
        rows(&path, "SELECT note, rating, metric_value, timestamp FROM metrics ORDER BY step"),
        [
            [text("mine"), Stored::Integer(1), Stored::Real(1.0), text("2020-09-13T12:26:40.000000Z")],
            [Stored::Null, Stored::Integer(5), Stored::Real(2.0), text("2020-09-13T12:26:40.000001Z")],
        ]
    );
    assert_eq!(rows(&path, "PRAGMA application_id"), [[Stored::Integer(0)]]);
}

#[test]
fn a_new_nullable_column_is_added_to_a_table_that_exists() {
    let folder = folder();
    let path = folder.path().join("w.db");
    let old = Table::new("runs".into(), vec![column("run_id", DataType::Text, false)], &["run_id".into()]).unwrap();
    sync(&path, preparation(from_ref(&old)), vec![group(vec![upsert(0, &old, &[vec!["a".into()]], false)], &[])]);
    assert_eq!(
        lost(&path, preparation(&[runs()])),
        [("runs".to_owned(), true)],
        "the rows that are there lack what is in it"
    );
    let row = vec!["b".into(), "name".into(), Value::Null, Value::Null, Value::Bool(true)];
    sync(&path, preparation(&[runs()]), vec![group(vec![upsert(0, &runs(), &[row], false)], &[])]);
    assert_eq!(
        rows(&path, "SELECT run_id, name, starred FROM runs"),
        [[text("a"), Stored::Null, Stored::Null], [text("b"), text("name"), Stored::Integer(1)]]
    );
    assert_eq!(lost(&path, preparation(&[runs()])), []);
    // And a program that knows fewer columns goes on working.
    assert_eq!(lost(&path, preparation(from_ref(&old))), []);
    sync(
        &path,
        preparation(from_ref(&old)),
        vec![group(vec![upsert(0, &old, &[vec!["b".into()], vec!["c".into()]], false)], &[])],
    );
    assert_eq!(rows(&path, "SELECT count(*) FROM runs"), [[Stored::Integer(3)]]);
}

#[test]
fn a_database_locked_by_another_program_is_refused_and_a_sync_that_meets_it_later_stores_nothing_torn() {
    let folder = folder();
    let path = folder.path().join("w.db");
    sync(&path, preparation(&[runs()]), vec![group(vec![], &[])]);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut destination = open(&path);
    let message = refusal(destination.prepare(preparation(&[runs()])));
    assert!(message.contains("another program has locked it"), "{message}");
}

/// A database with the state `a` = `1`, as a process leaves it that is killed in the middle of a transaction without a log.
fn killed(folder: &Path) -> PathBuf {
    let path = folder.join("w.db");
    sync(&path, preparation(&[metrics()]), vec![group(vec![], &[("a", Some("1"))])]);
    // A transaction that no longer fits into memory has changed the file, and the journal knows what was there.
    let writer = Connection::open(&path).unwrap();
    let mode: String = writer.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    writer
        .execute_batch(
            "PRAGMA cache_size = 2; BEGIN; UPDATE _elt_state SET value = '2'; CREATE TABLE filler(x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO filler SELECT randomblob(500) FROM n",
        )
        .unwrap();
    // What a kill leaves is what lies there at that moment.
    for ending in ["", "-journal"] {
        let name = |file: &str| folder.join(format!("{file}{ending}"));
        std::fs::copy(name("w.db"), name("left.db")).unwrap();
    }
    folder.join("left.db")
}

#[test]
fn a_database_that_a_killed_process_left_with_a_journal_can_be_read() {
    let folder = folder();
    let mut destination = open_with(&killed(folder.path()), Access::ReadOnly).unwrap();
    assert_eq!(destination.state().unwrap()["a"], "1");
    refusal(destination.prepare(preparation(&[metrics()])));
}

#[test]
fn a_database_that_a_killed_process_left_with_a_journal_can_be_verified() {
    let folder = folder();
    let reading = SqliteReader::open(&killed(folder.path())).unwrap();
    assert_eq!(reading.state().unwrap()["a"], "1");
    // That the journal was played back is nobody's writing.
    reading.check_unchanged().unwrap();
}

#[test]
fn a_full_database_fails_the_sync_keeps_what_was_committed_and_tears_nothing() {
    for limit in [12, 20, 40, 80] {
        let folder = folder();
        let path = folder.path().join("w.db");
        let table = metrics();
        let mut destination = Sqlite::open(&path, Access::ReadWrite).unwrap();
        destination.prepare(preparation(from_ref(&table))).unwrap();
        destination.connection().unwrap().pragma_update(None, "max_page_count", limit).unwrap();
        let mut destination = Guarded::new(Box::new(destination), String::new(), Access::ReadWrite);
        let mut committed = 0;
        let mut failure = None;
        for number in 0..200i64 {
            let batch: Vec<_> = (0..50).map(|step| metric(&format!("r{number}"), step, "x", 0.0)).collect();
            let next = (number + 1).to_string();
            let result = destination
                .apply(group(vec![upsert(0, &table, &batch, true)], &[("groups", Some(&next))]))
                .and_then(|()| if number % 3 == 2 { destination.commit() } else { Ok(()) });
            match result {
                Ok(()) if number % 3 == 2 => committed = number + 1,
                Ok(()) => {}
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let Some(DestinationError::Failed(message)) = failure else { panic!("{failure:?}") };
        assert!(message.contains("the disk is full"), "{message}");
        // Nothing goes on after it, whatever the caller does.
        assert!(destination.commit().is_err() && destination.apply(Group::default()).is_err());
        drop(destination);
        let groups = rows(&path, "SELECT count(*), count(DISTINCT run_id) FROM metrics");
        assert_eq!(groups, [[Stored::Integer(committed * 50), Stored::Integer(committed)]]);
        let state = open_with(&path, Access::ReadOnly).unwrap().state().unwrap();
        assert_eq!(state.get("groups").map_or("0", String::as_str), committed.to_string());
        assert_eq!(rows(&path, "PRAGMA integrity_check"), [[text("ok")]]);
    }
}

/// A sync of `path` that meets somebody who reads it in a transaction that was open before. What it says is given to `then`, with the
/// reader's connection.
fn meets_a_reader(
    path: &Path,
    over: CancellationToken,
    then: impl Fn(Connection) + Send + Sync + 'static,
) -> Box<dyn Destination> {
    sync(path, preparation(&[runs()]), vec![group(vec![], &[("a", Some("1"))])]);
    let reader = Connection::open(path).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM _elt_state").unwrap();
    let reader = std::sync::Mutex::new(Some(reader));
    let mut destination = open(path);
    destination.wait_with(Waits::new(over, move |line| {
        assert!(line.contains("somebody reads the database"), "{line}");
        then(reader.lock().unwrap().take().expect("it is said once"));
    }));
    destination.prepare(preparation(&[runs()])).unwrap();
    destination
}

#[test]
fn a_sync_that_finds_a_reader_in_its_way_says_so_lets_others_read_and_goes_on_when_the_reader_goes() {
    let folder = folder();
    let path = folder.path().join("w.db");
    let place = path.clone();
    let mut destination = meets_a_reader(&path, CancellationToken::new(), move |reader| {
        // Another one comes, who waits for nobody.
        let another = Connection::open(&place).unwrap();
        another.busy_timeout(Duration::ZERO).unwrap();
        let count =
            |connection: &Connection| connection.query_row("SELECT count(*) FROM _elt_state", [], |row| row.get(0));
        assert_eq!((count(&another), count(&reader)), (Ok(1), Ok(1)));
    });
    destination.apply(group(vec![], &[("a", Some("2"))])).unwrap();
    assert_eq!(rows(&path, "PRAGMA journal_mode"), [[text("wal")]]);
    destination.commit().unwrap();
    destination.finish().unwrap();
    drop(destination);
    assert_eq!(rows(&path, "SELECT value FROM _elt_state"), [[text("2")]]);
    assert_eq!(left(&path), one_file());
}

#[test]
fn a_sync_that_has_to_end_while_a_reader_is_in_its_way_does_so_with_nothing_torn() {
    let folder = folder();
    let path = folder.path().join("w.db");
    let over = CancellationToken::new();
    let (stays, stop) = (std::sync::Arc::new(std::sync::Mutex::new(None)), over.clone());
    let kept = stays.clone();
    let mut destination = meets_a_reader(&path, over, move |reader| {
        *kept.lock().unwrap() = Some(reader);
        stop.cancel();
    });
    let stopped = destination.apply(group(vec![], &[("a", Some("2"))]));
    assert!(matches!(&stopped, Err(DestinationError::Stopped(why)) if why.contains("was in the way")), "{stopped:?}");
    assert!(matches!(destination.commit(), Err(DestinationError::Stopped(_))), "nothing comes after it");
    drop(destination);
    stays.lock().unwrap().take();
    assert_eq!(rows(&path, "SELECT value FROM _elt_state"), [[text("1")]]);
    assert_eq!(left(&path), one_file());
}
