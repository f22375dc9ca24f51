//! The history of syncs: the host's own SQLite database.
//!
//! Every sync is noted when it starts and when it ends; one without an end is one that the process did not outlive. Kept are the last
//! [`KEPT`] syncs of each tenant, and the last complete one. A thread of its own writes, so that no sync waits for the disk: what is
//! lost in a crash is at most a few of the newest notes, and a start that was never noted leaves its sync as due as it was.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags, Row, params};

use super::backoff::{Failing, Mark};
use super::record::{SyncEnd, SyncRecord};
use super::tenant::TenantId;
use elt_destinations::sqlite_file::unwritten;
use elt_support::paths::sibling;

/// Syncs of each tenant that are kept.
pub const KEPT: usize = 100;
/// `application_id` of the database: "wcth".
const APPLICATION: i32 = 0x7763_7468;
/// `user_version` of the schema.
const VERSION: i32 = 1;
/// How long a look waits for another program.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the lock is tried for.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS syncs (
        sync INTEGER PRIMARY KEY,
        tenant TEXT NOT NULL,
        due_us INTEGER NOT NULL,
        started_us INTEGER NOT NULL,
        ended_us INTEGER,
        outcome TEXT,
        message TEXT,
        rows INTEGER,
        items INTEGER,
        items_left_out INTEGER,
        requests INTEGER,
        retries INTEGER,
        throttled_us INTEGER,
        memory INTEGER
    );
    CREATE INDEX IF NOT EXISTS syncs_of_tenant ON syncs (tenant, sync);
    CREATE INDEX IF NOT EXISTS complete_syncs ON syncs (tenant, sync) WHERE outcome = 'ok';
    CREATE TABLE IF NOT EXISTS failing (tenant TEXT PRIMARY KEY, times INTEGER NOT NULL, mark INTEGER) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS salt (salt INTEGER NOT NULL);";

const COLUMNS: &str = "tenant, due_us, started_us, ended_us, outcome, message, rows, items, items_left_out, \
    requests, retries, throttled_us, memory";

/// Why the history can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Another process serves the same tenants.
    #[error("another process is serving with the history {}", .0.display())]
    InUse(PathBuf),
    /// The file is something else.
    #[error("{} is no history of syncs; name another file with --history", .0.display())]
    Foreign(PathBuf),
    /// The file can't be used.
    #[error("the history {} can't be used: {why}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Which sync: counted from the first that the history ever saw.
pub type SyncNumber = i64;

/// The history, to write and to read. Only one process at a time writes.
#[derive(Debug)]
pub struct History {
    notes: Mutex<Sender<Note>>,
    reader: Reader,
    trouble: Arc<Mutex<Option<String>>>,
    salt: u64,
    _lock: File,
}

/// What is known of a tenant from its history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    /// The newest sync.
    pub last: Option<SyncRecord>,
    /// The start of the last complete one.
    pub fresh_as_of: Option<DateTime<Utc>>,
    /// How it has been failing up to that sync.
    pub failing: Option<Failing>,
}

#[derive(Debug)]
enum Note {
    Started(SyncNumber, SyncRecord),
    Ended(SyncNumber, TenantId, SyncEnd, Option<Failing>),
    Flush(SyncSender<()>),
}

