//! The command line.
//!
//! | module | concern |
//! |---|---|
//! | `args`, `units` | what can be typed |
//! | `configuration`, `settings`, `surroundings`, `key_source` | where the configuration comes from |
//! | `sandbox`, `run` | which component runs, under which policy; the calls of the runtime |
//! | `sync`, `verify`, `query`, `preview`, `inspect`, `state` | the commands |
//! | `serve`, `tenants` | many tenants: syncs by schedule, and what can be asked about them |
//! | `console`, `progress`, `report`, `advice` | standard error: log, progress, failures |
//! | `output`, `summary`, `table`, `cells`, `json` | standard output |
//! | `exit`, `interrupt`, `file_size` | how the process ends, and how it does not |
#![forbid(unsafe_code)]

mod advice;
mod args;
mod cells;
mod configuration;
mod console;
mod exit;
mod file_size;
mod inspect;
mod interrupt;
mod json;
mod key_source;
pub mod netrc;
mod output;
mod preview;
mod progress;
mod query;
mod report;
mod run;
mod sandbox;
mod serve;
mod settings;
mod state;
mod summary;
mod surroundings;
mod sync;
mod table;
mod tenants;
mod units;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;

use args::{Cli, Commands, TenantsCommands};
use console::Console;
use exit::Exit;

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
        Commands::Check(args) => query::check(args, sandbox, console).await,
        Commands::Schema(args) => query::schema(args, sandbox, console).await,
        Commands::Spec => query::spec(sandbox, console).await,
        Commands::Preview(args) => preview::run(args, sandbox, console).await,
        Commands::Inspect(args) => inspect::run(args, sandbox, console).await,
        Commands::State(command) => state::run(command, console),
        Commands::Serve(args) => serve::run(args, sandbox, console).await,
        Commands::Tenants(TenantsCommands::Check(args)) => tenants::check(args, sandbox, console).await,
        Commands::Tenants(TenantsCommands::List(args)) => tenants::list(args, sandbox, console),
    }
}
