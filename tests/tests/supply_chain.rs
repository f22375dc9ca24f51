//! What is built here beside the project's own code: licences, sources, versions, and the rules that its own code is under.
//! `make deny` checks the first three with `cargo deny`, by the same `tests/deny.toml`, for all platforms. They are checked here as well, in 110
//! lines, because `cargo deny` is a program that takes longer to build than all tests: so that a licence is looked at when a crate is
//! added, and not when somebody has the tool. What else is checked here, it does not know.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Name, version and licence of every package that this machine builds.
fn packages() -> BTreeSet<(String, String, String)> {
    let arguments =
        ["tree", "--locked", "--offline", "--workspace", "--all-features", "--prefix", "none", "--format", "{p}|{l}"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let package = |line: &str| {
        // `name v1.2.3 (path)|MIT (*)`
        let (package, licence) = line.split_once('|')?;
        let (name, rest) = package.split_once(" v")?;
        let version = rest.split(' ').next()?;
        Some((name.to_owned(), version.to_owned(), licence.trim_end_matches(" (*)").to_owned()))
    };
    let packages: BTreeSet<_> = String::from_utf8_lossy(&output.stdout).lines().filter_map(package).collect();
    assert!(packages.len() > 200, "{} packages", packages.len());
    packages
}

/// The texts of the list `key` in `tests/deny.toml`; of its tables, those of `crate`.
fn denied(key: &str) -> BTreeSet<String> {
    let text = read("tests/deny.toml");
    let list = Regex::new(&format!(r"(?m)^{key} = \[\n((?:    .*\n)+)\]")).unwrap();
    let list = list.captures(&text).unwrap_or_else(|| panic!("no `{key}`"))[1].to_owned();
    let first = Regex::new(r#"(?m)^    (?:\{ crate = )?"([^"]+)""#).unwrap();
    first.captures_iter(&list).map(|found| found[1].to_owned()).collect()
}

/// Whether an SPDX expression can be met with these licences. `/` is an older `OR`.
fn is_allowed(expression: &str, licences: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "+WITH+");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any(&words, &mut at, licences) && at == words.len()
}

fn any(words: &[&str], at: &mut usize, licences: &BTreeSet<String>) -> bool {
    let mut allowed = all(words, at, licences);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all(words, at, licences);
    }
    allowed
}

fn all(words: &[&str], at: &mut usize, licences: &BTreeSet<String>) -> bool {
    let mut allowed = one(words, at, licences);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at, licences);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize, licences: &BTreeSet<String>) -> bool {
    let word = words.get(*at).copied().unwrap_or_default();
    *at += 1;
    if word != "(" {
        return licences.contains(&word.replace("+WITH+", " WITH "));
    }
    let allowed = any(words, at, licences);
    assert_eq!(words.get(*at), Some(&")"));
    *at += 1;
    allowed
}

#[test]
fn every_dependency_has_a_permissive_licence() {
    let licences = denied("allow");
    assert!(licences.contains("MIT") && !licences.iter().any(|licence| licence.contains("GPL")), "{licences:?}");
    let exception = |name: &str| denied("exceptions").contains(name);
    let others: Vec<_> = packages()
        .into_iter()
        .filter(|(name, _, licence)| !is_allowed(licence, &licences) && !exception(name))
        .collect();
    assert_eq!(others, []);
}

#[test]
fn licence_expressions_are_understood() {
    let licences: BTreeSet<String> = ["MIT", "ISC", "A WITH E"].map(str::to_owned).into();
    for expression in ["MIT", "GPL/MIT", "GPL OR MIT", "(GPL OR MIT) AND ISC", "A WITH E", "GPL AND X OR MIT AND ISC"] {
        assert!(is_allowed(expression, &licences), "{expression}");
    }
    for expression in ["", "GPL", "A", "MIT AND GPL", "(MIT OR GPL) AND GPL", "MIT WITH E"] {
        assert!(!is_allowed(expression, &licences), "{expression}");
    }
}

