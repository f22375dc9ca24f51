//! Makes what is handed out of what cargo built. `connector/build.sh` and `connector/dist.sh` call it, in the project's folder:
//!
//! - `stamp PACKAGE RAW COMPONENT REVISION` writes into a component what it is; without a revision where that is empty.
//! - `compose OUTPUT CONNECTOR RUN COMMAND` makes a command of three components.
//! - `dist COMPONENTS WIT FOLDER TIME` makes the folder of all that is handed out; without a time where that is empty.
//!
//! The same input makes the same bytes: no clock is read, and no path or order of this machine gets into a file.

#![forbid(unsafe_code)]

mod about;
mod cargo;
mod checksum;
mod compose;
mod dist;
mod sbom;

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::compose::{Parts, compose};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["stamp", package, raw, component, revision] => {
            let revision = Some(*revision).filter(|revision| !revision.is_empty());
            let about = cargo::about(package)?;
            write(component, &about::stamp(&read(raw)?, &about, revision)?)
        }
        ["compose", output, connector, run, command] => {
            let parts = Parts { output: read(output)?, connector: read(connector)?, run: read(run)? };
            let (about, revision) = about::of_command(&parts.connector)?;
            write(command, &about::stamp(&compose(parts)?, &about, revision.as_deref())?)
        }
        ["dist", components, wit, folder, time] => {
            let time = Some(*time).filter(|time| !time.is_empty());
            dist::make(components.as_ref(), wit.as_ref(), folder.as_ref(), time)
        }
        _ => bail!(
            "usage: connector-package stamp PACKAGE RAW COMPONENT REVISION | compose OUTPUT CONNECTOR RUN COMMAND | \
             dist COMPONENTS WIT FOLDER TIME"
        ),
    }
}

fn read(file: impl AsRef<Path>) -> anyhow::Result<Vec<u8>> {
    let file = file.as_ref();
    std::fs::read(file).with_context(|| format!("{} can't be read", file.display()))
}

/// Writes a file, unless it is so already: what is built from it need not be built again.
fn write(file: impl AsRef<Path>, bytes: &[u8]) -> anyhow::Result<()> {
    let file = file.as_ref();
    if std::fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(file, bytes));
    written.with_context(|| format!("{} can't be written", file.display()))
}
