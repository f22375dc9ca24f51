//! The command line tool as a person or a script uses it: a folder with a configuration, commands, and how they ended.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::local_wandb::{LocalWandb, Options, Project, TEST_KEY as KEY, World};
use crate::product::binary;

/// A server with the project `acme/demo`.
///
/// # Panics
/// When it does not start.
pub fn serve(project: Project) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = project;
    LocalWandb::start_blocking(Options::with_world(world)).expect("the server starts")
}

/// A folder of its own with a configuration, and nothing of the tester's environment.
pub struct CliDriver {
    folder: TempDir,
    /// Variables of the environment.
    pub variables: Vec<(&'static str, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    #[track_caller]
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it works");
        let ended =
            Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) };
        assert!(!ended.stdout.contains(KEY) && !ended.stderr.contains(KEY), "the key was shown: {ended:?}");
        ended
    }

    /// The one object on standard output.
    ///
    /// # Panics
    /// Where there is none, or more.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).expect("it works")
    }
}

impl CliDriver {
    /// With that configuration.
    ///
    /// # Panics
    /// Where no folder can be made.
    pub fn new(config: &Value) -> Self {
        let folder = TempDir::new().expect("it works");
        let file = folder.path().join("configuration.json");
        fs::write(&file, config.to_string()).expect("it works");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it works");
        Self { folder, variables: Vec::new() }
    }

    /// With a configuration for the project of [`serve`].
    pub fn of(server: &LocalWandb) -> Self {
        Self::new(&configuration(server))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The tool with these arguments, in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let cache = crate::product::target_dir().join("component-cache");
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("XDG_CACHE_HOME", cache).envs(self.variables.clone());
        command
    }

    /// Runs the tool to its end.
    ///
    /// # Panics
    /// When it can't be run, or shows the key.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().expect("it works"))
    }

    /// Starts a command (`sync`, `verify`), and waits until it has asked the server for so many histories.
    ///
    /// # Panics
    /// When it can't be run, or does not ask.
    #[track_caller]
    pub fn start(&self, server: &LocalWandb, command: &str, histories: usize) -> Child {
        server.log().clear();
        let mut child = self.command(&[command, "--config", "configuration.json", "--format", "json"]);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it works");
        let asked = server.log().wait_for(Duration::from_secs(60), |requests| {
            requests.iter().filter(|request| request.kind.is_history()).count() >= histories
        });
        assert!(asked, "{command} does not get going");
        child
    }

    /// One sync.
    #[track_caller]
    pub fn sync(&self) -> Ended {
        self.run(&["sync", "--config", "configuration.json", "--format", "json"])
    }
}

/// Interrupts a command that was started, as Ctrl-C does, and waits for its end.
///
/// # Panics
/// When that can't be done, or the command shows the key.
#[track_caller]
pub fn interrupt(child: Child) -> Ended {
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("it works").success());
    Ended::of(child.wait_with_output().expect("it works"))
}

/// The configuration for the project of [`serve`].
pub fn configuration(server: &LocalWandb) -> Value {
    json!({"api_key": KEY, "entity": "acme", "project": "demo", "base_url": server.base_url()})
}

/// A configuration under which each run is a request of its own, two at a time: for what has to happen in the middle of many requests.
pub fn run_by_run(server: &LocalWandb) -> Value {
    let mut config = with(server, "api", "rest".into());
    config["page_size"] = 1000.into();
    config["concurrency"] = 2.into();
    config
}

/// The same with one key more.
pub fn with(server: &LocalWandb, key: &str, value: Value) -> Value {
    let mut config = configuration(server);
    config[key] = value;
    config
}
