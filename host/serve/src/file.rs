//! A file of tenants: TOML, read entry by entry, so that what is wrong with one does not touch the others.
//!
//! ```toml
//! [defaults]                                  # what entries lack; has to stand before them
//! schedule = { every = "1h", jitter = "5m" }
//!
//! [defaults.config]                           # key by key; secrets are each tenant's own
//! entity = "acme"
//!
//! [[budget]]                                  # all tenants together ask this origin no more often than that
//! origin = "https://api.source.example"
//! requests_per_minute = 600
//!
//! [[tenant]]
//! id = "acme"
//! labels = { plan = "pro" }
//! destination = "sqlite:warehouses/acme.db"
//! schedule = { cron = "0 3 * * *" }
//!
//! [tenant.config]
//! api_key = { env = "ACME_KEY" }        # or { file = "keys/acme" }, or { command = ["vault", "read", "acme"] }
//! project = "vision"
//!
//! [tenant.policy]
//! allow_origins = ["https://storage.acme.example"]
//!
//! [tenant.policy.limits]
//! memory = "256MiB"
//! ```
//!
//! Relative paths begin in the folder of the file. An entry with a problem is skipped, whatever the problem is; with a problem in
//! `[defaults]` or in a budget all of the file is, since its tenants would otherwise run with less restriction than was meant. Who is
//! not legible because of a slip of the syntax, or of what stands before the entries, and ran until then goes on as the file said
//! before: a slip is no wish to end anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limit_keys;
use super::problem::{Lines, Problem, SourcePosition};
use super::schedule::{LONGEST, Repeat, SHORTEST, Schedule};
use super::tenant::{SecretSource, Tenant, TenantId};
use crate::toml_reader as toml_of;
use crate::toml_reader::{Findings, Item, keys};
use elt_destinations::registry;
use elt_destinations::url::DestinationUrl;
use elt_host::Policy;
use elt_support::origin::Origin;
use elt_support::units;

/// The most bytes of a file: a few hundred thousand entries.
pub const LARGEST: u64 = 128 << 20;
/// The most labels of a tenant.
const MOST_LABELS: usize = 16;
/// The most characters of a label's name or value.
const LONGEST_LABEL: usize = 100;
/// The most requests that a budget can allow in a minute.
const MOST_REQUESTS: u64 = 6_000_000;

const TENANT: [&str; 7] = ["id", "labels", "destination", "schedule", "component", "config", "policy"];
const DEFAULTS: [&str; 5] = ["labels", "schedule", "component", "config", "policy"];
const POLICY: [&str; 4] = ["allow_origins", "allow_networks", "commit_every", "limits"];

/// What a file says.
#[derive(Debug, Default)]
pub struct Reading {
    /// Entries that can be used.
    pub entries: Vec<Arc<Entry>>,
    /// How often all tenants together may ask an origin.
    pub budgets: Vec<(Origin, u32)>,
    /// Everything else.
    pub problems: Vec<Problem>,
    /// Not all of the file could be understood, so that there may be more entries in it.
    pub is_broken: bool,
}

impl Reading {
    /// Keeps what the file said `before` of tenants that it may still speak of, where it can't be understood.
    pub(super) fn keep(&mut self, before: Self) {
        if !self.is_broken {
            return;
        }
        if self.entries.is_empty() && self.budgets.is_empty() {
            self.budgets = before.budgets;
        }
        let read: BTreeSet<TenantId> = self.entries.iter().map(|entry| entry.tenant.id.clone()).collect();
        let refused: BTreeSet<TenantId> = self.problems.iter().filter_map(|problem| problem.tenant.clone()).collect();
        let is_open = |id: &TenantId| !read.contains(id) && !refused.contains(id);
        let kept: Vec<_> = before.entries.into_iter().filter(|entry| is_open(&entry.tenant.id)).collect();
        if let Some(problem) = self.problems.first().filter(|_| !kept.is_empty()) {
            let place = SourcePosition { line: 0, column: 0, ..problem.place.clone() };
            let message = match kept.as_slice() {
                [entry] => format!("`{}` goes on as the file said before", entry.tenant.id),
                _ => format!("{} tenants go on as the file said before", kept.len()),
            };
            self.problems.push(Problem { place, tenant: None, message });
        }
        self.entries.extend(kept);
    }
}

/// A tenant, and where its entry stands.
#[derive(Debug)]
pub struct Entry {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// The entry's header.
    pub place: SourcePosition,
    /// The places of the configuration's keys, and of `destination`.
    pub keys: BTreeMap<String, SourcePosition>,
    /// The keys of the configuration that come from `[defaults.config]`.
    pub inherited: BTreeSet<String>,
}

