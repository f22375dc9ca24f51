//! One tenant and its syncs.

use maud::{Markup, html};

use super::list::{labels, waits, word};
use super::units::{count, moment, size, span};
use super::{View, cell, headings, page, sign_out, sparkline};
use crate::overview::{TenantOverview, Watch};
use crate::record::{SyncEnd, SyncRecord, between};
use crate::status::state::State;

/// Syncs that are listed.
const HISTORY: usize = 100;

const COLUMNS: [&str; 10] =
    ["Started", "Outcome", "Took", "Waited", "Rows", "Items", "Left out", "Requests", "Throttled", "Memory"];

/// The page.
pub(in crate::status) fn tenant(watch: &dyn Watch, tenant: &TenantOverview, view: &View) -> String {
    let history = watch.history(&tenant.id, HISTORY);
    let body = html! {
        header {
            h1 { (tenant.id) }
            (sign_out(view))
        }
        main {
            p { a href="/" { "All tenants" } }
            p { (word(State::of(tenant))) (labels(tenant)) }
            dl {
                (now(tenant, view))
                dt { "Recent syncs" }
                dd { (sparkline::draw(&history)) }
            }
            table role="table" {
                caption { "The last " (history.len()) " syncs, the newest first" }
                (headings(&COLUMNS))
                tbody role="rowgroup" {
                    @for record in &history {
                        (row(tenant, record, view))
                    }
                }
            }
        }
    };
    page(tenant.id.as_str(), true, &body)
}

fn now(tenant: &TenantOverview, view: &View) -> Markup {
    html! {
        @if let Some(running) = &tenant.running {
            dt { "Runs since" }
            dd {
                (moment(running.started, view.now)) ", " (count(running.rows)) " rows so far"
                @if running.throttled { ", waits for a rate limit" }
            }
        }
        dt { "Lag" }
        dd {
            @match tenant.fresh_as_of {
                Some(fresh) => (span(between(fresh, view.now))),
                None => "no sync was complete yet",
            }
        }
        @if let Some(next) = tenant.next {
            dt { "Next sync" }
            dd { (moment(next, view.now)) (waits(tenant)) }
        }
    }
}

fn row(tenant: &TenantOverview, record: &SyncRecord, view: &View) -> Markup {
    let runs = tenant.running.as_ref().is_some_and(|running| running.started == record.started);
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (moment(record.started, view.now)) }
            @match &record.end {
                Some(end) => (ended(record, end)),
                None => td role="cell" data-title="Outcome" colspan="9" {
                    @if runs { "runs" } @else { "the host ended before it did" }
                },
            }
        }
    }
}

fn ended(record: &SyncRecord, end: &SyncEnd) -> Markup {
    let state = State::after(Some(record));
    let outcome = html! {
        (word(state))
        @if state.word() != end.outcome { " " (end.outcome) }
        @if let Some(message) = &end.message { p class="message" { (message) } }
    };
    html! {
        (cell("Outcome", &outcome))
        @for (title, value) in COLUMNS.into_iter().skip(2).zip(values(record, end)) {
            (cell(title, &html! { (value) }))
        }
    }
}

fn values(record: &SyncRecord, end: &SyncEnd) -> [String; 8] {
    let requests = match end.retries {
        0 => count(end.requests),
        retries => format!("{}, {} retries", count(end.requests), count(retries)),
    };
    [
        span(between(record.started, end.at)),
        span(between(record.due, record.started)),
        count(end.rows),
        count(end.items.0),
        count(end.items.1),
        requests,
        span(end.throttled),
        size(end.memory),
    ]
}
