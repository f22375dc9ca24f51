//! The folder of all that is handed out: the components, the contract as text and as one file, what is in the components, the
//! licence, and the checksums of all of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use wit_parser::Resolve;

use crate::checksum::sha256;
use crate::sbom::sbom;
use crate::{read, write};

/// The components that are handed out, each with the packages that it is built of.
const COMPONENTS: [(&str, &[&str]); 2] = [
    ("wandb_connector", &["wandb-connector"]),
    ("wandb-connector-cli", &["command-output", "command-run", "wandb-connector"]),
];

/// Makes `folder` anew, of the components in the folder `components` and the contract in the folder `wit`. `time` is the commit's.
pub(crate) fn make(components: &Path, wit: &Path, folder: &Path, time: Option<&str>) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("{} can't be emptied", folder.display()))?;
    }
    for (name, packages) in COMPONENTS {
        let file = format!("{name}.wasm");
        let component = read(components.join(&file))?;
        write(folder.join(&file), &component)?;
        write(folder.join(format!("{name}.cdx.json")), sbom(&component, packages, time)?.as_bytes())?;
    }
    for file in files(wit)? {
        write(folder.join("wit").join(file.strip_prefix(wit)?), &read(&file)?)?;
    }
    let (name, binary) = binary(wit)?;
    write(folder.join(format!("{name}.wasm")), &binary)?;
    write(folder.join("LICENSE"), &read("LICENSE")?)?;
    let mut sums = String::new();
    for file in files(folder)? {
        writeln!(sums, "{}  {}", sha256(&read(&file)?), file.strip_prefix(folder)?.display())?;
    }
    write(folder.join("SHA256SUMS"), sums.as_bytes())
}

/// The contract in the binary form that registries hold and that tools read in place of the folder, with its comments. Its name is
/// `elt-connector-0.1.0`.
fn binary(wit: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let name = resolve.packages[package].name.to_string().replace([':', '@'], "-");
    Ok((name, wit_component::encode(&resolve, package)?))
}

/// All files under a folder, in one order.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
