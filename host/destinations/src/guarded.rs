//! What every destination must do however it stores things, written once around all of them.
//!
//! - Without applied groups a commit does nothing.
//! - After a failure nothing of the open transaction is committed, nor anything comes after it: the destination is closed, which takes back
//!   what is not committed and lets go of its locks.
//! - One that was opened to be read is not written.

use elt_host::{Destination, DestinationError, Group, LostTable, Preparation, State, Waits};

use crate::kind::Access;

/// A destination with these rules.
pub struct Guarded {
    /// None after a failure.
    inner: Result<Box<dyn Destination>, DestinationError>,
    /// What to call it in messages.
    name: String,
    access: Access,
    /// Groups were applied since the last commit.
    is_open: bool,
}

impl Guarded {
    /// Puts them around a destination that was opened with `access`; `name` is its URL.
    pub fn new(inner: Box<dyn Destination>, name: String, access: Access) -> Self {
        Self { inner: Ok(inner), name, access, is_open: false }
    }

    fn inner(&mut self) -> Result<&mut Box<dyn Destination>, DestinationError> {
        self.inner.as_mut().map_err(|failure| failure.clone())
    }

    fn writable(&mut self) -> Result<&mut Box<dyn Destination>, DestinationError> {
        if self.access == Access::ReadOnly {
            let why = format!("{} can't be used: it was opened to be read only.", self.name);
            return Err(DestinationError::Refused(why));
        }
        self.inner()
    }

    /// Closes the destination when a step of a transaction failed.
    fn close_on_failure(&mut self, result: Result<(), DestinationError>) -> Result<(), DestinationError> {
        if let Err(failure) = &result {
            self.inner = Err(failure.clone());
        }
        result
    }
}

impl Destination for Guarded {
    fn wait_with(&mut self, waits: Waits) {
        if let Ok(inner) = &mut self.inner {
            inner.wait_with(waits);
        }
    }

    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        self.is_open = false;
        self.writable()?.prepare(preparation)
    }

    fn lost_tables(&mut self) -> Result<Vec<LostTable>, DestinationError> {
        self.inner()?.lost_tables()
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        let applied = self.writable()?.apply(group);
        self.is_open = true;
        self.close_on_failure(applied)
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        let is_open = std::mem::take(&mut self.is_open);
        let inner = self.inner()?;
        let committed = if is_open { inner.commit() } else { Ok(()) };
        self.close_on_failure(committed)
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.is_open = false;
        self.inner()?.finish()
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        self.inner()?.state()
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        self.writable()?.replace_state(state)
    }
}
