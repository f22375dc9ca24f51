//! Finds the component that the binary carries, and tells the compiler its path as `WANDB_CONNECTOR_WASM`.
//!
//! It is `WANDB_CONNECTOR_COMPONENT`, else what `make component` left in the target folder. When there is none, only
//! the binary can't be built (it says why); the library needs no component.

use std::env;
use std::path::{Path, PathBuf};

const BUILT: &str = "wasm32-unknown-unknown/component/wandb_connector.wasm";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WANDB_CONNECTOR_COMPONENT");
    let Some(path) = named().or_else(built) else { return };
    println!("cargo::rerun-if-changed={}", path.display());
    if path.is_file() {
        println!("cargo::rustc-env=WANDB_CONNECTOR_WASM={}", path.display());
    }
}

fn named() -> Option<PathBuf> {
    let path = env::var_os("WANDB_CONNECTOR_COMPONENT").filter(|path| !path.is_empty())?;
    std::path::absolute(path).ok()
}

/// The target folder is the ancestor of `OUT_DIR` that cargo has marked as a cache.
fn built() -> Option<PathBuf> {
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    let target = out.ancestors().find(|folder: &&Path| folder.join("CACHEDIR.TAG").exists())?;
    Some(target.join(BUILT))
}