impl History {
    /// Opens the history to write, or begins one. Answers the number of the next sync too.
    pub fn open(path: &Path) -> Result<(Self, SyncNumber), HistoryError> {
        let fail = |why: &dyn std::fmt::Display| HistoryError::Io { path: path.into(), why: why.to_string() };
        let lock_file = sibling(path, "-sync");
        let lock = File::options().create(true).truncate(false).write(true).open(lock_file);
        let lock = lock.map_err(|why| fail(&why))?;
        let until = Instant::now() + LOCK_PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // Whoever asks `is_in_use` holds it for a moment.
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOCK_PATIENCE / 20),
                Err(TryLockError::WouldBlock) => return Err(HistoryError::InUse(path.into())),
                Err(TryLockError::Error(why)) => return Err(fail(&why)),
            }
        }
        let writer = Connection::open(path).map_err(|why| fail(&why))?;
        prepare(&writer, path)?;
        let next = writer.query_row("SELECT coalesce(max(sync), 0) + 1 FROM syncs", [], |row| row.get(0));
        let next = next.map_err(|why| fail(&why))?;
        let salt = salt(&writer).map_err(|why| fail(&why))?;
        let reader = Reader::open(path)?;
        let (notes, received) = mpsc::channel();
        let trouble = Arc::new(Mutex::new(None));
        let told = trouble.clone();
        let work = move || write(writer, &received, &told);
        std::thread::Builder::new().name("history".into()).spawn(work).map_err(|why| fail(&why))?;
        Ok((Self { notes: Mutex::new(notes), reader, trouble, salt, _lock: lock }, next))
    }

    /// A sync starts.
    pub fn started(&self, number: SyncNumber, record: SyncRecord) {
        self.send(Note::Started(number, record));
    }

    /// A sync has ended; how its tenant has been failing since.
    pub fn ended(&self, number: SyncNumber, tenant: TenantId, end: SyncEnd, failing: Option<Failing>) {
        self.send(Note::Ended(number, tenant, end, failing));
    }

    /// What marks ([`Mark`]) are made with. It is of this history alone.
    pub fn salt(&self) -> u64 {
        self.salt
    }

    /// Waits until everything so far is written, but not for ever. Blocks.
    pub fn flush(&self) {
        let (done, received) = mpsc::sync_channel(1);
        self.send(Note::Flush(done));
        received.recv_timeout(PATIENCE).ok();
    }

    /// Why the last notes could not be written, if they could not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// To read.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Only fails when the thread is gone; then nothing is noted any more.
    fn send(&self, note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).send(note).ok();
    }
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), HistoryError> {
    let fail = |why: rusqlite::Error| HistoryError::Io { path: path.into(), why: why.to_string() };
    connection.busy_timeout(PATIENCE).map_err(fail)?;
    known(connection, path)?;
    let set_up = || {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        // At once, for those who read meanwhile.
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection.pragma_update(None, "application_id", APPLICATION)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        connection.execute_batch(SCHEMA)?;
        connection.execute_batch("COMMIT")
    };
    set_up().map_err(fail)
}

/// Whether the database is a history of this version, or one that is only beginning: empty.
fn known(connection: &Connection, path: &Path) -> Result<bool, HistoryError> {
    // In one statement, which sees one moment.
    let sql =
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
        (SELECT count(*) FROM sqlite_schema)";
    let row = |row: &Row<'_>| Ok((row.get::<_, i32>(0)?, row.get::<_, i32>(1)?, row.get::<_, i64>(2)?));
    match connection.query_row(sql, [], row) {
        Ok((0, 0, 0)) => Ok(false),
        Ok((APPLICATION, VERSION, _)) => Ok(true),
        Ok(_) => Err(HistoryError::Foreign(path.into())),
        Err(why) if why.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            Err(HistoryError::Foreign(path.into()))
        }
        Err(why) => Err(HistoryError::Io { path: path.into(), why: why.to_string() }),
    }
}

/// Writes notes until nobody can send any more. All that wait are one transaction.
fn write(mut connection: Connection, notes: &Receiver<Note>, trouble: &Mutex<Option<String>>) {
    while let Ok(first) = notes.recv() {
        let (waiting, mut flushed) = (notes.try_iter().take(10_000), Vec::new());
        let stored = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for note in std::iter::once(first).chain(waiting) {
                match note {
                    Note::Started(number, record) => note_start(&transaction, number, &record)?,
                    Note::Ended(number, tenant, end, failing) => {
                        note_end(&transaction, number, &tenant, &end)?;
                        note_failing(&transaction, &tenant, failing)?;
                    }
                    Note::Flush(done) => flushed.push(done),
                }
            }
            transaction.commit()
        };
        let outcome = stored().err().map(|why| format!("the history of syncs can't be written: {why}"));
        *trouble.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        for done in flushed {
            done.send(()).ok();
        }
    }
}

