//! What each tenant may write: no two tenants share a file, and none lies inside another's folder.
//!
//! Paths are compared after links are followed, and files that exist also by what they are on the disk, so that no spelling and no
//! second name of a database slips past. What SQLite puts beside a database (`-wal`, `-shm`, `-journal`) and the host's own lock
//! (`-sync`) belongs to the database.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::tenant::TenantId;
use elt_destinations::url::DestinationUrl;
use elt_support::paths::sibling;

/// Endings of the files that belong to a database.
const BESIDE: [&str; 5] = ["", "-wal", "-shm", "-journal", "-sync"];

/// Who may write where.
#[derive(Debug, Default)]
pub struct DestinationClaims {
    claims: BTreeMap<PathBuf, Claim>,
    /// Device and inode of claimed files that exist.
    files: HashMap<(u64, u64), Owner>,
}

#[derive(Debug, Clone)]
struct Claim {
    owner: Owner,
    /// Everything below the path is claimed too.
    folder: bool,
}

/// Whose something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A tenant's destination.
    Tenant(TenantId),
    /// Something that no tenant may write, as a noun: "the history of syncs".
    Host(&'static str),
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "tenant `{id}`"),
            Self::Host(what) => f.write_str(what),
        }
    }
}

impl DestinationClaims {
    /// Gives `owner` what the destination consists of; or says whose it is already. Nowhere (`null:`) is everybody's.
    pub fn claim(&mut self, owner: &Owner, destination: &DestinationUrl) -> Result<(), Owner> {
        match destination {
            DestinationUrl::Null => Ok(()),
            DestinationUrl::Parquet(path) => self.take(owner, vec![path.clone()], true),
            DestinationUrl::Sqlite(path) => self.take(owner, side_files(path), false),
        }
    }

    /// Keeps a file or folder of the host from all tenants.
    pub fn reserve(&mut self, what: &'static str, path: &Path) -> Result<(), Owner> {
        self.take(&Owner::Host(what), side_files(path), path.is_dir())
    }

    fn take(&mut self, owner: &Owner, paths: Vec<PathBuf>, folder: bool) -> Result<(), Owner> {
        for path in &paths {
            if let Some(other) = self.owner_of(path, folder) {
                return Err(other.clone());
            }
        }
        for path in paths {
            if let Ok(metadata) = path.metadata() {
                self.files.insert((metadata.dev(), metadata.ino()), owner.clone());
            }
            self.claims.insert(path, Claim { owner: owner.clone(), folder });
        }
        Ok(())
    }

    /// Whose the path is, or a folder above it; for a folder also whose anything in it is.
    fn owner_of(&self, path: &Path, folder: bool) -> Option<&Owner> {
        let above = path.ancestors().skip(1).filter_map(|above| self.claims.get(above)).find(|claim| claim.folder);
        let same = self.claims.get(path).or(above).map(|claim| &claim.owner);
        let inside = || {
            // Paths are ordered part by part, so what is in a folder follows it directly.
            let mut after = self.claims.range::<Path, _>((Bound::Excluded(path), Bound::Unbounded));
            after.next().filter(|(other, _)| folder && other.starts_with(path)).map(|(_, claim)| &claim.owner)
        };
        let on_disk = || path.metadata().ok().and_then(|it| self.files.get(&(it.dev(), it.ino())));
        same.or_else(inside).or_else(on_disk)
    }
}

fn side_files(path: &Path) -> Vec<PathBuf> {
    BESIDE.iter().map(|ending| sibling(path, ending)).collect()
}

