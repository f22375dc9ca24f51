//! Whether tenants could be synced, as far as that can be known without any request and without running a program for a secret.

use std::collections::BTreeMap;

use super::components::Components;
use super::config_checks;
use super::file::Entry;
use super::one_sync::doubts;
use super::problem::Problem;
use super::registry::Roster;
use super::tenant::SecretSource;
use elt_host::Error;

/// Stands for a secret while the component looks at the rest of its configuration.
const PLACEHOLDER: &str = "-";

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What keeps tenants from being synced.
    pub problems: Vec<Problem>,
    /// What may keep them from it, or should not be so.
    pub doubts: Vec<Problem>,
    /// Tenants without a problem.
    pub tenants: u64,
}

/// Looks at every tenant: whether its component can be loaded and takes its configuration, and whether its secrets are there.
pub async fn check(roster: Roster, components: &Components) -> Findings {
    let Roster { tenants, problems, .. } = roster;
    let mut findings = Findings { problems, ..Findings::default() };
    for entry in tenants.values() {
        let before = findings.problems.len();
        findings.problems.extend(problems_of(entry, components).await);
        findings.tenants += u64::from(findings.problems.len() == before);
        findings.doubts.extend(doubts_of(entry));
    }
    let place = |problem: &Problem| (problem.place.file.clone(), problem.place.line, problem.place.column);
    findings.problems.sort_by_key(place);
    findings
}

async fn problems_of(entry: &Entry, components: &Components) -> Vec<Problem> {
    let tenant = &entry.tenant;
    let fits = async {
        let connector = components.get(tenant.component.as_deref()).await?;
        let problems = config_checks::problems(tenant, connector.spec().await?);
        if !problems.is_empty() {
            return Err(Error::Configuration(problems));
        }
        let mut config = tenant.config.clone();
        config.extend(tenant.secrets.keys().map(|key| (key.clone(), PLACEHOLDER.into())));
        connector.schema(&config).await
    };
    match fits.await {
        Ok(_) => Vec::new(),
        Err(Error::Configuration(problems)) => entry.problems(problems),
        Err(other) => vec![entry.problem(None, other.to_string())],
    }
}

fn doubts_of(entry: &Entry) -> Vec<Problem> {
    let missing = |source: &SecretSource| match source {
        SecretSource::Variable(name) if std::env::var_os(name).is_none() => {
            Some(format!("the environment variable {name} is not set here"))
        }
        SecretSource::File(path) if !path.is_file() => Some(format!("{} is no file", path.display())),
        _ => None,
    };
    let of_key = |(key, source): (&String, &SecretSource)| {
        let loose = doubts(&BTreeMap::from([(key.clone(), source.clone())]));
        let messages: Vec<_> = missing(source).into_iter().chain(loose).collect();
        messages.into_iter().map(|message| entry.problem(Some(key), message)).collect::<Vec<_>>()
    };
    entry.tenant.secrets.iter().flat_map(of_key).collect()
}