fn note_start(connection: &Connection, number: SyncNumber, record: &SyncRecord) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO syncs (sync, tenant, due_us, started_us) VALUES (?, ?, ?, ?)";
    let SyncRecord { tenant, due, started, end: _ } = record;
    let values = params![number, tenant.as_str(), due.timestamp_micros(), started.timestamp_micros()];
    connection.prepare_cached(sql)?.execute(values)?;
    // One more than is kept: the newest.
    let sql = "DELETE FROM syncs WHERE tenant = ?1
        AND sync <= (SELECT sync FROM syncs WHERE tenant = ?1 ORDER BY sync DESC LIMIT 1 OFFSET ?2)
        AND sync <> coalesce((SELECT max(sync) FROM syncs WHERE tenant = ?1 AND outcome = 'ok'), 0)";
    connection.prepare_cached(sql)?.execute(params![tenant.as_str(), KEPT as i64])?;
    Ok(())
}

fn note_end(connection: &Connection, number: SyncNumber, tenant: &TenantId, end: &SyncEnd) -> rusqlite::Result<()> {
    let sql = "UPDATE syncs SET ended_us = ?, outcome = ?, message = ?, rows = ?, items = ?, items_left_out = ?,
        requests = ?, retries = ?, throttled_us = ?, memory = ? WHERE sync = ? AND tenant = ?";
    let number_of = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute(params![
        end.at.timestamp_micros(),
        end.outcome,
        end.message,
        number_of(end.rows),
        number_of(end.items.0),
        number_of(end.items.1),
        number_of(end.requests),
        number_of(end.retries),
        i64::try_from(end.throttled.as_micros()).unwrap_or(i64::MAX),
        number_of(end.memory),
        number,
        tenant.as_str(),
    ])?;
    Ok(())
}

fn note_failing(connection: &Connection, tenant: &TenantId, failing: Option<Failing>) -> rusqlite::Result<()> {
    match failing {
        Some(Failing { times, mark }) => {
            let sql = "INSERT OR REPLACE INTO failing (tenant, times, mark) VALUES (?, ?, ?)";
            connection.prepare_cached(sql)?.execute(params![tenant.as_str(), times, mark.map(|mark| mark.0)])?;
        }
        None => {
            connection.prepare_cached("DELETE FROM failing WHERE tenant = ?")?.execute([tenant.as_str()])?;
        }
    }
    Ok(())
}

