//! Where rows and state go, behind one trait. The built-in kinds are in a crate of their own, a folder for each.
//!
//! A sync opens a destination, asks it for the state ([`Destination::prepare`]), then hands it groups: rows, deletions
//! and a state patch that belong together. A destination may gather groups in a transaction; [`Destination::commit`]
//! makes all of them durable. The trait is synchronous: [`writer`] runs it beside the guest, on a thread that may block.
//!
//! The built-in destinations keep the state beside the rows and change both in one transaction, so that each always answers for the
//! other. Your own does so by implementing [`Destination`]; where the state has to be in another place than the rows, a
//! destination is made [of the two](split_state), by implementing [`split_state::Rows`] or [`state_store::StateStore`] or both.

pub mod lock;
pub mod lost;
pub mod split_state;
pub mod state_store;
pub mod waits;
pub mod writer;

use arrow_array::RecordBatch;

use crate::schema::Table;
use crate::state;
use crate::state::{State, StatePatch};

/// What a connector emitted between two checkpoints. Stored whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// In the order in which they take effect.
    pub changes: Vec<Change>,
    /// The checkpoint that ended the group.
    pub patch: StatePatch,
}

impl Group {
    /// Memory that the group's rows and its patch take, about.
    pub fn bytes(&self) -> usize {
        let rows: usize = self.changes.iter().map(|change| change.batch().get_array_memory_size()).sum();
        rows + state::patch_bytes(&self.patch)
    }
}

impl Change {
    /// The rows or the keys.
    pub fn batch(&self) -> &RecordBatch {
        match self {
            Self::Upsert { rows, .. } => rows,
            Self::Delete { keys, .. } => keys,
        }
    }

    /// Which table it is about.
    pub fn table(&self) -> usize {
        match self {
            Self::Upsert { table, .. } | Self::Delete { table, .. } => *table,
        }
    }
}

/// One upsert or deletion. `table` is a position in the tables given to [`Destination::prepare`].
#[derive(Debug, Clone)]
pub enum Change {
    /// Insert or replace by primary key; of equal keys the last row wins. `rows` has every column of the table, in the schema's order;
    /// text columns are `Utf8` or `Dictionary(UInt32, Utf8)`.
    Upsert {
        /// Which table.
        table: usize,
        /// The rows.
        rows: RecordBatch,
    },
    /// Delete the rows whose leading primary-key columns equal a row of `keys`.
    Delete {
        /// Which table.
        table: usize,
        /// A leading part of the primary key, in its order, under the columns' names.
        keys: RecordBatch,
    },
}

/// What a sync tells a destination before the first group.
#[derive(Debug, Clone)]
pub struct Preparation {
    /// The tables that will be written.
    pub tables: Vec<Table>,
    /// The value of `_synced_at` in every row written: microseconds since the epoch, UTC.
    pub synced_at: i64,
    /// Start from nothing: the first commit removes all rows of `tables` and all state, then applies its groups.
    pub full_refresh: bool,
}

/// A table that a destination lacks, wholly or in part, although its state may answer for rows in it: somebody dropped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostTable {
    /// Its name.
    pub name: String,
    /// The destination noted that it made the table. Without that it was written by an earlier version, or never.
    pub is_certain: bool,
}

/// Why a destination refused or failed. Messages say what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DestinationError {
    /// The destination can't be used as it is: not ours, locked, a table that does not fit, a malformed URL.
    #[error("{0}")]
    Refused(String),
    /// Storing failed: a full disk, a lost connection.
    #[error("{0}")]
    Failed(String),
    /// The sync had to end while somebody was in the way ([`Waits::are_over`](waits::Waits::are_over)): what was not committed yet is
    /// not stored, and nothing else is wrong.
    #[error("{0}")]
    Stopped(String),
}

impl DestinationError {
    /// For a batch or a table number that does not fit the tables of [`Destination::prepare`]. The host checks what a
    /// connector sends before it gets here, so this is a fault of the host.
    pub fn misfit(what: impl std::fmt::Display) -> Self {
        Self::Failed(format!("the host handed its destination something that does not fit: {what}"))
    }
}

/// A place that stores rows and state together.
pub trait Destination: Send {
    /// Called before all else by who runs a sync: how long the destination may wait for others who use what it writes to, and to
    /// whom it says that it does. One that waits for nobody needs it not.
    fn wait_with(&mut self, _: waits::Waits) {}

    /// Checks that `preparation` can be carried out and returns the stored state (empty when `full_refresh`). Changes nothing that
    /// a reader of the destination's tables would see.
    ///
    /// # Errors
    /// [`DestinationError::Refused`]: it can't be.
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError>;

    /// The tables of the [`Preparation`] that are lost, for which the state still stands; asked after `prepare`, unless for a full
    /// refresh. The first commit makes them anew.
    ///
    /// # Errors
    /// They can't be looked at.
    fn lost_tables(&mut self) -> Result<Vec<LostTable>, DestinationError> {
        Ok(Vec::new())
    }

    /// Takes one group into the open transaction, opening one when none is.
    ///
    /// # Errors
    /// It could not be stored. Nothing of the open transaction may be committed then, nor is anything called after it.
    fn apply(&mut self, group: Group) -> Result<(), DestinationError>;

    /// Makes every applied group durable against a crash of the process. Called only when groups were applied since the last commit.
    ///
    /// # Errors
    /// Nothing is committed, or all of it is; the next sync finds out which. Nothing is called after it.
    fn commit(&mut self) -> Result<(), DestinationError>;

    /// Ends the sync after the last commit: makes all durable against loss of power, and lets go of locks.
    ///
    /// # Errors
    /// What was committed may not survive a loss of power.
    fn finish(&mut self) -> Result<(), DestinationError>;

    /// The stored state, whole.
    ///
    /// # Errors
    /// It can't be read.
    fn state(&mut self) -> Result<State, DestinationError>;

    /// Replaces the stored state, durably; the rows stay.
    ///
    /// # Errors
    /// It could not be stored; the old one is still there.
    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError>;
}