/// What entries take where they say nothing.
#[derive(Clone)]
struct Defaults {
    labels: BTreeMap<String, String>,
    schedule: Schedule,
    component: Option<std::path::PathBuf>,
    config: Configuration,
    policy: Policy,
}

/// Reads a file's text. `file` is its path, `folder` where relative paths begin; `policy` is what entries start from.
pub fn read(file: &Path, folder: &Path, text: &str, policy: &Policy) -> Reading {
    let lines = Lines::new(Arc::from(file), text);
    let mut reader = Reader { lines: &lines, folder, crons: HashMap::new() };
    reader.read(&parse(text), policy)
}

/// A part of a file, parsed as far as that is possible. Positions count from its beginning, which is at `base`.
struct Piece<'t> {
    base: usize,
    root: Spanned<DeTable<'t>>,
    errors: Vec<toml::de::Error>,
}

/// Parses a file; one with a slip piece by piece, so that the slip does not reach beyond its entry.
fn parse(text: &str) -> Vec<Piece<'_>> {
    let piece = |(base, text)| {
        let (root, errors) = DeTable::parse_recoverable(text);
        Piece { base, root, errors }
    };
    let whole = piece((0, text));
    // In a text over several lines, what looks like the beginning of an entry is a part of some value, which is not always the operator's.
    if whole.errors.is_empty() || text.contains("\"\"\"") || text.contains("\'\'\'") {
        return vec![whole];
    }
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let inner = line.trim_start().strip_prefix("[[").map(str::trim_start);
        if inner
            .is_some_and(|inner| inner.strip_prefix("tenant").is_some_and(|rest| rest.trim_start().starts_with("]]")))
        {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    starts.windows(2).filter_map(|ends| Some((ends[0], text.get(ends[0]..ends[1])?))).map(piece).collect()
}

impl<'t> Piece<'t> {
    /// The tables under a name.
    fn tables<'p>(&'p self, name: &str) -> Vec<(usize, &'p Item<'t>)> {
        let found = self.root.get_ref().get(name).into_iter().flat_map(list);
        found.map(|item| (self.base, item)).collect()
    }

    /// Where the first entry begins, if there is one.
    fn first_tenant(&self) -> Option<usize> {
        self.tables("tenant").iter().map(|(base, item)| base + item.span().start).min()
    }
}

fn position(base: usize, error: &toml::de::Error) -> usize {
    base + error.span().map_or(0, |span| span.start)
}

struct Reader<'a> {
    lines: &'a Lines<'a>,
    folder: &'a Path,
    /// Many entries have the same expression; understanding one takes time and memory.
    crons: HashMap<String, Result<Repeat, String>>,
}

