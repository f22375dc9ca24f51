//! A row group, row by row into a [`Sink`]. Columns are decoded in windows of rows, which are then read across.

use std::ops::Range;

use bytes::Bytes;

use super::Broken;
use super::budget::Share;
use super::column::Column;
use super::footer::{Footer, Leaf, Meaning, Node, Physical, RowGroup, Shape};
use super::nested;
use super::page::Decompressor;
use super::sink::{Sink, Time};
use super::values::Data;

/// A request asks for so much at least, since the next row group mostly follows.
pub const AHEAD_BYTES: u64 = 2 << 20;

/// A row group that is not longer than this is asked for at once.
const WHOLE_BYTES: u64 = 8 << 20;
/// Of a longer one each column is asked for in pieces, none of them shorter than this.
const LEAST_PIECE: u64 = 64 << 10;
/// The values of one row, as JSON. A dictionary repeats a text for the price of a bit.
const MOST_ROW_BYTES: usize = 64 << 20;
/// What writers make of a page, and a little more.
const PAGE_BYTES: u64 = 5 << 18;
/// Rows of a window, where columns are few, and where they hold lists.
const MOST_ROWS: usize = 1024;
const MOST_NESTED_ROWS: usize = 128;
/// What the values of a window may take.
const WINDOW_BYTES: usize = 2 << 20;
/// The pages of all columns together. More than that is no file that a sensible writer made.
const MOST_HELD: usize = 96 << 20;

/// Why reading a file ended.
#[derive(Debug)]
pub enum ReadError {
    /// The file is not what it should be.
    Broken(Broken),
    /// The host's policy does not let this component ask the file's server.
    Denied(String),
    /// The server does not have the file, or its signature has expired.
    Gone(u16),
    /// It can't be read, for this reason.
    Failed(String),
}

impl From<Broken> for ReadError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Where the bytes of a file come from.
#[allow(async_fn_in_trait, reason = "single-threaded by design, used with static dispatch")]
pub trait Ranges {
    /// The bytes of these ranges, in their order.
    async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError>;
}

/// Which columns of a file are read.
#[derive(Debug, Clone)]
pub struct Selection {
    /// `_step`, then what else is read. The leaves of a nested column lie together.
    leaves: Vec<usize>,
    /// Of a union there are several.
    timestamps: Vec<usize>,
    /// Names may repeat, of a union's members.
    flat: Vec<(String, usize)>,
    nested: Vec<(Node, Range<usize>)>,
    repeats: bool,
}

impl Selection {
    /// W&B's own columns, and those of metrics that `wanted` names.
    pub fn new(footer: &Footer, wanted: impl Fn(&str) -> bool) -> Result<Self, Broken> {
        let mut selection = Self::steps(footer)?;
        for column in &footer.columns {
            match (column.name.as_str(), &column.shape) {
                ("_step" | "_runtime" | "_wandb", _) => {}
                // Columns of one name, of which a row has one.
                (name, Shape::Union(members)) => {
                    members.iter().try_for_each(|member| selection.add(footer, name, member, &wanted))?;
                }
                (name, _) => selection.add(footer, name, column, &wanted)?,
            }
        }
        Ok(selection)
    }

    /// Adds a column under a name.
    fn add(
        &mut self,
        footer: &Footer,
        name: &str,
        column: &Node,
        wanted: &impl Fn(&str) -> bool,
    ) -> Result<(), Broken> {
        match &column.shape {
            Shape::Leaf(leaf) if name == "_timestamp" => {
                self.timestamps.push(self.leaves.len());
                self.leaves.push(*leaf);
            }
            _ if name == "_timestamp" => return Ok(()),
            // What the metrics of an object are called shows only when it is read.
            Shape::Leaf(_) | Shape::List(_) if !wanted(name) => return Ok(()),
            Shape::Leaf(leaf) => {
                self.flat.push((name.to_owned(), self.leaves.len()));
                self.leaves.push(*leaf);
            }
            _ => {
                let start = self.leaves.len();
                self.leaves.extend(column.leaves.clone());
                self.nested.push((Node { name: name.to_owned(), ..column.clone() }, start..self.leaves.len()));
            }
        }
        let leaves = footer.leaves.get(column.leaves.clone()).unwrap_or_default();
        if let Some(leaf) =
            leaves.iter().find(|leaf| leaf.physical == Physical::Other || leaf.meaning == Meaning::Unknown)
        {
            return Err(Broken::new(format!(
                "its column {name:?} is of a type that is not known here ({:?})",
                leaf.physical
            )));
        }
        self.repeats |= leaves.iter().any(|leaf| leaf.repetition > 0);
        Ok(())
    }

