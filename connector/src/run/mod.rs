//! One run on its way from W&B to the destination: as it was listed, what earlier syncs know of it, and the sink for what is read of it.
//!
//! What is read of a run is held back until the run is complete, or until it has grown too large to be held; then rows, deletions and the
//! checkpoint that answers for them go out together, with nothing of another run between them.

mod sink;

use crate::config::Config;
use crate::destination::{Destination, StatePatch};
use crate::error::Error;
use crate::state::{HistoryVersion, RunEntry};
use crate::tables::RunRow;

pub use sink::{CHUNK_BYTES, RunSink};

/// A run as a listing shows it.
#[derive(Debug)]
pub struct Listed {
    /// The run's id, as people see it in URLs.
    pub id: String,
    /// A hash of the whole entry: another one means that the run has changed.
    pub version: String,
    /// Microseconds since the epoch; none where the server's text is no time.
    pub updated_at: Option<i64>,
    /// What the entry says of the history (`graphql`).
    pub history: Option<HistoryVersion>,
    /// The whole row, where the listing already holds it (`rest`).
    pub row: Option<RunRow>,
}

impl Listed {
    /// How many history rows there are, as far as is known: the largest runs go first.
    pub fn size(&self) -> u64 {
        self.lines().unwrap_or(0)
    }

    /// The number of history rows that the listing says.
    pub fn lines(&self) -> Option<u64> {
        self.history.as_ref().and_then(|history| history.lines)
    }
}

/// What earlier syncs know of a run.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// What the state says of it, if it was read before with the same selection.
    pub entry: Option<RunEntry>,
    /// It was deleted at W&B, and is back. Then there is no entry to go on from.
    pub returned: bool,
}

/// A changed run that waits to be read.
#[derive(Debug)]
pub struct Ready {
    /// The run as it was listed.
    pub listed: Listed,
    /// What earlier syncs know of it.
    pub earlier: Earlier,
    /// With how many runs it may be read in one request, itself included.
    pub company: usize,
}

/// How the reading of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// Its rows are written.
    Synced,
    /// W&B does not have it, though it was listed; its rows stay as they are.
    Gone,
}

/// Where what is read of runs goes.
pub trait Outlet {
    /// What is to be written.
    fn config(&self) -> &Config;

    /// What the entry of a run says was selected; see [`Config::selection`].
    fn selection(&self) -> Option<String>;

    /// Where rows and words go.
    fn destination(&self) -> &dyn Destination;

    /// Ends a group of rows, with a patch of the state.
    ///
    /// # Errors
    /// The destination's.
    fn checkpoint(&self, patch: StatePatch) -> Result<(), Error>;

    /// A run was read, and its rows are with the destination; `entry` says so. `short`: some rows did not come, and may come the next time.
    ///
    /// # Errors
    /// The destination's.
    fn done(&self, listed: &Listed, entry: String, short: bool) -> Result<(), Error>;
}
