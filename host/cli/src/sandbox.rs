//! Which component runs, and the policy that the flags make.

use elt_host::{Error, Limits, Policy};

use crate::args::SandboxArgs;
use crate::wandb::configuration::problem;

/// The component that the binary carries.
const EMBEDDED: &[u8] = include_bytes!(env!(
    "COMPONENT_WASM",
    "the component is not built yet: run `make component` first, or name one in WANDB_CONNECTOR_COMPONENT"
));

/// The component's bytes, from a file or from the binary itself.
pub(crate) fn component(sandbox: &SandboxArgs) -> Result<Vec<u8>, Error> {
    match &sandbox.component {
        None => Ok(EMBEDDED.into()),
        Some(path) => std::fs::read(path).map_err(|error| problem(format!("--component {}: {error}", path.display()))),
    }
}

/// The default policy, changed by what was asked for.
pub(crate) fn policy(sandbox: &SandboxArgs) -> Policy {
    let default = Limits::default();
    let (memory, wall_time) =
        (sandbox.memory_limit.unwrap_or(default.memory), sandbox.timeout.unwrap_or(default.wall_time));
    let policy = Policy::default().limits(default.memory(memory).wall_time(wall_time));
    policy.download_origins(sandbox.allow_origin.clone()).networks(sandbox.allow_network.clone())
}
