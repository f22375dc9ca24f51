//! `null:` stores nothing. It shows how fast everything before the destination is.
//!
//! State is kept in memory, so that a sync behaves as it does elsewhere until the process ends.

use elt_host::state;
use elt_host::state::MergedPatch;
use elt_host::{Change, Destination, DestinationError, Group, Preparation, State};

/// Takes everything, stores nothing.
#[derive(Debug, Default)]
pub struct Null {
    tables: usize,
    state: State,
    /// The first commit empties the state.
    clear: bool,
    /// Patches of the open transaction.
    pending: MergedPatch,
}

impl Null {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Destination for Null {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        self.tables = preparation.tables.len();
        self.clear = preparation.full_refresh;
        Ok(if self.clear { State::new() } else { self.state.clone() })
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        if let Some(change) = group.changes.iter().find(|change| change.table() >= self.tables) {
            return Err(DestinationError::misfit(format!("table number {}", Change::table(change))));
        }
        self.pending.extend(group.patch);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        if std::mem::take(&mut self.clear) {
            self.state.clear();
        }
        state::apply(&mut self.state, std::mem::take(&mut self.pending));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.pending.clear();
        Ok(())
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        Ok(self.state.clone())
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        self.state.clone_from(state);
        Ok(())
    }
}