    /// `_step` only.
    pub fn steps(footer: &Footer) -> Result<Self, Broken> {
        let column = footer.column("_step").ok_or_else(|| Broken::new("it has no column _step"))?;
        let leaf = match column.shape {
            Shape::Leaf(leaf) => leaf,
            _ => return Err(Broken::new("its column _step is no number")),
        };
        match footer.leaves.get(leaf).map(|leaf| (leaf.physical, leaf.meaning)) {
            Some((Physical::Int32 | Physical::Int64 | Physical::Float | Physical::Double, meaning))
                if meaning != Meaning::Unknown => {}
            _ => return Err(Broken::new("its column _step is no number")),
        }
        Ok(Self { leaves: vec![leaf], timestamps: Vec::new(), flat: Vec::new(), nested: Vec::new(), repeats: false })
    }

    /// The first and the last step of a group, where the file says so. Of [`Selection::steps`].
    pub fn range(&self, group: &RowGroup) -> Option<(i64, i64)> {
        self.chunks(group).next()?.range
    }

    fn piece(&self, group: &RowGroup) -> u64 {
        let columns = self.leaves.len().max(1) as u64;
        if self.bytes(group) <= WHOLE_BYTES { WHOLE_BYTES } else { (WHOLE_BYTES / columns).max(LEAST_PIECE) }
    }

    fn bytes(&self, group: &RowGroup) -> u64 {
        self.chunks(group).map(|chunk| chunk.bytes).fold(0, u64::saturating_add)
    }

    fn chunks<'g>(&self, group: &'g RowGroup) -> impl Iterator<Item = &'g super::footer::Chunk> {
        self.leaves.iter().filter_map(|leaf| group.chunks.get(*leaf))
    }

    fn window(&self) -> usize {
        let most = if self.repeats { MOST_NESTED_ROWS } else { MOST_ROWS };
        (WINDOW_BYTES / (self.leaves.len() * 10)).clamp(16, most)
    }

    /// Roughly what reading the group takes of memory.
    pub fn cost(&self, group: &RowGroup) -> usize {
        let piece = self.piece(group);
        let pages = self
            .chunks(group)
            .map(|chunk| chunk.bytes.min(piece) + chunk.uncompressed.min(PAGE_BYTES))
            .fold(AHEAD_BYTES, u64::saturating_add);
        usize::try_from(pages).unwrap_or(usize::MAX).saturating_add(self.window() * self.leaves.len() * 10)
    }
}

/// Reads one row group.
#[derive(Debug)]
pub struct GroupReader<'b> {
    selection: Selection,
    columns: Vec<Column>,
    decompressor: Decompressor,
    /// Rows that no window holds yet.
    left: u64,
    /// The steps of the present window, and of the one after it. Rows without one are gone over.
    steps: Vec<Option<i64>>,
    ahead: Vec<Option<i64>>,
    /// The last step of both.
    last: Option<i64>,
    row: usize,
    /// Whether the window is being filled.
    filling: bool,
    /// The metrics that the window has values of.
    active: Vec<(usize, u32)>,
    names_of_window: bool,
    text: Vec<u8>,
    _share: Option<Share<'b>>,
}

impl<'b> GroupReader<'b> {
    /// At the group's beginning. `share` is held as long as the reader is.
    pub fn new(
        selection: Selection,
        footer: &Footer,
        group: &RowGroup,
        share: Option<Share<'b>>,
    ) -> Result<Self, Broken> {
        let piece = selection.piece(group);
        let columns: Option<Vec<Column>> = selection
            .leaves
            .iter()
            .map(|leaf| Some(Column::new(*footer.leaves.get(*leaf)?, *group.chunks.get(*leaf)?, piece)))
            .collect();
        Ok(Self {
            columns: columns.ok_or_else(|| Broken::new("a schema that can't be"))?,
            selection,
            decompressor: Decompressor::new(),
            left: group.rows,
            steps: Vec::new(),
            ahead: Vec::new(),
            last: None,
            row: 0,
            filling: false,
            active: Vec::new(),
            names_of_window: false,
            text: Vec::new(),
            _share: share,
        })
    }

    /// The step of the next row, where the window has one that has a step.
    pub fn step(&self) -> Option<i64> {
        self.steps.get(self.row).copied().flatten()
    }

    /// The step of the row after that, also where it lies in the next window.
    pub fn step_after(&self) -> Option<i64> {
        self.steps.iter().skip(self.row + 1).chain(&self.ahead).flatten().next().copied()
    }

