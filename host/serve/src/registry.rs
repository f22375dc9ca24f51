//! All tenants of a process: a file, or a folder of files, looked at again and again for changes.
//!
//! A change counts when two looks one after the other saw it, so that a file that is just being written is not read half. A file that
//! can't be read keeps saying what it said.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::config_checks;
use super::destination_claims::{DestinationClaims, Owner};
use super::file::{self, Entry, Reading};
use super::file_version::FileVersion;
use super::problem::{Problem, SourcePosition};
use super::tenant::TenantId;
use elt_destinations::local_path::canonical;
use elt_host::{ConfigurationProblem, Policy, Spec};
use elt_support::origin::Origin;
use elt_support::text;

/// Where tenants are described.
pub struct Registry {
    source: PathBuf,
    /// What entries' policies start from.
    policy: Policy,
    /// Of the built-in component; none where it does not matter whether configurations fit.
    spec: Option<Spec>,
    /// No tenant's destination.
    history: Option<PathBuf>,
    files: BTreeMap<PathBuf, Known>,
    began: bool,
}

/// A file as it was last looked at.
#[derive(Default)]
struct Known {
    read: Option<FileVersion>,
    seen: Option<FileVersion>,
    hash: [u8; 32],
    reading: Reading,
    unreadable: Option<String>,
}

/// The tenants that can run, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Roster {
    /// By id.
    pub tenants: BTreeMap<TenantId, Arc<Entry>>,
    /// How often all together may ask an origin.
    pub budgets: Vec<(Origin, u32)>,
    /// Entries that are skipped, and why.
    pub problems: Vec<Problem>,
}

impl Registry {
    /// Reads nothing yet. `policy` is what entries start from, `history` a database that no tenant may write.
    pub fn new(source: &Path, policy: Policy, history: Option<&Path>) -> Self {
        let history = history.map(Path::to_owned);
        Self { source: source.into(), policy, spec: None, history, files: BTreeMap::new(), began: false }
    }

    /// Also skips tenants whose configuration does not fit the built-in component, if they run that.
    pub fn with_spec(mut self, built_in: Spec) -> Self {
        self.spec = Some(built_in);
        self
    }

    /// Looks whether anything has changed, and if so answers all tenants. The first look always does. Blocks on the disk.
    pub fn look(&mut self) -> Option<Roster> {
        let is_first = !self.began;
        self.look_and(is_first)
    }

    /// The same, because somebody asked for it: files are read although they look the same as before, and a change counts at once.
    pub fn look_at_once(&mut self) -> Option<Roster> {
        for known in self.files.values_mut() {
            known.read = None;
        }
        self.look_and(true)
    }

    fn look_and(&mut self, at_once: bool) -> Option<Roster> {
        let mut changed = !std::mem::replace(&mut self.began, true);
        match files_of(&self.source) {
            Ok(paths) => {
                let gone: Vec<_> = self.files.keys().filter(|path| !paths.contains(path)).cloned().collect();
                changed |= !gone.is_empty();
                for path in gone {
                    self.files.remove(&path);
                }
                for path in paths {
                    let known = self.files.entry(path.clone()).or_default();
                    changed |= known.look(&path, &self.policy, at_once);
                }
            }
            // It may be about to come back; that it can't be read is said.
            Err(why) => {
                let known = self.files.entry(self.source.clone()).or_default();
                changed |= known.cannot(&why);
            }
        }
        changed.then(|| self.combine())
    }

    /// Puts the files together: each id and each place once.
    fn combine(&self) -> Roster {
        let mut roster = Roster::default();
        let mut destination_claims = DestinationClaims::default();
        if let Some(history) = &self.history {
            let history = canonical(Path::new("."), history).unwrap_or_else(|_| history.clone());
            destination_claims.reserve("the history of syncs", &history).ok();
        }
        for path in self.files.keys() {
            let path = canonical(Path::new("."), path).unwrap_or_else(|_| path.clone());
            destination_claims.reserve("the file of tenants", &path).ok();
        }
        for (path, known) in &self.files {
            roster.problems.extend(known.unreadable.iter().map(|why| {
                let place = SourcePosition { file: path.as_path().into(), line: 0, column: 0 };
                Problem { place, tenant: None, message: why.clone() }
            }));
            roster.problems.extend(known.reading.problems.iter().cloned());
            for (origin, rate) in &known.reading.budgets {
                match roster.budgets.iter_mut().find(|(other, _)| other == origin) {
                    // The stricter one, if two files speak of one origin.
                    Some((_, other)) => *other = (*other).min(*rate),
                    None => roster.budgets.push((origin.clone(), *rate)),
                }
            }
            for entry in &known.reading.entries {
                let problems = self.misfits(entry, &roster, &mut destination_claims);
                if problems.is_empty() {
                    roster.tenants.insert(entry.tenant.id.clone(), entry.clone());
                } else {
                    // What entries have in common is said once.
                    let new = |it: &Problem| it.tenant.is_some() || !roster.problems.contains(it);
                    let new: Vec<Problem> = problems.into_iter().filter(new).collect();
                    roster.problems.extend(new);
                }
            }
        }
        roster
    }

