//! What cargo knows: the packages here, what each is built of, and the checksums in `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::about::About;
use crate::read;

/// Name and version.
pub(crate) type Id = (String, String);

/// A package that a component is built of.
#[derive(Debug, Default)]
pub(crate) struct Package {
    /// An SPDX expression.
    pub(crate) license: String,
    /// What it uses.
    pub(crate) uses: BTreeSet<Id>,
}

/// What the package's manifest says of it.
pub(crate) fn about(package: &str) -> anyhow::Result<About> {
    let metadata = cargo(&["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let found = packages.find(|found| found["name"] == package).with_context(|| format!("no package `{package}`"))?;
    let text = |key: &str| found[key].as_str().map(str::to_owned);
    Ok(About {
        name: package.to_owned(),
        version: text("version").context("a version")?,
        description: text("description"),
        licenses: text("license"),
        source: text("repository"),
    })
}

/// What is in the component of a package: the package itself, and everything whose code is linked into it. What only runs while it is
/// built (macros, build scripts) and what only its tests use is not.
pub(crate) fn packages(package: &str) -> anyhow::Result<(Id, BTreeMap<Id, Package>)> {
    let tree = cargo(&[
        "tree",
        "--locked",
        "--offline",
        "--package",
        package,
        "--target=wasm32-unknown-unknown",
        "--edges=normal,no-proc-macro",
        "--prefix=depth",
        "--format= {p}|{l}",
    ])?;
    let mut packages: BTreeMap<Id, Package> = BTreeMap::new();
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines() {
        // `2 name v1.2.3 (path)|MIT OR Zlib (*)`
        let unknown = || format!("cargo tree says: {line}");
        let (depth, rest) = line.split_once(' ').with_context(unknown)?;
        let (found, license) = rest.split_once('|').with_context(unknown)?;
        let (name, version) = found.split_once(" v").with_context(unknown)?;
        let version = version.split(' ').next().unwrap_or_default();
        let id = (name.to_owned(), version.to_owned());
        above.truncate(depth.parse().with_context(unknown)?);
        if let Some(user) = above.last() {
            packages.entry(user.clone()).or_default().uses.insert(id.clone());
        }
        // `/` is an older `OR`.
        packages.entry(id.clone()).or_default().license = license.trim_end_matches(" (*)").replace('/', " OR ");
        above.push(id);
    }
    let root = above.into_iter().next().context("cargo tree says nothing")?;
    Ok((root, packages))
}

/// The SHA-256 of every package's archive in the registry; our own packages have none.
pub(crate) fn checksums() -> anyhow::Result<BTreeMap<Id, String>> {
    let lock = String::from_utf8(read("Cargo.lock")?)?;
    let mut checksums = BTreeMap::new();
    for package in lock.split("[[package]]\n").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(checksum)) = (value("name"), value("version"), value("checksum")) {
            checksums.insert((name, version), checksum);
        }
    }
    Ok(checksums)
}

fn cargo(arguments: &[&str]) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo).args(arguments).output().context("cargo can't be run")?;
    ensure!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
