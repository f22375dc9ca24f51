//! `state show|import|export|reset`: what is remembered between syncs.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use elt_host::state::from_object;
use elt_host::{DestinationError, Error, Level, State};

use crate::args::StateCommands;
use crate::exit::Exit;
use crate::output::console::Console;
use crate::output::units::counted;
use crate::output::{self, json};
use crate::run::{self, Access};
use crate::wandb::configuration::{problem, read_object};
use crate::wandb::service::problems_of_state;

/// Runs one of the `state` commands.
pub(crate) fn run(command: &StateCommands, console: &Arc<Console>) -> anyhow::Result<Exit> {
    match command {
        StateCommands::Show(state) => output::print(&text(&read(&state.destination.destination)?)?)?,
        StateCommands::Export { state, file } => write(file, &text(&read(&state.destination.destination)?)?)?,
        StateCommands::Import { state, file } => {
            let new = from_object(read_object(file)?)?;
            let problems = problems_of_state(&new);
            if !problems.is_empty() {
                return Err(Error::Configuration(problems).into());
            }
            replace(&state.destination.destination, &new)?;
            let keys = counted(new.len() as u64, "key");
            console.log(Level::Info, format!("imported {keys} into {}", state.destination.destination));
        }
        StateCommands::Reset { state, yes } => {
            let url = &state.destination.destination;
            if !yes && !confirmed(url)? {
                console.log(Level::Info, "nothing was changed");
                return Ok(Exit::Ok);
            }
            replace(url, &State::new())?;
            console.log(Level::Info, format!("the state in {url} is empty; the next sync reads everything again"));
        }
    }
    Ok(Exit::Ok)
}

fn read(url: &str) -> Result<State, Error> {
    run::open(url, Access::ReadOnly)?.state().map_err(destination)
}

fn replace(url: &str, state: &State) -> Result<(), Error> {
    run::open(url, Access::ReadWrite)?.replace_state(state).map_err(destination)
}

fn destination(error: DestinationError) -> Error {
    Error::Destination(error.to_string())
}

/// One JSON object, which [`from_object`] takes back.
fn text(state: &State) -> anyhow::Result<String> {
    Ok(json::for_terminals(&(serde_json::to_string_pretty(state)? + "\n")))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if file == Path::new("-") {
        return output::print(text);
    }
    std::fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))
}

/// Asks on the terminal. Where nobody can be asked, `--yes` is needed.
fn confirmed(url: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(problem("`state reset` can't ask here; add --yes to forget the state".into()).into());
    }
    let mut stream = std::io::stderr();
    write!(stream, "Forget the state in {url}? Rows stay, the next sync reads everything again. [y/N] ")?;
    stream.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use elt_support::json::object;

    use super::*;

    #[test]
    fn what_is_exported_can_be_imported() {
        let state: State = [("runs_hwm_utc", "2025-06-01"), ("runs/a\u{9b}", "{\"v\": 1}\n")]
            .map(|(key, value)| (key.into(), value.into()))
            .into();
        let exported = text(&state).unwrap();
        assert!(exported.is_ascii());
        assert_eq!(from_object(object(exported.as_bytes()).unwrap()).unwrap(), state);
    }

    #[test]
    fn every_value_that_is_no_string_is_named() {
        let object = object(br#"{"a": 1, "b": "x", "c": {"d": "e"}}"#).unwrap();
        insta::assert_snapshot!(from_object(object).unwrap_err(), @"
        the configuration can't be used: state `a`: must be a string; a state is a flat object of strings; state `c`: must be a string; a state is a flat object of strings
        ");
    }
}
