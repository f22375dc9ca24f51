//! The examples in `tests/embedding`: programs that run a component in a WASI host of their own.

use std::process::Command;

use crate::product::program;
use crate::set_up::{self, tests_folder};

/// A host that is not this project's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherHost {
    /// Node, with the component transpiled by jco.
    Node,
    /// Python, with the `wasmtime` package.
    Python,
    /// Rust, with wasmtime and its WASI crates.
    Wasmtime,
}

impl OtherHost {
    /// All of them.
    pub const ALL: [OtherHost; 3] = [OtherHost::Node, OtherHost::Python, OtherHost::Wasmtime];

    /// A program of the example's folder, such as `sync`.
    ///
    /// # Errors
    /// What the example needs can't be installed.
    pub fn program(self, name: &str) -> anyhow::Result<Command> {
        let (set_up, folder, suffix) = match self {
            OtherHost::Node => ("setup-node.sh", "node", "mjs"),
            OtherHost::Python => ("setup-python.sh", "python", "py"),
            OtherHost::Wasmtime => {
                let mut command = Command::new(program("wasmtime-host"));
                command.arg(name);
                return Ok(command);
            }
        };
        let mut command = Command::new(set_up::program(set_up)?);
        command.arg(tests_folder().join("embedding").join(folder).join(name).with_extension(suffix));
        // Python's compiled modules have no place among the sources.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(command)
    }
}
