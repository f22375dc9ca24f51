//! `preview`: the first rows of each table, read by a real sync into a destination that only remembers.

use std::sync::{Arc, Mutex, PoisonError};

use elt_host::{Change, DataType, Destination, DestinationError, Error, Group, Preparation, State, Table};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::args::{Format, PreviewArgs, SandboxArgs};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::cells::{self, Cell};
use crate::output::console::Console;
use crate::output::table::{self, Heading};
use crate::output::units::counted;
use crate::output::{self, json};
use crate::run::Runner;
use crate::wandb::configuration::{self, problem};

/// A table that is rare in the source may never fill. After this many groups that brought nothing new, what was found
/// is all that is shown.
const PATIENCE: usize = 32;

/// Prints what was found, also when the sync then failed.
pub(crate) async fn run(args: &PreviewArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let signal = interrupt::watch(console, "stopping")?;
    let mut configuration = configuration::load(args.query.config.config.as_deref(), sandbox, console)?;
    let mut runner = Runner::load(sandbox, console)?;
    runner.allow_downloads(&configuration.values).await?;
    let tables = runner.schema(&configuration.values).await;
    let tables = tables.map_err(|error| configuration.explain(error))?;
    if let Some(only) = &args.table
        && !tables.iter().any(|table| table.name() == only)
    {
        let names: Vec<_> = tables.iter().map(Table::name).collect();
        return Err(problem(format!("there is no table `{only}`; there are {}", names.join(", "))).into());
    }
    let enough = signal.child_token();
    let kept = Arc::new(Mutex::new(Kept::new(args.rows as usize, args.table.clone())));
    let destination = Box::new(Preview { kept: Arc::clone(&kept), enough: enough.clone() });
    console.start_progress();
    let outcome = runner.sync(std::mem::take(&mut configuration.values), destination, false, &enough).await;
    console.end_progress();
    console.flush();

    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    output::print(&match args.query.format {
        Format::Text => kept.text(),
        Format::Json => kept.json(),
    })?;
    match outcome.error {
        Some(Error::Interrupted) if signal.is_cancelled() => Ok(Exit::Interrupted),
        // Having enough looks like an interruption, or like the destination's wish to stop.
        None => Ok(Exit::from(&outcome)),
        Some(_) if enough.is_cancelled() => Ok(Exit::Ok),
        Some(error) => Err(configuration.explain(error).into()),
    }
}

/// The rows kept so far.
#[derive(Debug)]
struct Kept {
    limit: usize,
    only: Option<String>,
    tables: Vec<(Table, Vec<Vec<Cell>>)>,
    idle_groups: usize,
}

impl Kept {
    fn new(limit: usize, only: Option<String>) -> Self {
        Self { limit, only, tables: Vec::new(), idle_groups: 0 }
    }

    fn is_wanted(&self, table: &Table) -> bool {
        self.only.as_deref().is_none_or(|only| only == table.name())
    }

    /// Returns whether there is enough now.
    fn take(&mut self, group: &Group) -> bool {
        let before = self.count();
        for change in &group.changes {
            // A sync from nothing deletes only what it is about to write.
            let Change::Upsert { table, rows } = change else { continue };
            let Some((table, kept)) = self.tables.get_mut(*table) else { continue };
            let room = self.limit.saturating_sub(kept.len());
            kept.extend(cells::rows(table, rows, room));
        }
        self.idle_groups = if self.count() == before && before > 0 { self.idle_groups + 1 } else { 0 };
        let full = |(table, rows): &(Table, Vec<_>)| rows.len() >= self.limit || !self.is_wanted(table);
        self.tables.iter().all(full) || (self.only.is_none() && self.idle_groups >= PATIENCE)
    }

    fn count(&self) -> usize {
        self.tables.iter().map(|(_, rows)| rows.len()).sum()
    }

    fn shown(&self) -> impl Iterator<Item = &(Table, Vec<Vec<Cell>>)> {
        self.tables.iter().filter(|(table, _)| self.is_wanted(table))
    }

    fn text(&self) -> String {
        let one = |(table, rows): &(Table, Vec<Vec<Cell>>)| {
            let heading = |column| match column {
                (DataType::Integer | DataType::Double, name) => Heading::Right(name),
                (_, name) => Heading::Left(name),
            };
            let columns = table.columns().iter().map(|column| (column.data_type, column.name.as_str()));
            let headings: Vec<_> = columns.map(heading).collect();
            let cells: Vec<_> = rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect();
            let count = counted(rows.len() as u64, "row");
            format!("{} ({count})\n{}", table.name(), table::render(&headings, &cells))
        };
        self.shown().map(one).collect::<Vec<_>>().join("\n")
    }

    /// `{"table": "runs", "row": {…}}`, one on each line.
    fn json(&self) -> String {
        let mut text = String::new();
        for (table, rows) in self.shown() {
            for row in rows {
                let field = |(column, cell): (&elt_host::Column, &Cell)| {
                    format!("{}:{}", Value::from(column.name.as_str()), cell.json())
                };
                let fields: Vec<_> = table.columns().iter().zip(row).map(field).collect();
                let name = Value::from(table.name());
                text += &format!("{{\"table\":{name},\"row\":{{{}}}}}\n", fields.join(","));
            }
        }
        json::for_terminals(&text)
    }
}

/// Keeps the first rows in memory and ends the sync when it has them.
struct Preview {
    kept: Arc<Mutex<Kept>>,
    enough: CancellationToken,
}

impl Destination for Preview {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.tables = preparation.tables.into_iter().map(|table| (table, Vec::new())).collect();
        Ok(State::new())
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.enough.is_cancelled() && kept.take(&group) {
            self.enough.cancel();
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        Ok(())
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        Ok(State::new())
    }

    fn replace_state(&mut self, _: &State) -> Result<(), DestinationError> {
        Err(DestinationError::Refused("a preview stores nothing".into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "preview_tests.rs"]
mod tests;