impl Reader<'_> {
    fn read(&mut self, pieces: &[Piece<'_>], policy: &Policy) -> Reading {
        let (defaults, budgets, mut problems) = self.common_parts(pieces, policy);
        if !problems.is_empty() {
            let message = "the tenants of this file are skipped until that is right".into();
            problems.push(Problem { place: self.lines.whole(), tenant: None, message });
            return Reading { problems, is_broken: true, ..Reading::default() };
        }
        let is_broken = pieces.iter().any(|piece| !piece.errors.is_empty());
        let mut reading = Reading { budgets, is_broken, ..Reading::default() };
        for piece in pieces {
            let tenants = piece.tables("tenant");
            if tenants.is_empty() {
                // The header itself is broken.
                let first = piece.errors.iter().min_by_key(|error| position(piece.base, error));
                reading.problems.extend(first.map(|error| Problem {
                    place: self.lines.place(position(piece.base, error)),
                    tenant: None,
                    message: error.message().to_owned(),
                }));
            }
            for (index, (base, item)) in tenants.iter().enumerate() {
                let start = item.span().start;
                let end = tenants.get(index + 1).map_or(usize::MAX, |(_, next)| next.span().start);
                let inside = |error: &&toml::de::Error| (start..end).contains(&position(0, error));
                // Others only follow from the first.
                let error = piece.errors.iter().filter(inside).min_by_key(|error| position(0, error));
                let (found, mut problems) = self.entry(*base, item, &defaults, error);
                reading.entries.extend(found.map(Arc::new));
                reading.problems.append(&mut problems);
            }
        }
        reading.problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
        reading
    }

    /// What holds for all entries; or what is wrong with it.
    #[allow(clippy::type_complexity, reason = "used once")]
    fn common_parts(&mut self, pieces: &[Piece<'_>], policy: &Policy) -> (Defaults, Vec<(Origin, u32)>, Vec<Problem>) {
        let first = pieces.iter().filter_map(Piece::first_tenant).min().unwrap_or(usize::MAX);
        let mut problems = Vec::new();
        let mut defaults = Defaults {
            labels: BTreeMap::new(),
            schedule: Schedule::default(),
            component: None,
            config: Configuration::default(),
            policy: policy.clone(),
        };
        let mut budgets = Vec::new();
        for piece in pieces {
            let lines = self.lines;
            let mut findings = Findings { lines, base: piece.base, tenant: None, problems: Vec::new() };
            keys(piece.root.get_ref(), &["defaults", "budget", "tenant"], &mut findings);
            for error in piece.errors.iter().filter(|error| position(piece.base, error) < first) {
                findings.report(position(0, error), error.message());
            }
            for (_, item) in piece.tables("defaults") {
                common_place(item, first, "defaults", &mut findings);
                self.defaults(item, &mut defaults, &mut findings);
            }
            for (_, item) in piece.tables("budget") {
                common_place(item, first, "budget", &mut findings);
                budgets.extend(budget(item, &budgets, &mut findings));
            }
            problems.append(&mut findings.problems);
        }
        (defaults, budgets, problems)
    }

    fn entry(
        &mut self,
        base: usize,
        item: &Item<'_>,
        defaults: &Defaults,
        error: Option<&toml::de::Error>,
    ) -> (Option<Entry>, Vec<Problem>) {
        let lines = self.lines;
        let mut findings = Findings { lines, base, tenant: None, problems: Vec::new() };
        if let Some(error) = error {
            findings.report(position(0, error), error.message());
            return (None, findings.problems);
        }
        let place = lines.place(base + item.span().start);
        let found = self.tenant(item, defaults, &mut findings);
        let entry = found.map(|(tenant, config)| {
            let Configuration { places: keys, inherited, .. } = config;
            Entry { tenant: Arc::new(tenant), place, keys, inherited }
        });
        (entry, findings.problems)
    }

    fn defaults(&mut self, item: &Item<'_>, defaults: &mut Defaults, findings: &mut Findings<'_>) {
        let at = item.span().start;
        let Some(table) = findings.accept(at, "defaults", toml_of::table(item)) else { return };
        for (key, item) in keys(table, &DEFAULTS, findings) {
            if key != "config" {
                self.common(key, item, defaults, findings);
                continue;
            }
            let config = self.config(item, findings);
            for name in config.secrets.keys() {
                let message = format!(
                    "`{name}` is a secret, which tenants don't have in common; write where it is in each tenant's own `config`"
                );
                let place = config.places.get(name).cloned().unwrap_or_else(|| findings.place(item.span().start));
                findings.problems.push(Problem { place, tenant: None, message });
            }
            defaults.config = config;
        }
    }

    /// A key that both `[defaults]` and entries have.
    fn common(&mut self, key: &str, item: &Item<'_>, into: &mut Defaults, findings: &mut Findings<'_>) {
        let at = item.span().start;
        match key {
            "labels" => labels(item, &mut into.labels, findings),
            "schedule" => {
                if let Some(schedule) = self.schedule(item, findings) {
                    into.schedule = schedule;
                }
            }
            "component" => into.component = findings.accept(at, key, toml_of::path(item, self.folder)),
            _ => policy(item, &mut into.policy, findings),
        }
    }

    fn tenant(
        &mut self,
        item: &Item<'_>,
        defaults: &Defaults,
        findings: &mut Findings<'_>,
    ) -> Option<(Tenant, Configuration)> {
        let at = item.span().start;
        let table = findings.accept(at, "tenant", toml_of::table(item))?;
        let id = match table.get("id") {
            None => Err("is missing".to_owned()),
            Some(item) => toml_of::text(item).and_then(|text| text.parse::<TenantId>().map_err(|why| why.to_string())),
        };
        let id = findings.accept(table.get("id").map_or(at, |item| item.span().start), "id", id);
        findings.tenant.clone_from(&id);
        let mut common = defaults.clone();
        let (mut config, mut destination, mut destination_place) = (Configuration::default(), None, None);
        for (key, item) in keys(table, &TENANT, findings) {
            match key {
                "id" => {}
                "config" => config = self.config(item, findings),
                "destination" => {
                    destination = Some(self.destination(item, findings));
                    destination_place = Some(findings.place(item.span().start));
                }
                _ => self.common(key, item, &mut common, findings),
            }
        }
        if destination.is_none() {
            let example = registry::default_url();
            findings.report(at, format!("`destination` is missing; write for example `destination = \"{example}\"`"));
        }
        let Defaults { labels, schedule, component, config: in_common, policy } = common;
        let mut config = config.over(in_common);
        if let Some(place) = destination_place {
            config.places.entry("destination".to_owned()).or_insert(place);
        }
        let tenant = Tenant {
            id: id?,
            labels,
            config: std::mem::take(&mut config.values),
            secrets: std::mem::take(&mut config.secrets),
            destination: destination.flatten()?,
            schedule,
            component,
            policy,
        };
        findings.problems.is_empty().then_some((tenant, config))
    }

    fn destination(&self, item: &Item<'_>, findings: &mut Findings<'_>) -> Option<DestinationUrl> {
        let read = || -> Result<DestinationUrl, String> {
            let url = toml_of::text(item)?.parse::<DestinationUrl>().map_err(|why| why.to_string())?;
            url.resolved(self.folder)
        };
        findings.accept(item.span().start, "destination", read())
    }

    fn schedule(&mut self, item: &Item<'_>, findings: &mut Findings<'_>) -> Option<Schedule> {
        let at = item.span().start;
        let table = findings.accept(at, "schedule", toml_of::table(item))?;
        let (mut repeat, mut jitter) = (Vec::new(), Duration::ZERO);
        for (key, item) in keys(table, &["every", "cron", "jitter"], findings) {
            let at = item.span().start;
            match key {
                "jitter" => {
                    jitter = findings.accept(at, key, toml_of::time(item, Duration::from_millis(1), LONGEST))?;
                }
                "every" => {
                    let every = toml_of::time(item, SHORTEST, LONGEST).map(Repeat::Every);
                    repeat.push(findings.accept(at, key, every)?);
                }
                _ => {
                    let cron = toml_of::text(item).and_then(|text| {
                        let known = self.crons.entry(text.to_owned());
                        known.or_insert_with_key(|text| Repeat::cron(text)).clone()
                    });
                    repeat.push(findings.accept(at, key, cron)?);
                }
            }
        }
        match (repeat.pop(), repeat.is_empty()) {
            (Some(repeat), true) => Some(Schedule { repeat, jitter }),
            _ => {
                findings.report(at, "a schedule has either `every` or `cron`, such as `{ every = \"15m\" }`");
                None
            }
        }
    }

    fn config(&self, item: &Item<'_>, findings: &mut Findings<'_>) -> Configuration {
        let mut config = Configuration::default();
        let at = item.span().start;
        let Some(table) = findings.accept(at, "config", toml_of::table(item)) else { return config };
        for (key, item) in table.iter() {
            let (name, at): (&str, _) = (key.get_ref(), key.span().start);
            config.places.insert(name.to_owned(), findings.place(at));
            match self.secret(item) {
                Some(source) => {
                    let source = findings.accept(at, name, source);
                    config.secrets.extend(source.map(|source| (name.to_owned(), source)));
                }
                None => {
                    let value = findings.accept(at, name, toml_of::json(item));
                    config.values.extend(value.map(|value| (name.to_owned(), value)));
                }
            }
        }
        config
    }

    /// Where a secret is: a table with one of three keys, and no other.
    fn secret(&self, item: &Item<'_>) -> Option<Result<SecretSource, String>> {
        let table = item.get_ref().as_table()?;
        let (key, value) = table.iter().next().filter(|_| table.len() == 1)?;
        Some(match key.get_ref().as_ref() {
            "env" => toml_of::text(value).and_then(|name| match name {
                "" => Err("names no variable".into()),
                name if name.contains(['=', '\0']) => Err("is no name of a variable".into()),
                name => Ok(SecretSource::Variable(name.to_owned())),
            }),
            "file" => toml_of::path(value, self.folder).map(SecretSource::File),
            "command" => toml_of::texts(value).and_then(|words| match words.first() {
                None => Err("names no program; write `{ command = [\"program\", \"argument\"] }`".into()),
                Some(_) if words.iter().any(|word| word.contains('\0')) => Err("holds U+0000".into()),
                Some(program) if program.is_empty() => Err("names no program".into()),
                // Without a slash it is looked for in PATH.
                Some(program) if program.contains('/') => {
                    let program = self.folder.join(program).into_os_string().into_string();
                    let program = program.map_err(|_| "is in a folder whose name is no UTF-8".to_owned())?;
                    Ok(SecretSource::Command(std::iter::once(program).chain(words.into_iter().skip(1)).collect()))
                }
                Some(_) => Ok(SecretSource::Command(words)),
            }),
            _ => return None,
        })
    }
}

/// What holds for all entries stands before them: an unclosed text or list in an entry can swallow what follows.
fn common_place(item: &Item<'_>, first: usize, name: &str, findings: &mut Findings<'_>) {
    let start = item.span().start;
    if findings.base + start > first {
        findings.report(start, format!("`{name}` has to stand before the first `[[tenant]]`"));
    }
}

#[derive(Clone, Default)]
struct Configuration {
    values: Map<String, serde_json::Value>,
    secrets: BTreeMap<String, SecretSource>,
    places: BTreeMap<String, SourcePosition>,
    inherited: BTreeSet<String>,
}

impl Configuration {
    /// This, and what `defaults` have beside it.
    fn over(mut self, defaults: Self) -> Self {
        for (key, value) in defaults.values {
            if self.places.contains_key(&key) {
                continue;
            }
            self.places.extend(defaults.places.get(&key).map(|place| (key.clone(), place.clone())));
            self.inherited.insert(key.clone());
            self.values.insert(key, value);
        }
        self
    }
}

/// The tables of `[[name]]`; also the one of `[name]`, or whatever stands there instead.
fn list<'t, 'i>(item: &'t Item<'i>) -> Vec<&'t Item<'i>> {
    match item.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![item],
    }
}

