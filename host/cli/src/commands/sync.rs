//! `sync`.

use std::sync::Arc;

use elt_host::{CancellationToken, Error, Outcome};
use serde_json::{Map, Value};

use crate::args::{Format, SandboxArgs, SyncArgs};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::console::Console;
use crate::output::summary::Summary;
use crate::output::vocabulary::Vocabulary;
use crate::output::{self, report};
use crate::run::{self, Access, Runner};
use crate::wandb::configuration::{self, problem};

/// Runs one sync. Whatever happens, the summary is printed: a program that asked for JSON always gets its object.
pub(crate) async fn run(args: &SyncArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let token = interrupt::watch(console, "stopping: storing what is complete (again to stop at once)")
        .map_err(|error| Error::Internal(format!("signals can't be received: {error}")));
    let begun = token.and_then(|token| Ok((token, Runner::load(sandbox, console)?)));
    let (outcome, vocabulary, tables) = match begun {
        Ok((token, mut runner)) => {
            let mut config = Map::new();
            let synced = sync(args, sandbox, console, &mut runner, &mut config, &token).await;
            let outcome = synced.unwrap_or_else(Outcome::failed);
            (outcome, runner.vocabulary().await, tables(&runner, &config).await)
        }
        Err(error) => (Outcome::failed(error), Vocabulary::of(None, sandbox.component.is_none()), Vec::new()),
    };
    if let Some(error) = &outcome.error {
        report::error(console, error);
    }
    let summary = Summary {
        outcome: &outcome,
        full_refresh: args.full_refresh,
        tables: &tables.iter().map(String::as_str).collect::<Vec<_>>(),
        vocabulary: &vocabulary,
    };
    // The log first, so that on a terminal the summary stands below it.
    console.flush();
    output::print(&match args.format {
        Format::Text => summary.text(),
        Format::Json => summary.json(),
    })?;
    Ok(Exit::from(&outcome))
}

/// Runs the sync. `config` is what it was run with, as far as it came.
async fn sync(
    args: &SyncArgs,
    sandbox: &SandboxArgs,
    console: &Arc<Console>,
    runner: &mut Runner,
    config: &mut Map<String, Value>,
    token: &CancellationToken,
) -> Result<Outcome, Error> {
    let mut configuration = configuration::load(args.config.config.as_deref(), sandbox, console)?;
    if let Some(value) = args.deletes.as_ref().and_then(clap::ValueEnum::to_possible_value) {
        let key = runner.spec().await?.deletes().ok_or_else(|| {
            problem("--deletes means nothing to this component: no key of its configuration has `x-elt-deletes`".into())
        })?;
        configuration.values.insert(key.into(), value.get_name().into());
    }
    config.clone_from(&configuration.values);
    let destination = run::open(&args.destination.destination, Access::ReadWrite)?;
    runner.allow_downloads(config).await?;
    runner.policy.commit_after = args.commit_every;
    console.start_progress();
    let values = std::mem::take(&mut configuration.values);
    let mut outcome = runner.sync(values, destination, args.full_refresh, token).await;
    console.end_progress();
    outcome.error = outcome.error.map(|error| configuration.explain(error));
    Ok(outcome)
}

/// The names of the tables that a sync with `config` writes; where it can't be used, of those that one writes where nothing is said.
async fn tables(runner: &Runner, config: &Map<String, Value>) -> Vec<String> {
    let tables = match runner.schema_despite_gaps(config).await {
        Err(Error::Configuration(_)) => runner.schema_despite_gaps(&Map::new()).await,
        other => other,
    };
    tables.unwrap_or_default().iter().map(|table| table.name().to_owned()).collect()
}
