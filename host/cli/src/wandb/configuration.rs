//! Where the configuration comes from: the file goes before the environment, that before what the `wandb` tools have written,
//! [settings](crate::wandb::settings) and `~/.netrc`.
//!
//! The connector checks the values, and names every problem at once. Here only gaps are filled. A value that is empty or white space is a gap: templates and CI systems write `""` for what nobody gave.

use std::io::Read;
use std::path::{Path, PathBuf};

use elt_host::{ConfigurationProblem, Error, Level};
use elt_support::file_access::others_may_read;
use elt_support::{json, text, url_password};
use serde_json::{Map, Value};

use crate::args::SandboxArgs;
use crate::output::console::Console;
use crate::wandb::key_source::KeySource;
use crate::wandb::service::{DEFAULT_BASE_URL, SAME_SERVICE, machine};
use crate::wandb::surroundings::Surroundings;
use crate::wandb::{advice, netrc, settings};

/// Keys that the environment can fill, and from what.
const VARIABLES: [(&str, &str); 4] = [
    ("api_key", "WANDB_API_KEY"),
    ("entity", "WANDB_ENTITY"),
    ("project", "WANDB_PROJECT"),
    ("base_url", "WANDB_BASE_URL"),
];

/// A configuration, and what there is to say about it.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    pub(crate) values: Map<String, Value>,
    pub(crate) base_url: String,
    pub(crate) key_source: KeySource,
    /// It is for another component than the built-in one, so that nothing that W&B's tools keep belongs in it.
    pub(crate) is_other: bool,
    /// Lines for the log.
    pub(crate) warnings: Vec<String>,
    /// Lines that tell where something is from that nobody gave here.
    pub(crate) notes: Vec<String>,
}

impl Configuration {
    /// Says what there is to say, once.
    fn tell(&mut self, console: &Console) {
        self.warnings.drain(..).for_each(|line| console.log(Level::Warning, line));
        self.notes.drain(..).for_each(|line| console.log(Level::Info, line));
    }

    /// Adds to an error what is known of where its key came from, and what can be done.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if self.is_other { error } else { advice::explain(error, &self.base_url, &self.key_source) }
    }
}

/// Reads the configuration from all its places, and says what is doubtful about it. That of another component than the built-in one is
/// read from the file alone: nobody gave it a key of W&B's, nor would it know to keep one secret. `-` as the file is standard input.
pub(crate) fn load(file: Option<&Path>, sandbox: &SandboxArgs, console: &Console) -> Result<Configuration, Error> {
    if sandbox.component.is_some() {
        let values = file.map(read_object).transpose()?.unwrap_or_default();
        return Ok(Configuration { values, is_other: true, ..Configuration::default() });
    }
    let surroundings = Surroundings {
        variable: &|name| std::env::var(name).ok(),
        home: std::env::home_dir(),
        folder: std::env::current_dir().ok(),
    };
    let mut configuration = load_from(file, &surroundings)?;
    configuration.tell(console);
    Ok(configuration)
}

fn load_from(file: Option<&Path>, surroundings: &Surroundings<'_>) -> Result<Configuration, Error> {
    let mut configuration = Configuration::default();
    if let Some(path) = file {
        configuration.values = read_object(path)?;
        if is_given(&configuration.values, "api_key") {
            configuration.key_source = KeySource::File(path.into());
            configuration.warnings.extend(loose_permissions(path));
        }
    }
    for (key, name) in VARIABLES {
        let variable = (surroundings.variable)(name).map(|value| value.trim().to_owned());
        if let Some(value) = variable.filter(|value| !value.is_empty() && !is_given(&configuration.values, key)) {
            configuration.values.insert(key.into(), value.into());
            if key == "api_key" {
                configuration.key_source = KeySource::Variable(name);
            }
        }
    }
    if !is_given(&configuration.values, "base_url")
        && let Some(found) = settings::base_url(surroundings, &mut configuration.warnings)
    {
        let shown = url_password::hide(&found.base_url);
        configuration.notes.push(format!("the server is {shown}, as {} says", found.file.display()));
        configuration.values.insert("base_url".into(), found.base_url.into());
    }
    let base_url = configuration.values.get("base_url").and_then(Value::as_str).map(str::trim);
    configuration.base_url = base_url.filter(|url| !url.is_empty()).unwrap_or(DEFAULT_BASE_URL).to_owned();
    if !is_given(&configuration.values, "api_key") {
        fill_from_netrc(&mut configuration, surroundings);
    }
    Ok(configuration)
}

/// Whether `key` has a value. One of a wrong type counts as given: the connector says what is wrong with it.
pub(crate) fn is_given(values: &Map<String, Value>, key: &str) -> bool {
    match values.get(key) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(_) => true,
    }
}

/// Reads a JSON object from a file, or from standard input if it is `-`.
pub(crate) fn read_object(path: &Path) -> Result<Map<String, Value>, Error> {
    let shown = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    let text = if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).map(|_| text)
    } else {
        std::fs::read(path)
    };
    let text = text.map_err(|error| problem(format!("{shown} can't be read: {error}")))?;
    json::object(&text::in_utf8(text))
        .map_err(|error| problem(format!("{shown}:{}:{}: {}", error.line, error.column, error.message)))
}

/// A problem with the configuration as a whole.
pub(crate) fn problem(message: String) -> Error {
    Error::Configuration(vec![ConfigurationProblem { key: None, message }])
}

fn loose_permissions(path: &Path) -> Option<String> {
    let shown = path.display();
    others_may_read(path)
        .then(|| format!("{shown} holds an API key and other users may read it; run `chmod 600 {shown}`"))
}

/// A file that can't be read or understood is a warning and no more, as with the `wandb` tools: it is not ours.
fn fill_from_netrc(configuration: &mut Configuration, surroundings: &Surroundings<'_>) {
    let Some(path) = netrc_path(surroundings) else { return };
    let text = match std::fs::read(&path) {
        Ok(text) => String::from_utf8_lossy(&text::in_utf8(text)).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            configuration.warnings.push(format!("{} can't be read: {error}", path.display()));
            return;
        }
    };
    let Some((machine, host)) = machine(&configuration.base_url) else { return };
    // Older tools wrote a machine without its port.
    let mut machines = vec![machine.as_str(), host.as_str()];
    if SAME_SERVICE.contains(&machine.as_str()) {
        machines.extend(SAME_SERVICE);
    }
    match netrc::password(&text, &machines) {
        Ok(Some(key)) => {
            configuration.values.insert("api_key".into(), key.into());
            configuration.key_source = KeySource::Netrc(path);
        }
        Ok(None) => {}
        Err(error) => {
            let line = error.line;
            configuration.warnings.push(format!("{}:{line}: not understood; no key is read from it", path.display()));
        }
    }
}

/// `NETRC`, else `~/.netrc`, else `~/_netrc`: the order of the `wandb` tools.
fn netrc_path(surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    if let Some(named) = (surroundings.variable)("NETRC").filter(|path| !path.is_empty()) {
        return surroundings.expand(&named);
    }
    let home = surroundings.home.as_deref()?;
    [".netrc", "_netrc"].into_iter().map(|name| home.join(name)).find(|path| path.exists())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "configuration_tests.rs"]
mod tests;
