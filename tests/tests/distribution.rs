//! What `make dist` hands out, made of the components that the tests use.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use elt_support::metadata::Metadata;
use memchr::memmem;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wandb_connector_tests::product::{binary, target_dir};
use wit_component::WitPrinter;
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{PackageId, Resolve};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(command: &mut Command) {
    let output = command.env("CARGO_TARGET_DIR", target_dir()).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The folder, made once for all tests.
fn dist() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let folder = TempDir::new().unwrap();
        run(Command::new(root().join("connector/dist.sh")).arg("--built").arg(folder.path()));
        folder
    };
    FOLDER.get_or_init(make).path()
}

fn read(file: &str) -> Vec<u8> {
    fs::read(dist().join(file)).unwrap_or_else(|why| panic!("{file}: {why}"))
}

fn text(file: &str) -> String {
    String::from_utf8(read(file)).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn files(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true => names.extend(files(&path).into_iter().map(|inner| format!("{name}/{inner}"))),
            false => _ = names.insert(name),
        }
    }
    names
}

#[test]
fn every_file_is_listed_with_its_checksum() {
    let sums = text("SHA256SUMS");
    let mut listed = BTreeSet::from(["SHA256SUMS".to_owned()]);
    for line in sums.lines() {
        let (sum, file) = line.split_once("  ").unwrap();
        assert_eq!(sha256(&read(file)), sum, "{file}");
        listed.insert(file.to_owned());
    }
    assert_eq!(files(dist()), listed);
    for file in [
        "LICENSE",
        "elt-connector-0.1.0.wasm",
        "wandb-connector-cli.cdx.json",
        "wandb-connector-cli.wasm",
        "wandb_connector.cdx.json",
        "wandb_connector.wasm",
        "wit/deps/http.wit",
        "wit/world.wit",
    ] {
        assert!(listed.contains(file), "{file}: {listed:?}");
    }
}

/// A package as text, and the names of those that it uses.
fn printed(resolve: &Resolve, package: PackageId) -> (String, BTreeSet<String>) {
    let mut printer = WitPrinter::default();
    printer.print(resolve, package, &[]).unwrap();
    let names = resolve.packages.iter().map(|(_, package)| package.name.to_string()).collect();
    (printer.output.to_string(), names)
}

#[test]
fn the_contract_as_one_file_is_its_text() {
    for file in files(&root().join("wit")) {
        assert_eq!(read(&format!("wit/{file}")), fs::read(root().join("wit").join(&file)).unwrap(), "{file}");
    }
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(dist().join("wit")).unwrap();
    let expected = printed(&resolve, package);
    assert!(expected.0.contains("/// What a connector does for its host.") && expected.1.len() > 4, "{expected:?}");
    let DecodedWasm::WitPackage(resolve, package) = decode(&read("elt-connector-0.1.0.wasm")).unwrap() else {
        panic!("no package")
    };
    assert_eq!(printed(&resolve, package), expected);
}