    /// Goes on to the next row that has a step, also into the next window. False: there are no more rows. After an error other than
    /// [`ReadError::Broken`] it may be called again.
    pub async fn load(&mut self, source: &impl Ranges) -> Result<bool, ReadError> {
        loop {
            while self.row < self.steps.len() {
                if self.step().is_some() {
                    return Ok(true);
                }
                self.skip()?;
            }
            if !self.next_window(source).await? {
                return Ok(false);
            }
        }
    }

    /// Reads the next window of rows. False: there is none.
    async fn next_window(&mut self, source: &impl Ranges) -> Result<bool, ReadError> {
        if !self.filling && self.steps.is_empty() && self.ahead.is_empty() {
            self.read_ahead(source).await?;
        }
        if !self.filling {
            if self.ahead.is_empty() {
                return Ok(false);
            }
            for column in self.columns.iter_mut().skip(1) {
                column.clear();
            }
            self.filling = true;
        }
        let rows = self.ahead.len();
        self.fill(1.., rows, source).await?;
        let steps = std::mem::take(&mut self.ahead);
        match self.read_ahead(source).await {
            Ok(()) => {}
            Err(error) => {
                self.ahead = steps;
                return Err(error);
            }
        }
        (self.filling, self.names_of_window) = (false, false);
        (self.steps, self.row) = (steps, 0);
        Ok(true)
    }

    /// Reads the steps of the window after the present one.
    async fn read_ahead(&mut self, source: &impl Ranges) -> Result<(), ReadError> {
        let rows = self.left.min(self.selection.window() as u64) as usize;
        self.fill(0..1, rows, source).await?;
        let column = &mut self.columns[0];
        let mut ahead = Vec::with_capacity(rows);
        for _ in 0..rows {
            let step = match (column.next_value(), column.data()) {
                (None, _) => None,
                (Some(at), Data::Integers(values)) => Some(*values.get(at).ok_or_else(cut)?),
                (Some(at), Data::Doubles(values)) => match *values.get(at).ok_or_else(cut)? {
                    // What writers without nulls have in their place.
                    value if value.is_nan() => None,
                    value if value.fract() == 0.0 && value.abs() < 2f64.powi(53) => Some(value as i64),
                    _ => return Err(Broken::new("a step is no whole number").into()),
                },
                (Some(_), Data::Texts(_)) => return Err(Broken::new("a step is no number").into()),
            };
            ahead.push(step);
        }
        column.clear();
        self.left -= rows as u64;
        for step in ahead.iter().flatten() {
            if self.last.replace(*step).is_some_and(|last| last > *step) {
                return Err(Broken::new("its rows are not in the order of their steps").into());
            }
        }
        self.ahead = ahead;
        Ok(())
    }

    /// Decodes `rows` rows of the columns, and asks for the bytes that are missing.
    async fn fill(
        &mut self,
        columns: impl std::slice::SliceIndex<[Column], Output = [Column]> + Clone,
        rows: usize,
        source: &impl Ranges,
    ) -> Result<(), ReadError> {
        loop {
            let mut wanted = Vec::new();
            let mut held = 0;
            for (index, column) in self.columns[columns.clone()].iter_mut().enumerate() {
                if let Some(range) = column.advance(rows, &mut self.decompressor)? {
                    wanted.push((index, range));
                }
                held += column.held();
                if held > MOST_HELD {
                    return Err(Broken::new("its pages are too large").into());
                }
            }
            if wanted.is_empty() {
                return Ok(());
            }
            let ranges: Vec<Range<u64>> = wanted.iter().map(|(_, range)| range.clone()).collect();
            let parts = source.read(&ranges).await?;
            if parts.len() != wanted.len() {
                return Err(Broken::new("bytes are missing").into());
            }
            for ((index, range), bytes) in wanted.into_iter().zip(parts) {
                if bytes.len() as u64 != range.end - range.start {
                    return Err(Broken::new("bytes are missing").into());
                }
                self.columns[columns.clone()][index].supply(bytes);
            }
        }
    }

    /// Reads all steps, and returns the first and the last. None: no row has one.
    pub async fn range(&mut self, source: &impl Ranges) -> Result<Option<(i64, i64)>, ReadError> {
        let mut range: Option<(i64, i64)> = None;
        while self.load(source).await? {
            let mut steps = self.steps.iter().flatten();
            if let Some(first) = steps.next() {
                range = Some((range.map_or(*first, |(first, _)| first), *steps.next_back().unwrap_or(first)));
            }
            self.row = self.steps.len();
        }
        Ok(range)
    }

    /// Goes over the next row.
    pub fn skip(&mut self) -> Result<(), Broken> {
        let flat = self.selection.flat.iter().map(|(_, column)| column);
        for column in self.selection.timestamps.iter().chain(flat) {
            self.columns[*column].next_value();
        }
        self.nested(|_, _| Ok(()))?;
        self.row += 1;
        Ok(())
    }

