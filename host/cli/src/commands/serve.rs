//! `serve`: syncs of many tenants, each by its own schedule.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use elt_host::{Cache, CancellationToken, Connector, Engine, EngineOptions, Error, Event, Level, Policy};
use elt_serve::components::Components;
use elt_serve::history::{History, HistoryError};
use elt_serve::metrics::Metrics;
use elt_serve::operations::Operations;
use elt_serve::overview::Watch;
use elt_serve::record::SyncRecord;
use elt_serve::registry::Registry;
use elt_serve::scheduler::{ALIVE_PER_SLOT, Listener, Scheduler, SchedulerOptions};
use elt_serve::status;
use elt_serve::status::token::{Token, TokenSource};
use elt_serve::tenant::TenantId;
use elt_serve::traces::Traces;
use elt_support::certificates;
use elt_support::file_access::others_may_read;
use elt_support::printable::escape_control;
use serde::Serialize;

use crate::args::{Format, SandboxArgs, ServeArgs, TenantsArgs};
use crate::exit::Exit;
use crate::output::console::Console;
use crate::output::table::{self, Heading};
use crate::output::units::{counted, grouped};
use crate::output::{self, json};
use crate::wandb::configuration::problem;
use crate::{PROGRAM, interrupt, sandbox};

/// Syncs that work at once, for each core. A sync mostly waits for its source, and takes about 100 MiB at most while it reads a large one.
const SYNCS_PER_CORE: usize = 4;
/// The largest linear memory that there can be. What is reserved is addresses, not memory.
const LARGEST_MEMORY: usize = 4 << 30;
/// The longest time of a sync where nothing is said: what it stored stays, and the next one goes on from there.
const WALL_TIME: Duration = Duration::from_secs(6 * 3600);
/// Bytes of linear memory of a sync where nothing is said: more than twice what reading a large project takes. A guest that fills it over
/// and over costs the others page faults, so it is less than what a process of one sync may take.
const MEMORY: usize = 256 << 20;
/// The history's name where none is given.
const HISTORY: &str = "tenants-history.db";

/// Serves until a signal, or once.
pub(crate) async fn run(args: &ServeArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    // First of all: from here to the end of the process a SIGHUP ends nothing.
    let (asked, reloads) = tokio::sync::watch::channel(());
    let hung_up = interrupt::on_hangup(move || asked.send_replace(()));
    hung_up.map_err(|error| Error::Internal(format!("signals can't be received: {error}")))?;
    let slots = args.syncs.map_or_else(default_syncs, |syncs| syncs as usize);
    let source = &args.tenants.tenants;
    std::fs::metadata(source).map_err(|why| problem(format!("--tenants {}: {why}", source.display())))?;
    let history = history_file(&args.tenants);
    let opened = History::open(&history).map_err(|why| match why {
        HistoryError::Io { .. } => Error::Destination(why.to_string()),
        _ => problem(why.to_string()),
    })?;
    let components = load(sandbox, slots)?;
    let spec = components.built_in().spec().await?.clone();
    let registry = Registry::new(source, policy(sandbox), Some(&history)).with_spec(spec);
    let metrics = Arc::new(Metrics::default());
    let traces = Traces::from_env(PROGRAM).map_err(|why| problem(why.to_string()))?;
    let listener = Arc::new(ConsoleListener(console.clone()));
    let operations = Arc::new(Operations::new(metrics.clone(), traces, listener));
    let options = SchedulerOptions { slots, once: args.once };
    let scheduler = Scheduler::new(options, components, opened, operations.clone())?;
    if let Some(file) = args.token_file.as_ref().filter(|file| others_may_read(file)) {
        let file = escape_control(&file.display().to_string());
        console
            .log(Level::Warning, format!("{file} holds a token and other users may read it; run `chmod 600 {file}`"));
    }
    for problem in certificates::problems() {
        console.log(Level::Warning, problem);
    }
    let status = status_server(args, Arc::new(scheduler.clone()), metrics).await?;
    let token = watch(&scheduler, args, console)?;
    tokio::spawn(reload(scheduler.clone(), reloads, console.clone()));
    let closing = CancellationToken::new();
    let serving = status.map(|server| {
        console.log(Level::Info, format!("status page: http://{}/", server.address()));
        let closed = closing.clone();
        tokio::spawn(server.run(async move { closed.cancelled().await }))
    });
    let ended = scheduler.run(registry).await;
    // While syncs come to their end it still answers, as not ready.
    closing.cancel();
    if let Some(serving) = serving {
        serving.await.ok();
    }
    operations.shutdown().await;
    let (ended, problems) = (ended?, scheduler.problems());
    if !args.once {
        return Ok(Exit::Ok);
    }
    console.flush();
    output::print(&match args.format {
        Format::Text => text(&ended),
        Format::Json => json::line(&Summary::of(&ended, &problems)),
    })?;
    let complete = ended.iter().all(SyncRecord::is_complete);
    Ok(match (token.is_cancelled(), problems.is_empty(), complete) {
        (true, _, _) => Exit::Interrupted,
        (false, false, _) => Exit::Configuration,
        (false, true, false) => Exit::Partial,
        (false, true, true) => Exit::Ok,
    })
}