#[test]
fn the_command_holds_the_component_byte_for_byte_and_says_whose_it_is() {
    let (component, command) = (read("wandb_connector.wasm"), read("wandb-connector-cli.wasm"));
    assert!(memmem::find(&command, &component).is_some());
    let (of_component, of_command) = (Metadata::of(&component), Metadata::of(&command));
    assert_eq!(of_command.name.as_deref(), Some("wandb-connector-cli"));
    let rest = |metadata: Metadata| Metadata { name: None, description: None, ..metadata };
    assert_eq!(rest(of_command), rest(of_component.clone()));
    assert_eq!(of_component.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
}

#[test]
fn no_path_of_this_machine_is_in_it() {
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let root = root().canonicalize().unwrap().to_str().unwrap().to_owned();
    for file in files(dist()) {
        let bytes = read(&file);
        for path in [&root, &cargo, target_dir().to_str().unwrap()] {
            assert!(memmem::find(&bytes, path.as_bytes()).is_none(), "{path} in {file}");
        }
    }
}

/// The checksums in `Cargo.lock`, by the package's URL.
fn locked() -> BTreeMap<String, String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let package = |block: &str| {
        let mut quoted = block.split('"').skip(1).step_by(2);
        let (name, version) = (quoted.next()?, quoted.next()?);
        let checksum = block.split_once("checksum = \"")?.1.split('"').next()?;
        Some((format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")), checksum.to_owned()))
    };
    lock.split("[[package]]\n").filter_map(package).collect()
}

#[test]
fn what_is_inside_is_listed_and_what_only_builds_it_is_not() {
    let locked = locked();
    for (file, own) in [("wandb_connector", 2), ("wandb-connector-cli", 5)] {
        let bom: Value = serde_json::from_slice(&read(&format!("{file}.cdx.json"))).unwrap();
        assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
        let subject = &bom["metadata"]["component"];
        assert_eq!(subject["hashes"][0]["content"], sha256(&read(&format!("{file}.wasm"))));

        let components = bom["components"].as_array().unwrap();
        let names: BTreeSet<&str> = components.iter().map(|component| component["name"].as_str().unwrap()).collect();
        for inside in ["std", "serde_json", "wit-bindgen", "zstd-sys"] {
            assert!(names.contains(inside), "{file} lacks {inside}: {names:?}");
        }
        for outside in ["cc", "proptest", "serde_derive", "syn", "tokio", "wit-parser"] {
            assert!(!names.contains(outside), "{file}: {outside}");
        }
        let mut unlocked = 0;
        for component in components {
            assert!(
                component["licenses"][0]["expression"].as_str().is_some_and(|text| !text.is_empty()),
                "{component}"
            );
            match component["purl"].as_str() {
                Some(url) => assert_eq!(component["hashes"][0]["content"], locked[url], "{url}"),
                None => unlocked += 1,
            }
        }
        assert_eq!(unlocked, 1 + own, "the standard library, and our own packages");

        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut known: BTreeSet<String> = components.iter().map(|component| text(&component["bom-ref"])).collect();
        assert_eq!(known.len(), components.len());
        known.insert(text(&subject["bom-ref"]));
        let dependencies = bom["dependencies"].as_array().unwrap();
        let mut used = BTreeSet::from([text(&subject["bom-ref"])]);
        for dependency in dependencies {
            assert!(known.contains(&text(&dependency["ref"])), "{dependency}");
            used.extend(dependency["dependsOn"].as_array().into_iter().flatten().map(text));
        }
        assert_eq!(used, known, "everything is there because something uses it");
        assert_eq!(dependencies.len(), known.len());
    }
}

#[test]
fn a_component_says_which_commit_it_is_of() {
    let folder = TempDir::new().unwrap();
    let stamped = |name: &str, revision: &str| {
        let file = folder.path().join(name);
        let raw = target_dir().join("component-raw/wasm32-unknown-unknown/component/wandb_connector.wasm");
        let mut stamp = Command::new(env!("CARGO"));
        stamp.args(["run", "--quiet", "--locked", "--manifest-path", "connector/package/Cargo.toml", "--target-dir"]);
        stamp.arg(target_dir().join("package")).args(["--", "stamp", "wandb-connector"]);
        run(stamp.arg(raw).arg(&file).arg(revision));
        file
    };
    let revision = "0123456789abcdef0123456789abcdef01234567";
    let (with, without) = (stamped("with.wasm", revision), stamped("without.wasm", ""));
    let inspect = |component: &Path, format: &str| {
        let mut inspect = Command::new(binary());
        inspect.args(["inspect", "--format", format, "--component"]).arg(component).env_clear();
        let output = inspect.env("XDG_CACHE_HOME", target_dir().join("component-cache")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let facts: Value = serde_json::from_str(&inspect(&with, "json")).unwrap();
    assert_eq!(facts["metadata"]["revision"], revision);
    assert!(inspect(&with, "text").contains(&format!("\nrevision      {revision}\n")));
    let facts: Value = serde_json::from_str(&inspect(&without, "json")).unwrap();
    assert_eq!(facts["metadata"]["revision"], Value::Null);
    assert!(!inspect(&without, "text").contains("\nrevision "));
}