/// The salt of the history, made where there is none yet.
fn salt(connection: &Connection) -> rusqlite::Result<u64> {
    connection.execute("INSERT INTO salt SELECT random() WHERE NOT EXISTS (SELECT 1 FROM salt)", [])?;
    connection.query_row("SELECT salt FROM salt", [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// The history, to read only; also while another process writes it.
#[derive(Debug)]
pub struct Reader {
    /// None while there is nothing to read.
    connection: Option<Mutex<Connection>>,
}

impl Reader {
    /// Opens a history that exists.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let fail = |why: rusqlite::Error| HistoryError::Io { path: path.into(), why: why.to_string() };
        // A process that was killed can leave a journal that has to be played back, which takes the right to write.
        let how = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, how).map_err(fail)?;
        connection.busy_timeout(PATIENCE).map_err(fail)?;
        connection.pragma_update(None, "query_only", true).map_err(fail)?;
        Ok(Self { connection: known(&connection, path)?.then(|| Mutex::new(connection)) })
    }

    /// What is known of each tenant.
    pub fn past(&self) -> rusqlite::Result<BTreeMap<TenantId, Past>> {
        let Some(connection) = &self.connection else { return Ok(BTreeMap::new()) };
        past(&connection.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// The last syncs of a tenant, the newest first.
    pub fn last(&self, tenant: &TenantId, most: usize) -> rusqlite::Result<Vec<SyncRecord>> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = format!("SELECT {COLUMNS} FROM syncs WHERE tenant = ? ORDER BY sync DESC LIMIT ?");
        let mut statement = connection.prepare_cached(&sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let found = statement.query_map(params![tenant.as_str(), most], record)?;
        found.filter_map(Result::transpose).collect()
    }
}

/// What is known of each tenant by the history at `path`, also while another process writes it; nothing where there is no history
/// yet. Needs no right to write, and leaves nothing beside the file.
pub fn look(path: &Path) -> Result<BTreeMap<TenantId, Past>, HistoryError> {
    let fail = |why: &dyn std::fmt::Display| HistoryError::Io { path: path.into(), why: why.to_string() };
    let place = path.canonicalize().map_err(|why| fail(&why))?;
    let read = unwritten::read(&place, |connection| match known(connection, path) {
        Ok(true) => past(connection).map(Ok),
        Ok(false) => Ok(Ok(BTreeMap::new())),
        Err(why) => Ok(Err(why)),
    });
    read.map_err(|why| fail(&why))?
}

fn past(connection: &Connection) -> rusqlite::Result<BTreeMap<TenantId, Past>> {
    let mut past: BTreeMap<TenantId, Past> = BTreeMap::new();
    let newest = format!("SELECT {COLUMNS} FROM syncs WHERE sync IN (SELECT max(sync) FROM syncs GROUP BY tenant)");
    for found in connection.prepare(&newest)?.query_map([], record)? {
        if let Some(record) = found? {
            let tenant = record.tenant.clone();
            past.entry(tenant).or_default().last = Some(record);
        }
    }
    let complete = "SELECT tenant, started_us FROM syncs
        WHERE sync IN (SELECT max(sync) FROM syncs WHERE outcome = 'ok' GROUP BY tenant)";
    let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    for found in connection.prepare(complete)?.query_map([], row)? {
        let (tenant, started) = found?;
        if let Ok(tenant) = tenant.parse() {
            past.entry(tenant).or_default().fresh_as_of = DateTime::from_timestamp_micros(started);
        }
    }
    // An earlier version has no such table.
    if connection.table_exists(None, "failing")? {
        let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Option<u16>>(2)?));
        for found in connection.prepare("SELECT tenant, times, mark FROM failing")?.query_map([], row)? {
            let (tenant, times, mark) = found?;
            if let Some(past) = tenant.parse().ok().and_then(|tenant: TenantId| past.get_mut(&tenant)) {
                past.failing = Some(Failing { times, mark: mark.map(Mark) });
            }
        }
    }
    Ok(past)
}

/// None for a row that this program did not write.
fn record(row: &Row<'_>) -> rusqlite::Result<Option<SyncRecord>> {
    let time = |index: usize| -> rusqlite::Result<Option<DateTime<Utc>>> {
        Ok(row.get::<_, Option<i64>>(index)?.and_then(DateTime::from_timestamp_micros))
    };
    let count = |index: usize| -> rusqlite::Result<u64> {
        Ok(row.get::<_, Option<i64>>(index)?.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    };
    let end = match (time(3)?, row.get::<_, Option<String>>(4)?) {
        (Some(at), Some(outcome)) => Some(SyncEnd {
            at,
            outcome,
            message: row.get(5)?,
            rows: count(6)?,
            items: (count(7)?, count(8)?),
            requests: count(9)?,
            retries: count(10)?,
            throttled: Duration::from_micros(count(11)?),
            memory: count(12)?,
        }),
        _ => None,
    };
    let (Ok(tenant), Some(due), Some(started)) = (row.get::<_, String>(0)?.parse(), time(1)?, time(2)?) else {
        return Ok(None);
    };
    Ok(Some(SyncRecord { tenant, due, started, end }))
}

/// Whether a process writes the history now.
pub fn is_in_use(path: &Path) -> bool {
    let mut lock_file = path.as_os_str().to_owned();
    lock_file.push("-sync");
    File::open(lock_file).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000 + seconds, 5000).unwrap()
    }

    fn start(tenant: &str, seconds: i64) -> SyncRecord {
        SyncRecord { tenant: tenant.parse().unwrap(), due: at(seconds - 1), started: at(seconds), end: None }
    }

    fn end(outcome: &str, seconds: i64) -> SyncEnd {
        SyncEnd {
            at: at(seconds),
            outcome: outcome.into(),
            message: (outcome != "ok").then(|| "it \"failed\"".into()),
            rows: 7,
            items: (3, 1),
            requests: 11,
            retries: 2,
            throttled: Duration::from_millis(1500),
            memory: 1 << 20,
        }
    }

    #[test]
    fn what_was_noted_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let (history, first) = History::open(&path).unwrap();
        assert_eq!(first, 1);
        history.started(1, start("a", 0));
        history.ended(1, "a".parse().unwrap(), end("ok", 5), None);
        history.started(2, start("a", 10));
        let failing = Some(Failing { times: 3, mark: Some(Mark(u16::MAX)) });
        history.ended(2, "a".parse().unwrap(), end("permission", 12), failing);
        history.started(3, start("b", 20));
        history.flush();
        assert_eq!(history.trouble(), None);
        let seen_by_others = look(&path).unwrap();
        assert_eq!(seen_by_others.len(), 2);
        assert!(is_in_use(&path) && matches!(History::open(&path), Err(HistoryError::InUse(_))));
        let salt = history.salt();
        drop(history);
        assert!(!is_in_use(&path));

        let (history, next) = History::open(&path).unwrap();
        assert_eq!((next, history.salt()), (4, salt));
        let past = history.reader().past().unwrap();
        let (a, b) = (&past[&"a".parse().unwrap()], &past[&"b".parse().unwrap()]);
        assert_eq!(a.last, Some(SyncRecord { end: Some(end("permission", 12)), ..start("a", 10) }));
        assert_eq!((a.fresh_as_of, a.failing), (Some(at(0)), failing));
        assert_eq!((b.last.clone(), b.fresh_as_of), (Some(start("b", 20)), None), "it has no end");
        assert_eq!(history.reader().last(&"a".parse().unwrap(), 1).unwrap()[0].started, at(10));
    }

    #[test]
    fn the_last_ones_are_kept_and_the_last_complete_one() {
        let folder = tempfile::tempdir().unwrap();
        let (history, _) = History::open(&folder.path().join("history.db")).unwrap();
        for number in 1..=300 {
            history.started(number, start("a", number));
            let outcome = if number == 50 { "ok" } else { "internal" };
            history.ended(number, "a".parse().unwrap(), end(outcome, number), None);
            history.started(1000 + number, start("b", number));
        }
        history.flush();
        let count = |tenant: &str| history.reader().last(&tenant.parse().unwrap(), usize::MAX).unwrap();
        assert_eq!((count("a").len(), count("b").len()), (KEPT + 1, KEPT));
        assert_eq!((count("a")[0].started, count("a")[KEPT].started), (at(300), at(50)));
        assert_eq!(history.reader().past().unwrap()[&"a".parse().unwrap()].fresh_as_of, Some(at(50)));
    }

    #[test]
    fn a_file_that_is_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (text, other) = (folder.path().join("a.db"), folder.path().join("b.db"));
        std::fs::write(&text, "x".repeat(5000)).unwrap();
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
        for path in [&text, &other] {
            assert!(matches!(History::open(path), Err(HistoryError::Foreign(_))), "{}", path.display());
            assert!(Reader::open(path).is_err() && look(path).is_err());
        }
        assert_eq!(std::fs::read_to_string(&text).unwrap(), "x".repeat(5000));
        assert!(matches!(History::open(&folder.path().join("no/history.db")), Err(HistoryError::Io { .. })));
    }
}
