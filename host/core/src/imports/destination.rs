//! `elt:connector/destination`: rows, deletions and checkpoints, checked and gathered into groups.
//!
//! A group goes to the writer when its checkpoint arrives, whole. The writer's queue is bounded, so a checkpoint waits while
//! the destination is behind, and the guest with it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::Guest;
use crate::batch;
use crate::batch::{BatchError, shorten};
use crate::bindings::destination::{DestinationError as GuestError, Host};
use crate::bindings::types::Batch;
use crate::destination::writer::Writer;
use crate::destination::{Change, Group};
use crate::error::Error;
use crate::http::mask::Mask;
use crate::runtime::limits::breach;
use crate::runtime::policy::Limits;
use crate::schema::Table;
use crate::state;
use crate::state::{ENTRY_BYTES, State, StatePatch};

/// What one change costs beside its arrays, so that a flood of tiny batches meets a limit too.
const CHANGE_BYTES: usize = 1 << 10;

/// Calls that a guest may make after one failed: those that were under way already. Then it is stopped.
const MOST_IGNORED: u32 = 64;

/// Where the rows of one sync go.
pub(crate) struct Sink {
    tables: Arc<[Table]>,
    writer: Arc<Writer>,
    limits: Limits,
    mask: Mask,
    group: Group,
    group_bytes: usize,
    rows: u64,
    state: StateSize,
    ignored: u32,
}

impl Sink {
    /// Sends groups to `writer`, which has been prepared with `tables` and has stored `state`. What `mask` looks for is hidden
    /// in rows, and refused in the state.
    pub(crate) fn new(tables: Arc<[Table]>, writer: Arc<Writer>, limits: Limits, mask: Mask, state: &State) -> Self {
        let state = StateSize::of(state);
        Self { tables, writer, limits, mask, group: Group::default(), group_bytes: 0, rows: 0, state, ignored: 0 }
    }

    fn upsert(&mut self, table: &str, mut rows: Batch) -> Result<(), Error> {
        let index = self.find(table)?;
        batch::hide(&mut rows, &self.mask);
        let Some(rows) = self.checked(batch::rows(&self.tables[index], rows, self.limits.batch_bytes))? else {
            return Ok(());
        };
        self.rows = self.rows.saturating_add(rows.num_rows() as u64);
        if self.rows > self.limits.rows {
            return Err(breach("rows", format!("{} allowed", self.limits.rows)));
        }
        self.add(rows.get_array_memory_size(), Change::Upsert { table: index, rows })
    }

    fn delete(&mut self, table: &str, mut keys: Batch) -> Result<(), Error> {
        let index = self.find(table)?;
        batch::hide(&mut keys, &self.mask);
        let Some(keys) = self.checked(batch::keys(&self.tables[index], keys, self.limits.batch_bytes))? else {
            return Ok(());
        };
        self.add(keys.get_array_memory_size(), Change::Delete { table: index, keys })
    }

    async fn checkpoint(&mut self, patch: StatePatch) -> Result<(), Error> {
        // Never changed, unlike rows: with stars in it, two keys can become one, and a cursor can lead elsewhere.
        if patch.iter().flat_map(|(key, value)| [Some(key), value.as_ref()]).flatten().any(|text| self.mask.is_in(text))
        {
            return Err(Error::Contract("a checkpoint holds a secret of the configuration".into()));
        }
        self.grow(state::patch_bytes(&patch))?;
        self.state.apply(&patch);
        if self.state.bytes > self.limits.state_bytes {
            let detail = format!("{} bytes allowed, {} needed", self.limits.state_bytes, self.state.bytes);
            return Err(breach("state_bytes", detail));
        }
        self.group.patch = patch;
        self.group_bytes = 0;
        let sent = self.writer.send(std::mem::take(&mut self.group)).await;
        sent.map_err(|why| Error::Destination(why.to_string()))
    }

