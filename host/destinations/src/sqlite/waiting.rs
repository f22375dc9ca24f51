//! Waiting for others who use the database.
//!
//! SQLite's own waiting can't be ended from outside and holds a lock that keeps new readers out. So every attempt is short, and
//! between attempts nothing is locked.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use elt_host::Waits;

/// How long one attempt waits; readers that come meanwhile wait with it.
const ATTEMPT: Duration = Duration::from_millis(250);
/// Between two attempts. Somebody who reads again and again gets in here.
const PAUSE: Duration = Duration::from_millis(100);
/// How long somebody is waited for when the sync has to end.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// How long others are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For who writes: programs mostly do so for less than a second.
    pub(super) with_writers: Duration,
    /// For who reads: a report may take long, and does no harm but that.
    pub(super) with_readers: Duration,
}

/// Who keeps a step from being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InTheWay {
    Reader,
    Writer,
}

/// Why a step was not done.
pub(super) enum Obstacle {
    /// Somebody is still in the way, after all the time that there was.
    Stays(InTheWay),
    /// The sync had to end before who was in the way did.
    Stopped(InTheWay),
    /// SQLite refused.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Obstacle {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Does `step` until nobody is in its way. `who` is asked when somebody is.
pub(super) fn wait<T>(
    connection: &Connection,
    waits: &Waits,
    patience: Patience,
    who: impl Fn() -> InTheWay,
    mut step: impl FnMut() -> rusqlite::Result<T>,
) -> Result<T, Obstacle> {
    connection.busy_timeout(ATTEMPT)?;
    let (began, mut told) = (Instant::now(), None);
    loop {
        match step() {
            Err(error) if is_busy(&error) => {}
            done => return Ok(done?),
        }
        let who = who();
        let (waited, most) = match who {
            InTheWay::Reader => (began.elapsed(), patience.with_readers),
            InTheWay::Writer => (began.elapsed(), patience.with_writers),
        };
        if waits.are_over() && waited >= LAST_PATIENCE {
            return Err(Obstacle::Stopped(who));
        }
        if waited >= most {
            return Err(Obstacle::Stays(who));
        }
        if told != Some(who) {
            told = Some(who);
            waits.tell(match who {
                InTheWay::Reader => {
                    "somebody reads the database in a transaction that stays open: nothing can be stored until it ends \
                     (a report that runs, a notebook or a database browser?); the sync waits"
                }
                InTheWay::Writer => "another program writes to the database; the sync waits for it",
            });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether it is a reader that is in the way of a change of the whole file: nobody else has the right to write.
pub(super) fn reads_or_writes(connection: &Connection) -> InTheWay {
    match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Ok(()) => InTheWay::Reader,
        Err(_) => InTheWay::Writer,
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy))
}
