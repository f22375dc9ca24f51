//! `inspect`: what is about to run, and what it would be allowed to do.

use std::sync::Arc;

use elt_host::{ComponentInfo, Interface, Policy};
use elt_support::metadata::Metadata;
use elt_support::printable::escape_control;
use elt_support::url_password;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::args::{Format, QueryArgs, SandboxArgs};
use crate::exit::Exit;
use crate::output::console::Console;
use crate::output::units::{self, grouped};
use crate::output::{self, json};
use crate::run::Runner;
use crate::wandb::configuration;

/// Prints the component's interfaces and the policy that a sync with the same flags would run under.
pub(crate) async fn run(args: &QueryArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let configuration = configuration::load(args.config.config.as_deref(), sandbox, console)?;
    let mut runner = Runner::load(sandbox, console)?;
    // A component whose specification can't be read may be looked at all the same: it may ask nobody.
    let origins: Vec<String> = match runner.spec().await {
        Ok(spec) => spec.origins(&configuration.values).map(|(_, url)| url_password::hide(url)).collect(),
        Err(_) => Vec::new(),
    };
    if !origins.is_empty() {
        runner.allow_downloads(&configuration.values).await?;
    }
    let facts = Facts {
        component: sandbox.component.as_ref().map_or("built in".into(), |path| path.display().to_string()),
        sha256: format!("{:x}", Sha256::digest(&runner.bytes)),
        metadata: Metadata::of(&runner.bytes),
        info: runner.info().clone(),
        origin: origins.join(", "),
        policy: runner.policy,
    };
    output::print(&match args.format {
        Format::Text => facts.text(),
        Format::Json => json::line(&facts.view()),
    })?;
    Ok(Exit::Ok)
}

struct Facts {
    component: String,
    sha256: String,
    /// What the component says of itself.
    metadata: Metadata,
    info: ComponentInfo,
    /// Where credentials go.
    origin: String,
    policy: Policy,
}

impl Facts {
    fn text(&self) -> String {
        let (size, code) = (self.info.component_bytes as u64, self.info.code_bytes as u64);
        let mut all = vec![("component", vec![self.component.clone()])];
        let Metadata { name, version, description, licenses, source, revision } = &self.metadata;
        let said = [
            ("name", name),
            ("version", version),
            ("description", description),
            ("licence", licenses),
            ("source", source),
            ("revision", revision),
        ];
        all.extend(said.into_iter().filter_map(|(what, said)| Some((what, vec![said.clone()?]))));
        all.extend([
            ("size", vec![format!("{} ({} of machine code)", units::bytes(size), units::bytes(code))]),
            ("sha256", vec![self.sha256.clone()]),
            ("imports", lines(&self.info.imports)),
            ("exports", lines(&self.info.exports)),
        ]);
        all.extend(self.policy_lines());
        let mut text = String::new();
        for (name, values) in all {
            for (i, value) in values.iter().enumerate() {
                let name = if i == 0 { name } else { "" };
                text += &format!("{name:<13} {}\n", escape_control(value));
            }
        }
        text
    }

    fn policy_lines(&self) -> Vec<(&'static str, Vec<String>)> {
        let Policy { download_origins, networks, limits, .. } = &self.policy;
        let origins = [format!("{} with the key", self.origin)];
        let downloads = download_origins.iter().map(|origin| format!("{origin} without the key"));
        let networks = networks.iter().map(|network| format!("{network} although special"));
        vec![
            ("may ask", origins.into_iter().chain(downloads).collect()),
            ("may dial", ["public addresses".into()].into_iter().chain(networks).collect()),
            (
                "limits",
                vec![
                    format!("{} of memory", units::bytes(limits.memory as u64)),
                    format!("{} h of time", limits.wall_time.as_secs_f64() / 3600.0),
                    format!("{} open requests", grouped(limits.open_requests as u64)),
                    format!("{} in a response", units::bytes(limits.response_bytes)),
                    format!("{} in a batch", units::bytes(limits.batch_bytes as u64)),
                    format!("{} between checkpoints", units::bytes(limits.group_bytes as u64)),
                    format!("{} of state", units::bytes(limits.state_bytes as u64)),
                    format!(
                        "{} log lines of {}",
                        grouped(limits.log_lines),
                        units::bytes(limits.log_line_bytes as u64)
                    ),
                ],
            ),
        ]
    }

    fn view(&self) -> View<'_> {
        let Policy { download_origins, networks, limits, .. } = &self.policy;
        View {
            component: &self.component,
            size: self.info.component_bytes,
            code_size: self.info.code_bytes,
            sha256: &self.sha256,
            metadata: MetadataView {
                name: self.metadata.name.as_deref(),
                version: self.metadata.version.as_deref(),
                description: self.metadata.description.as_deref(),
                licenses: self.metadata.licenses.as_deref(),
                source: self.metadata.source.as_deref(),
                revision: self.metadata.revision.as_deref(),
            },
            imports: self.info.imports.iter().map(ImportView::from).collect(),
            exports: self.info.exports.iter().map(InterfaceView::from).collect(),
            policy: PolicyView {
                origin: &self.origin,
                download_origins,
                networks: networks.iter().map(ToString::to_string).collect(),
                limits: LimitsView {
                    memory: limits.memory,
                    wall_time: limits.wall_time.as_secs(),
                    open_requests: limits.open_requests,
                    response_bytes: limits.response_bytes,
                    batch_bytes: limits.batch_bytes,
                    group_bytes: limits.group_bytes,
                    rows: limits.rows,
                    state_bytes: limits.state_bytes,
                    log_lines: limits.log_lines,
                    log_line_bytes: limits.log_line_bytes,
                },
            },
        }
    }
}