/// Takes the address of the status page, if there is to be one.
async fn status_server(
    args: &ServeArgs,
    watch: Arc<dyn Watch>,
    metrics: Arc<Metrics>,
) -> Result<Option<status::Server>, Error> {
    let Some(address) = args.listen.0.filter(|_| !args.once) else { return Ok(None) };
    let token = args.token_file.as_ref().map(|file| Token::read(&TokenSource::File(file.clone()))).transpose();
    let token = token.map_err(|why| problem(format!("--token-file: {why}")))?;
    let server = status::Server::bind(address, token, watch, metrics).await;
    server.map(Some).map_err(|why| problem(format!("--listen {address}: {why}")))
}

fn default_syncs() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get()) * SYNCS_PER_CORE
}

/// The built-in component, in an engine with room for so many syncs.
pub(crate) fn load(sandbox: &SandboxArgs, slots: usize) -> Result<Components, Error> {
    // Each sync has one instance at a time; a few more are asked for their specification.
    let instances = u32::try_from(slots * ALIVE_PER_SLOT + 16).unwrap_or(u32::MAX);
    let engine = Engine::new(&EngineOptions::default().pool(instances, LARGEST_MEMORY))?;
    let built_in = Connector::load(&engine, &sandbox::component(sandbox)?, &Cache::for_user(PROGRAM))?;
    Ok(Components::new(engine, built_in, Cache::for_user(PROGRAM)))
}

/// What the tenants' policies start from: the flags, which entries can change.
pub(crate) fn policy(sandbox: &SandboxArgs) -> Policy {
    let mut policy = sandbox::policy(sandbox);
    policy.limits.wall_time = sandbox.timeout.unwrap_or(WALL_TIME);
    policy.limits.memory = sandbox.memory_limit.unwrap_or(MEMORY);
    policy
}

/// Where the history is.
pub(crate) fn history_file(args: &TenantsArgs) -> PathBuf {
    let sibling = || match args.tenants.is_dir() {
        true => args.tenants.join(HISTORY),
        false => args.tenants.parent().unwrap_or(Path::new("")).join(HISTORY),
    };
    args.history.clone().unwrap_or_else(sibling)
}