#[test]
fn a_crate_is_there_in_two_versions_only_where_it_says_why() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version, _) in packages() {
        versions.entry(name).or_default().insert(version);
    }
    let known = denied("skip");
    let is_known = |name: &str, version: &str| {
        known.iter().filter_map(|known| known.split_once('@')).any(|(known, prefix)| {
            known == name && version.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    for (name, versions) in &versions {
        let unexplained: Vec<_> = versions.iter().filter(|version| !is_known(name, version)).collect();
        assert!(unexplained.len() <= 1, "{name}: {unexplained:?}");
    }
    // What is explained is still so.
    let lock = read("Cargo.lock");
    for known in known {
        let (name, prefix) = known.split_once('@').unwrap();
        let found = Regex::new(&format!("name = \"{name}\"\nversion = \"([^\"]+)\"")).unwrap();
        let found: Vec<&str> = found.captures_iter(&lock).map(|found| found.extract::<1>().1[0]).collect();
        assert!(
            found.len() > 1 && found.iter().any(|version| version.starts_with(&format!("{prefix}."))),
            "{known}: {found:?}"
        );
    }
}

#[test]
fn everything_comes_from_the_public_registry_with_a_checksum() {
    let lock = read("Cargo.lock");
    let own = [
        "command-output",
        "command-run",
        "conformance",
        "elt-destinations",
        "elt-host",
        "elt-serve",
        "elt-support",
        "elt-verify",
        "history-parquet",
        "json-parse",
        "lenient-json",
        "local-wandb",
        "scripted-guest",
        "wandb-connector",
        "wandb-connector-cli",
        "wandb-connector-fuzz",
        "wandb-connector-tests",
    ];
    let mut without = BTreeSet::new();
    for package in lock.split("[[package]]\n").skip(1) {
        let name = package.split('"').nth(1).unwrap();
        let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        if !package.contains(public) || !package.contains("checksum = ") {
            without.insert(name.to_owned());
        }
    }
    assert_eq!(without, own.map(str::to_owned).into());
}

/// The folders of our crates.
const MEMBERS: [&str; 18] = [
    "connector",
    "connector/command/output",
    "connector/command/run",
    "connector/json",
    "connector/package",
    "connector/parquet",
    "host/cli",
    "host/core",
    "host/destinations",
    "host/serve",
    "host/support",
    "host/verify",
    "tests",
    "tests/conformance",
    "tests/fuzz",
    "tests/guest",
    "tests/local-wandb",
    "tests/parse",
];

/// Roots of crates in which `unsafe` is not forbidden altogether, and what is.
const UNSAFE: [(&str, &str, &[&str]); 7] = [
    // The generated bindings, on WebAssembly only.
    (
        "connector/src/lib.rs",
        "#![cfg_attr(not(target_arch = \"wasm32\"), forbid(unsafe_code))]",
        &["connector/src/component/bindings.rs", "connector/src/component/mod.rs"],
    ),
    // The same, of crates that are nothing else than components.
    ("connector/command/output/src/lib.rs", "#![deny(unsafe_code)]", &["connector/command/output/src/lib.rs"]),
    ("connector/command/run/src/lib.rs", "#![deny(unsafe_code)]", &["connector/command/run/src/lib.rs"]),
    ("tests/conformance/src/lib.rs", "#![deny(unsafe_code)]", &["tests/conformance/src/lib.rs"]),
    ("tests/parse/src/lib.rs", "#![deny(unsafe_code)]", &["tests/parse/src/component.rs"]),
    // A compiled component is loaded from the cache.
    ("host/core/src/lib.rs", "#![deny(unsafe_code)]", &["host/core/src/component/cache.rs"]),
    // A guest of the tests, which reads its own memory to look for a key.
    ("tests/guest/src/lib.rs", "#![deny(unsafe_code)]", &["tests/guest/src/lib.rs", "tests/guest/src/memory.rs"]),
];

#[test]
fn unsafe_code_is_forbidden_but_where_it_says_why() {
    let mut files = Vec::new();
    for member in MEMBERS {
        sources(&root().join(member).join("src"), &mut files);
    }
    let mut allowing = BTreeSet::new();
    let allows = Regex::new(r"allow\([^)]*unsafe_code").unwrap();
    let of_a_crate = Regex::new(r"src/(lib|main|bin/[^/]+|bin/[^/]+/main)\.rs$").unwrap();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if allows.is_match(&text) {
            allowing.insert(name.clone());
        }
        let is_root = of_a_crate.is_match(&name);
        let expected =
            UNSAFE.iter().find(|(root, ..)| *root == name).map_or("#![forbid(unsafe_code)]", |(_, line, _)| line);
        assert!(!is_root || text.contains(expected), "{name} lacks {expected}");
    }
    let expected = UNSAFE.iter().flat_map(|(.., files)| files.iter().map(|file| (*file).to_owned())).collect();
    assert_eq!(allowing, expected);
}

#[test]
fn the_only_build_script_runs_and_fetches_nothing() {
    // One for the crates of the host, which lies beside them.
    let folders = MEMBERS.iter().chain(&["host"]);
    let scripts: Vec<_> =
        folders.map(|folder| format!("{folder}/build.rs")).filter(|script| root().join(script).exists()).collect();
    assert_eq!(scripts, ["host/build.rs"]);
    let script = read("host/build.rs");
    assert!(!["process", "Command", "net::", "http"].iter().any(|word| script.contains(word)));
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What is read offline here would be missing on a machine where only the tests were built.
#[test]
fn make_test_downloads_every_package_that_is_looked_at_here() {
    let makefile = read("Makefile");
    let recipe = makefile.split("\ntest:").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    assert!(recipe.contains("tests/setup.sh test"), "{recipe}");
    let set_up = read("tests/setup.sh");
    let of_tests = set_up.split("\ntest)\n").nth(1).and_then(|rest| rest.split(";;").next()).unwrap();
    let fetches = Regex::new(r"\ncrates\(\) \{\n(?:    .*\n)*    cargo fetch --locked").unwrap();
    assert!(of_tests.contains("    crates\n") && fetches.is_match(&set_up), "{of_tests}");
}

#[test]
fn every_build_keeps_to_the_lock_file() {
    let call = Regex::new(
        r#"(?:\$\(CARGO\)|cargo|"\$@") (?:build|test|run|check|clippy|doc|bench|install|fetch|metadata|deny)\b"#,
    )
    .unwrap();
    let mut calls = 0;
    for script in [
        "Makefile",
        ".ci/run",
        "connector/build.sh",
        "connector/dist.sh",
        "connector/dist-check.sh",
        "tests/newcomer.sh",
        "tests/setup.sh",
        "tests/fuzz/run.sh",
        "tests/demo/demo.sh",
    ] {
        let text = read(script).replace("\\\n", " ");
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            for found in call.find_iter(line) {
                calls += 1;
                assert!(line[found.start()..].contains("--locked"), "{script}: {line}");
            }
        }
    }
    assert!(calls >= 8, "{calls} calls found");
}
