//! The command line.
//!
//! | module | concern |
//! |---|---|
//! | `args` | what can be typed |
//! | `commands` | a file for each command |
//! | `wandb` | where the configuration comes from, and all else that is W&B's own |
//! | `sandbox`, `run` | which component runs, under which policy; the calls of the runtime |
//! | `output` | standard error: log, progress, failures; standard output: tables, summaries, JSON |
//! | `exit`, `interrupt`, `file_size` | how the process ends, and how it does not |
#![forbid(unsafe_code)]

mod args;
mod commands;
mod exit;
mod file_size;
mod interrupt;
mod output;
mod run;
mod sandbox;
mod wandb;

use std::process::ExitCode;
use std::sync::Arc;

use args::{Cli, Commands, TenantsCommands};
use commands::{check, inspect, preview, schema, serve, spec, state, sync, tenants, verify};
use exit::Exit;
use output::console::Console;
use output::report;
pub use wandb::netrc;

/// What the program is called where it leaves something: in the cache, in traces.
const PROGRAM: &str = "wandb-connector";

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, whose reader may be gone.
            error.print().ok();
            return u8::try_from(error.exit_code()).map_or(Exit::Configuration.into(), ExitCode::from);
        }
    };
    let Ok(console) = Console::new(&cli.output).map(Arc::new) else { return Exit::Internal.into() };
    let exit = start(&cli, &console).unwrap_or_else(|failure| report::failure(&console, &failure));
    console.flush();
    exit.into()
}

fn start(cli: &Cli, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(dispatch(cli, console));
    // Work that nobody waits for any more must not hold up the end of the process.
    runtime.shutdown_background();
    exit
}

async fn dispatch(cli: &Cli, console: &Arc<Console>) -> anyhow::Result<Exit> {
    file_size::make_an_error();
    let sandbox = &cli.sandbox;
    match &cli.command {
        Commands::Sync(args) => sync::run(args, sandbox, console).await,
        Commands::Verify(args) => verify::run(args, sandbox, console).await,
        Commands::Check(args) => check::run(args, sandbox, console).await,
        Commands::Schema(args) => schema::run(args, sandbox, console).await,
        Commands::Spec => spec::run(sandbox, console).await,
        Commands::Preview(args) => preview::run(args, sandbox, console).await,
        Commands::Inspect(args) => inspect::run(args, sandbox, console).await,
        Commands::State(command) => state::run(command, console),
        Commands::Serve(args) => serve::run(args, sandbox, console).await,
        Commands::Tenants(TenantsCommands::Check(args)) => tenants::check(args, sandbox, console).await,
        Commands::Tenants(TenantsCommands::List(args)) => tenants::list(args, sandbox, console),
    }
}
