//! What each tenant may write: no two tenants share a file, and none lies inside another's folder.
//!
//! What belongs to a destination is said by its kind. Paths are compared after links are followed, and files that exist also by what
//! they are on the disk, so that no spelling and no second name of a file slips past.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::tenant::TenantId;
use elt_destinations::kind::Claim;
use elt_destinations::sqlite_file;

/// Who may write where.
#[derive(Debug, Default)]
pub struct DestinationClaims {
    claims: BTreeMap<PathBuf, Claimed>,
    /// Device and inode of claimed files that exist.
    files: HashMap<(u64, u64), Owner>,
}

#[derive(Debug, Clone)]
struct Claimed {
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
    /// Gives `owner` all of `claims`, which a resolved destination consists of; or says whose one of them is already.
    pub fn claim(&mut self, owner: &Owner, claims: &[Claim]) -> Result<(), Owner> {
        let is_folder = |claim: &Claim| matches!(claim, Claim::Folder(_));
        if let Some(other) = claims.iter().find_map(|claim| self.owner_of(claim.path(), is_folder(claim))) {
            return Err(other.clone());
        }
        for claim in claims {
            let path = claim.path();
            if let Ok(metadata) = path.metadata() {
                self.files.insert((metadata.dev(), metadata.ino()), owner.clone());
            }
            self.claims.insert(path.to_owned(), Claimed { owner: owner.clone(), folder: is_folder(claim) });
        }
        Ok(())
    }

    /// Keeps a file or folder of the host from all tenants; a file may be a database.
    pub fn reserve(&mut self, what: &'static str, path: &Path) -> Result<(), Owner> {
        let claim = if path.is_dir() { Claim::Folder } else { Claim::File };
        let claims: Vec<Claim> = sqlite_file::files(path).into_iter().map(claim).collect();
        self.claim(&Owner::Host(what), &claims)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use elt_destinations::url::DestinationUrl;

    fn owner(id: &str) -> Owner {
        Owner::Tenant(id.parse().unwrap())
    }

    /// Destinations in the order in which they are claimed, and which of them are refused for whose sake.
    fn refused(folder: &Path, destinations: &[&str]) -> Vec<(usize, String)> {
        let mut destination_claims = DestinationClaims::default();
        let mut refused = Vec::new();
        for (index, text) in destinations.iter().enumerate() {
            let destination = text.parse::<DestinationUrl>().unwrap().resolved(folder).unwrap();
            if let Err(other) = destination_claims.claim(&owner(&index.to_string()), &destination.claims()) {
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
        for destination in ["sqlite:history.db", "sqlite:history.db-wal", "parquet:."] {
            let destination = destination.parse::<DestinationUrl>().unwrap().resolved(folder.path()).unwrap();
            let mut destination_claims = DestinationClaims::default();
            destination_claims.reserve("the history of syncs", &history).unwrap();
            assert_eq!(
                destination_claims.claim(&owner("a"), &destination.claims()),
                Err(Owner::Host("the history of syncs")),
                "{destination}"
            );
        }
    }
}
