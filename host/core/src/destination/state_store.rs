//! State in a place of its own, apart from the rows: a trait, and a file as the example of it.
//!
//! [`super::split_state`] joins such a store with a place for rows.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::DestinationError;
use super::lock::SyncLock;
use crate::state;
use crate::state::{State, StatePatch};
use elt_support::json;
use elt_support::paths::sibling;

/// A place that keeps a connector's state.
pub trait StateStore: Send {
    /// The stored state; empty when nothing was stored yet. A state that can't be read is an error and never an empty one, which
    /// would make the next sync read everything again.
    ///
    /// # Errors
    /// It can't be read.
    fn load(&mut self) -> Result<State, DestinationError>;

    /// Puts `state` in the place of what is stored, whole or not at all. When it returns, the state survives a loss of power.
    ///
    /// # Errors
    /// It could not be stored; the old one is still there.
    fn replace(&mut self, state: &State) -> Result<(), DestinationError>;

    /// Changes the stored state as `patch` says, whole or not at all; as durable as [`StateStore::replace`]. A store that can
    /// change single keys, such as a database, does better than what is given here, which writes everything anew.
    ///
    /// # Errors
    /// As [`StateStore::load`] and [`StateStore::replace`].
    fn patch(&mut self, patch: &StatePatch) -> Result<(), DestinationError> {
        let mut state = self.load()?;
        state::apply(&mut state, patch.clone());
        self.replace(&state)
    }
}

/// State in a JSON file, as `state export` prints it. Each change writes the file anew beside the old one, which it then replaces.
///
/// ```
/// use elt_host::destination::state_store::{JsonFile, StateStore as _};
/// use elt_host::state::State;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("state.json");
/// let mut store = JsonFile::open(path.clone())?;
/// assert_eq!(store.load()?, State::new());
/// store.patch(&vec![("newest".into(), Some("2025-06-15T15:06:40Z".into()))])?;
/// assert_eq!(std::fs::read_to_string(path)?, r#"{"newest":"2025-06-15T15:06:40Z"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct JsonFile {
    path: PathBuf,
    _lock: SyncLock,
}

impl JsonFile {
    /// At a path whose folder exists; the file need not. Until it is dropped nobody else can open the same one, so that two syncs
    /// at once don't overwrite each other's state.
    ///
    /// # Errors
    /// [`DestinationError::Refused`]: somebody else has it, or there can be no lock beside it.
    pub fn open(path: PathBuf) -> Result<Self, DestinationError> {
        let lock = SyncLock::acquire(sibling(&path, "-sync"), &path.display().to_string())?;
        Ok(Self { path, _lock: lock })
    }
}

impl StateStore for JsonFile {
    fn load(&mut self) -> Result<State, DestinationError> {
        let refused = |why: &dyn std::fmt::Display| {
            let path = self.path.display();
            DestinationError::Refused(format!(
                "the state in {path} can't be used: {why}. Restore the file, or remove it to begin again."
            ))
        };
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::new()),
            Err(error) => return Err(refused(&error)),
        };
        let object = json::object(&text).map_err(|error| {
            refused(&format_args!("line {}, column {}: {}", error.line, error.column, error.message))
        })?;
        state::from_object(object).map_err(|error| refused(&error))
    }

    fn replace(&mut self, state: &State) -> Result<(), DestinationError> {
        write(&self.path, state).map_err(|error| {
            DestinationError::Failed(format!("the state can't be written: {}: {error}", self.path.display()))
        })
    }
}

fn write(path: &Path, state: &State) -> io::Result<()> {
    let text = serde_json::to_vec(state)?;
    let new = sibling(path, "-new");
    let mut file = File::create(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The new name is durable when the folder is.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn state(entries: &[(&str, &str)]) -> State {
        entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_patch_sets_and_removes_and_leaves_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut store = JsonFile::open(path.clone()).unwrap();
        store.replace(&state(&[("kept \"🦀\"\0", "a\nb"), ("gone", ""), ("changed", "1")])).unwrap();
        let patch =
            vec![("gone".into(), None), ("changed".into(), Some("2".into())), ("new".into(), Some(String::new()))];
        store.patch(&patch).unwrap();
        drop(store);
        let mut again = JsonFile::open(path).unwrap();
        assert_eq!(again.load().unwrap(), state(&[("kept \"🦀\"\0", "a\nb"), ("changed", "2"), ("new", "")]));
        drop(again);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["state.json"], "neither the lock nor the new file stays");
    }

    #[test]
    fn a_file_that_was_being_written_when_the_process_died_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut store = JsonFile::open(path.clone()).unwrap();
        store.replace(&state(&[("key", "old")])).unwrap();
        fs::write(sibling(&path, "-new"), r#"{"key":"ne"#).unwrap();
        assert_eq!(store.load().unwrap(), state(&[("key", "old")]));
        store.replace(&state(&[("key", "new")])).unwrap();
        assert_eq!(store.load().unwrap(), state(&[("key", "new")]));
    }

    #[test]
    fn whoever_reads_meanwhile_reads_one_state_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut store = JsonFile::open(path.clone()).unwrap();
        store.replace(&state(&[("key", "a long old value")])).unwrap();
        let reader = File::open(&path).unwrap();
        store.replace(&state(&[("key", "new")])).unwrap();
        assert_eq!(io::read_to_string(reader).unwrap(), r#"{"key":"a long old value"}"#);
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"key":"new"}"#);
    }

    #[test]
    fn what_is_no_state_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut store = JsonFile::open(path.clone()).unwrap();
        for (text, why) in [
            ("", "line 1, column 1: EOF while parsing a value"),
            (r#"{"a":"1""#, "line 1, column 8: EOF while parsing an object"),
            (r#"{"a":1}"#, "state `a`: must be a string"),
            (r#"{"a":"1","a":"2"}"#, "line 1, column"),
            (r#"["a"]"#, "must be a JSON object"),
        ] {
            fs::write(&path, text).unwrap();
            for result in [store.load().map(drop), store.patch(&vec![("b".into(), Some("2".into()))])] {
                let Err(DestinationError::Refused(message)) = result else { panic!("{text}: {result:?}") };
                assert!(message.contains(why), "{text}: {message}");
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(store.load(), Err(DestinationError::Refused(_))));
        assert!(matches!(store.replace(&State::new()), Err(DestinationError::Failed(_))));
    }

    #[test]
    fn a_state_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let _first = JsonFile::open(path.clone()).unwrap();
        let second = JsonFile::open(path).map(drop).unwrap_err().to_string();
        assert!(second.starts_with("another sync is writing to"), "{second}");
    }
}
