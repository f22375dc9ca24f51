//! All tenants, those with problems first.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::units::{count, moment, span};
use super::{View, cell, headings, page, sign_out, sparkline};
use crate::overview::{TenantOverview, Watch};
use crate::record::between;
use crate::status::state::{Filter, State};

/// Tenants on one page.
const PAGE: usize = 100;
/// Problems with the tenants' files that are listed.
const PROBLEMS: usize = 20;

const COLUMNS: [&str; 8] = ["Tenant", "State", "Last sync", "Lag", "Rows", "Errors", "Recent syncs", "Next sync"];

/// Which tenants to show.
pub(in crate::status) struct Asked {
    /// Words to look for.
    pub(in crate::status) filter: String,
    /// Counted from 1.
    pub(in crate::status) page: usize,
    /// Whether the page renews itself.
    pub(in crate::status) refreshes: bool,
}

impl Asked {
    /// The URL of another page, or of this one with or without renewal.
    fn link(&self, page: usize, refreshes: bool) -> String {
        let mut query = form_urlencoded::Serializer::for_suffix(String::from("/?"), "/?".len());
        if !self.filter.is_empty() {
            query.append_pair("q", &self.filter);
        }
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        if !refreshes {
            query.append_pair("refresh", "off");
        }
        query.finish()
    }
}

/// The page.
pub(in crate::status) fn list(watch: &dyn Watch, asked: &Asked, view: &View) -> String {
    let tenants = watch.tenants();
    let filter = Filter::new(&asked.filter);
    let mut chosen: Vec<&TenantOverview> = tenants.iter().filter(|tenant| filter.matches(tenant)).collect();
    chosen.sort_by_cached_key(|tenant| (State::rank(tenant), tenant.id.clone()));
    let pages = chosen.len().div_ceil(PAGE).max(1);
    let number = asked.page.clamp(1, pages);

    let body = html! {
        header {
            h1 { "Tenants" }
            (sign_out(view))
        }
        main {
            (summary(watch, &tenants))
            (problems(&watch.problems()))
            (controls(asked, number))
            table role="table" {
                caption {
                    (count(chosen.len() as u64)) " of " (count(tenants.len() as u64)) " tenants, those with problems first"
                }
                (headings(&COLUMNS))
                tbody role="rowgroup" {
                    @for tenant in chosen.iter().skip((number - 1) * PAGE).take(PAGE) {
                        (row(watch, tenant, view))
                    }
                }
            }
            @if pages > 1 {
                nav aria-label="Pages" {
                    @if number > 1 {
                        a rel="prev" href=(asked.link(number - 1, asked.refreshes)) { "Previous" } " "
                    }
                    span { "Page " (number) " of " (pages) }
                    @if number < pages {
                        " " a rel="next" href=(asked.link(number + 1, asked.refreshes)) { "Next" }
                    }
                }
            }
        }
    };
    page("Tenants", asked.refreshes, &body)
}

fn summary(watch: &dyn Watch, tenants: &[TenantOverview]) -> Markup {
    let mut numbers: BTreeMap<State, u64> = BTreeMap::new();
    for tenant in tenants {
        *numbers.entry(State::of(tenant)).or_default() += 1;
    }
    let number = |state| numbers.get(&state).copied().unwrap_or_default();
    let slots = watch.slots();
    html! {
        ul class="summary" {
            @for state in State::ALL {
                li {
                    a class={ "state " (state.word()) } href={ "/?q=" (state.word()) } {
                        (count(number(state))) " " (state.word())
                    }
                }
            }
            li { (slots.taken) " of " (slots.all) " slots taken" }
            @if !watch.is_ready() {
                li class="alert" { "No syncs are being started" }
            }
        }
    }
}

fn problems(problems: &[String]) -> Markup {
    html! {
        @if !problems.is_empty() {
            section class="alert" {
                h2 { "Entries that can't be used" }
                ul {
                    @for problem in problems.iter().take(PROBLEMS) {
                        li { (problem) }
                    }
                    @if let Some(more @ 1..) = problems.len().checked_sub(PROBLEMS) {
                        li { "and " (more) " more" }
                    }
                }
            }
        }
    }
}

fn controls(asked: &Asked, number: usize) -> Markup {
    html! {
        div class="controls" {
            form method="get" action="/" role="search" {
                label for="q" { "Filter" }
                input id="q" name="q" type="search" value=(asked.filter) placeholder="id, label, state or message";
                @if !asked.refreshes {
                    input type="hidden" name="refresh" value="off";
                }
                button { "Show" }
            }
            a href=(asked.link(number, !asked.refreshes)) {
                @if asked.refreshes { "Stop renewing this page" } @else { "Renew this page every 30 s" }
            }
        }
    }
}

fn row(watch: &dyn Watch, tenant: &TenantOverview, view: &View) -> Markup {
    let history = watch.history(&tenant.id, sparkline::SYNCS);
    let failed = history.iter().filter(|record| State::after(Some(record)) == State::Failed).count();
    let state = html! {
        (word(State::of(tenant)))
        @if tenant.running.as_ref().is_some_and(|running| running.throttled) { " (waits for a rate limit)" }
    };
    let lag = html! {
        @match tenant.fresh_as_of {
            Some(fresh) => (span(between(fresh, view.now))),
            None => "never complete",
        }
    };
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                a href={ "/tenants/" (tenant.id) } { (tenant.id) }
                (labels(tenant))
            }
            (cell("State", &state))
            (cell("Last sync", &last(tenant, view)))
            (cell("Lag", &lag))
            (cell("Rows", &html! { @if let Some(rows) = rows(tenant) { (count(rows)) } }))
            (cell("Errors", &html! { (failed) " of " (history.len()) }))
            (cell("Recent syncs", &sparkline::draw(&history)))
            (cell("Next sync", &next(tenant, view)))
        }
    }
}

fn last(tenant: &TenantOverview, view: &View) -> Markup {
    html! {
        @match tenant.last.as_ref().and_then(|last| last.end.as_ref()) {
            Some(sync) => {
                (sync.outcome) ", " (moment(sync.at, view.now))
                @if let Some(message) = &sync.message { p class="message" { (message) } }
            }
            None => "none yet",
        }
    }
}

fn next(tenant: &TenantOverview, view: &View) -> Markup {
    html! {
        @match (&tenant.running, tenant.next) {
            (None, Some(next)) if next > view.now => (moment(next, view.now)),
            (Some(_), _) => "runs now",
            (None, Some(_)) => "waits for a slot",
            (None, None) => "not planned",
        }
        (waits(tenant))
    }
}

/// Why the next sync is later than the schedule says.
pub(super) fn waits(tenant: &TenantOverview) -> Markup {
    html! {
        @if let Some(reason) = &tenant.waits {
            p class="message" { "because " (reason) }
        }
    }
}

/// Rows of the sync that runs, else of the last one.
fn rows(tenant: &TenantOverview) -> Option<u64> {
    let last = || Some(tenant.last.as_ref()?.end.as_ref()?.rows);
    tenant.running.as_ref().map(|running| running.rows).or_else(last)
}

/// What operators group tenants by.
pub(super) fn labels(tenant: &TenantOverview) -> Markup {
    html! {
        @for (name, value) in &tenant.labels {
            " " span class="label" { (name) "=" (value) }
        }
    }
}

/// A state, as sign and word.
pub(super) fn word(state: State) -> Markup {
    html! {
        span class={ "state " (state.word()) } {
            span aria-hidden="true" { (state.sign()) }
            " " (state.word())
        }
    }
}