fn labels(item: &Item<'_>, labels: &mut BTreeMap<String, String>, findings: &mut Findings<'_>) {
    let at = item.span().start;
    let Some(table) = findings.accept(at, "labels", toml_of::table(item)) else { return };
    for (key, item) in table.iter() {
        let name: &str = key.get_ref();
        let Some(value) = findings.accept(key.span().start, name, toml_of::text(item)) else { continue };
        if name.chars().count() > LONGEST_LABEL || value.chars().count() > LONGEST_LABEL {
            findings.report(key.span().start, format!("a label has at most {LONGEST_LABEL} characters"));
        }
        labels.insert(name.to_owned(), value.to_owned());
    }
    if labels.len() > MOST_LABELS {
        findings.report(at, format!("a tenant has at most {MOST_LABELS} labels"));
    }
}

fn policy(item: &Item<'_>, policy: &mut Policy, findings: &mut Findings<'_>) {
    let at = item.span().start;
    let Some(table) = findings.accept(at, "policy", toml_of::table(item)) else { return };
    for (key, item) in keys(table, &POLICY, findings) {
        let at = item.span().start;
        match key {
            "allow_origins" => {
                let origins = |texts: Vec<String>| texts.iter().map(|text| units::origin(text)).collect();
                if let Some(origins) = findings.accept(at, key, toml_of::texts(item).and_then(origins)) {
                    policy.download_origins = origins;
                }
            }
            "allow_networks" => {
                let networks = |texts: Vec<String>| texts.iter().map(|text| units::network(text)).collect();
                if let Some(networks) = findings.accept(at, key, toml_of::texts(item).and_then(networks)) {
                    policy.networks = networks;
                }
            }
            "commit_every" => {
                let time = toml_of::time(item, Duration::from_millis(100), LONGEST);
                policy.commit_after = findings.accept(at, key, time).unwrap_or(policy.commit_after);
            }
            _ => {
                let Some(table) = findings.accept(at, key, toml_of::table(item)) else { continue };
                for (name, item) in keys(table, &limit_keys::names(), findings) {
                    let set = limit_keys::set(&mut policy.limits, name, item);
                    findings.accept(item.span().start, name, set);
                }
            }
        }
    }
}

