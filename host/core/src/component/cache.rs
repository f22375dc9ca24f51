//! Compiled connectors, kept between runs: compiling takes a second, loading what was compiled a few milliseconds.
//!
//! What is loaded is machine code and runs as this process. So an entry is used only from a folder that belongs to this
//! user and that nobody else can write, only for exactly the component, wasmtime and settings that it was made from, and
//! only when its checksum holds. Anything else is compiled anew; the cache is never needed. Only a limit on the size of files that is
//! too small for an entry (`ulimit -f`) is an error: the component's memory, or the destination, would meet it next.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::runtime::engine::Engine;

/// Entries that are kept; when another is stored the oldest goes.
const ENTRIES: usize = 16;
/// The length of a SHA-256.
const CHECKSUM: usize = 32;

/// A folder of compiled connectors.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: Option<PathBuf>,
}

/// Where a connector's machine code came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheUse {
    /// Loaded.
    Hit,
    /// Compiled, and kept for the next run.
    Stored,
    /// Compiled, and not kept; why.
    NotStored(String),
}

impl Cache {
    /// In `$XDG_CACHE_HOME/PROGRAM`, or `~/.cache/PROGRAM`, where `program` is the name of the folder; nowhere when there is neither.
    pub fn for_user(program: &str) -> Self {
        let home =
            || std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".cache"));
        let base =
            std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home);
        Self { folder: base.map(|base| base.join(program)) }
    }

    /// In a folder of the caller's choice, made when it is needed.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// Keeps nothing.
    pub fn none() -> Self {
        Self { folder: None }
    }

    /// The compiled form of `bytes`, loaded if possible, else compiled and kept.
    pub(crate) fn component(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<(Component, CacheUse)> {
        let compile = || Component::from_binary(engine.wasmtime(), bytes);
        let Some(folder) = &self.folder else {
            return Ok((compile()?, CacheUse::NotStored("there is no cache folder".into())));
        };
        let path = folder.join(file_name(engine, bytes));
        if let Some(component) = load(engine, folder, &path) {
            return Ok((component, CacheUse::Hit));
        }
        let component = compile()?;
        let stored = component.serialize().map_err(io::Error::other).and_then(|code| store(folder, &path, &code));
        let outcome = match stored {
            Ok(()) => CacheUse::Stored,
            Err(why) if why.kind() == io::ErrorKind::FileTooLarge => {
                return Err(wasmtime::Error::from(why).context("the compiled component can't be kept"));
            }
            Err(why) => CacheUse::NotStored(format!("{}: {why}", folder.display())),
        };
        Ok((component, outcome))
    }
}

/// Everything that the machine code depends on is in the name.
fn file_name(engine: &Engine, bytes: &[u8]) -> String {
    let mut settings = std::hash::DefaultHasher::new();
    engine.wasmtime().precompile_compatibility_hash().hash(&mut settings);
    let mut hash = Sha256::new();
    hash.update(settings.finish().to_le_bytes());
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(bytes);
    format!("{:x}.cwasm", hash.finalize())
}

fn load(engine: &Engine, folder: &Path, path: &Path) -> Option<Component> {
    let mut file = fs::OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(path).ok()?;
    if !is_private(&fs::symlink_metadata(folder).ok()?) || !is_private(&file.metadata().ok()?) {
        return None;
    }
    let mut entry = Vec::new();
    io::Read::read_to_end(&mut file, &mut entry).ok()?;
    let (checksum, code) = entry.split_at_checked(CHECKSUM)?;
    if Sha256::digest(code).as_slice() != checksum {
        return None;
    }
    // SAFETY: `deserialize` trusts its input to be what `Component::serialize` of a compatible wasmtime wrote. The name of the
    // file binds it to this wasmtime, its settings and the component; the checksum rules out damage; file and folder belong
    // to this user and are closed to all others, so only someone who can run code as this user anyway could have put it there.
    #[allow(unsafe_code)]
    unsafe { Component::deserialize(engine.wasmtime(), code) }.ok()
}

/// `O_NOFOLLOW`: a link in the place of an entry is not followed.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// Belongs to this user, and nobody else can change it.
fn is_private(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0 && !metadata.is_symlink()
}

fn store(folder: &Path, path: &Path, code: &[u8]) -> io::Result<()> {
    if !folder.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if !is_private(&fs::symlink_metadata(folder)?) {
        return Err(io::Error::other("the folder belongs to someone else or is open to others (`chmod 700` it)"));
    }
    forget_oldest(folder)?;
    let temporary = folder.join(format!(".{}.{}.new", std::process::id(), unique()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = (|| {
        file.write_all(&Sha256::digest(code))?;
        file.write_all(code)?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        fs::remove_file(&temporary).ok();
    }
    written
}

/// Tells apart two writers in one process.
fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Makes room for one more entry. Also clears what a killed process left half written.
fn forget_oldest(folder: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .filter(|(_, path)| path.extension().is_some_and(|kind| kind == "cwasm" || kind == "new"))
        .collect();
    entries.sort();
    let surplus = entries.len().saturating_sub(ENTRIES - 1);
    for (_, path) in entries.into_iter().take(surplus) {
        fs::remove_file(path).ok();
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::runtime::engine::EngineOptions;

    /// The smallest component.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn uses(cache: &Cache, engine: &Engine) -> CacheUse {
        cache.component(engine, EMPTY).unwrap().1
    }

    fn only_entry(folder: &Path) -> PathBuf {
        fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    }

    #[test]
    fn the_second_load_does_not_compile() {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap().path().join("made/when/needed");
        let cache = Cache::in_folder(folder.clone());
        assert_eq!(uses(&cache, &engine), CacheUse::Stored);
        assert_eq!(uses(&cache, &engine), CacheUse::Hit);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&only_entry(&folder))), (0o700, 0o600));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_damaged_entry_is_compiled_anew() {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let cache = Cache::in_folder(folder.path().into());
        uses(&cache, &engine);
        let entry = only_entry(folder.path());
        for damage in ["flip", "cut", "empty"] {
            let mut bytes = fs::read(&entry).unwrap();
            match damage {
                "flip" => *bytes.last_mut().unwrap() ^= 1,
                "cut" => bytes.truncate(bytes.len() / 2),
                _ => bytes.clear(),
            }
            fs::write(&entry, bytes).unwrap();
            assert_eq!(uses(&cache, &engine), CacheUse::Stored, "{damage}");
            assert_eq!(uses(&cache, &engine), CacheUse::Hit, "{damage}");
        }
    }

    #[test]
    fn an_entry_that_others_could_have_written_is_not_used() {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let cache = Cache::in_folder(folder.path().into());
        uses(&cache, &engine);
        fs::set_permissions(only_entry(folder.path()), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(uses(&cache, &engine), CacheUse::Stored);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(uses(&cache, &engine), CacheUse::NotStored(_)));
    }

    #[test]
    fn a_link_in_the_place_of_an_entry_is_not_followed() {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let cache = Cache::in_folder(folder.path().into());
        uses(&cache, &engine);
        let (entry, elsewhere) = (only_entry(folder.path()), folder.path().join("elsewhere"));
        fs::rename(&entry, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &entry).unwrap();
        assert_eq!(uses(&cache, &engine), CacheUse::Stored);
    }
}
