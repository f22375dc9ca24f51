//! What can be typed: commands, flags, and an environment variable for each flag.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use elt_destinations::registry;
use elt_support::{units, url_password};

/// Every flag `--some-flag` can be given as an environment variable `WANDB_CONNECTOR_SOME_FLAG`.
const ENVIRONMENT_PREFIX: &str = "WANDB_CONNECTOR_";

const AFTER_HELP: &str = "\
Start here:
  wandb-connector sync                    with WANDB_API_KEY, WANDB_ENTITY and WANDB_PROJECT set
  wandb-connector sync --config FILE      with {\"api_key\": …, \"entity\": …, \"project\": …} in FILE

Every flag has an environment variable: --destination is WANDB_CONNECTOR_DESTINATION.

Exit codes:
  0 ok    1 internal    2 usage or configuration    3 authentication or permission
  4 some runs left out, or not verified    5 W&B unavailable    6 destination    130 interrupted";

/// Bring the runs and metrics of a Weights & Biases project to a database.
#[derive(Debug, Parser)]
#[command(name = "wandb-connector", version, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    #[command(subcommand)]
    pub(crate) command: Commands,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Bring the destination up to date.
    Sync(SyncArgs),
    /// Compare the destination with W&B run by run and value by value, writing nothing.
    Verify(VerifyArgs),
    /// Try the configuration against W&B, writing nothing.
    Check(QueryArgs),
    /// Show the tables that a sync would write.
    Schema(QueryArgs),
    /// Print the JSON Schema of the configuration.
    Spec,
    /// Show the first rows of each table, writing nothing.
    Preview(PreviewArgs),
    /// Show what the component imports and exports, and the policy it would run under.
    Inspect(QueryArgs),
    /// Show or change what is remembered between syncs.
    #[command(subcommand)]
    State(StateCommands),
    /// Sync many tenants, each by its own schedule, until told to stop.
    Serve(ServeArgs),
    /// Look at the tenants that `serve` syncs.
    #[command(subcommand)]
    Tenants(TenantsCommands),
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) tenants: TenantsArgs,
    /// Run everything that is due, and end.
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub(crate) once: bool,
    /// How many syncs work at once; those that wait for a rate limit do not count [default: 4 for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) syncs: Option<u32>,
    /// How long running syncs may go on after SIGTERM or SIGINT, before each is stopped where that loses nothing complete.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration)]
    pub(crate) drain: Duration,
    /// Where the status page, its API and the metrics are (not with --once); `none` for nowhere.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub(crate) listen: Listen,
    /// A file that holds the token which opens them; needed where other machines reach the address.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How the summary of --once is printed.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// Where a server is, if anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) Option<SocketAddr>);

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address =
            || text.parse().map(Some).map_err(|_| "give an address and a port, such as 127.0.0.1:9464, or none");
        Ok(Self(if text == "none" { None } else { address()? }))
    }
}

/// `tenants …`.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantsCommands {
    /// Name everything that is wrong with the tenants' files, without any request.
    Check(TenantsCheckArgs),
    /// Show each tenant's last and next sync.
    List(TenantsListArgs),
}

/// Flags of `tenants check`.
#[derive(Debug, Args)]
pub(crate) struct TenantsCheckArgs {
    #[command(flatten)]
    pub(crate) tenants: TenantsArgs,
}

/// Flags of `tenants list`.
#[derive(Debug, Args)]
pub(crate) struct TenantsListArgs {
    #[command(flatten)]
    pub(crate) tenants: TenantsArgs,
    /// How the list is printed.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// Where the tenants are.
#[derive(Debug, Args)]
pub(crate) struct TenantsArgs {
    /// The file that describes the tenants, or a folder of such files (`*.toml`).
    #[arg(long, value_name = "FILE|DIR", default_value = "tenants.toml")]
    pub(crate) tenants: PathBuf,
    /// Where the history of syncs is kept [default: tenants-history.db beside the file, or in the folder].
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
}

/// Flags of `sync`.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) destination: DestinationArgs,
    /// Forget what was synced, and read everything again.
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub(crate) full_refresh: bool,
    /// Store what was read at least this often; a crash loses no more than that.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub(crate) commit_every: Duration,
    /// What becomes of runs that were deleted at W&B; goes before `deletes` in the configuration [default: keep].
    #[arg(long, value_name = "WHAT")]
    pub(crate) deletes: Option<Deletes>,
    /// How the summary is printed.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// Flags of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) destination: DestinationArgs,
}

