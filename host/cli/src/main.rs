//! `wandb-connector`: brings the runs and metrics of a Weights & Biases project to a database.
//!
//! The binary is a thin user of `wandb_connector_host`. What it adds is what a person at a terminal, or a script,
//! needs: where configuration comes from, what is printed where, and exit codes.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
