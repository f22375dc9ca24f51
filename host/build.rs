//! Finds the component that the binary carries, and tells the compiler its path as `COMPONENT_WASM`.
//!
//! It is `WANDB_CONNECTOR_COMPONENT`, else what `make component` left in the target folder. When there is none, only
//! the binary can't be built (it says why); the library needs no component.

use std::env;
use std::path::PathBuf;

const BUILT: &str = "wasm32-unknown-unknown/component/wandb_connector.wasm";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WANDB_CONNECTOR_COMPONENT");
    let Some(path) = named().or_else(built) else { return };
    println!("cargo::rerun-if-changed={}", path.display());
    if path.is_file() {
        println!("cargo::rustc-env=COMPONENT_WASM={}", path.display());
    }
}

fn named() -> Option<PathBuf> {
    let path = env::var_os("WANDB_CONNECTOR_COMPONENT").filter(|path| !path.is_empty())?;
    std::path::absolute(path).ok()
}

/// The target folder is an ancestor of `OUT_DIR`: `target/debug/build/PACKAGE/out`, or one deeper when cargo builds for a named target.
/// A path that is not there yet is told all the same, so that cargo looks again when it is.
fn built() -> Option<PathBuf> {
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    let there = out.ancestors().map(|folder| folder.join(BUILT)).find(|path| path.is_file());
    there.or_else(|| Some(out.ancestors().nth(4)?.join(BUILT)))
}
