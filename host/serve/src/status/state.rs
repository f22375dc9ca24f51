//! How a tenant is doing, in one word.

use crate::overview::TenantOverview;
use crate::record::SyncRecord;

/// The outcome of a sync that everything was brought over in.
const OK: &str = "ok";
/// The outcome of a sync that left items out.
const PARTIAL: &str = "partial";
/// The outcome of a sync that the host ended; it comes again.
const INTERRUPTED: &str = "interrupted";

/// How a tenant is doing, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// The last sync ended with an error.
    Failed,
    /// The last sync left items out.
    Partial,
    /// A sync runs.
    Running,
    /// No sync has come to its own end yet.
    Waiting,
    /// The last sync brought everything over.
    Ok,
}

impl State {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Failed, Self::Partial, Self::Running, Self::Waiting, Self::Ok];

    /// Of a tenant: what it does now, else how its last sync ended.
    pub(super) fn of(tenant: &TenantOverview) -> Self {
        if tenant.running.is_some() { Self::Running } else { Self::after(tenant.last.as_ref()) }
    }

    /// How a sync ended.
    pub(super) fn after(last: Option<&SyncRecord>) -> Self {
        match last.and_then(|last| last.end.as_ref()).map(|end| &*end.outcome) {
            None | Some(INTERRUPTED) => Self::Waiting,
            Some(OK) => Self::Ok,
            Some(PARTIAL) => Self::Partial,
            Some(_) => Self::Failed,
        }
    }

    /// What the tenant is listed by: one that fails does not leave its place among those while it tries again.
    pub(super) fn rank(tenant: &TenantOverview) -> Self {
        Self::after(tenant.last.as_ref()).min(Self::of(tenant))
    }

    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Ok => "ok",
        }
    }

    /// A sign for it, beside the word.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Failed => "✕",
            Self::Partial => "◐",
            Self::Running => "▶",
            Self::Waiting => "◌",
            Self::Ok => "✓",
        }
    }
}

/// Words of a filter; further ones are not looked for. Each is looked for in every tenant.
const MOST_WORDS: usize = 16;

/// A filter: words, all of which a tenant's id, labels, state, outcome or message have to contain.
pub(super) struct Filter(Vec<String>);

impl Filter {
    pub(super) fn new(text: &str) -> Self {
        Self(text.split_whitespace().take(MOST_WORDS).map(str::to_lowercase).collect())
    }

    pub(super) fn matches(&self, tenant: &TenantOverview) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let mut text = format!("{} {}", tenant.id, State::of(tenant).word());
        for (name, value) in &tenant.labels {
            text.extend([" ", name, "=", value]);
        }
        if let Some(end) = tenant.last.as_ref().and_then(|last| last.end.as_ref()) {
            text.extend([" ", &end.outcome, " ", end.message.as_deref().unwrap_or_default()]);
        }
        let text = text.to_lowercase();
        self.0.iter().all(|word| text.contains(word))
    }
}
