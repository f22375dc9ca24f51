//! All tenants, those with problems first.

use std::collections::BTreeMap;

use super::html::Html;
use super::units::{count, moment, span};
use super::{View, begin, end, sign_out, sparkline};
use crate::overview::{TenantOverview, Watch};
use crate::record::between;
use crate::status::state::{Filter, State};

/// Tenants on one page.
const PAGE: usize = 100;
/// Problems with the tenants' files that are listed.
const PROBLEMS: usize = 20;

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
    let page = asked.page.clamp(1, pages);

    let mut html = begin("Tenants", asked.refreshes);
    html.add("<header><h1>Tenants</h1>");
    sign_out(&mut html, view);
    html.add("</header><main>");
    summary(&mut html, watch, &tenants);
    problems(&mut html, &watch.problems());
    controls(&mut html, asked, page);

    html.add("<table role=\"table\"><caption>").text(count(chosen.len() as u64)).add(" of ");
    html.text(count(tenants.len() as u64)).add(" tenants, those with problems first</caption>");
    html.add("<thead role=\"rowgroup\"><tr role=\"row\">");
    for title in ["Tenant", "State", "Last sync", "Lag", "Rows", "Errors", "Recent syncs", "Next sync"] {
        html.add("<th role=\"columnheader\" scope=\"col\">").text(title).add("</th>");
    }
    html.add("</tr></thead><tbody role=\"rowgroup\">");
    for tenant in chosen.iter().skip((page - 1) * PAGE).take(PAGE) {
        row(&mut html, watch, tenant, view);
    }
    html.add("</tbody></table>");
    if pages > 1 {
        html.add("<nav aria-label=\"Pages\">");
        if page > 1 {
            html.add("<a rel=\"prev\" href=\"").text(asked.link(page - 1, asked.refreshes)).add("\">Previous</a> ");
        }
        html.add("<span>Page ").text(page).add(" of ").text(pages).add("</span>");
        if page < pages {
            html.add(" <a rel=\"next\" href=\"").text(asked.link(page + 1, asked.refreshes)).add("\">Next</a>");
        }
        html.add("</nav>");
    }
    html.add("</main>");
    end(html)
}

fn summary(html: &mut Html, watch: &dyn Watch, tenants: &[TenantOverview]) {
    let mut numbers: BTreeMap<State, u64> = BTreeMap::new();
    for tenant in tenants {
        *numbers.entry(State::of(tenant)).or_default() += 1;
    }
    html.add("<ul class=\"summary\">");
    for state in State::ALL {
        let number = numbers.get(&state).copied().unwrap_or_default();
        html.add("<li><a class=\"state ").text(state.word()).add("\" href=\"/?q=").text(state.word()).add("\">");
        html.text(count(number)).add(" ").text(state.word()).add("</a></li>");
    }
    let slots = watch.slots();
    html.add("<li>").text(slots.taken).add(" of ").text(slots.all).add(" slots taken</li>");
    if !watch.is_ready() {
        html.add("<li class=\"alert\">No syncs are being started</li>");
    }
    html.add("</ul>");
}

fn problems(html: &mut Html, problems: &[String]) {
    if problems.is_empty() {
        return;
    }
    html.add("<section class=\"alert\"><h2>Entries that can't be used</h2><ul>");
    for problem in problems.iter().take(PROBLEMS) {
        html.add("<li>").text(problem).add("</li>");
    }
    if let Some(more @ 1..) = problems.len().checked_sub(PROBLEMS) {
        html.add("<li>and ").text(more).add(" more</li>");
    }
    html.add("</ul></section>");
}

fn controls(html: &mut Html, asked: &Asked, page: usize) {
    html.add("<div class=\"controls\"><form method=\"get\" action=\"/\" role=\"search\">");
    html.add("<label for=\"q\">Filter</label><input id=\"q\" name=\"q\" type=\"search\" value=\"");
    html.text(&asked.filter).add("\" placeholder=\"id, label, state or message\">");
    if !asked.refreshes {
        html.add("<input type=\"hidden\" name=\"refresh\" value=\"off\">");
    }
    html.add("<button>Show</button></form><a href=\"").text(asked.link(page, !asked.refreshes)).add("\">");
    html.add(if asked.refreshes { "Stop renewing this page" } else { "Renew this page every 30 s" });
    html.add("</a></div>");
}

/// Begins a cell. On a small screen, where a row is a card, the title is shown beside it.
fn cell(html: &mut Html, title: &'static str) {
    html.add("</td><td role=\"cell\" data-title=\"").text(title).add("\">");
}

fn row(html: &mut Html, watch: &dyn Watch, tenant: &TenantOverview, view: &View) {
    let state = State::of(tenant);
    html.add("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\"><a href=\"/tenants/").text(&tenant.id).add("\">");
    html.text(&tenant.id).add("</a>");
    labels(html, tenant);
    html.add("</th><td role=\"cell\" data-title=\"State\">");
    word(html, state);
    if tenant.running.as_ref().is_some_and(|running| running.throttled) {
        html.add(" (waits for a rate limit)");
    }
    cell(html, "Last sync");
    match tenant.last.as_ref().and_then(|last| last.end.as_ref()) {
        Some(sync) => {
            html.text(&sync.outcome).add(", ");
            moment(html, sync.at, view.now);
            if let Some(message) = &sync.message {
                html.add("<p class=\"message\">").text(message).add("</p>");
            }
        }
        None => {
            html.add("none yet");
        }
    }
    cell(html, "Lag");
    match tenant.fresh_as_of {
        Some(fresh) => html.text(span(between(fresh, view.now))),
        None => html.add("never complete"),
    };
    cell(html, "Rows");
    if let Some(rows) = rows(tenant) {
        html.text(count(rows));
    }
    let history = watch.history(&tenant.id, sparkline::SYNCS);
    let failed = history.iter().filter(|record| State::after(Some(record)) == State::Failed).count();
    cell(html, "Errors");
    html.text(failed).add(" of ").text(history.len());
    cell(html, "Recent syncs");
    sparkline::draw(html, &history);
    cell(html, "Next sync");
    match (&tenant.running, tenant.next) {
        (None, Some(next)) if next > view.now => moment(html, next, view.now),
        (Some(_), _) => _ = html.add("runs now"),
        (None, Some(_)) => _ = html.add("waits for a slot"),
        (None, None) => _ = html.add("not planned"),
    }
    waits(html, tenant);
    html.add("</td></tr>");
}

/// Why the next sync is later than the schedule says.
pub(super) fn waits(html: &mut Html, tenant: &TenantOverview) {
    if let Some(reason) = &tenant.waits {
        html.add("<p class=\"message\">because ").text(reason).add("</p>");
    }
}

/// Rows of the sync that runs, else of the last one.
fn rows(tenant: &TenantOverview) -> Option<u64> {
    let last = || Some(tenant.last.as_ref()?.end.as_ref()?.rows);
    tenant.running.as_ref().map(|running| running.rows).or_else(last)
}

/// What operators group tenants by.
pub(super) fn labels(html: &mut Html, tenant: &TenantOverview) {
    for (name, value) in &tenant.labels {
        html.add(" <span class=\"label\">").text(name).add("=").text(value).add("</span>");
    }
}

/// A state, as sign and word.
pub(super) fn word(html: &mut Html, state: State) {
    html.add("<span class=\"state ").text(state.word()).add("\"><span aria-hidden=\"true\">").text(state.sign());
    html.add("</span> ").text(state.word()).add("</span>");
}
