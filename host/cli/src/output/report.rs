//! Says on standard error why a command failed.

use elt_host::{ConfigurationProblem, Error, Level};

use crate::exit::Exit;
use crate::output::console::Console;

/// One line for each thing that is wrong.
pub(crate) fn error(console: &Console, error: &Error) {
    // Whoever interrupts knows why.
    let level = if matches!(error, Error::Interrupted) { Level::Warning } else { Level::Severe };
    for line in lines(error) {
        console.log(level, line);
    }
}

/// Any failure of a command; returns how the process ends.
pub(crate) fn failure(console: &Console, failure: &anyhow::Error) -> Exit {
    match failure.downcast_ref::<Error>() {
        Some(typed) => {
            error(console, typed);
            typed.into()
        }
        None => {
            console.log(Level::Severe, format!("{failure:#}"));
            Exit::Internal
        }
    }
}

fn lines(error: &Error) -> Vec<String> {
    let Error::Configuration(problems) = error else { return vec![error.to_string()] };
    let line = |problem: &ConfigurationProblem| match &problem.key {
        Some(key) => format!("configuration: `{key}` {}", problem.message),
        None => problem.message.clone(),
    };
    problems.iter().map(line).collect()
}
