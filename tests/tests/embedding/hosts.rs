//! The hosts of the matrix, each with a database that it fills in one dialect.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{Dialect, LocalWandb};
use wandb_connector_tests::other_hosts::OtherHost;
use wandb_connector_tests::product::{binary, component_file, program, target_dir};
use wandb_connector_tests::set_up;

use crate::lines;
use crate::{ENTITY, PROJECT};

/// What runs the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// The command line tool, with the component that it carries.
    Tool,
    /// The library, in the embedder's program of `tests/embedding/rust`.
    Library,
    /// A host of its own, made from the contract alone.
    Other(OtherHost),
    /// The `wasmtime` command line, with the command that is composed of the component.
    WasmtimeCommand,
    /// Node, with the same command.
    NodeCommand,
}

/// The command that was composed of the component.
pub(crate) fn command_file() -> PathBuf {
    let file = target_dir().join("wasm32-unknown-unknown/component/wandb-connector-cli.wasm");
    assert!(file.is_file(), "{} is missing: run `make command` first", file.display());
    file
}

impl Host {
    /// Whether it runs the command, which prints what it reads.
    pub(crate) fn prints_lines(self) -> bool {
        matches!(self, Self::WasmtimeCommand | Self::NodeCommand)
    }

    /// A program that reads its configuration from `configuration.json` in `folder` and stores into `warehouse.db` beside it, or
    /// prints lines.
    fn command(self, folder: &Path, config: &Value) -> Command {
        let (configuration, database) = (folder.join("configuration.json"), folder.join("warehouse.db"));
        let with_files = |mut command: Command| {
            command.arg(component_file()).arg(&configuration).arg(&database);
            command
        };
        match self {
            Self::Tool => {
                let mut command = Command::new(binary());
                command.args(["sync", "--format", "json", "--config"]).arg(&configuration);
                command.arg("--destination").arg(format!("sqlite:{}", database.display()));
                command.env("XDG_CACHE_HOME", cache());
                command
            }
            Self::Library => {
                let mut command = with_files(Command::new(program("embed")));
                command.env("XDG_CACHE_HOME", cache());
                command
            }
            Self::Other(host) => with_files(host.program("sync").expect("the host is installed")),
            Self::WasmtimeCommand => {
                let python = set_up::program("setup-python.sh").expect("the tools are installed");
                let mut command = Command::new(python.with_file_name("wasmtime"));
                command.args(["run", "-S", "http", "--env"]).arg(format!("CONNECTOR_CONFIG={config}"));
                command.arg(command_file());
                command
            }
            Self::NodeCommand => {
                let mut command = OtherHost::Node.program("command").expect("the host is installed");
                command.env("CONNECTOR_CONFIG", config.to_string()).arg(command_file());
                command
            }
        }
    }
}

/// Where our own host keeps the compiled component between tests.
pub(crate) fn cache() -> PathBuf {
    target_dir().join("component-cache")
}

/// What a sync that succeeded says of itself, in every host.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) unchanged: u64,
    pub(crate) retries: u64,
    pub(crate) quarantined: usize,
}

impl Summary {
    fn of(host: Host, output: &Output) -> Option<Self> {
        let text = std::str::from_utf8(&output.stdout).ok()?;
        let whole: Value = serde_json::from_str(text.lines().next_back()?).ok()?;
        let (counts, summary) = match host {
            Host::Tool => (&whole["runs"], &whole),
            Host::Library | Host::Other(_) => (&whole, &whole),
            Host::WasmtimeCommand | Host::NodeCommand => (&whole["summary"], &whole["summary"]),
        };
        let number = |value: &Value| value.as_u64();
        let quarantined = &counts["quarantined"];
        let quarantined = quarantined.as_array().map(Vec::len).or_else(|| number(quarantined)?.try_into().ok());
        Some(Self {
            unchanged: number(&counts["unchanged"])?,
            retries: number(&summary["retries"])?,
            quarantined: quarantined?,
        })
    }
}

/// A database that one host fills in one dialect.
pub(crate) struct Warehouse<'a> {
    host: Host,
    dialect: Dialect,
    server: &'a LocalWandb,
    folder: TempDir,
}

impl<'a> Warehouse<'a> {
    pub(crate) fn new(host: Host, dialect: Dialect, server: &'a LocalWandb) -> Self {
        Self { host, dialect, server, folder: TempDir::new().expect("a temporary folder") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn database(&self) -> Connection {
        Connection::open(self.file("warehouse.db")).expect("the database opens")
    }

    pub(crate) fn try_sync(&self, key: &str) -> Output {
        let api = match self.dialect {
            Dialect::Rest => "rest",
            Dialect::Graphql => "graphql",
        };
        let config = json!({
            "api_key": key, "entity": ENTITY, "project": PROJECT, "base_url": self.server.base_url(), "api": api,
        });
        std::fs::write(self.file("configuration.json"), config.to_string()).expect("a configuration");
        let mut sync = self.host.command(self.folder.path(), &config);
        if !self.host.prints_lines() {
            return sync.output().expect("the host runs");
        }
        // What was printed so far holds the state.
        let printed = File::options().create(true).append(true).read(true).open(self.file("rows.jsonl"));
        let mut printed = printed.expect("a file");
        let state = File::open(self.file("rows.jsonl")).expect("a file");
        let output = sync.stdin(state).stderr(Stdio::piped()).output().expect("the host runs");
        std::io::Write::write_all(&mut printed, &output.stdout).expect("it is written");
        output
    }

    /// A sync that succeeds.
    pub(crate) fn sync(&self) -> Summary {
        let output = self.try_sync(self.server.api_key());
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {:?}: {problem}", self.host, self.dialect);
        Summary::of(self.host, &output).unwrap_or_else(|| panic!("no summary: {output:?}"))
    }

    pub(crate) fn assert_equals_server(&self) {
        let truth = self.server.truth(self.dialect, ENTITY, PROJECT);
        let database = match self.host.prints_lines() {
            true => lines::stored(&self.file("rows.jsonl"), self.folder.path()),
            false => self.file("warehouse.db"),
        };
        let differences = compare_sqlite(&database, &truth).expect("the database is legible");
        let first = differences.first().map(ToString::to_string);
        assert_eq!(first, None, "the first of {}: {:?} {:?}", differences.len(), self.host, self.dialect);
        assert!(truth.metrics.len() > 1000, "there was much to compare");
    }
}
