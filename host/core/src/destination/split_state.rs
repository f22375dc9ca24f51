//! Rows in one place and state in another: a destination made of the two.
//!
//! **When to use it.** For a place that can't keep state beside its rows: an object store, a message queue, a service that takes rows
//! over HTTP. Where one transaction can hold both, implement [`Destination`] itself, as the built-in ones do.
//!
//! **What is lost by it.** Two places can't change at once, so there is a moment between them. [`SplitState`] makes rows durable first and
//! the state after them: whoever dies in between leaves a state that is *behind* the rows, never ahead of them. The next sync
//! reads again what the state does not know, and since rows are upserted by key, and deleted before they are replaced, it ends up with
//! the same rows. Two things remain that a destination with one transaction does not have:
//!
//! - After such a death, until the next sync, readers see rows that the state does not know of. They may be a part of what one
//!   checkpoint completes, unless [`Rows::commit`] is atomic.
//! - Rows that came in the lost moment, and that the source takes back before the next sync (a run is rewound to a step
//!   that the state does know), stay, because nobody knows that they ever came. A `full_refresh` removes them.
//!
//! A `full_refresh` empties the state before the first rows go, for the same reason.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use arrow_array::cast::AsArray as _;
//! use elt_host::{Change, Destination, DestinationError, Preparation, Rows, SplitState};
//! use elt_host::destination::state_store::JsonFile;
//!
//! /// Counts rows, by table and first key column.
//! #[derive(Default)]
//! struct Counts {
//!     tables: Vec<String>,
//!     rows: BTreeMap<(String, String), usize>,
//! }
//!
//! impl Rows for Counts {
//!     fn prepare(&mut self, preparation: Preparation) -> Result<(), DestinationError> {
//!         if preparation.full_refresh {
//!             self.rows.clear();
//!         }
//!         self.tables = preparation.tables.iter().map(|table| table.name().to_owned()).collect();
//!         Ok(())
//!     }
//!
//!     fn apply(&mut self, changes: Vec<Change>) -> Result<(), DestinationError> {
//!         for change in changes {
//!             let table = &self.tables[change.table()];
//!             let keys = change.batch().column(0).as_string::<i32>();
//!             for key in keys.iter().flatten() {
//!                 let count = self.rows.entry((table.clone(), key.to_owned())).or_default();
//!                 match change {
//!                     Change::Upsert { .. } => *count += 1,
//!                     Change::Delete { .. } => *count = 0,
//!                 }
//!             }
//!         }
//!         Ok(())
//!     }
//!
//!     fn commit(&mut self) -> Result<(), DestinationError> {
//!         Ok(()) // Here rows would be written, and made to survive a loss of power.
//!     }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("state.json");
//! let mut destination = SplitState::new(Counts::default(), JsonFile::open(path)?);
//! # use std::sync::Arc;
//! # use arrow_array::{ArrayRef, RecordBatch, StringArray};
//! # use elt_host::{Column, DataType, Group, Table};
//! # let column = Column { name: "run_id".into(), data_type: DataType::Text, nullable: false };
//! # let table = Table::new("runs".into(), vec![column], &["run_id".into()])?;
//! # destination.prepare(Preparation { tables: vec![table], synced_at: 0, full_refresh: false })?;
//! # let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
//! # let rows = RecordBatch::try_from_iter([("run_id", names)])?;
//! # let patch = vec![("jobs/a".to_owned(), Some("done".to_owned()))];
//! # destination.apply(Group { changes: vec![Change::Upsert { table: 0, rows }], patch: patch.clone() })?;
//! # assert!(destination.state()?.is_empty(), "not before the commit");
//! # destination.commit()?;
//! # assert_eq!(destination.rows().rows[&("runs".to_owned(), "a".to_owned())], 2);
//! assert_eq!(destination.state()?["jobs/a"], "done");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::state_store::StateStore;
use super::{Change, Destination, DestinationError, Group, Preparation};
use crate::state::{MergedPatch, State, StatePatch};

/// A place that stores rows and no state.
pub trait Rows: Send {
    /// Checks that `preparation` can be carried out; as [`Destination::prepare`].
    ///
    /// # Errors
    /// It can't be.
    fn prepare(&mut self, preparation: Preparation) -> Result<(), DestinationError>;

    /// Takes changes, in their order.
    ///
    /// # Errors
    /// They could not be stored; nothing is called after it.
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), DestinationError>;

    /// Makes every change that was taken durable. When it returns they survive a loss of power: the state, which is stored next,
    /// does. (A commit of the built-in destinations survives a crash of the process and no more, so they are no `Rows`.)
    ///
    /// # Errors
    /// They may be stored or not; the state stays behind.
    fn commit(&mut self) -> Result<(), DestinationError>;

    /// Ends the sync after the last commit; lets go of locks.
    ///
    /// # Errors
    /// What was committed is stored, but it could not be closed.
    fn finish(&mut self) -> Result<(), DestinationError> {
        Ok(())
    }
}

/// A destination made of a place for rows and a place for state.
#[derive(Debug)]
pub struct SplitState<R, S> {
    rows: R,
    store: S,
    /// Patches of the groups that were applied and not committed, in one.
    pending: MergedPatch,
    /// The first commit has to empty the state before it touches rows.
    refresh: bool,
}

impl<R: Rows, S: StateStore> SplitState<R, S> {
    /// Of the two. They belong together: rows that were emptied need an empty state.
    pub fn new(rows: R, store: S) -> Self {
        Self { rows, store, pending: MergedPatch::new(), refresh: false }
    }

    /// The place for rows.
    pub fn rows(&self) -> &R {
        &self.rows
    }
}

impl<R: Rows, S: StateStore> Destination for SplitState<R, S> {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        self.pending.clear();
        self.refresh = preparation.full_refresh;
        self.rows.prepare(preparation)?;
        if self.refresh { Ok(State::new()) } else { self.store.load() }
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        self.rows.apply(group.changes)?;
        self.pending.extend(group.patch);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        if self.refresh {
            // The rows that the old state answers for go with this commit.
            self.store.replace(&State::new())?;
            self.refresh = false;
        }
        self.rows.commit()?;
        if !self.pending.is_empty() {
            let patch: StatePatch = std::mem::take(&mut self.pending).into_iter().collect();
            if let Err(why) = self.store.patch(&patch) {
                self.pending.extend(patch);
                return Err(why);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.rows.finish()
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        self.store.load()
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        self.store.replace(state)
    }
}
