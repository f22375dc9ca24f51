//! The host knows no source: what is W&B's own is the binary's, in `host/cli/`, and the component's.

use std::path::{Path, PathBuf};

/// What would be knowledge of W&B, in lower case.
const WORDS: [&str; 5] = ["wandb", "w&b", "weights & biases", "weights and biases", "runs_hwm_utc"];
/// Names of crates, which may stand in a `Cargo.toml` and where a crate is used.
const CRATES: [&str; 2] = ["wandb-connector-tests", "wandb_connector_tests"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Lines of the files of a folder of `host/` that name W&B.
fn lines(folder: &str) -> Vec<String> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host");
    let of_file = |path: PathBuf| {
        let text = std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let text = String::from_utf8_lossy(&text).to_lowercase();
        let without_crates = CRATES.iter().fold(text, |text, name| text.replace(name, ""));
        let named = without_crates.lines().enumerate().filter(|(_, line)| WORDS.iter().any(|word| line.contains(word)));
        named.map(|(at, line)| format!("{}:{}: {}", path.display(), at + 1, line.trim())).collect::<Vec<_>>()
    };
    files(&host.join(folder)).into_iter().flat_map(of_file).collect()
}

#[test]
fn nothing_of_the_host_but_its_binary_knows_a_source() {
    for folder in ["core", "destinations", "serve", "support", "verify"] {
        assert_eq!(lines(folder), [""; 0], "host/{folder}");
    }
    assert!(!lines("cli").is_empty(), "the binary's own files are where such lines are found");
}