/// The path with links followed and without `.` and `..`, as far as it exists; relative ones begin in `folder`.
pub fn canonical(folder: &Path, path: &Path) -> io::Result<PathBuf> {
    let whole = folder.join(path);
    let mut missing = Vec::new();
    let mut existing = whole.as_path();
    let found = loop {
        match existing.canonicalize() {
            Ok(found) => break found,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) if existing.is_symlink() => {
                return Err(io::Error::other("it is a link to something that does not exist"));
            }
            Err(error) => {
                let Some(Component::Normal(name)) = existing.components().next_back() else { return Err(error) };
                missing.push(name.to_owned());
                existing = existing.parent().ok_or(error)?;
            }
        }
    };
    Ok(missing.into_iter().rev().fold(found, |path, name| path.join(name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn owner(id: &str) -> Owner {
        Owner::Tenant(id.parse().unwrap())
    }

    /// Destinations in the order in which they are claimed, and which of them are refused for whose sake.
    fn refused(folder: &Path, destinations: &[&str]) -> Vec<(usize, String)> {
        let mut destination_claims = DestinationClaims::default();
        let mut refused = Vec::new();
        for (index, text) in destinations.iter().enumerate() {
            let destination = match text.parse().unwrap() {
                DestinationUrl::Sqlite(path) => DestinationUrl::Sqlite(canonical(folder, &path).unwrap()),
                DestinationUrl::Parquet(path) => DestinationUrl::Parquet(canonical(folder, &path).unwrap()),
                DestinationUrl::Null => DestinationUrl::Null,
            };
            if let Err(other) = destination_claims.claim(&owner(&index.to_string()), &destination) {
                refused.push((index, other.to_string()));
            }
        }
        refused
    }

    #[test]
    fn one_place_has_one_tenant_however_it_is_spelled() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir(folder.join("real")).unwrap();
        fs::write(folder.join("real/made.db"), "").unwrap();
        std::os::unix::fs::symlink(folder.join("real"), folder.join("link")).unwrap();
        fs::hard_link(folder.join("real/made.db"), folder.join("second-name.db")).unwrap();
        let first = |destinations: &[&str]| refused(folder, destinations);
        for pair in [
            ["sqlite:a.db", "sqlite:./a.db"],
            ["sqlite:a.db", "sqlite:real/../a.db"],
            ["sqlite:real/a.db", "sqlite:link/a.db"],
            ["sqlite:real/made.db", "sqlite:second-name.db"],
            ["sqlite:a.db", "sqlite:a.db-wal"],
            ["sqlite:a.db-journal", "sqlite:a.db"],
            ["sqlite:a.db", "parquet:a.db"],
            ["parquet:out", "parquet:out/"],
            ["parquet:out", "parquet:out/inner"],
            ["parquet:out/inner/most", "parquet:out"],
            ["parquet:out", "sqlite:out/a.db"],
            ["sqlite:out/a.db", "parquet:out"],
            ["sqlite:out/a.db", "parquet:."],
        ] {
            assert_eq!(first(&pair), [(1, "tenant `0`".to_owned())], "{pair:?}");
        }
        for apart in [["sqlite:a.db", "sqlite:b.db"], ["parquet:out", "parquet:out2"], ["null:", "null:"]] {
            assert_eq!(first(&apart), [], "{apart:?}");
        }
        assert_eq!(first(&["parquet:out", "sqlite:out-a.db", "sqlite:out.db", "parquet:ou"]), []);
    }

    #[test]
    fn a_refused_claim_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        // The third would meet the second's `-sync` file, had that got it.
        assert_eq!(
            refused(folder.path(), &["sqlite:a.db-sync", "sqlite:a.db", "sqlite:a.db-wal"]),
            [(1, "tenant `0`".into())]
        );
    }

    #[test]
    fn what_is_the_hosts_is_no_tenants() {
        let folder = tempfile::tempdir().unwrap();
        let history = folder.path().canonicalize().unwrap().join("history.db");
        for destination in [
            DestinationUrl::Sqlite(history.clone()),
            DestinationUrl::Sqlite(history.with_file_name("history.db-wal")),
            DestinationUrl::Parquet(history.parent().unwrap().into()),
        ] {
            let mut destination_claims = DestinationClaims::default();
            destination_claims.reserve("the history of syncs", &history).unwrap();
            assert_eq!(
                destination_claims.claim(&owner("a"), &destination),
                Err(Owner::Host("the history of syncs")),
                "{destination}"
            );
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        assert!(canonical(folder.path(), Path::new("link")).is_err());
        assert!(canonical(folder.path(), Path::new("missing/../../x")).is_err(), "a way up from what does not exist");
    }
}
