//! `sync`.

use std::sync::Arc;

use elt_host::{Error, Outcome};

use crate::args::{Format, SandboxArgs, SyncArgs};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::console::Console;
use crate::output::summary::{Summary, TABLES};
use crate::output::{self, report};
use crate::run::{self, Access, Runner};
use crate::wandb::advice;
use crate::wandb::configuration::{self, Configuration};

/// Runs one sync. Whatever happens, the summary is printed: a program that asked for JSON always gets its object.
pub(crate) async fn run(args: &SyncArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let outcome = match sync(args, sandbox, console).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::failed(error),
    };
    if let Some(error) = &outcome.error {
        report::error(console, error);
    }
    let known: &[&str] = if sandbox.component.is_none() { &TABLES } else { &[] };
    let summary = Summary { outcome: &outcome, full_refresh: args.full_refresh, tables: known };
    // The log first, so that on a terminal the summary stands below it.
    console.flush();
    output::print(&match args.format {
        Format::Text => summary.text(),
        Format::Json => summary.json(),
    })?;
    Ok(Exit::from(&outcome))
}

async fn sync(args: &SyncArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> Result<Outcome, Error> {
    let token = interrupt::watch(console, "stopping: storing what is complete (again to stop at once)")
        .map_err(|error| Error::Internal(format!("signals can't be received: {error}")))?;
    let configuration = configuration::load(args.config.config.as_deref(), console)?;
    let Configuration { mut values, base_url, key_source, .. } = configuration;
    if let Some(value) = args.deletes.as_ref().and_then(clap::ValueEnum::to_possible_value) {
        values.insert("deletes".into(), value.get_name().into());
    }
    let destination = run::open(&args.destination.destination, Access::ReadWrite)?;
    let mut runner = Runner::load(sandbox, console, &base_url)?;
    runner.policy.commit_after = args.commit_every;
    console.start_progress();
    let mut outcome = runner.sync(values, destination, args.full_refresh, &token).await;
    console.end_progress();
    outcome.error = outcome.error.map(|error| advice::explain(error, &base_url, &key_source));
    Ok(outcome)
}
