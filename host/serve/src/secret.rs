//! Looks secrets up where a tenant's entry says they are: when a sync starts, each time anew, so that a changed secret needs no restart.
//!
//! Errors repeat nothing that was read: the output of a program may hold the secret, and so may its error messages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout_at};

use super::backoff::Mark;
use super::tenant::{SecretSource, Tenant};
use elt_support::text;

/// Bytes of a secret. Keys have a few dozen.
const LARGEST: usize = 64 << 10;
/// How long a program may take to tell a secret.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether a program that has said all it says has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or not to text.
    #[error("the environment variable {0} is not set")]
    Variable(String),
    /// The file can't be read.
    #[error("the secret's file {path} can't be read: {why}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        why: io::Error,
    },
    /// The program can't be run, or failed.
    #[error("the secret's command `{program}` {why}; what it wrote is not shown")]
    Command {
        /// The program, without its arguments.
        program: String,
        /// What happened.
        why: String,
    },
    /// There is something, but no secret.
    #[error("{place} {why}")]
    Unfit {
        /// Where it was looked for.
        place: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// Looks a secret up. A program is ended when it takes too long, or when the future is dropped.
pub async fn resolve(source: &SecretSource) -> Result<String, SecretError> {
    let (bytes, place) = match source {
        SecretSource::Variable(name) => {
            let value = std::env::var(name).map_err(|_| SecretError::Variable(name.clone()))?;
            (value.into_bytes(), format!("the environment variable {name}"))
        }
        SecretSource::File(path) => {
            let (asked, shown) = (path.clone(), path.display().to_string());
            let read = tokio::task::spawn_blocking(move || read_file(&asked)).await.map_err(io::Error::other);
            let bytes = read.flatten().map_err(|why| SecretError::File { path: shown.clone(), why })?;
            (bytes, format!("the secret's file {shown}"))
        }
        SecretSource::Command(words) => {
            let program = words.first().cloned().unwrap_or_default();
            let written = ask(words, PATIENCE).await;
            let written = written.map_err(|why| SecretError::Command { program: program.clone(), why })?;
            (written, format!("the output of the secret's command `{program}`"))
        }
    };
    let unfit = |why| SecretError::Unfit { place: place.clone(), why };
    if bytes.len() > LARGEST {
        return Err(unfit("is larger than any secret"));
    }
    let mut text = String::from_utf8(text::in_utf8(bytes)).map_err(|_| unfit("is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    if text.is_empty() { Err(unfit("is empty")) } else { Ok(text) }
}

/// Looks all secrets of a tenant up.
pub(super) async fn resolve_all(tenant: &Tenant) -> BTreeMap<String, Result<String, SecretError>> {
    let mut found = BTreeMap::new();
    for (key, source) in &tenant.secrets {
        found.insert(key.clone(), resolve(source).await);
    }
    found
}

/// The mark of a tenant with these secrets.
pub(super) fn mark(tenant: &Tenant, found: &BTreeMap<String, Result<String, SecretError>>, salt: u64) -> Mark {
    let values = found.iter().map(|(key, value)| (key.clone(), value.as_ref().ok().cloned())).collect();
    Mark::of(tenant, &values, salt)
}

/// At most one byte more than a secret has. Waits for nobody who might write into a pipe.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A program in a process group of its own, which ends with this value.
struct Asked(Child);

impl Drop for Asked {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                kill_process_group(group, Signal::KILL).ok();
            }
            // It was told to end in a way that it can't refuse.
            self.0.wait().ok();
        }
    }
}