    /// What is wrong with an entry that can be read.
    fn misfits(&self, entry: &Entry, roster: &Roster, destination_claims: &mut DestinationClaims) -> Vec<Problem> {
        let tenant = &entry.tenant;
        if let Some(other) = roster.tenants.get(&tenant.id) {
            return vec![entry.problem(None, format!("the id is taken, see {}", other.place))];
        }
        if let (None, Some(spec)) = (&tenant.component, &self.spec) {
            let misfits = config_checks::problems(tenant, spec);
            if !misfits.is_empty() {
                return entry.problems_with(misfits, spec);
            }
        }
        // Last, so that a tenant that is skipped takes no place.
        let claims = tenant.destination.claims();
        let taken = if claims.iter().any(|claim| self.would_be_read(claim.path())) {
            Err(Owner::Host("the folder of tenants, whose `.toml` files are read"))
        } else {
            destination_claims.claim(&Owner::Tenant(tenant.id.clone()), &claims)
        };
        let taken = taken.err().map(|owner| format!("its destination {} belongs to {owner}", tenant.destination));
        taken.map(|message| entry.problem(Some("destination"), message)).into_iter().collect()
    }

    /// Whether a file at that path would be taken for one of tenants.
    fn would_be_read(&self, path: &Path) -> bool {
        let named = path.extension().is_some_and(|ending| ending == "toml");
        let folder = self.source.canonicalize().ok().filter(|source| source.is_dir());
        named && folder.is_some_and(|folder| path.parent() == Some(&folder))
    }
}

impl Entry {
    /// Something wrong with this entry, at one of its configuration's keys if it is about one.
    pub fn problem(&self, key: Option<&str>, message: String) -> Problem {
        let place = key.and_then(|key| self.keys.get(key)).unwrap_or(&self.place).clone();
        Problem { place, tenant: Some(self.tenant.id.clone()), message }
    }

    /// The same; a secret that stands among the defaults is no fault of this entry.
    fn problems_with(&self, found: Vec<ConfigurationProblem>, spec: &Spec) -> Vec<Problem> {
        let is_common = |it: &ConfigurationProblem| {
            it.key.as_ref().filter(|key| self.inherited.contains(*key) && spec.secrets().contains(key)).cloned()
        };
        let problem = |it: ConfigurationProblem| match is_common(&it) {
            Some(key) => {
                let message = format!(
                    "`{key}` is a secret and must not stand in the file; write where it is in each tenant's own `config`, for example \
                     `{key} = {{ env = \"NAME\" }}`. Tenants that have none of their own are skipped"
                );
                vec![Problem { tenant: None, ..self.problem(Some(&key), message) }]
            }
            None => self.problems(vec![it]),
        };
        found.into_iter().flat_map(problem).collect()
    }

    /// Everything that is wrong with this entry's configuration.
    pub fn problems(&self, found: Vec<ConfigurationProblem>) -> Vec<Problem> {
        let named = |key: &Option<String>| key.as_ref().map(|key| format!("`{key}` ")).unwrap_or_default();
        let problem =
            |it: ConfigurationProblem| self.problem(it.key.as_deref(), format!("{}{}", named(&it.key), it.message));
        found.into_iter().map(problem).collect()
    }
}

impl Known {
    /// Whether the file says something else than before.
    fn look(&mut self, path: &Path, policy: &Policy, at_once: bool) -> bool {
        let file_version = match fs::metadata(path).and_then(|it| FileVersion::of(&it, file::LARGEST)) {
            Ok(file_version) => file_version,
            Err(why) => return self.cannot(&why),
        };
        let seen = self.seen.replace(file_version) == Some(file_version);
        if self.read == Some(file_version) || !(seen || at_once) {
            return false;
        }
        let text = match read(path) {
            Ok(text) => text,
            Err(why) => return self.cannot(&why),
        };
        // What is read at once could still be changing.
        self.read = seen.then_some(file_version);
        let hash = Sha256::digest(&text).into();
        let same = std::mem::replace(&mut self.hash, hash) == hash && self.unreadable.is_none();
        self.unreadable = None;
        if !same {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            let before = std::mem::take(&mut self.reading);
            self.reading = file::read(path, &folder, &text, policy);
            self.reading.keep(before);
        }
        !same
    }

    fn cannot(&mut self, why: &io::Error) -> bool {
        let why = format!("can't be read: {why}");
        let new = self.unreadable.as_ref() != Some(&why);
        self.unreadable = Some(why);
        self.read = None;
        new
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, file::LARGEST), &mut bytes)?;
    String::from_utf8(text::in_utf8(bytes)).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why.utf8_error()))
}

