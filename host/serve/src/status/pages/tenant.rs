//! One tenant and its syncs.

use super::html::Html;
use super::list::{labels, waits, word};
use super::units::{count, moment, size, span};
use super::{View, begin, end, sign_out, sparkline};
use crate::overview::{TenantOverview, Watch};
use crate::record::{SyncEnd, SyncRecord, between};
use crate::status::state::State;

/// Syncs that are listed.
const HISTORY: usize = 100;

/// The page.
pub(in crate::status) fn tenant(watch: &dyn Watch, tenant: &TenantOverview, view: &View) -> String {
    let history = watch.history(&tenant.id, HISTORY);
    let mut html = begin(tenant.id.as_str(), true);
    html.add("<header><h1>").text(&tenant.id).add("</h1>");
    sign_out(&mut html, view);
    html.add("</header><main><p><a href=\"/\">All tenants</a></p><p>");
    word(&mut html, State::of(tenant));
    labels(&mut html, tenant);
    html.add("</p><dl>");
    now(&mut html, tenant, view);
    html.add("<dt>Recent syncs</dt><dd>");
    sparkline::draw(&mut html, &history);
    html.add("</dd></dl>");

    html.add("<table role=\"table\"><caption>The last ").text(history.len()).add(" syncs, the newest first</caption>");
    html.add("<thead role=\"rowgroup\"><tr role=\"row\">");
    for title in COLUMNS {
        html.add("<th role=\"columnheader\" scope=\"col\">").text(title).add("</th>");
    }
    html.add("</tr></thead><tbody role=\"rowgroup\">");
    for record in &history {
        row(&mut html, tenant, record, view);
    }
    html.add("</tbody></table></main>");
    end(html)
}

const COLUMNS: [&str; 10] =
    ["Started", "Outcome", "Took", "Waited", "Rows", "Items", "Left out", "Requests", "Throttled", "Memory"];

fn now(html: &mut Html, tenant: &TenantOverview, view: &View) {
    if let Some(running) = &tenant.running {
        html.add("<dt>Runs since</dt><dd>");
        moment(html, running.started, view.now);
        html.add(", ").text(count(running.rows)).add(" rows so far");
        html.add(if running.throttled { ", waits for a rate limit" } else { "" }).add("</dd>");
    }
    html.add("<dt>Lag</dt><dd>");
    match tenant.fresh_as_of {
        Some(fresh) => html.text(span(between(fresh, view.now))),
        None => html.add("no sync was complete yet"),
    };
    html.add("</dd>");
    if let Some(next) = tenant.next {
        html.add("<dt>Next sync</dt><dd>");
        moment(html, next, view.now);
        waits(html, tenant);
        html.add("</dd>");
    }
}

fn row(html: &mut Html, tenant: &TenantOverview, record: &SyncRecord, view: &View) {
    html.add("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">");
    moment(html, record.started, view.now);
    html.add("</th>");
    let Some(end) = &record.end else {
        let runs = tenant.running.as_ref().is_some_and(|running| running.started == record.started);
        html.add("<td role=\"cell\" data-title=\"Outcome\" colspan=\"9\">");
        html.add(if runs { "runs" } else { "the host ended before it did" }).add("</td></tr>");
        return;
    };
    html.add("<td role=\"cell\" data-title=\"Outcome\">");
    word(html, State::after(Some(record)));
    if State::after(Some(record)).word() != end.outcome {
        html.add(" ").text(&end.outcome);
    }
    if let Some(message) = &end.message {
        html.add("<p class=\"message\">").text(message).add("</p>");
    }
    html.add("</td>");
    for (title, value) in COLUMNS.into_iter().skip(2).zip(values(record, end)) {
        html.add("<td role=\"cell\" data-title=\"").text(title).add("\">").text(value).add("</td>");
    }
    html.add("</tr>");
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
