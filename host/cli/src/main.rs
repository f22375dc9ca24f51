//! `wandb-connector`: brings the runs and metrics of a Weights & Biases project to a database.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    wandb_connector_cli::main()
}
