//! `tenants check` and `tenants list`: what can be known of tenants without syncing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use elt_host::{Error, Level};
use elt_serve::check;
use elt_serve::check::Findings;
use elt_serve::history;
use elt_serve::history::{HistoryError, Past};
use elt_serve::registry::Registry;
use elt_serve::scheduler::{due_after, reason_to_wait};
use elt_serve::tenant::{Tenant, TenantId};
use elt_support::printable::escape_control;
use serde::Serialize;

use crate::args::{Format, SandboxArgs, TenantsArgs, TenantsCheckArgs, TenantsListArgs};
use crate::commands::serve;
use crate::exit::Exit;
use crate::output::console::Console;
use crate::output::table::{self, Heading};
use crate::output::units::counted;
use crate::output::{self, json};
use crate::wandb::configuration::problem;

/// Names every problem, each with its place.
pub(crate) async fn check(
    args: &TenantsCheckArgs,
    sandbox: &SandboxArgs,
    console: &Arc<Console>,
) -> anyhow::Result<Exit> {
    readable(&args.tenants)?;
    let components = serve::load(sandbox, 1)?;
    let spec = components.built_in().spec().await?.clone();
    let history = serve::history_file(&args.tenants);
    let mut registry = Registry::new(&args.tenants.tenants, serve::policy(sandbox), Some(&history)).with_spec(spec);
    let roster = registry.look().unwrap_or_default();
    let Findings { problems, doubts, tenants } = check::check(roster, &components).await;
    for doubt in &doubts {
        console.log(Level::Warning, doubt.to_string());
    }
    console.flush();
    let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    text +=
        &format!("{} fit to be synced, {}\n", counted(tenants, "tenant"), counted(problems.len() as u64, "problem"));
    output::print(&text)?;
    Ok(if problems.is_empty() { Exit::Ok } else { Exit::Configuration })
}

fn readable(args: &TenantsArgs) -> Result<(), Error> {
    let found = std::fs::metadata(&args.tenants);
    found.map(drop).map_err(|why| problem(format!("--tenants {}: {why}", args.tenants.display())))
}

/// Shows who syncs when.
pub(crate) fn list(args: &TenantsListArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    readable(&args.tenants)?;
    let history = serve::history_file(&args.tenants);
    let (past, served) = (past(&history)?, history::is_in_use(&history));
    let mut registry = Registry::new(&args.tenants.tenants, serve::policy(sandbox), Some(&history));
    let roster = registry.look().unwrap_or_default();
    for problem in &roster.problems {
        console.log(Level::Warning, problem.to_string());
    }
    console.flush();
    let none = Past::default();
    let now = Utc::now();
    let row = |(id, tenant): (&TenantId, &Tenant)| row(tenant, past.get(id).unwrap_or(&none), served, now);
    let rows: Vec<_> = roster.tenants.iter().map(|(id, entry)| row((id, &entry.tenant))).collect();
    output::print(&match args.format {
        Format::Text => text(&rows),
        Format::Json => json::line(&rows),
    })?;
    Ok(Exit::Ok)
}

/// What is known of each tenant; nothing where nothing was ever synced.
fn past(history: &Path) -> Result<BTreeMap<TenantId, Past>, Error> {
    if !history.exists() {
        return Ok(BTreeMap::new());
    }
    history::look(history).map_err(|why| match why {
        HistoryError::Io { .. } => Error::Destination(why.to_string()),
        _ => problem(why.to_string()),
    })
}

/// A tenant in the list. Scripts rely on these names.
#[derive(Serialize)]
struct Row {
    tenant: String,
    labels: BTreeMap<String, String>,
    schedule: String,
    state: &'static str,
    last: Option<Last>,
    next: Option<String>,
    /// Why that is later than the schedule says, if it is.
    waits: Option<String>,
}

#[derive(Serialize)]
struct Last {
    started: String,
    ended: Option<String>,
    outcome: Option<String>,
    message: Option<String>,
    rows: u64,
}

fn row(tenant: &Tenant, past: &Past, served: bool, now: DateTime<Utc>) -> Row {
    let last = past.last.as_ref();
    let running = served && last.is_some_and(|last| last.end.is_none());
    let due = due_after(&tenant.id, &tenant.schedule, now, past);
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let end = last.and_then(|last| last.end.as_ref());
    let state = match (running, last, end) {
        (true, _, _) => "running",
        (_, None, _) => "never synced",
        (_, Some(_), None) => "interrupted",
        (_, _, Some(end)) if end.outcome == "ok" => "ok",
        (_, _, Some(end)) if end.outcome == "partial" => "partial",
        (_, _, Some(end)) if end.outcome == "interrupted" => "interrupted",
        _ => "failed",
    };
    Row {
        tenant: tenant.id.to_string(),
        labels: tenant.labels.clone(),
        schedule: tenant.schedule.to_string(),
        state,
        last: last.map(|last| Last {
            started: time(last.started),
            ended: end.map(|end| time(end.at)),
            outcome: end.map(|end| end.outcome.clone()),
            message: end.and_then(|end| end.message.clone()),
            rows: end.map_or(0, |end| end.rows),
        }),
        next: (!running).then(|| time(due.max(now))),
        waits: reason_to_wait(past).filter(|_| !running),
    }
}

fn text(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let labels: Vec<_> = row.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let message = row.last.as_ref().and_then(|last| last.outcome.clone()).filter(|_| row.state == "failed");
        let state = message.map_or(row.state.to_owned(), |outcome| format!("{}: {outcome}", row.state));
        vec![
            row.tenant.clone(),
            escape_control(&labels.join(" ")),
            row.schedule.clone(),
            state,
            row.last.as_ref().map(|last| last.started.clone()).unwrap_or_default(),
            row.next.clone().unwrap_or_default(),
        ]
    };
    let cells: Vec<_> = rows.iter().map(cells).collect();
    let headings = ["tenant", "labels", "schedule", "state", "last sync", "next sync"].map(Heading::Left);
    let waits = rows.iter().filter_map(|row| Some((&row.tenant, row.next.as_ref()?, row.waits.as_ref()?)));
    let waits: String =
        waits.map(|(tenant, next, why)| format!("{tenant}: next try at {next}, because {why}\n")).collect();
    let gap = if waits.is_empty() { "" } else { "\n" };
    format!("{}{gap}{waits}", table::render(&headings, &cells))
}
