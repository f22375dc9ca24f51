//! The points of many rows, column by column.

use super::names::{NameId, Names};

/// Points of one table; `V` is a double or a JSON text. `steps` and `timestamps` are filled at the end of each row.
#[derive(Debug, Default)]
pub struct Points<V> {
    steps: Vec<i64>,
    names: Vec<NameId>,
    values: Vec<V>,
    timestamps: Vec<i64>,
    untimed: Vec<u32>,
}

/// Points that were taken out, each column of one length.
#[derive(Debug)]
pub struct Taken<V> {
    /// The step of each point.
    pub steps: Vec<i64>,
    /// Its metric, an index into `names`.
    pub keys: Vec<u32>,
    /// The distinct names.
    pub names: Vec<String>,
    /// Its value.
    pub values: Vec<V>,
    /// Its time in microseconds since the epoch.
    pub timestamps: Vec<i64>,
    /// The points without a time, ascending.
    pub untimed: Vec<u32>,
}

impl<V> Points<V> {
    /// How many points there are, the open row's included.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds a point to the open row.
    pub fn push(&mut self, name: NameId, value: V) {
        self.names.push(name);
        self.values.push(value);
    }

    /// The points from `start` on.
    pub fn since(&self, start: usize) -> impl Iterator<Item = (NameId, &V)> {
        self.names[start..].iter().copied().zip(&self.values[start..])
    }

    /// Removes the open row's points of that name.
    pub fn retract(&mut self, start: usize, name: NameId) {
        let mut at = start;
        while at < self.names.len() {
            if self.names[at] == name {
                self.names.remove(at);
                self.values.remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Gives the open row's points their step and timestamp.
    pub fn close_row(&mut self, step: i64, timestamp: Option<i64>) {
        let (start, end) = (self.steps.len(), self.names.len());
        self.steps.resize(end, step);
        self.timestamps.resize(end, timestamp.unwrap_or(0));
        if timestamp.is_none() {
            // A batch has far fewer than 2^32 rows: it lies in a 32-bit memory.
            self.untimed.extend(start as u32..end as u32);
        }
    }

    /// Forgets the points from `start` on.
    pub fn truncate(&mut self, start: usize) {
        self.names.truncate(start);
        self.values.truncate(start);
        self.steps.truncate(start);
        self.timestamps.truncate(start);
        while self.untimed.last().is_some_and(|&row| row as usize >= start) {
            self.untimed.pop();
        }
    }

    /// Forgets the points from `start` to `end`, keeping what follows.
    pub fn remove(&mut self, start: usize, end: usize) {
        self.names.drain(start..end);
        self.values.drain(start..end);
        self.steps.drain(start..end);
        self.timestamps.drain(start..end);
        let gap = (end - start) as u32;
        self.untimed.retain(|&row| !(start..end).contains(&(row as usize)));
        self.untimed.iter_mut().filter(|row| **row as usize >= end).for_each(|row| *row -= gap);
    }

    /// Takes all points out; none when there are none.
    pub fn take(&mut self, names: &Names) -> Option<Taken<V>> {
        if self.is_empty() {
            return None;
        }
        let mut keys = std::mem::take(&mut self.names);
        let mut index = vec![u32::MAX; names.len()];
        let mut used = Vec::new();
        for key in &mut keys {
            let slot = &mut index[*key as usize];
            if *slot == u32::MAX {
                *slot = used.len() as u32;
                used.push(names.text(*key).to_owned());
            }
            *key = *slot;
        }
        Some(Taken {
            steps: std::mem::take(&mut self.steps),
            keys,
            names: used,
            values: std::mem::take(&mut self.values),
            timestamps: std::mem::take(&mut self.timestamps),
            untimed: std::mem::take(&mut self.untimed),
        })
    }
}