    /// Adds the next row to `history`.
    pub fn emit<S: Sink>(&mut self, history: &mut S) -> Result<(), Broken> {
        if !self.names_of_window {
            self.intern(history);
        }
        let step = self.step().ok_or_else(|| Broken::new("a row that is not there"))?;
        let start = history.begin_row();
        let most = history.bytes().saturating_add(MOST_ROW_BYTES);
        let mut before = None;
        for (column, name) in &self.active {
            let column = &mut self.columns[*column];
            let Some(at) = column.next_value() else {
                continue;
            };
            if before.replace(*name) == Some(*name) {
                return Err(Broken::new("a value is of two kinds at once"));
            }
            match column.data() {
                Data::Doubles(values) => history.add_double(start, *name, *values.get(at).ok_or_else(cut)?),
                Data::Integers(values) => {
                    add_integer(history, start, *name, column.leaf(), *values.get(at).ok_or_else(cut)?);
                }
                Data::Texts(values) => {
                    let bytes = values.get(at).ok_or_else(cut)?;
                    match nested::document(column.leaf().meaning, bytes) {
                        Some(json) => add_json(history, start, *name, &json)?,
                        None => history.add_text(start, *name, &lenient_json::text(bytes)),
                    }
                    check_size(history, most)?;
                }
            }
        }
        self.nested(|name, json| {
            let name = history.name(name);
            let json = std::str::from_utf8(json).map_err(|_| Broken::new("a text that is no text"))?;
            add_json(history, start, name, json)?;
            check_size(history, most)
        })?;
        let mut time = None;
        for column in &self.selection.timestamps {
            time = timestamp::<S>(&mut self.columns[*column]).or(time);
        }
        history.end_row(start, step, time);
        self.row += 1;
        Ok(())
    }

    /// Interns the names of the window's columns: names are forgotten now and then, but never within a window.
    fn intern(&mut self, history: &mut impl Sink) {
        let columns = &self.columns;
        self.active.clear();
        self.active.extend(
            self.selection
                .flat
                .iter()
                .filter(|(_, column)| !columns[*column].data().is_empty())
                .map(|(name, column)| (*column, history.name(name))),
        );
        self.names_of_window = true;
    }

    /// Says that names were forgotten since the last row.
    pub fn forget_names(&mut self) {
        self.names_of_window = false;
    }

    /// Calls `take` with the name and the JSON text of each nested column that is not null in the next row.
    fn nested(&mut self, mut take: impl FnMut(&str, &[u8]) -> Result<(), Broken>) -> Result<(), Broken> {
        for (node, columns) in &self.selection.nested {
            self.text.clear();
            let columns = self.columns.get_mut(columns.clone()).unwrap_or_default();
            if nested::write(node, columns, node.leaves.start, false, &mut self.text)? {
                take(&node.name, &self.text)?;
            }
        }
        Ok(())
    }
}

fn cut() -> Broken {
    Broken::new("a column ends too early")
}

fn check_size(history: &impl Sink, most: usize) -> Result<(), Broken> {
    if history.bytes() > most { Err(Broken::new("a row is too large")) } else { Ok(()) }
}

fn add_integer<S: Sink>(history: &mut S, start: S::Row, name: u32, leaf: &Leaf, value: i64) {
    match (leaf.physical, leaf.meaning) {
        (Physical::Boolean, _) => history.add_double(start, name, f64::from(u8::from(value != 0))),
        (physical, Meaning::Unsigned) => match i64::try_from(nested::unsigned(physical, value)) {
            Ok(value) => history.add_integer(start, name, value),
            Err(_) => history.add_number(start, name, &nested::unsigned(physical, value).to_string()),
        },
        _ => history.add_integer(start, name, value),
    }
}

fn add_json<S: Sink>(history: &mut S, start: S::Row, name: u32, json: &str) -> Result<(), Broken> {
    history.add_json(start, name, json).map_err(|why| Broken::new(format!("a value is no JSON: {why}")))
}

fn timestamp<S: Sink>(column: &mut Column) -> Option<i64> {
    let at = column.next_value()?;
    match column.data() {
        Data::Doubles(values) => S::micros(Time::Number(*values.get(at)?)),
        Data::Integers(values) => {
            let value = *values.get(at)?;
            match column.leaf().meaning {
                Meaning::Timestamp(units) => S::micros(Time::Units(value, units)),
                _ if column.leaf().physical == Physical::Boolean => None,
                _ => S::micros(Time::Number(value as f64)),
            }
        }
        Data::Texts(_) => None,
    }
}
