//! `spec`: the configuration that the component takes.

use std::sync::Arc;

use crate::args::SandboxArgs;
use crate::exit::Exit;
use crate::output::console::Console;
use crate::output::{self, json};
use crate::run::Runner;

/// Prints the JSON Schema of the configuration.
pub(crate) async fn run(sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let runner = Runner::load(sandbox, console)?;
    let schema = runner.spec().await?.schema();
    output::print(&json::for_terminals(&format!("{schema:#}\n")))?;
    Ok(Exit::Ok)
}
