//! One destination that the binary syncs into, and the binary as a process that can be watched and ended.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::local_wandb::{Dialect, LocalWandb};
use crate::product;

/// The kind of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// `sqlite:`
    Sqlite,
    /// `parquet:`
    Parquet,
}

/// A folder with a configuration and a destination.
pub struct Site {
    folder: TempDir,
    /// The kind of its destination.
    pub storage: Storage,
    /// What its syncs speak.
    pub dialect: Dialect,
}

impl Site {
    /// For a project of a local server. `settings` is more of the configuration.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn new(
        server: &LocalWandb,
        (entity, project): (&str, &str),
        (storage, dialect): (Storage, Dialect),
        settings: &Value,
    ) -> anyhow::Result<Self> {
        let api = match dialect {
            Dialect::Rest => "rest",
            Dialect::Graphql => "graphql",
        };
        let mut config = json!({
            "api_key": server.api_key(), "entity": entity, "project": project, "base_url": server.base_url(), "api": api,
        });
        for (key, value) in settings.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let folder = TempDir::new()?;
        let file = folder.path().join("configuration.json");
        fs::write(&file, config.to_string())?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(Self { folder, storage, dialect })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database's file, or the data sets' folder.
    pub fn destination_path(&self) -> PathBuf {
        self.folder().join(match self.storage {
            Storage::Sqlite => "w.db",
            Storage::Parquet => "w",
        })
    }

    /// The destination as `--destination` names it.
    pub fn url(&self) -> String {
        let kind = match self.storage {
            Storage::Sqlite => "sqlite",
            Storage::Parquet => "parquet",
        };
        format!("{kind}:{}", self.destination_path().display())
    }

    /// Lets the folder stay when this is dropped.
    pub fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder().to_owned()
    }

    /// Removes the destination, whatever is in it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn empty(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else if path.file_name().is_some_and(|name| name != "configuration.json") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// `program` in the binary's place, with the arguments of a sync to follow, and nothing of the tester's environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.folder());
        command.env("XDG_CACHE_HOME", product::target_dir().join("component-cache"));
        command
    }

    /// The arguments of a sync that commits often, so that much lies between its beginning and its end.
    pub fn sync_arguments(&self) -> Vec<String> {
        let url = self.url();
        let arguments = [
            "sync",
            "--config",
            "configuration.json",
            "--format",
            "json",
            "--log-level",
            "debug",
            "--commit-every",
            "10ms",
            "--destination",
            &url,
        ];
        arguments.map(str::to_owned).to_vec()
    }

    /// Starts a sync.
    ///
    /// # Errors
    /// The binary can't be started.
    pub fn start(&self) -> anyhow::Result<Running> {
        let mut command = self.command(product::binary());
        command.args(self.sync_arguments());
        Running::start(command)
    }

    /// One sync, to its end.
    ///
    /// # Errors
    /// The binary can't be started, or does not end.
    pub fn sync(&self) -> anyhow::Result<Ended> {
        self.start()?.end()
    }

    /// Where the destination stands: another number after each step of writing that can be seen from outside.
    pub fn traces(&self) -> u64 {
        let size = |path: PathBuf| fs::metadata(path).map_or(0, |it| it.len() + 1);
        let path = self.destination_path();
        match self.storage {
            Storage::Sqlite => {
                let mut log = path.clone().into_os_string();
                log.push("-wal");
                size(path) ^ size(log.into()).rotate_left(32)
            }
            Storage::Parquet => {
                let home = path.join("_elt");
                let next = ["runs", "metrics", "metric_objects"].map(|table| {
                    let files = fs::read_dir(home.join("next").join(table)).into_iter().flatten().flatten();
                    files.map(|file| file.metadata().map_or(1, |it| it.len() + 1)).sum::<u64>()
                });
                let current =
                    fs::read_link(home.join("current")).map_or(0, |it| it.as_os_str().len() as u64 + number(&it));
                size(home.join("catalog.db-wal")) ^ next.iter().sum::<u64>().rotate_left(24) ^ current.rotate_left(56)
            }
        }
    }
}

fn number(path: &Path) -> u64 {
    path.to_string_lossy().rsplit('-').next().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// How the binary ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The most memory that it was seen to use, in KiB (`VmHWM`).
    pub peak_kib: u64,
}

impl Ended {
    /// Its exit code; none when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it printed, which must be one object.
    ///
    /// # Errors
    /// It is not.
    pub fn summary(&self) -> serde_json::Result<Value> {
        serde_json::from_str(&self.stdout)
    }
}

/// The binary at work. Dropped, it is killed.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<()>>,
    lines: Arc<Mutex<Vec<String>>>,
    peak_kib: u64,
    glances: u64,
}

/// How long a sync of a test may take at most, the machine being busy.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often is looked whether something has happened.
const GLANCE: Duration = Duration::from_micros(300);

impl Running {
    /// Starts a command whose outputs are piped.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.spawn()?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().map(|mut stdout| {
            std::thread::spawn(move || {
                let mut text = String::new();
                // What was cut by a kill is judged by its content.
                let _ = stdout.read_to_string(&mut text);
                text
            })
        });
        let stderr = child.stderr.take().map(|stderr| {
            let lines = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            })
        });
        Ok(Self { child, stdout, stderr, lines, peak_kib: 0, glances: 0 })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many lines it has written to standard error.
    pub fn lines(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether a line of standard error holds this.
    pub fn has_said(&self, text: &str) -> bool {
        self.lines_with(text) > 0
    }

    /// How many lines of standard error hold this.
    pub fn lines_with(&self, text: &str) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|line| line.contains(text)).count()
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// The system can't tell.
    pub fn has_ended(&mut self) -> std::io::Result<bool> {
        self.glances += 1;
        if self.glances % 16 == 1
            && let Ok(status) = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
        {
            let peak =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
            self.peak_kib = self.peak_kib.max(peak.unwrap_or(0));
        }
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until `happened` or its end, and tells which: true for the former.
    ///
    /// # Errors
    /// Neither comes.
    pub fn wait_until(&mut self, mut happened: impl FnMut(&Self) -> bool) -> anyhow::Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if happened(self) {
                return Ok(true);
            }
            if self.has_ended()? {
                return Ok(false);
            }
            anyhow::ensure!(Instant::now() < deadline, "nothing happens: {:?}", self.lines);
            // Its end and its files are another process's, which tells nobody of them.
            std::thread::sleep(GLANCE);
        }
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()
    }

    /// SIGTERM.
    ///
    /// # Errors
    /// The system refuses.
    pub fn stop(&self) -> anyhow::Result<()> {
        let id = rustix::process::Pid::from_raw(self.id().cast_signed()).context("a process id")?;
        Ok(rustix::process::kill_process(id, rustix::process::Signal::TERM)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not come.
    pub fn end(mut self) -> anyhow::Result<Ended> {
        self.wait_until(|_| false)?;
        let status = self.child.wait()?;
        let stdout = self.stdout.take().and_then(|it| it.join().ok()).unwrap_or_default();
        if let Some(stderr) = self.stderr.take() {
            let _ = stderr.join();
        }
        let stderr = self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
        Ok(Ended { status, stdout, stderr, peak_kib: self.peak_kib })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended can't be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