/// The first signal lets syncs end, for so long; the second ends the process.
fn watch(scheduler: &Scheduler, args: &ServeArgs, console: &Arc<Console>) -> Result<CancellationToken, Error> {
    let (drained, patience, told) = (scheduler.clone(), args.drain, console.clone());
    let notice = format!("no further syncs start; those that run have {patience:?} to end (again to stop at once)");
    let drain = move |_: &CancellationToken| {
        drained.drain();
        tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            let running = drained.running() as u64;
            told.log(Level::Warning, format!("stopping {}: storing what is complete", counted(running, "sync")));
            drained.stop();
        });
    };
    interrupt::watch_and(console, notice, drain)
        .map_err(|error| Error::Internal(format!("signals can't be received: {error}")))
}

/// Has the files read again at each SIGHUP.
async fn reload(scheduler: Scheduler, mut asked: tokio::sync::watch::Receiver<()>, console: Arc<Console>) {
    while asked.changed().await.is_ok() {
        console.log(Level::Info, "SIGHUP: the files of tenants are read again".to_owned());
        scheduler.reload();
    }
}

/// Says on standard error what happens.
struct ConsoleListener(Arc<Console>);

impl Listener for ConsoleListener {
    fn event(&self, tenant: &TenantId, event: Event) {
        if let Event::Log { level, message } = event {
            self.0.log_of(tenant, level, message);
        }
    }

    fn ended(&self, record: &SyncRecord) {
        let Some(end) = &record.end else { return };
        let level = match end.outcome.as_str() {
            "ok" => Level::Info,
            "partial" | "interrupted" => Level::Warning,
            _ => Level::Severe,
        };
        let message = end.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        let line = format!("{} after {:.1} s, {}{message}", end.outcome, seconds(record), counted(end.rows, "row"));
        self.0.log_of(&record.tenant, level, line);
    }

    fn log(&self, level: Level, message: String) {
        self.0.log(level, message);
    }
}

fn seconds(record: &SyncRecord) -> f64 {
    let time = record.end.as_ref().map(|end| end.at - record.started);
    time.map_or(0.0, |time| time.num_milliseconds() as f64 / 1000.0)
}

fn text(ended: &[SyncRecord]) -> String {
    let row = |record: &SyncRecord| {
        let end = record.end.as_ref();
        vec![
            record.tenant.to_string(),
            end.map(|end| end.outcome.clone()).unwrap_or_default(),
            grouped(end.map_or(0, |end| end.rows)),
            format!("{:.1}", seconds(record)),
        ]
    };
    let rows: Vec<_> = ended.iter().map(row).collect();
    let headings =
        [Heading::Left("tenant"), Heading::Left("outcome"), Heading::Right("rows"), Heading::Right("seconds")];
    let complete = ended.iter().filter(|record| record.is_complete()).count() as u64;
    let count = ended.len() as u64;
    format!("{}\n{}: {} complete\n", table::render(&headings, &rows), counted(count, "sync"), grouped(complete))
}

/// What `--once --format json` prints. Scripts rely on these names.
#[derive(Serialize)]
struct Summary<'a> {
    syncs: Vec<Sync<'a>>,
    problems: &'a [String],
}

#[derive(Serialize)]
struct Sync<'a> {
    tenant: &'a str,
    outcome: Option<&'a str>,
    message: Option<&'a str>,
    rows: u64,
    synced: u64,
    left_out: u64,
    requests: u64,
    retries: u64,
    seconds: f64,
}

impl<'a> Summary<'a> {
    fn of(ended: &'a [SyncRecord], problems: &'a [String]) -> Self {
        let sync = |record: &'a SyncRecord| {
            let end = record.end.as_ref();
            Sync {
                tenant: record.tenant.as_str(),
                outcome: end.map(|end| end.outcome.as_str()),
                message: end.and_then(|end| end.message.as_deref()),
                rows: end.map_or(0, |end| end.rows),
                synced: end.map_or(0, |end| end.items.0),
                left_out: end.map_or(0, |end| end.items.1),
                requests: end.map_or(0, |end| end.requests),
                retries: end.map_or(0, |end| end.retries),
                seconds: seconds(record),
            }
        };
        Self { syncs: ended.iter().map(sync).collect(), problems }
    }
}