/// Flags of the commands that ask and print an answer.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How the answer is printed.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// Flags of `preview`.
#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    /// How many rows of each table.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rows: u32,
    /// Only this table.
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<String>,
}

/// `state …`.
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommands {
    /// Print the state as one JSON object.
    Show(StateArgs),
    /// Replace the state with a JSON object of strings, such as the one that Fivetran keeps; rows stay.
    Import {
        #[command(flatten)]
        state: StateArgs,
        /// Where to read the object; `-` is standard input.
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// Write the state as a JSON object that `state import` takes.
    Export {
        #[command(flatten)]
        state: StateArgs,
        /// Where to write the object; `-` is standard output.
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// Forget the state: the next sync reads everything again; rows stay.
    Reset {
        #[command(flatten)]
        state: StateArgs,
        /// Do not ask.
        #[arg(long, value_parser = FalseyValueParser::new())]
        yes: bool,
    },
}

/// Flags of every `state` command.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    #[command(flatten)]
    pub(crate) destination: DestinationArgs,
    /// Accepted so that the same flags fit every command; not read.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) config: Option<PathBuf>,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// A JSON file with the configuration (`-`: standard input); what it lacks comes from WANDB_API_KEY, WANDB_ENTITY,
    /// WANDB_PROJECT, WANDB_BASE_URL, the settings of the wandb tools and ~/.netrc.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Where rows and state go.
#[derive(Debug, Args)]
pub(crate) struct DestinationArgs {
    #[arg(long, value_name = "URL", default_value = registry::default_url(), help = destination_help())]
    pub(crate) destination: String,
}

fn destination_help() -> String {
    format!("Where rows and state are stored: {}", registry::forms(registry::KINDS))
}

/// What is said, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// The least level that is logged.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,
    /// How lines on standard error look.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: Format,
    /// Show no progress.
    #[arg(long, global = true, value_parser = FalseyValueParser::new())]
    pub(crate) no_progress: bool,
    /// When to use color (auto: on a terminal, unless NO_COLOR is set).
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

/// Which component runs, and what it may do.
#[derive(Debug, Args)]
#[command(next_help_heading = "Component")]
pub(crate) struct SandboxArgs {
    /// Run this component in place of the built-in one.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,
    /// Also allow downloads from this origin, without the key (repeatable).
    #[arg(long, global = true, value_name = "ORIGIN", value_delimiter = ',', value_parser = units::origin)]
    pub(crate) allow_origin: Vec<String>,
    /// Also allow addresses in this network, though they are loopback or private (repeatable).
    #[arg(long, global = true, value_name = "CIDR", value_delimiter = ',', value_parser = units::network)]
    pub(crate) allow_network: Vec<IpNet>,
    /// The most memory that the component may use, such as 512MiB.
    #[arg(long, global = true, value_name = "SIZE", value_parser = units::size)]
    pub(crate) memory_limit: Option<usize>,
    /// The longest time that the component may run, such as 90s, 30m or 12h.
    #[arg(long, global = true, value_name = "TIME", value_parser = units::duration)]
    pub(crate) timeout: Option<Duration>,
}

/// `text` for people, `json` for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// What becomes of the rows of deleted runs: they stay, they stay and the run is named in the table `deleted_runs`, or they go too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deletes {
    Keep,
    Mark,
    Remove,
}

/// The names of `wit/log.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warning,
    Severe,
}

/// When to use color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// Reads the command line and the environment.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    parse_from(std::env::args_os(), &|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// `is_set` says whether an environment variable counts: one that is set to nothing does not, since that is how
/// scripts and CI systems pass on what nobody gave.
fn parse_from<I, T>(arguments: I, is_set: &dyn Fn(&str) -> bool) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let mut command = with_environment(Cli::command(), is_set);
    let matches = command
        .try_get_matches_from_mut(arguments)
        .map_err(|error| explain_key(without_passwords(error), &mut command))?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Gives each flag its variable, so that none can be forgotten.
fn with_environment(command: Command, is_set: &dyn Fn(&str) -> bool) -> Command {
    let command = command.mut_args(|argument| {
        let name = argument.get_long().map(environment_name).filter(|name| is_set(name));
        match name {
            Some(name) => argument.env(name).hide_env(true),
            None => argument,
        }
    });
    command.mut_subcommands(|inner| with_environment(inner, is_set))
}

fn environment_name(long: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", long.to_ascii_uppercase().replace('-', "_"))
}