async fn ask(words: &[String], patience: Duration) -> Result<Vec<u8>, String> {
    let until = Instant::now() + patience;
    let late = || format!("took longer than {} s", patience.as_secs_f32());
    let (program, arguments) = words.split_first().ok_or("has no program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let started = tokio::task::spawn_blocking(move || command.spawn()).await.map_err(io::Error::other);
    let mut asked = Asked(started.flatten().map_err(|why| format!("can't be run: {}", why.kind()))?);
    let output = asked.0.stdout.take().ok_or("has no output")?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output)).map_err(|why| format!("can't be read: {why}"))?;
    let mut written = Vec::new();
    while written.len() <= LARGEST {
        timeout_at(until, output.readable())
            .await
            .map_err(|_| late())?
            .map_err(|why| format!("can't be read: {why}"))?;
        let mut part = [0; 4096];
        match output.try_read(&mut part) {
            Ok(0) => break,
            Ok(read) => written.extend_from_slice(&part[..read]),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(format!("can't be read: {why}")),
        }
    }
    if written.len() > LARGEST {
        // What is wrong is said by whoever looks at it.
        return Ok(written);
    }
    loop {
        match asked.0.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(written),
            Ok(Some(status)) => return Err(format!("failed: {status}")),
            Ok(None) if Instant::now() >= until => return Err(late()),
            Ok(None) => sleep(LOOK).await,
            Err(why) => return Err(format!("can't be waited for: {why}")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn told(words: &[&str]) -> Result<String, String> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        resolve(&SecretSource::Command(words)).await.map_err(|why| why.to_string())
    }

    #[tokio::test]
    async fn a_programs_output_is_the_secret_but_for_the_last_line_break() {
        assert_eq!(told(&["printf", "%s\\n", "a b"]).await, Ok("a b".into()));
        assert_eq!(told(&["printf", "a\\r\\n"]).await, Ok("a".into()));
        // No shell: what looks like its language is an argument.
        assert_eq!(told(&["printf", "%s", "$(id) `id` ; id > x"]).await, Ok("$(id) `id` ; id > x".into()));
    }

    #[tokio::test]
    async fn what_a_program_says_is_not_repeated() {
        for (script, why) in [
            ("echo SECRET; echo SECRET >&2; exit 3", "failed: exit status: 3"),
            ("echo SECRET; kill -9 $$", "failed: signal: 9"),
            ("printf 'SECRET\\377'", "is not UTF-8"),
            ("true", "is empty"),
            ("yes SECRET", "is larger than any secret"),
        ] {
            let said = told(&["sh", "-c", script]).await.unwrap_err();
            assert!(said.contains(why) && said.contains("`sh`") && !said.contains("SECRET"), "{said}");
        }
        let said = told(&["/no/such/program", "SECRET"]).await.unwrap_err();
        assert!(said.contains("can't be run: entity not found") && !said.contains("SECRET"), "{said}");
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_ended_and_its_children_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let noted = folder.path().join("pid");
        // The child holds the output open.
        let script = format!("sleep 1000 & echo $! > {}; echo SECRET; wait", noted.display());
        let words: Vec<String> = ["sh", "-c", &script].map(str::to_owned).into();
        let said = ask(&words, Duration::from_millis(500)).await.unwrap_err();
        assert_eq!(said, "took longer than 0.5 s");
        let child = std::fs::read_to_string(noted).unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        // Gone, or dead and not yet collected by whoever inherited it.
        let until = Instant::now() + Duration::from_secs(30);
        while !(state().is_empty() || state().contains(") Z ")) {
            assert!(Instant::now() < until, "{}", state());
            // It is no child of this process, which nobody tells of its end.
            sleep(LOOK).await;
        }
    }

    #[tokio::test]
    async fn files_are_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let read = |path: &Path| {
            let source = SecretSource::File(path.into());
            async move { resolve(&source).await.map_err(|why| why.to_string()) }
        };
        assert!(read(&path).await.unwrap_err().contains("No such file"));
        std::fs::write(&path, "key\n").unwrap();
        assert_eq!(read(&path).await, Ok("key".into()));
        // As PowerShell and Notepad write it.
        for bytes in [&b"\xff\xfek\0e\0y\0\r\0\n\0"[..], b"\xef\xbb\xbfkey\r\n"] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path).await, Ok("key".into()));
        }
        std::fs::write(&path, vec![b'x'; LARGEST + 1]).unwrap();
        assert!(read(&path).await.unwrap_err().contains("is larger than any secret"));
        assert!(read(folder.path()).await.unwrap_err().contains("it is no file"));
        assert!(read(Path::new("/dev/zero")).await.unwrap_err().contains("it is no file"));
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read(&pipe).await.unwrap_err().contains("it is no file"));
    }

    #[tokio::test]
    async fn a_variable_that_is_not_set_is_named() {
        let said = resolve(&SecretSource::Variable("NO_SUCH_VARIABLE_HERE".into())).await.unwrap_err();
        assert_eq!(said.to_string(), "the environment variable NO_SUCH_VARIABLE_HERE is not set");
    }
}
