//! The `rest` dialect: the paths, parameters and bodies of the connector's specification.

use bytes::Bytes;
use http::StatusCode;

use super::clock::Micros;
use super::http::{Answer, bearer_key, encode_part, error, json, query_value};
use super::json::{push_string, quoted};
use super::log::HistoryRead;
use super::project::{RestHistory, Run, World};
use super::server::{Request, Shared};

/// Rows or runs of a page when the request does not say.
const DEFAULT_PAGE: usize = 50;

/// Answers `GET /projects/{entity}/{project}/runs`.
pub(crate) fn runs(shared: &Shared, request: &Request, entity: &str, project: &str) -> Answer {
    if let Some(refusal) = refuse(shared, request) {
        return refusal;
    }
    let page = Page::of(shared, request);
    let world = shared.world();
    let Some(found) = world.project(entity, project) else {
        return error(StatusCode::NOT_FOUND, &format!("project {entity}/{project} not found"));
    };
    let runs = found.runs.get(page.range(found.runs.len())).unwrap_or_default();
    let total = found.runs.len();
    let runs: Vec<_> = runs.iter().filter(|run| !run.hidden).cloned().collect();
    drop(world);

    let mut body = String::from("{\"runs\":[");
    for (i, run) in runs.iter().enumerate() {
        if i > 0 {
            body.push(',');
        }
        push_run(&mut body, run);
    }
    body.push(']');
    let path = format!("/projects/{}/{}/runs", encode_part(entity), encode_part(project));
    page.push_next(&mut body, shared, request, &path, total);
    json(StatusCode::OK, body)
}

/// Answers `GET /runs/{entity}/{project}/{run}/history`.
pub(crate) fn history(shared: &Shared, request: &mut Request, entity: &str, project: &str, id: &str) -> Answer {
    if let Some(refusal) = refuse(shared, request) {
        return refusal;
    }
    let Some((run, shape)) = find(&shared.world(), entity, project, id) else {
        return error(StatusCode::NOT_FOUND, &format!("run {entity}/{project}/{id} not found"));
    };
    let total = run.history.len();
    let page = Page::of(shared, request);
    let range = if shape == RestHistory::BareList { 0..total } else { page.range(total) };
    request.reads.push(HistoryRead {
        run_id: id.to_owned(),
        min_step: None,
        max_step: None,
        samples: None,
        rows: range.len(),
        sampled: false,
    });

    let mut body = String::new();
    if shape == RestHistory::BareList {
        body.push('[');
        run.history.push_rows(&mut body, range.start, range.end);
        body.push(']');
    } else {
        body.push_str("{\"history\":[");
        run.history.push_rows(&mut body, range.start, range.end);
        body.push(']');
        let path = format!("/runs/{}/{}/{}/history", encode_part(entity), encode_part(project), encode_part(id));
        page.push_next(&mut body, shared, request, &path, total);
    }
    json(StatusCode::OK, Bytes::from(body))
}

fn find(world: &World, entity: &str, project: &str, id: &str) -> Option<(std::sync::Arc<Run>, RestHistory)> {
    let project = world.project(entity, project)?;
    Some((project.run(id)?.clone(), project.rest_history))
}

fn refuse(shared: &Shared, request: &Request) -> Option<Answer> {
    let valid = bearer_key(&request.headers).is_some_and(|key| key == shared.options.api_key);
    (!valid).then(|| error(StatusCode::UNAUTHORIZED, "invalid API key"))
}

/// A page of a list, by offset: what was deleted before it shifts it.
struct Page {
    offset: usize,
    per_page: usize,
}

impl Page {
    fn of(shared: &Shared, request: &Request) -> Self {
        let number = |key: &str| query_value(request.query(), key).and_then(|it| it.parse::<usize>().ok());
        let per_page = number("perPage").unwrap_or(DEFAULT_PAGE).clamp(1, shared.options.max_page);
        Page { offset: number("cursor").unwrap_or(0), per_page }
    }

    fn range(&self, total: usize) -> std::ops::Range<usize> {
        let start = self.offset.min(total);
        start..start.saturating_add(self.per_page).min(total)
    }

    fn push_next(&self, body: &mut String, shared: &Shared, request: &Request, path: &str, total: usize) {
        let next = self.range(total).end;
        if next < total {
            let base = if shared.options.relative_next_url { String::new() } else { request.base_url(shared) };
            body.push_str(",\"nextUrl\":");
            push_string(body, &format!("{base}{path}?perPage={}&cursor={next}", self.per_page));
        }
        body.push('}');
    }
}

/// Appends a run as the dialect sends it.
fn push_run(body: &mut String, run: &Run) {
    let time = |at: Option<Micros>| at.map(|at| quoted(&run.timestamps.format(at)));
    let text = |it: &Option<String>| it.as_deref().map(quoted);
    let tags = run.tags.as_ref().map(|tags| {
        let tags: Vec<String> = tags.iter().map(|tag| quoted(tag)).collect();
        format!("[{}]", tags.join(","))
    });
    let user = run
        .user
        .as_ref()
        .map(|user| format!("{{\"username\":{},\"name\":{}}}", quoted(&user.username), quoted(&user.name)));
    let members = [
        ("id", Some(quoted(&run.id)), true),
        ("name", Some(quoted(&run.id)), true),
        ("displayName", text(&run.display_name), true),
        ("state", Some(quoted(&run.state)), true),
        ("user", user, true),
        ("createdAt", time(Some(run.created_at)), true),
        ("updatedAt", time(run.updated_at), true),
        ("notes", text(&run.notes), true),
        ("tags", tags, !run.omit_nulls),
        ("config", run.unwrapped_config(), !run.omit_nulls),
        ("summaryMetrics", run.summary.clone(), !run.omit_nulls),
    ];
    body.push('{');
    let mut first = true;
    for (key, value, keep_null) in members {
        let Some(value) = value.or_else(|| keep_null.then(|| "null".to_owned())) else {
            continue;
        };
        if !first {
            body.push(',');
        }
        first = false;
        push_string(body, key);
        body.push(':');
        body.push_str(&value);
    }
    body.push('}');
}