/// Each interface with the number of functions that are used or offered; the JSON names them.
fn lines(interfaces: &[Interface]) -> Vec<String> {
    let line = |interface: &Interface| match interface.functions.len() {
        0 => interface.name.clone(),
        _ if interface.is_refused() => format!("{} (nothing behind it)", interface.name),
        functions => format!("{} ({})", interface.name, units::counted(functions as u64, "function")),
    };
    interfaces.iter().map(line).collect()
}

/// The facts as JSON.
#[derive(Serialize)]
struct View<'a> {
    component: &'a str,
    size: usize,
    code_size: usize,
    sha256: &'a str,
    metadata: MetadataView<'a>,
    imports: Vec<ImportView<'a>>,
    exports: Vec<InterfaceView<'a>>,
    policy: PolicyView<'a>,
}

/// `null` for what the component does not say.
#[derive(Serialize)]
struct MetadataView<'a> {
    name: Option<&'a str>,
    version: Option<&'a str>,
    description: Option<&'a str>,
    licenses: Option<&'a str>,
    source: Option<&'a str>,
    revision: Option<&'a str>,
}

#[derive(Serialize)]
struct ImportView<'a> {
    #[serde(flatten)]
    interface: InterfaceView<'a>,
    /// Linked, with nothing behind it.
    refused: bool,
}

impl<'a> From<&'a Interface> for ImportView<'a> {
    fn from(interface: &'a Interface) -> Self {
        Self { refused: interface.is_refused(), interface: interface.into() }
    }
}

#[derive(Serialize)]
struct InterfaceView<'a> {
    name: &'a str,
    functions: &'a [String],
}

impl<'a> From<&'a Interface> for InterfaceView<'a> {
    fn from(interface: &'a Interface) -> Self {
        Self { name: &interface.name, functions: &interface.functions }
    }
}

#[derive(Serialize)]
struct PolicyView<'a> {
    origin: &'a str,
    download_origins: &'a [String],
    networks: Vec<String>,
    limits: LimitsView,
}

/// Names and units of [`elt_host::Limits`]; `wall_time` in seconds.
#[derive(Serialize)]
struct LimitsView {
    memory: usize,
    wall_time: u64,
    open_requests: usize,
    response_bytes: u64,
    batch_bytes: usize,
    group_bytes: usize,
    rows: u64,
    state_bytes: usize,
    log_lines: u64,
    log_line_bytes: usize,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_runs_and_what_it_may_do() {
        let interface = |name: &str, functions: &[&str]| Interface {
            name: name.into(),
            functions: functions.iter().map(ToString::to_string).collect(),
        };
        let facts = Facts {
            component: "built in".into(),
            sha256: "ab".repeat(32),
            metadata: Metadata {
                name: Some("wandb-connector".into()),
                version: Some("0.1.0".into()),
                licenses: Some("MIT OR Apache-2.0".into()),
                revision: Some("0123\u{1b}[2Jabcd".into()),
                ..Metadata::default()
            },
            info: ComponentInfo {
                imports: vec![
                    interface("wasi:cli/stdout@0.2.12", &["get-stdout"]),
                    interface("wasi:random/random@0.2.12", &["get-random-u64"]),
                    interface("elt:connector/log@0.1.0", &["write"]),
                ],
                exports: vec![interface("elt:connector/source@0.1.0", &["spec", "check", "schema", "sync"])],
                component_bytes: 1_234_567,
                code_bytes: 2_345_678,
            },
            origin: "https://api.wandb.ai".into(),
            policy: Policy::default()
                .download_origins(["https://storage.googleapis.com"])
                .networks([elt_support::units::network("127.0.0.1").unwrap()]),
        };
        insta::assert_snapshot!(facts.text(), @r"
        component     built in
        name          wandb-connector
        version       0.1.0
        licence       MIT OR Apache-2.0
        revision      0123\u{1b}[2Jabcd
        size          1.2 MiB (2.2 MiB of machine code)
        sha256        abababababababababababababababababababababababababababababababab
        imports       wasi:cli/stdout@0.2.12 (nothing behind it)
                      wasi:random/random@0.2.12 (1 function)
                      elt:connector/log@0.1.0 (1 function)
        exports       elt:connector/source@0.1.0 (4 functions)
        may ask       https://api.wandb.ai with the key
                      https://storage.googleapis.com without the key
        may dial      public addresses
                      127.0.0.1/32 although special
        limits        512 MiB of memory
                      168 h of time
                      256 open requests
                      1 GiB in a response
                      64 MiB in a batch
                      128 MiB between checkpoints
                      256 MiB of state
                      100,000 log lines of 8 KiB
        ");
        insta::assert_snapshot!(json::line(&facts.view()), @r#"
        {"component":"built in","size":1234567,"code_size":2345678,"sha256":"abababababababababababababababababababababababababababababababab","metadata":{"name":"wandb-connector","version":"0.1.0","description":null,"licenses":"MIT OR Apache-2.0","source":null,"revision":"0123\u001b[2Jabcd"},"imports":[{"name":"wasi:cli/stdout@0.2.12","functions":["get-stdout"],"refused":true},{"name":"wasi:random/random@0.2.12","functions":["get-random-u64"],"refused":false},{"name":"elt:connector/log@0.1.0","functions":["write"],"refused":false}],"exports":[{"name":"elt:connector/source@0.1.0","functions":["spec","check","schema","sync"]}],"policy":{"origin":"https://api.wandb.ai","download_origins":["https://storage.googleapis.com"],"networks":["127.0.0.1/32"],"limits":{"memory":536870912,"wall_time":604800,"open_requests":256,"response_bytes":1073741824,"batch_bytes":67108864,"group_bytes":134217728,"rows":18446744073709551615,"state_bytes":268435456,"log_lines":100000,"log_line_bytes":8192}}}
        "#);
    }
}
