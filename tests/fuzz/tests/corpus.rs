//! The short run of the fuzz targets: everything in `corpus/`, and seeded changes of it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use wandb_connector_fuzz::mutate::{Random, mutate};
use wandb_connector_fuzz::{CONNECTOR, HOST, Target};

/// Changed inputs for each target.
const CHANGES: usize = 2000;
/// Larger seeds are run as they are: what makes them large costs time.
const MOST_CHANGED_BYTES: usize = 8 << 10;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The names of what lies in a folder, sorted, so that every run has the same inputs.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn targets() -> impl Iterator<Item = Target> {
    CONNECTOR.into_iter().chain(HOST)
}

fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = folder("corpus").join(target.name);
    let read = |name: String| {
        let bytes = std::fs::read(folder.join(&name)).expect("a seed");
        (name, bytes)
    };
    names(&folder).into_iter().map(read).collect()
}

/// Says which input it was when a target panics.
fn run(target: &Target, what: &str, input: &[u8]) {
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    result.unwrap_or_else(|panic| {
        let shown = &input[..input.len().min(2000)];
        eprintln!("target {}, {what}: \"{}\"", target.name, shown.escape_ascii());
        resume_unwind(panic)
    });
}

#[test]
fn every_target_holds_on_its_corpus() {
    for target in targets() {
        run(&target, "no bytes", b"");
        for (name, bytes) in seeds(&target) {
            run(&target, &name, &bytes);
        }
    }
}

#[test]
fn every_target_holds_on_seeded_changes_of_its_corpus() {
    for target in targets() {
        let mut seeds = seeds(&target);
        seeds.retain(|(_, bytes)| bytes.len() <= MOST_CHANGED_BYTES);
        let mut random = Random::new(0x5eed);
        for change in 0..CHANGES {
            let (name, bytes) = &seeds[change % seeds.len()];
            let (_, other) = &seeds[change / seeds.len() % seeds.len()];
            run(&target, &format!("change {change} of {name}"), &mutate(bytes, other, &mut random));
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let expected: BTreeSet<String> = targets().map(|target| target.name.to_owned()).collect();
    let programs = names(&folder("fuzz_targets")).iter().map(|name| name.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(expected, programs);
    assert_eq!(expected, names(&folder("corpus")));
    let manifest = std::fs::read_to_string(folder("Cargo.toml")).expect("the manifest");
    for name in &expected {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in Cargo.toml");
    }
}

#[test]
fn the_corpora_stay_small() {
    let bytes: usize = targets().flat_map(|target| seeds(&target)).map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= 200 << 10, "{bytes} bytes");
}
