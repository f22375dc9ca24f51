//! Decides which tenant syncs when.
//!
//! A tenant that is not syncing is an entry in a list ordered by due time, and nothing else: no task, no connection, no memory of a guest.
//! When something is due and a slot is free, the tenant that has been due for longest starts. A sync gives its slot back while it waits for
//! a rate limit; so that such syncs don't pile up, there is a second bound on all syncs that are alive ([`ALIVE_PER_SLOT`]).
//!
//! A tenant that fails for a reason that lasts waits longer each time ([`super::backoff`]); whether that reason is gone is looked at
//! meanwhile.
//!
//! Each sync is a task of its own: what goes wrong in it, a panic included, is the end of that sync and touches no other.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::StreamExt;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::backoff::{Failing, Mark, looks_every};
use super::budget::Budgets;
use super::components::Components;
use super::history::{History, Past, SyncNumber};
pub use super::listener::Listener;
use super::one_sync::{self, Progress, SyncResources};
use super::overview::{RunningSync, Slots, TenantOverview, Watch};
use super::record::{SyncEnd, SyncRecord};
use super::registry::{Registry, Roster};
use super::schedule::Schedule;
use super::scheduling::{Background, SchedulingClass};
use super::secret;
use super::slot_permit::SlotPermit;
use super::tenant::{Tenant, TenantId};
use elt_host::{Error, Event, HttpClient, Level};

/// Syncs that may be alive for each slot: those beyond one wait for a rate limit.
pub const ALIVE_PER_SLOT: usize = 16;
/// Between two looks at the files of tenants, and at who waits for a change.
const LOOK: Duration = Duration::from_secs(1);
/// Tenants whose secrets are looked up at once to see whether they have changed.
const LOOKS_AT_ONCE: usize = 8;
/// The longest sleep: the clock of the machine may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How long connections are kept for a tenant's next sync.
const KEEP_CLIENT: Duration = Duration::from_secs(60);
/// How long a tenant is left alone whose source limits the rate of requests and does not say for how long.
const REST: Duration = Duration::from_secs(60);
/// The longest rest, whatever a source says.
const LONGEST_REST: Duration = Duration::from_secs(24 * 3600);

/// How a [`Scheduler`] works.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerOptions {
    /// Syncs that work at once.
    pub slots: usize,
    /// Run what is due now, and end.
    pub once: bool,
}

/// Runs the syncs of all tenants. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Scheduler {
    inner: Arc<Inner>,
}

struct Inner {
    options: SchedulerOptions,
    components: Components,
    background: Background,
    history: History,
    listener: Arc<dyn Listener>,
    budgets: Arc<Budgets>,
    slots: Arc<Semaphore>,
    slots_in_all: usize,
    alive: Arc<Semaphore>,
    state: Mutex<State>,
    /// Something may be due earlier than was thought, or has ended.
    changed: Notify,
    /// How often somebody asked to look at everything again.
    reloads: watch::Sender<u64>,
    /// No new syncs.
    drain: CancellationToken,
    /// Syncs that run are stopped.
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    tenants: BTreeMap<TenantId, Member>,
    /// Who is due when; nobody who is syncing.
    due: BTreeSet<(DateTime<Utc>, TenantId)>,
    problems: Vec<String>,
    next_sync: SyncNumber,
    running: usize,
    ready: bool,
    /// Of `once`: how the syncs ended.
    ended: Vec<SyncRecord>,
}

/// A tenant, as long as its entry is there and after that until its sync has ended.
struct Member {
    tenant: Arc<Tenant>,
    removed: bool,
    /// Since when it is known.
    known: DateTime<Utc>,
    /// Up to the last sync that ended.
    past: Past,
    /// Due since it is known, whatever the schedule says: the last sync, of an earlier process, did not get to its end (a component
    /// that only says so is not believed), or what kept it from being synced has changed.
    at_once: bool,
    /// When its secrets are looked at again, while it waits for a change.
    look: DateTime<Utc>,
    /// When it is due; not kept up while it is syncing.
    next: DateTime<Utc>,
    /// Not before then, whatever the schedule says.
    rest: Option<DateTime<Utc>>,
    running: Option<Running>,
    client: Option<HttpClient>,
    /// Of all its syncs, so that one that comes often and computes for long does not begin in the foreground each time.
    scheduling: SchedulingClass,
}

