//! One sync of one tenant: what it takes from the host, and what is noted of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::backoff::Mark;
use super::components::Components;
use super::listener::Listener;
use super::record::SyncEnd;
use super::slot_permit::SlotPermit;
use super::tenant::{SecretSource, Tenant};
use super::{config_checks, secret};
use elt_destinations::url::{Access, open};
use elt_host::key_origin::KeyOrigin;
use elt_host::{ConfigurationProblem, Error, Event, HttpClient, Level, Observer, Outcome, Spec, SyncRequest};
use elt_support::file_access::others_may_read;
use elt_support::printable::cut;
use elt_support::printable::escape_control;
use elt_support::url_password;

/// Bytes of the message that is kept of a sync.
const MESSAGE_BYTES: usize = 1000;

/// A sync that runs: what can be seen of it.
#[derive(Default)]
pub(super) struct Progress {
    rows: AtomicU64,
    mark: OnceLock<Mark>,
}

impl Progress {
    /// Rows committed so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// What it runs with, once its secrets were looked up.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.mark.get().copied()
    }
}

/// Passes the events of a sync on, under the tenant's name.
struct TenantObserver {
    tenant: Arc<Tenant>,
    progress: Arc<Progress>,
    listener: Arc<dyn Listener>,
}

impl Observer for TenantObserver {
    fn event(&self, event: Event) {
        if let Event::Committed { rows, .. } = &event {
            self.progress.rows.store(rows.values().sum(), Ordering::Relaxed);
        }
        self.listener.event(&self.tenant.id, event);
    }
}

/// What a sync needs of the host.
pub(super) struct SyncResources {
    pub(super) components: Components,
    pub(super) client: HttpClient,
    pub(super) turn: Arc<SlotPermit>,
    pub(super) listener: Arc<dyn Listener>,
    /// Of marks.
    pub(super) salt: u64,
    pub(super) cancel: CancellationToken,
}

/// Runs one sync to its end.
pub(super) async fn run(tenant: Arc<Tenant>, resources: SyncResources, progress: Arc<Progress>) -> (Outcome, SyncEnd) {
    let listener = resources.listener.clone();
    let observer_of_tenant = Arc::new(TenantObserver { tenant: tenant.clone(), progress, listener });
    let outcome = match sync(&tenant, resources, observer_of_tenant).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::failed(error),
    };
    let end = end_of(&outcome);
    (outcome, end)
}

async fn sync(
    tenant: &Tenant,
    resources: SyncResources,
    observer_of_tenant: Arc<TenantObserver>,
) -> Result<Outcome, Error> {
    let SyncResources { components, client, turn, listener: _, salt, cancel } = resources;
    let prepared = async {
        let connector = components.get(tenant.component.as_deref()).await?;
        let spec = connector.spec().await?;
        let origins = key_origins(tenant, spec);
        let config =
            configuration(tenant, spec, &observer_of_tenant, salt).await.map_err(|error| explain(error, &origins))?;
        let mut policy = tenant.policy.clone();
        // What a tenant's own component says of its downloads is nothing that the operator allowed.
        if tenant.component.is_none() {
            policy.download_origins.extend(spec.downloads(&tenant.config));
        }
        let url = tenant.destination.clone();
        let opened = tokio::task::spawn_blocking(move || open(&url, Access::ReadWrite)).await;
        let opened = opened.map_err(|_| Error::Internal("the destination could not be opened: the host failed".into()));
        let destination = opened?.map_err(|why| Error::Destination(why.to_string()))?;
        let request = SyncRequest::new(spec, config).policy(policy);
        Ok((connector, origins, request, destination))
    };
    let (connector, origins, request, destination) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(Error::Interrupted),
        prepared = prepared => prepared?,
    };
    let mut outcome = connector.sync(request, destination, &client.gated(turn), observer_of_tenant, &cancel).await;
    outcome.error = outcome.error.map(|error| explain(error, &origins));
    Ok(outcome)
}

/// The tenant's secrets: which servers they are for, and where they are from.
fn key_origins(tenant: &Tenant, spec: &Spec) -> Vec<KeyOrigin> {
    let servers: Vec<_> = spec.origins(&tenant.config).map(|(_, url)| url_password::hide(url)).collect();
    let server = servers.join(", ");
    let origin = |(key, source): (&String, &SecretSource)| KeyOrigin {
        key: key.clone(),
        server: server.clone(),
        source: source.to_string(),
    };
    tenant.secrets.iter().map(origin).collect()
}

fn explain(error: Error, origins: &[KeyOrigin]) -> Error {
    origins.iter().fold(error, |error, origin| origin.explain(error))
}

/// The configuration with its secrets. It lives as long as the sync.
async fn configuration(
    tenant: &Tenant,
    spec: &Spec,
    observer_of_tenant: &TenantObserver,
    salt: u64,
) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
    let mut problems = config_checks::problems(tenant, spec);
    let mut config = tenant.config.clone();
    let found = secret::resolve_all(tenant).await;
    // It is set once for each sync.
    observer_of_tenant.progress.mark.set(secret::mark(tenant, &found, salt)).ok();
    for (key, value) in found {
        match value {
            Ok(value) => drop(config.insert(key, value.into())),
            Err(why) => problems.push(ConfigurationProblem { key: Some(key), message: why.to_string() }),
        }
    }
    if !problems.is_empty() {
        return Err(Error::Configuration(problems));
    }
    for message in doubts(&tenant.secrets) {
        observer_of_tenant.event(Event::Log { level: Level::Warning, message });
    }
    Ok(config)
}

/// What is doubtful about where secrets are, though they can be used.
pub(super) fn doubts(secrets: &BTreeMap<String, SecretSource>) -> Vec<String> {
    let doubt = |source: &SecretSource| match source {
        SecretSource::File(path) if others_may_read(path) => {
            let path = escape_control(&path.display().to_string());
            Some(format!("{path} holds a secret and other users may read it; run `chmod 600 {path}`"))
        }
        _ => None,
    };
    secrets.values().filter_map(doubt).collect()
}

fn end_of(outcome: &Outcome) -> SyncEnd {
    let left_out = outcome.items.quarantined.max(outcome.quarantined.len() as u64);
    let (name, message) = match &outcome.error {
        Some(error) => (error.kind().name(), Some(error.to_string())),
        None if left_out > 0 => {
            let first = outcome.quarantined.first().map(|(id, reason)| format!("; the first, {id}: {reason}"));
            ("partial", Some(format!("{left_out} left out{}", first.unwrap_or_default())))
        }
        None => ("ok", None),
    };
    SyncEnd {
        at: Utc::now(),
        outcome: name.to_owned(),
        message: message.map(|message| cut(&escape_control(&message), MESSAGE_BYTES).to_owned()),
        rows: outcome.rows.values().sum(),
        items: (outcome.items.synced, left_out),
        requests: outcome.requests,
        retries: outcome.retries,
        throttled: outcome.throttled,
        memory: outcome.memory,
    }
}

/// What is noted of a sync whose task panicked: a fault of the host that is no other tenant's concern.
pub(super) fn crashed() -> SyncEnd {
    let error = Error::Internal("the host failed while it ran this sync; what was committed is stored".into());
    end_of(&Outcome::failed(error))
}
