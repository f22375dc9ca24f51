//! `check`: whether the source accepts the configuration.

use std::sync::Arc;

use elt_host::Error;
use elt_support::printable::escape_control;
use serde::Serialize;

use crate::args::{Format, QueryArgs, SandboxArgs};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::console::Console;
use crate::output::{self, json, report};
use crate::run::Runner;
use crate::wandb::configuration;

/// Tries the configuration. As JSON, a failure too is an object on standard output.
pub(crate) async fn run(args: &QueryArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let found = try_configuration(args, sandbox, console).await;
    if let Err(error) = &found {
        report::error(console, error);
    }
    let error = found.as_ref().err();
    let text = match args.format {
        Format::Text => found.as_ref().map(|found| format!("{}\n", escape_control(found))).unwrap_or_default(),
        Format::Json => json::line(&Checked {
            status: if error.is_none() { "ok" } else { "failed" },
            message: found.as_ref().ok(),
            error: error.map(Error::to_string),
            error_kind: error.map(|error| error.kind().name()),
        }),
    };
    console.flush();
    output::print(&text)?;
    Ok(error.map_or(Exit::Ok, Exit::from))
}

#[derive(Serialize)]
struct Checked<'a> {
    status: &'static str,
    message: Option<&'a String>,
    error: Option<String>,
    error_kind: Option<&'static str>,
}

async fn try_configuration(args: &QueryArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> Result<String, Error> {
    let token = interrupt::watch(console, "stopping")
        .map_err(|error| Error::Internal(format!("signals can't be received: {error}")))?;
    let configuration = configuration::load(args.config.config.as_deref(), sandbox, console)?;
    let mut runner = Runner::load(sandbox, console)?;
    runner.allow_downloads(&configuration.values).await?;
    let answer = runner.check(&configuration.values, &token).await;
    answer.map_err(|error| configuration.explain(error))
}