struct Running {
    number: SyncNumber,
    record: SyncRecord,
    progress: Arc<Progress>,
    turn: Arc<SlotPermit>,
}

impl Member {
    fn due(&self, id: &TenantId) -> DateTime<Utc> {
        let due = match self.at_once {
            true => self.known,
            false => due_by_past(id, &self.tenant.schedule, self.known, &self.past),
        };
        self.rest.map_or(due, |rest| due.max(rest))
    }

    /// Tries it as soon as there is a slot: what it failed of may be gone.
    fn try_at_once(&mut self, now: DateTime<Utc>) {
        (self.past.failing, self.at_once, self.known) = (None, true, now);
    }
}

/// When a tenant is due that is `known` since now, and whose last sync an earlier process ran: as its schedule says, or later if it keeps
/// failing, but at once if that sync did not get to its end.
pub fn due_after(id: &TenantId, schedule: &Schedule, known: DateTime<Utc>, past: &Past) -> DateTime<Utc> {
    match &past.last {
        Some(last) if last.was_interrupted() => known,
        _ => due_by_past(id, schedule, known, past),
    }
}

fn due_by_past(id: &TenantId, schedule: &Schedule, known: DateTime<Utc>, past: &Past) -> DateTime<Utc> {
    match (&past.last, past.failing) {
        (Some(last), Some(failing)) => failing.next(id, schedule, last.started),
        (last, _) => schedule.due(id, known, last.as_ref().map(|last| last.started)),
    }
}

/// Why a tenant waits longer than its schedule says, if it does.
pub fn reason_to_wait(past: &Past) -> Option<String> {
    let end = past.last.as_ref()?.end.as_ref()?;
    past.failing.map(|failing| failing.reason(end))
}