fn budget(item: &Item<'_>, others: &[(Origin, u32)], findings: &mut Findings<'_>) -> Option<(Origin, u32)> {
    let at = item.span().start;
    let table = findings.accept(at, "budget", toml_of::table(item))?;
    let (mut origin, mut rate) = (None, None);
    for (key, item) in keys(table, &["origin", "requests_per_minute"], findings) {
        let at = item.span().start;
        if key == "origin" {
            let parsed = toml_of::text(item).and_then(|text| Origin::parse(text).map_err(|why| why.to_string()));
            origin = Some(findings.accept(at, key, parsed)?);
        } else {
            let bounded = toml_of::count(item).and_then(|rate| match u32::try_from(rate) {
                Ok(rate) if u64::from(rate) <= MOST_REQUESTS => Ok(rate),
                _ => Err(format!("is at most {MOST_REQUESTS}")),
            });
            rate = Some(findings.accept(at, key, bounded)?);
        }
    }
    let (Some(origin), Some(rate)) = (origin, rate) else {
        findings.report(at, "a budget has `origin` and `requests_per_minute`");
        return None;
    };
    if others.iter().any(|(other, _)| *other == origin) {
        findings.report(at, format!("`{origin}` has a budget already"));
    }
    Some((origin, rate))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "file_tests.rs"]
mod tests;