    /// Ends the sync: rows after the last checkpoint are a last group.
    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        if self.group.changes.is_empty() { Ok(()) } else { self.checkpoint(StatePatch::new()).await }
    }

    fn find(&self, name: &str) -> Result<usize, Error> {
        let found = self.tables.iter().position(|table| table.name() == name);
        found.ok_or_else(|| Error::Contract(format!("there is no table `{}` in its schema", shorten(name))))
    }

    fn checked<T>(&self, batch: Result<T, BatchError>) -> Result<T, Error> {
        batch.map_err(|why| match why {
            BatchError::Invalid(why) => Error::Contract(why),
            BatchError::TooLarge(bytes) => {
                breach("batch_bytes", format!("{} bytes allowed, {bytes} sent", self.limits.batch_bytes))
            }
        })
    }

    fn add(&mut self, bytes: usize, change: Change) -> Result<(), Error> {
        self.grow(bytes.saturating_add(CHANGE_BYTES))?;
        self.group.changes.push(change);
        Ok(())
    }

    /// Counts what comes into the group.
    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.group_bytes = self.group_bytes.saturating_add(bytes);
        if self.group_bytes > self.limits.group_bytes {
            return Err(breach(
                "group_bytes",
                format!("{} bytes allowed between two checkpoints", self.limits.group_bytes),
            ));
        }
        Ok(())
    }
}

/// The size of the state, without its texts.
struct StateSize {
    bytes: usize,
    /// The length of each value by a hash of its key that no guest can foresee.
    values: HashMap<u64, usize>,
    hasher: RandomState,
}

impl StateSize {
    fn of(state: &State) -> Self {
        let mut size = Self { bytes: 0, values: HashMap::with_capacity(state.len()), hasher: RandomState::new() };
        state.iter().for_each(|(key, value)| size.set(key, Some(value.as_str())));
        size
    }

    fn apply(&mut self, patch: &StatePatch) {
        patch.iter().for_each(|(key, value)| self.set(key, value.as_deref()));
    }

    fn set(&mut self, key: &str, value: Option<&str>) {
        let (hash, entry) = (self.hasher.hash_one(key), ENTRY_BYTES + key.len());
        let before = match value {
            Some(value) => {
                self.bytes += entry + value.len();
                self.values.insert(hash, value.len())
            }
            None => self.values.remove(&hash),
        };
        self.bytes = self.bytes.saturating_sub(before.map_or(0, |length| entry + length));
    }
}

impl Guest {
    /// Where rows go. Outside of `sync`, and after a call that failed (the connector has to return then), the answer is an
    /// error; when the connector goes on and on, it ends here.
    fn sink(&mut self) -> wasmtime::Result<Result<&mut Sink, GuestError>> {
        match &mut self.sink {
            Some(sink) if self.stop.reason().is_some() => {
                sink.ignored += 1;
                wasmtime::ensure!(sink.ignored <= MOST_IGNORED, "it goes on although its sync has failed");
                Ok(Err(GuestError::Interrupted))
            }
            Some(sink) => Ok(Ok(sink)),
            None => Ok(Err(GuestError::Invalid("rows can be sent in `sync` only".into()))),
        }
    }

    /// Remembers why the sync has to end, and tells the guest.
    fn settle(&mut self, result: Result<(), Error>) -> Result<(), GuestError> {
        result.map_err(|error| {
            self.stop.give(error.clone());
            match error {
                Error::Contract(why) => GuestError::Invalid(why),
                Error::Limit { limit, .. } => GuestError::Limit(limit.into()),
                // What a destination says is for people, and can name files of the host.
                _ => GuestError::Failed("the destination failed; the host knows why".into()),
            }
        })
    }
}

impl Host for Guest {
    async fn upsert(&mut self, table: String, rows: Batch) -> wasmtime::Result<Result<(), GuestError>> {
        let done = match self.sink()? {
            Ok(sink) => sink.upsert(&table, rows),
            Err(why) => return Ok(Err(why)),
        };
        Ok(self.settle(done))
    }

    async fn delete(&mut self, table: String, keys: Batch) -> wasmtime::Result<Result<(), GuestError>> {
        let done = match self.sink()? {
            Ok(sink) => sink.delete(&table, keys),
            Err(why) => return Ok(Err(why)),
        };
        Ok(self.settle(done))
    }

    async fn checkpoint(&mut self, patch: StatePatch) -> wasmtime::Result<Result<(), GuestError>> {
        let done = match self.sink()? {
            Ok(sink) => sink.checkpoint(patch).await,
            Err(why) => return Ok(Err(why)),
        };
        Ok(self.settle(done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_the_state_follows_its_patches() {
        let set = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        let mut size = StateSize::of(&State::from([("ab".into(), "xyz".into())]));
        assert_eq!(size.bytes, 5 + ENTRY_BYTES);
        size.apply(&vec![set("ab", ""), set("c", "1234"), set("c", "12"), ("gone".into(), None)]);
        assert_eq!(size.bytes, 2 + 3 + 2 * ENTRY_BYTES);
        size.apply(&vec![("ab".into(), None), ("c".into(), None), ("c".into(), None)]);
        assert_eq!(size.bytes, 0);
    }
}
