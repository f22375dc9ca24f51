//! Makes a command of a connector: `command-compose OUTPUT CONNECTOR RUN COMMAND`, four files, of which the last is written.

#![forbid(unsafe_code)]

use std::ffi::OsString;

use anyhow::{Context as _, bail};
use command_compose::{Parts, compose};

fn main() -> anyhow::Result<()> {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    let [output, connector, run, command] = files.as_slice() else {
        bail!("usage: command-compose OUTPUT CONNECTOR RUN COMMAND");
    };
    let read = |file: &OsString| std::fs::read(file).with_context(|| format!("{} can't be read", file.display()));
    let parts = Parts { output: read(output)?, connector: read(connector)?, run: read(run)? };
    std::fs::write(command, compose(parts)?).with_context(|| format!("{} can't be written", command.display()))
}
