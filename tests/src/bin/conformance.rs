//! Checks a host against the conformance kit: `conformance PROGRAM [ARGUMENT…]`.
//!
//! Starts the kit's server, runs the program with the component's file, the server's URL, a path for a database and the acts as
//! further arguments, and compares the record on its standard output with what a right host records.

#![forbid(unsafe_code)]

use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use wandb_connector_tests::conformance::{acts, component_file, differences, start_server};

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().context("usage: conformance PROGRAM [ARGUMENT…]")?;
    let server = start_server()?;
    let folder = tempfile::TempDir::new()?;
    let mut host = Command::new(program);
    host.args(arguments)
        .arg(component_file())
        .arg(server.base_url())
        .arg(folder.path().join("warehouse.db"))
        .args(acts());
    let output = host.stderr(Stdio::inherit()).output().context("the program can't be run")?;
    let record = serde_json::from_slice(&output.stdout).context("the program printed no record")?;
    let found = differences(&record);
    found.iter().for_each(|difference| println!("{difference}"));
    println!("{}", if found.is_empty() { "the host conforms" } else { "the host does not conform" });
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
