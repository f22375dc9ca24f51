//! Running the official W&B SDK against a local server, so that its faithfulness is checked by W&B's own code.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::local_wandb::LocalWandb;
use crate::set_up::{self, tests_folder};

/// A Python that has the SDK.
pub struct Sdk {
    python: PathBuf,
}

impl Sdk {
    /// Sets the environment up (`tests/setup-python.sh`), which downloads the SDK the first time.
    ///
    /// # Errors
    /// There is no usable Python, or the SDK cannot be installed. What to do about it has been printed.
    pub fn set_up() -> anyhow::Result<Self> {
        let python = set_up::program("setup-python.sh")?;
        Ok(Sdk { python })
    }

    /// Runs a script of `tests/sdk` against a server, and answers what it printed.
    ///
    /// # Errors
    /// The script fails; the error holds what it printed to stderr.
    pub fn run(&self, server: &LocalWandb, script: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let scratch =
            std::env::temp_dir().join(format!("wandb-sdk-{}-{}", std::process::id(), server.address().port()));
        std::fs::create_dir_all(&scratch)?;
        let result = self.run_in(&scratch, server, script, arguments);
        std::fs::remove_dir_all(&scratch)?;
        result
    }

    fn run_in(&self, scratch: &Path, server: &LocalWandb, script: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let folders =
            ["WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR", "HOME"];
        let output = Command::new(&self.python)
            .arg(tests_folder().join("sdk").join(script))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(folders.map(|name| (name, scratch)))
            .env("WANDB_BASE_URL", server.base_url())
            .env("WANDB_API_KEY", server.api_key())
            .env("WANDB_SILENT", "true")
            .env("WANDB_CONSOLE", "off")
            .env("WANDB_ERROR_REPORTING", "false")
            .env("WANDB_DISABLE_GIT", "true")
            .env("WANDB_DISABLE_CODE", "true")
            .env("WANDB_X_DISABLE_STATS", "true")
            .env("DO_NOT_TRACK", "1")
            .env("PYTHONIOENCODING", "utf-8")
            // Whatever else it may want to reach ends at a port that refuses.
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .current_dir(scratch)
            .output()
            .with_context(|| format!("cannot run {}", self.python.display()))?;
        if !output.status.success() {
            let problem = String::from_utf8_lossy(&output.stderr);
            bail!("{script} failed ({}):\n{problem}", output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
