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
    /// What failed, when something did.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Notes what it is asked to do; the group with the state key `fail` fails.
    struct Noting(Arc<Mutex<Vec<&'static str>>>);

    impl Noting {
        fn note(&self, what: &'static str) {
            self.0.lock().unwrap().push(what);
        }
    }

    impl Drop for Noting {
        fn drop(&mut self) {
            self.note("closed");
        }
    }

    impl Destination for Noting {
        fn prepare(&mut self, _: Preparation) -> Result<State, DestinationError> {
            Ok(State::new())
        }

        fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
            self.note("apply");
            match group.patch.first() {
                Some((key, _)) if key == "fail" => Err(DestinationError::Failed("the disk is full".to_owned())),
                _ => Ok(()),
            }
        }

        fn commit(&mut self) -> Result<(), DestinationError> {
            self.note("commit");
            Ok(())
        }

        fn finish(&mut self) -> Result<(), DestinationError> {
            self.note("finish");
            Ok(())
        }

        fn state(&mut self) -> Result<State, DestinationError> {
            Ok(State::new())
        }

        fn replace_state(&mut self, _: &State) -> Result<(), DestinationError> {
            self.note("replace");
            Ok(())
        }
    }

    fn guarded(access: Access) -> (Guarded, impl Fn() -> Vec<&'static str>) {
        let log = Arc::<Mutex<Vec<&'static str>>>::default();
        let guarded = Guarded::new(Box::new(Noting(log.clone())), "noting:".to_owned(), access);
        (guarded, move || std::mem::take(&mut *log.lock().unwrap()))
    }

    #[test]
    fn a_commit_is_passed_on_only_after_groups() {
        let (mut destination, log) = guarded(Access::ReadWrite);
        destination.commit().unwrap();
        destination.apply(Group::default()).unwrap();
        destination.apply(Group::default()).unwrap();
        destination.commit().unwrap();
        destination.commit().unwrap();
        destination.apply(Group::default()).unwrap();
        destination.finish().unwrap();
        destination.commit().unwrap();
        assert_eq!(log(), ["apply", "apply", "commit", "apply", "finish"]);
    }

    #[test]
    fn a_destination_that_failed_is_closed_and_says_the_same_ever_after() {
        let (mut destination, log) = guarded(Access::ReadWrite);
        destination.apply(Group::default()).unwrap();
        let patch = vec![("fail".to_owned(), None)];
        let first = destination.apply(Group { patch, ..Group::default() }).unwrap_err().to_string();
        assert_eq!(log(), ["apply", "apply", "closed"]);
        for again in [destination.apply(Group::default()), destination.commit(), destination.finish()] {
            assert_eq!(again.unwrap_err().to_string(), first);
        }
        assert!(destination.state().is_err());
        assert!(log().is_empty());
    }

    #[test]
    fn one_that_is_opened_to_be_read_is_asked_for_its_state_alone() {
        let (mut destination, log) = guarded(Access::ReadOnly);
        destination.state().unwrap();
        for refused in [destination.apply(Group::default()), destination.replace_state(&State::new())] {
            assert!(matches!(refused, Err(DestinationError::Refused(why)) if why.starts_with("noting: can't be used")));
        }
        assert!(log().is_empty());
    }
}