/// An error without the passwords of URLs that it repeats: a misspelled flag takes `postgres://user:password@host` with it.
fn without_passwords(mut error: clap::Error) -> clap::Error {
    use clap::error::ContextValue;
    let hidden: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, text, url_password::hide(text))),
            _ => None,
        })
        .filter(|(_, text, hidden)| *text != hidden)
        .map(|(kind, _, hidden)| (kind, hidden))
        .collect();
    for (kind, text) in hidden {
        error.insert(kind, ContextValue::String(text));
    }
    error
}

/// A key on the command line would be in the shell's history and in every process listing, so there is no flag for
/// it; someone who tries is told where it goes.
fn explain_key(error: clap::Error, command: &mut Command) -> clap::Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let kind = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return error,
    };
    let Some(ContextValue::String(argument)) = error.get(kind) else { return error };
    let name = argument.split('=').next().unwrap_or_default().replace(['-', '_'], "").to_ascii_lowercase();
    // W&B's keys have forty characters or more.
    let holds_key = argument.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|part| part.len() >= 40);
    if !holds_key && !matches!(name.as_str(), "apikey" | "key" | "token" | "password") {
        return error;
    }
    let message = format!(
        "the API key can't be given on the command line, where other users and the shell's history would see it\n\n{}",
        crate::wandb::advice::WHERE_A_KEY_GOES
    );
    command.error(ErrorKind::UnknownArgument, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        parse_from(line.split_whitespace(), &|_| false)
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        fn visit(command: &Command) {
            for argument in command.get_arguments() {
                let Some(long) = argument.get_long() else { continue };
                let name = argument.get_env().and_then(|name| name.to_str());
                assert_eq!(name, Some(environment_name(long).as_str()), "--{long}");
            }
            command.get_subcommands().for_each(visit);
        }
        visit(&with_environment(Cli::command(), &|_| true));
        assert_eq!(environment_name("full-refresh"), "WANDB_CONNECTOR_FULL_REFRESH");
    }

    #[test]
    fn a_key_on_the_command_line_is_refused_without_repeating_it() {
        for line in ["sync --api-key=SECRET", "--api_key SECRET check", "sync --apikey SECRET", "sync --token SECRET"] {
            let error = parse(&format!("wandb-connector {line}")).map(|_| ()).unwrap_err();
            let text = error.render().to_string();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(text.contains("WANDB_API_KEY") && text.contains("~/.netrc"), "{text}");
            assert!(!text.contains("SECRET"), "{text}");
        }
        let key = "0123456789abcdef".repeat(3);
        for line in [format!("sync {key}"), format!("sync --{key}"), format!("sync --x={key}"), key.clone()] {
            let text = parse(&format!("wandb-connector {line}")).map(|_| ()).unwrap_err().render().to_string();
            assert!(!text.contains(&key), "{text}");
        }
    }

    #[test]
    fn a_password_of_a_url_in_the_wrong_place_is_not_repeated() {
        for line in [
            "sync postgres://user:PW@host/db",
            "sync --destinaton=postgres://user:PW@host/db",
            "postgres://user:PW@host/db",
            "sync --format postgres://user:PW@host/db",
            "sync --commit-every postgres://user:PW@host/db",
            "check --allow-origin postgres://user:PW@host/db",
            "check --allow-origin postgres://user:PW@[/db",
            "serve --listen postgres://user:PW@host/db",
        ] {
            let text = parse(&format!("wandb-connector {line}")).map(|_| ()).unwrap_err().render().to_string();
            assert!(!text.contains("PW"), "{line}: {text}");
        }
    }

    #[test]
    fn flags_may_stand_before_or_after_the_command() {
        for line in
            ["--log-level debug sync --allow-network 10.0.0.0/8", "sync --log-level debug --allow-network 10.0.0.0/8"]
        {
            let cli = parse(&format!("wandb-connector {line}")).unwrap();
            assert_eq!(cli.output.log_level, LogLevel::Debug);
            assert_eq!(cli.sandbox.allow_network.len(), 1);
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let Commands::Sync(sync) = parse("wandb-connector sync").unwrap().command else { panic!("not sync") };
        assert_eq!(sync.destination.destination, "sqlite:warehouse.db");
        assert_eq!(sync.format, Format::Text);
        assert!(!sync.full_refresh);
        assert_eq!(sync.commit_every, elt_host::Policy::default().commit_after);
        assert!(sync.config.config.is_none());
    }
}
