//! What is installed or built for tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};

/// Runs a set-up script of this crate's folder, which installs or builds what is missing, and answers the path that it printed.
///
/// # Errors
/// The script fails. What to do about it has been printed.
pub fn program(script: &str) -> anyhow::Result<PathBuf> {
    // Tests of one binary run at once; only one of them may install.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let script = tests_folder().join(script);
    let output = Command::new("sh").arg(&script).stderr(Stdio::inherit()).output().context("cannot run sh")?;
    if !output.status.success() {
        bail!("{} failed: {}", script.display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// The folder of this crate, which holds the scripts.
pub(crate) fn tests_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