/// The file, or the files of the folder whose names end in `.toml` and do not begin with a dot, in their order.
fn files_of(source: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(source)?.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let name = entry.file_name();
        let named = Path::new(&name).extension().is_some_and(|ending| ending == "toml");
        if named && !name.as_encoded_bytes().starts_with(b".") && !entry.path().is_dir() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SPEC: &str = r#"{"properties": {"api_key": {"writeOnly": true}, "base_url": {"x-elt-origin": true}}}"#;

    fn registry(source: &Path) -> Registry {
        let history = source.parent().unwrap().join("tenants-history.db");
        Registry::new(source, Policy::default(), Some(&history)).with_spec(Spec::parse(SPEC).unwrap())
    }

    fn entry(id: &str, destination: &str) -> String {
        format!("[[tenant]]\nid = \"{id}\"\ndestination = \"{destination}\"\n")
    }

    fn ids(roster: &Roster) -> Vec<&str> {
        roster.tenants.keys().map(TenantId::as_str).collect()
    }

    fn problems(roster: &Roster, folder: &Path) -> Vec<String> {
        let shown = |problem: &Problem| problem.to_string().replace(folder.to_str().unwrap(), "");
        roster.problems.iter().map(shown).collect()
    }

    #[test]
    fn a_change_counts_at_the_second_look() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenants.toml");
        fs::write(&file, entry("a", "null:")).unwrap();
        let mut registry = registry(&file);
        assert_eq!(ids(&registry.look().unwrap()), ["a"]);
        assert!(registry.look().is_none() && registry.look().is_none());
        fs::write(&file, entry("a", "null:") + &entry("b", "null:")).unwrap();
        assert!(registry.look().is_none(), "it may still be written");
        assert_eq!(ids(&registry.look().unwrap()), ["a", "b"]);
        assert!(registry.look().is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_saying_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenants.toml");
        fs::write(&file, entry("a", "null:")).unwrap();
        let mut registry = registry(&file);
        registry.look().unwrap();
        registry.look();
        fs::remove_file(&file).unwrap();
        let roster = registry.look().unwrap();
        assert_eq!(ids(&roster), ["a"]);
        assert!(problems(&roster, folder.path())[0].starts_with("/tenants.toml: can't be read: No such file"));
        assert!(registry.look().is_none(), "it is said once");
        fs::write(&file, entry("b", "null:")).unwrap();
        registry.look();
        let roster = registry.look().unwrap();
        assert_eq!((ids(&roster), roster.problems.len()), (vec!["b"], 0));
    }

    #[test]
    fn a_folder_is_its_files_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write("b.toml", entry("b", "sqlite:shared.db") + &entry("a", "null:"));
        write("a.toml", entry("a", "sqlite:shared.db"));
        write(".c.toml", entry("c", "null:"));
        write("d.txt", entry("d", "null:"));
        let mut registry = registry(folder.path());
        let roster = registry.look().unwrap();
        assert_eq!(ids(&roster), ["a"]);
        let said = problems(&roster, folder.path());
        assert_eq!(said[0], "/b.toml:3:15: tenant `b`: its destination sqlite:/shared.db belongs to tenant `a`");
        assert_eq!(said[1], "/b.toml:4:1: tenant `a`: the id is taken, see /a.toml:1:1");
        fs::remove_file(folder.path().join("a.toml")).unwrap();
        assert_eq!(ids(&registry.look().unwrap()), ["a", "b"]);
    }

    #[test]
    fn no_tenant_writes_what_is_the_hosts() {
        let folder = tempfile::tempdir().unwrap();
        let tenants = folder.path().join("tenants");
        fs::create_dir(&tenants).unwrap();
        let text = entry("a", "sqlite:../tenants-history.db")
            + &entry("b", "sqlite:all.toml")
            + &entry("c", "parquet:..")
            + &entry("d", "parquet:new.toml")
            + &entry("e", "sqlite:e.db");
        fs::write(tenants.join("all.toml"), text).unwrap();
        let roster = registry(&tenants).look().unwrap();
        assert_eq!(ids(&roster), ["e"]);
        let said = problems(&roster, folder.path());
        for (said, owner) in
            said.iter().zip(["the history of syncs", "the folder", "the file of tenants", "the folder"])
        {
            assert!(said.contains(&format!("belongs to {owner}")), "{said}");
        }
        assert_eq!(said.len(), 4);
    }

    #[test]
    fn a_plain_secret_is_a_problem_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenants.toml");
        let text = entry("a", "null:") + "[tenant.config]\n  api_key = \"0123456789abcdef\"\n" + &entry("b", "null:");
        fs::write(&file, text).unwrap();
        let roster = registry(&file).look().unwrap();
        assert_eq!(ids(&roster), ["b"]);
        let said = problems(&roster, folder.path());
        assert!(said[0].starts_with("/tenants.toml:5:3: tenant `a`: `api_key` is a secret"), "{said:?}");
        assert!(!said[0].contains("0123456789"));
    }
}