impl Scheduler {
    /// Starts no sync yet. `next_sync` is the number of the next sync in `history`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(
        options: SchedulerOptions,
        components: Components,
        history: (History, SyncNumber),
        listener: Arc<dyn Listener>,
    ) -> Result<Self, Error> {
        let (history, next_sync) = history;
        let background = Background::start();
        let background = background.map_err(|why| Error::Internal(format!("no thread could be started: {why}")))?;
        let slots = options.slots.clamp(1, Semaphore::MAX_PERMITS / ALIVE_PER_SLOT);
        let inner = Inner {
            options,
            components,
            background,
            history,
            listener,
            budgets: Arc::default(),
            slots: Arc::new(Semaphore::new(slots)),
            slots_in_all: slots,
            alive: Arc::new(Semaphore::new(slots * ALIVE_PER_SLOT)),
            state: Mutex::new(State { next_sync, ..State::default() }),
            changed: Notify::new(),
            reloads: watch::Sender::new(0),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts no further syncs; [`Scheduler::run`] returns when those that run have ended.
    pub fn drain(&self) {
        self.inner.drain.cancel();
    }

    /// Stops the syncs that run, too, each where that loses nothing that was complete.
    pub fn stop(&self) {
        self.drain();
        self.inner.stop.cancel();
    }

    /// Looks at the files of tenants at once, and at the secrets of those that wait for a change.
    pub fn reload(&self) {
        self.inner.reloads.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Syncs that are alive.
    pub fn running(&self) -> usize {
        self.inner.state().running
    }

    /// Runs until it is drained, or, `once`, until everything due at the start has ended. Answers the syncs of `once`.
    pub async fn run(&self, registry: Registry) -> Result<Vec<SyncRecord>, Error> {
        let inner = &self.inner;
        let past = {
            let this = self.clone();
            let read = tokio::task::spawn_blocking(move || this.inner.history.reader().past()).await;
            let failed = |why: &dyn std::fmt::Display| Error::Internal(format!("the history can't be read: {why}"));
            read.map_err(|why| failed(&why))?.map_err(|why| failed(&why))?
        };
        let mut past = Some(past);
        let mut registry = registry;
        let (returned, roster) = look(registry, false, &*inner.listener).await?;
        registry = returned;
        inner.apply(roster.unwrap_or_default(), past.take().unwrap_or_default());
        if inner.options.once {
            self.look_at_secrets().await;
            self.start_due().await;
        } else {
            let looking = self.keep_looking(registry);
            tokio::select! {
                () = inner.drain.cancelled() => {}
                failed = looking => failed?,
                never = self.keep_looking_at_secrets() => never,
                never = self.keep_starting() => never,
            }
        }
        inner.state().ready = false;
        inner.until_idle().await;
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.inner.history.flush()).await.ok();
        Ok(std::mem::take(&mut inner.state().ended))
    }

    /// Looks at the files again and again.
    async fn keep_looking(&self, mut registry: Registry) -> Result<(), Error> {
        let mut reloads = self.inner.reloads.subscribe();
        loop {
            let asked = tokio::select! {
                () = sleep(LOOK) => false,
                // The sender lives as long as this does.
                _ = reloads.changed() => true,
            };
            let (returned, roster) = look(registry, asked, &*self.inner.listener).await?;
            registry = returned;
            if let Some(roster) = roster {
                // The past of a tenant that is new here may be in the history: it was away, or the host restarted meanwhile.
                let this = self.clone();
                let past = tokio::task::spawn_blocking(move || this.inner.history.reader().past()).await;
                self.inner.apply(roster, past.ok().and_then(Result::ok).unwrap_or_default());
            }
        }
    }

    /// Looks again and again whether what tenants wait for has changed.
    async fn keep_looking_at_secrets(&self) -> ! {
        let mut reloads = self.inner.reloads.subscribe();
        loop {
            self.look_at_secrets().await;
            tokio::select! {
                () = sleep(LOOK) => {}
                _ = reloads.changed() => self.inner.look_at_all_soon(),
            }
        }
    }

    /// Looks the secrets of those up that wait for a change, if it is time to.
    async fn look_at_secrets(&self) {
        let inner = &self.inner;
        let waiting = futures_util::stream::iter(inner.waiting(Utc::now()));
        waiting
            .for_each_concurrent(LOOKS_AT_ONCE, |(tenant, mark)| async move {
                let found = secret::resolve_all(&tenant).await;
                if mark != Some(secret::mark(&tenant, &found, inner.history.salt())) {
                    inner.has_changed(&tenant);
                }
            })
            .await;
    }

    /// Starts what is due, while slots are free.
    async fn keep_starting(&self) -> ! {
        loop {
            let changed = self.inner.changed.notified();
            let wait = {
                let state = self.inner.state();
                let next = state.due.first().map(|(due, _)| *due - Utc::now());
                next.map_or(LONGEST_SLEEP, |wait| wait.to_std().unwrap_or(Duration::ZERO).min(LONGEST_SLEEP))
            };
            if wait.is_zero() {
                self.start_one(Utc::now()).await;
            } else {
                tokio::select! {
                    () = changed => {}
                    () = sleep(wait) => {}
                }
            }
        }
    }

    /// Starts everything that is due now, unless drained meanwhile.
    async fn start_due(&self) {
        let now = Utc::now();
        loop {
            let due = self.inner.state().due.first().is_some_and(|(due, _)| *due <= now);
            if !due {
                return;
            }
            tokio::select! {
                () = self.inner.drain.cancelled() => return,
                () = self.start_one(now) => {}
            }
        }
    }

    /// Waits for a slot, then starts the tenant that has been due for longest, if one is due at `now` still.
    async fn start_one(&self, now: DateTime<Utc>) {
        let inner = &self.inner;
        // Neither is ever closed.
        let Ok(alive) = inner.alive.clone().acquire_owned().await else { return };
        let Ok(slot) = inner.slots.clone().acquire_owned().await else { return };
        let mut state = inner.state();
        let Some((due, id)) = state.due.first().filter(|(due, _)| *due <= now).cloned() else { return };
        state.due.remove(&(due, id.clone()));
        let number = state.next_sync;
        let Some(member) = state.tenants.get_mut(&id) else { return };
        let turn = Arc::new(SlotPermit::new(
            id.clone(),
            slot,
            inner.slots.clone(),
            inner.budgets.clone(),
            member.scheduling.clone(),
        ));
        let record = SyncRecord { tenant: id.clone(), due, started: Utc::now(), end: None };
        let progress = Arc::new(Progress::default());
        let running = Running { number, record: record.clone(), progress: progress.clone(), turn: turn.clone() };
        member.running = Some(running);
        member.at_once = false;
        let tenant = member.tenant.clone();
        let client = member.client.get_or_insert_with(HttpClient::default).clone();
        let scheduling = member.scheduling.clone();
        state.next_sync += 1;
        state.running += 1;
        drop(state);
        inner.history.started(number, record.clone());
        inner.tell(|listener| listener.started(&record));
        let resources = SyncResources {
            components: inner.components.clone(),
            client,
            turn,
            listener: inner.listener.clone(),
            salt: inner.history.salt(),
            cancel: inner.stop.child_token(),
        };
        let this = self.clone();
        tokio::spawn(async move {
            let work = tokio::spawn(async move { scheduling.run(one_sync::run(tenant, resources, progress)).await });
            let (rest, end) = match work.await {
                Ok((outcome, end)) => (rest_after(outcome.error.as_ref()), end),
                Err(_) => (None, one_sync::crashed()),
            };
            this.inner.ended(&id, end, rest);
            drop(alive);
        });
    }
}

/// How long a tenant is left alone after this error.
fn rest_after(error: Option<&Error>) -> Option<Duration> {
    match error {
        Some(Error::RateLimited { retry_after, .. }) => Some(retry_after.unwrap_or(REST).min(LONGEST_REST)),
        _ => None,
    }
}

/// Looks whether the files have changed; `asked` to, it also believes what has changed only now. Should a file make that fail, what was
/// in force stays in force.
async fn look(
    mut registry: Registry,
    asked: bool,
    listener: &dyn Listener,
) -> Result<(Registry, Option<Roster>), Error> {
    let looked = tokio::task::spawn_blocking(move || {
        let look = || if asked { registry.look_at_once() } else { registry.look() };
        let roster = std::panic::catch_unwind(AssertUnwindSafe(look));
        (registry, roster)
    });
    let failed = "the files of tenants can't be read: the host failed";
    let (registry, roster) = looked.await.map_err(|_| Error::Internal(failed.into()))?;
    if roster.is_err() {
        listener.log(Level::Severe, failed.into());
    }
    Ok((registry, roster.ok().flatten()))
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other entries in force: schedules at once, everything else with the next sync.
    fn apply(&self, roster: Roster, mut past: BTreeMap<TenantId, Past>) {
        let Roster { tenants, budgets, problems } = roster;
        self.budgets.replace(budgets);
        let now = Utc::now();
        let mut guard = self.state();
        let state = &mut *guard;
        for (id, member) in &mut state.tenants {
            member.removed = !tenants.contains_key(id);
            if member.removed {
                state.due.remove(&(member.next, id.clone()));
            }
        }
        state.tenants.retain(|_, member| !member.removed || member.running.is_some());
        for (id, entry) in tenants {
            let tenant = entry.tenant.clone();
            match state.tenants.get_mut(&id) {
                Some(member) if *member.tenant == *tenant => {}
                Some(member) => {
                    // Connections that an earlier entry allowed are not for a later one.
                    member.client = None;
                    member.tenant = tenant;
                    if member.past.failing.is_some() {
                        member.try_at_once(now);
                    }
                    state.due.remove(&(member.next, id.clone()));
                    member.next = member.due(&id);
                    if member.running.is_none() {
                        state.due.insert((member.next, id));
                    }
                }
                None => {
                    let known = match self.options.once {
                        // What was never synced is due, however it is put off.
                        true => now - TimeDelta::from_std(tenant.schedule.jitter).unwrap_or_default(),
                        false => now,
                    };
                    let past = past.remove(&id).unwrap_or_default();
                    let next = due_after(&id, &tenant.schedule, known, &past);
                    let at_once = past.last.as_ref().is_some_and(SyncRecord::was_interrupted);
                    let (removed, rest, running, client, scheduling) =
                        (false, None, None, None, self.background.scheduling());
                    let look = now;
                    let member =
                        Member { tenant, removed, known, past, at_once, look, next, rest, running, client, scheduling };
                    state.due.insert((next, id.clone()));
                    state.tenants.insert(id, member);
                }
            }
        }
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let old: BTreeSet<&String> = state.problems.iter().collect();
        let new: Vec<String> = problems.iter().filter(|problem| !old.contains(problem)).cloned().collect();
        state.problems = problems;
        state.ready = !self.drain.is_cancelled();
        let count = state.tenants.values().filter(|member| !member.removed).count();
        drop(guard);
        for problem in new {
            self.listener.log(Level::Severe, problem);
        }
        self.listener.log(Level::Info, format!("{count} tenant{}", if count == 1 { "" } else { "s" }));
        self.changed.notify_one();
    }

    /// Has the secrets of all that wait for a change looked at with the next look.
    fn look_at_all_soon(&self) {
        let now = Utc::now();
        for member in self.state().tenants.values_mut() {
            member.look = now;
        }
    }

    /// Those that wait for a change and whose secrets are to be looked at now, with what they failed with.
    fn waiting(&self, now: DateTime<Utc>) -> Vec<(Arc<Tenant>, Option<Mark>)> {
        let mut waiting = Vec::new();
        for member in self.state().tenants.values_mut() {
            let waits = member.running.is_none() && !member.removed && member.next > now && member.look <= now;
            if let Some(failing) = member.past.failing.filter(|_| waits) {
                let every = TimeDelta::from_std(looks_every(&member.tenant)).unwrap_or(TimeDelta::MAX);
                member.look = now.checked_add_signed(every).unwrap_or(DateTime::<Utc>::MAX_UTC);
                waiting.push((member.tenant.clone(), failing.mark));
            }
        }
        waiting
    }

    /// The entry or the secrets of a tenant that waits are not what they were when it failed.
    fn has_changed(&self, tenant: &Arc<Tenant>) {
        let id = &tenant.id;
        let mut guard = self.state();
        let state = &mut *guard;
        let member = state.tenants.get_mut(id).filter(|it| it.running.is_none() && Arc::ptr_eq(&it.tenant, tenant));
        let Some(member) = member.filter(|it| !it.removed && it.past.failing.is_some()) else { return };
        state.due.remove(&(member.next, id.clone()));
        member.try_at_once(Utc::now());
        member.next = member.due(id);
        state.due.insert((member.next, id.clone()));
        drop(guard);
        let message = "its entry or its secrets have changed since it failed: it is tried at once".to_owned();
        self.tell(|listener| listener.event(id, Event::Log { level: Level::Info, message }));
        self.changed.notify_one();
    }

    fn ended(&self, id: &TenantId, end: SyncEnd, rest: Option<Duration>) {
        let running = self.state().tenants.get(id).and_then(|member| {
            let running = member.running.as_ref()?;
            let failing = Failing::after(member.past.failing, &end, running.progress.mark());
            Some((running.number, failing, SyncRecord { end: Some(end.clone()), ..running.record.clone() }))
        });
        let Some((number, failing, record)) = running else { return };
        // Before the tenant's next sync can start.
        self.history.ended(number, id.clone(), end.clone(), failing);
        self.tell(|listener| listener.ended(&record));
        let mut waits = None;
        let mut guard = self.state();
        let state = &mut *guard;
        state.running -= 1;
        if self.options.once {
            state.ended.push(record.clone());
        }
        if let Some(member) = state.tenants.get_mut(id) {
            member.running = None;
            if record.is_complete() {
                member.past.fresh_as_of = Some(record.started);
            }
            member.past.last = Some(record);
            member.past.failing = failing;
            member.look = end.at + TimeDelta::from_std(looks_every(&member.tenant)).unwrap_or_default();
            member.rest = rest.map(|rest| end.at + TimeDelta::from_std(rest).unwrap_or_default());
            member.next = member.due(id);
            let soon = member.next - end.at <= TimeDelta::from_std(KEEP_CLIENT).unwrap_or_default();
            if !soon {
                member.client = None;
            }
            let (next, removed) = (member.next, member.removed);
            waits = reason_to_wait(&member.past).filter(|_| !removed).map(|reason| (next, reason));
            if removed {
                state.tenants.remove(id);
            } else {
                state.due.insert((next, id.clone()));
            }
        }
        drop(guard);
        if let Some((next, reason)) = waits {
            let next = next.to_rfc3339_opts(SecondsFormat::Secs, true);
            let message = format!("next try at {next}, because {reason}");
            self.tell(|listener| listener.event(id, Event::Log { level: Level::Warning, message }));
        }
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// What a listener fails at is its own loss.
    fn tell(&self, what: impl FnOnce(&dyn Listener)) {
        std::panic::catch_unwind(AssertUnwindSafe(|| what(&*self.listener))).ok();
    }

    async fn until_idle(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().running == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Watch for Scheduler {
    fn tenants(&self) -> Vec<TenantOverview> {
        let state = self.inner.state();
        let overview = |(id, member): (&TenantId, &Member)| TenantOverview {
            id: id.clone(),
            labels: member.tenant.labels.clone(),
            next: (member.running.is_none()).then_some(member.next),
            waits: reason_to_wait(&member.past).filter(|_| member.running.is_none()),
            running: member.running.as_ref().map(|running| RunningSync {
                started: running.record.started,
                rows: running.progress.rows(),
                throttled: running.turn.is_waiting(),
            }),
            last: member.past.last.clone(),
            fresh_as_of: member.past.fresh_as_of,
        };
        state.tenants.iter().map(overview).collect()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.inner.state().problems.clone();
        problems.extend(self.inner.history.trouble());
        problems
    }

    fn history(&self, tenant: &TenantId, most: usize) -> Vec<SyncRecord> {
        self.inner.history.reader().last(tenant, most).unwrap_or_default()
    }

    fn is_ready(&self) -> bool {
        let ready = self.inner.state().ready;
        ready && !self.inner.drain.is_cancelled()
    }

    fn slots(&self) -> Slots {
        let all = self.inner.slots_in_all;
        Slots { taken: all.saturating_sub(self.inner.slots.available_permits()), all }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schedule::Repeat;

    fn limited(retry_after: Option<u64>) -> Error {
        Error::RateLimited { message: String::new(), retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn a_tenant_whose_source_limits_the_rate_rests_as_long_as_that_says_but_not_for_ever() {
        let seconds = |error: &Error| rest_after(Some(error)).map(|rest| rest.as_secs());
        assert_eq!(seconds(&limited(Some(300))), Some(300));
        assert_eq!(seconds(&limited(None)), Some(60));
        assert_eq!(seconds(&limited(Some(u64::MAX))), Some(24 * 3600));
        assert_eq!(seconds(&Error::Interrupted), None);
        assert_eq!(rest_after(None), None);
    }

    #[test]
    fn what_did_not_get_to_its_end_is_due_at_once() {
        let (id, now) = ("a".parse().unwrap(), Utc::now());
        let schedule = Schedule { repeat: Repeat::Every(Duration::from_secs(3600)), jitter: Duration::ZERO };
        let started = now - TimeDelta::minutes(10);
        let record = |end| SyncRecord { tenant: "a".parse().unwrap(), due: started, started, end };
        let ended = |outcome: &str| {
            let zero = Duration::ZERO;
            let (rows, items, requests, retries, memory) = (0, (0, 0), 0, 0, 0);
            let (at, outcome, message, throttled) = (now, outcome.to_owned(), None, zero);
            record(Some(SyncEnd { at, outcome, message, rows, items, requests, retries, throttled, memory }))
        };
        let due =
            |last: &SyncRecord| due_after(&id, &schedule, now, &Past { last: Some(last.clone()), ..Past::default() });
        assert_eq!(due(&record(None)), now);
        assert_eq!(due(&ended("interrupted")), now);
        assert_eq!(due(&ended("ok")), started + TimeDelta::hours(1));
        assert_eq!(due(&ended("internal")), started + TimeDelta::hours(1));
    }
}
