//! Queries: the viewer, projects, runs, and their histories.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object, Result, SimpleObject, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::RequestContext;
use super::accounts::{Entity, ServerInfo, User, default_entity};
use super::filters::select;
use super::scalars::{DateTime, Int64, Json, JsonString};
use super::uploads::{FileConnection, files_of};
use crate::clock::START;
use crate::history::History;
use crate::history_keys;
use crate::log::HistoryRead;
use crate::project;
use crate::random::Random;
use crate::sampled;
use crate::server::Shared;

/// Runs of a page when the request does not say.
const DEFAULT_PAGE: i32 = 50;

/// Samples of a history when the request does not say.
const DEFAULT_SAMPLES: i32 = 500;

pub(crate) struct Query;

pub(crate) fn shared<'a>(ctx: &Context<'a>) -> Result<&'a Arc<Shared>> {
    ctx.data::<Arc<Shared>>()
}

pub(crate) fn request<'a>(ctx: &Context<'a>) -> Result<&'a Arc<RequestContext>> {
    ctx.data::<Arc<RequestContext>>()
}

#[Object]
impl Query {
    /// Who the key belongs to.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        Ok(request(ctx)?.valid.then(|| User::viewer(shared(ctx).ok())))
    }

    async fn project(
        &self,
        ctx: &Context<'_>,
        name: Option<String>,
        entity_name: Option<String>,
    ) -> Result<Option<Project>> {
        let entity = entity_name.unwrap_or_else(|| default_entity(shared(ctx).ok()));
        let name = name.unwrap_or_default();
        let exists = request(ctx)?.valid && shared(ctx)?.world().project(&entity, &name).is_some();
        Ok(exists.then_some(Project { entity, name }))
    }

    async fn models(
        &self,
        ctx: &Context<'_>,
        entity_name: Option<String>,
        after: Option<String>,
        first: Option<i32>,
    ) -> Result<Option<ProjectConnection>> {
        if !request(ctx)?.valid {
            return Ok(None);
        }
        let entity = entity_name.unwrap_or_else(|| default_entity(shared(ctx).ok()));
        let world = shared(ctx)?.world();
        let names = world.projects.keys().filter(|(it, _)| *it == entity).map(|(_, name)| name.clone());
        let all: Vec<String> = names.collect();
        let page = Page::of(after.as_deref(), first.unwrap_or(DEFAULT_PAGE), usize::MAX, all.len())?;
        let edges = page
            .range()
            .map(|i| ProjectEdge { node: Project { entity: entity.clone(), name: all[i].clone() }, cursor: cursor(i) });
        Ok(Some(ProjectConnection { edges: edges.collect(), page_info: page.info() }))
    }

    async fn entity(&self, ctx: &Context<'_>, name: Option<String>) -> Result<Option<Entity>> {
        let name = name.unwrap_or_else(|| default_entity(shared(ctx).ok()));
        Ok(request(ctx)?.valid.then_some(Entity { name }))
    }

    async fn server_info(&self) -> ServerInfo {
        ServerInfo
    }
}

#[derive(SimpleObject)]
pub(crate) struct ProjectConnection {
    edges: Vec<ProjectEdge>,
    page_info: PageInfo,
}

#[derive(SimpleObject)]
pub(crate) struct ProjectEdge {
    node: Project,
    cursor: String,
}

#[derive(SimpleObject)]
pub(crate) struct PageInfo {
    pub(crate) end_cursor: Option<String>,
    pub(crate) has_next_page: bool,
}

/// A page of a list. The cursor is an offset, so what was deleted before it shifts the page, as at W&B.
pub(crate) struct Page {
    from: usize,
    to: usize,
    total: usize,
}

impl Page {
    pub(crate) fn of(after: Option<&str>, first: i32, max: usize, total: usize) -> Result<Self> {
        let from = match after.filter(|it| !it.is_empty()) {
            None => 0,
            Some(text) => offset(text).ok_or_else(|| Error::new(format!("invalid cursor {text:?}")))? + 1,
        };
        let first = usize::try_from(first).map_err(|_| Error::new("first must not be negative"))?.min(max);
        let from = from.min(total);
        Ok(Page { from, to: from.saturating_add(first).min(total), total })
    }

    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.from..self.to
    }

    pub(crate) fn info(&self) -> PageInfo {
        PageInfo { end_cursor: (self.to > self.from).then(|| cursor(self.to - 1)), has_next_page: self.to < self.total }
    }
}

/// The cursor of a list's element.
pub(crate) fn cursor(index: usize) -> String {
    BASE64.encode(format!("arrayconnection:{index}"))
}

fn offset(cursor: &str) -> Option<usize> {
    let decoded = String::from_utf8(BASE64.decode(cursor).ok()?).ok()?;
    decoded.strip_prefix("arrayconnection:")?.parse().ok()
}

/// A project.
pub(crate) struct Project {
    pub(crate) entity: String,
    pub(crate) name: String,
}

impl Project {
    fn held_runs(&self, ctx: &Context<'_>) -> Result<Vec<Arc<project::Run>>> {
        let world = shared(ctx)?.world();
        Ok(world.project(&self.entity, &self.name).map(|it| it.runs.clone()).unwrap_or_default())
    }
}

#[Object]
impl Project {
    async fn id(&self) -> ID {
        ID(BASE64.encode(format!("Project:v1:{}:{}", self.name, self.entity)))
    }

    async fn internal_id(&self) -> ID {
        ID(BASE64.encode("ProjectInternalId:1001"))
    }

    async fn name(&self) -> &str {
        &self.name
    }

    async fn entity_name(&self) -> &str {
        &self.entity
    }

    async fn entity(&self) -> Entity {
        Entity { name: self.entity.clone() }
    }

    async fn created_at(&self) -> DateTime {
        DateTime(crate::clock::TimestampStyle::Zulu.format(START))
    }

    async fn is_benchmark(&self) -> bool {
        false
    }

    async fn read_only(&self) -> Option<bool> {
        Some(false)
    }

    async fn user(&self) -> Option<User> {
        None
    }

    async fn run_count(&self, ctx: &Context<'_>, filters: Option<JsonString>) -> Result<i32> {
        let runs = self.held_runs(ctx)?;
        let selected = select(&runs, filters.as_ref().map(|it| it.0.as_str()), None).map_err(Error::new)?;
        Ok(selected.iter().filter(|run| !run.hidden).count() as i32)
    }

    async fn runs(
        &self,
        ctx: &Context<'_>,
        filters: Option<JsonString>,
        after: Option<String>,
        first: Option<i32>,
        order: Option<String>,
    ) -> Result<RunConnection> {
        let runs = self.held_runs(ctx)?;
        let filters = filters.as_ref().map(|it| it.0.as_str());
        let selected = select(&runs, filters, order.as_deref()).map_err(Error::new)?;
        let max = shared(ctx)?.options.max_page;
        let page = Page::of(after.as_deref(), first.unwrap_or(DEFAULT_PAGE), max, selected.len())?;
        let shown = page.range().filter(|i| !selected[*i].hidden);
        let edges = shown.map(|i| RunEdge { node: self.node(selected[i].clone()), cursor: cursor(i) });
        Ok(RunConnection { edges: edges.collect(), page_info: page.info(), total_count: selected.len() as i32 })
    }

    async fn run(&self, ctx: &Context<'_>, name: String) -> Result<Option<Run>> {
        let run = shared(ctx)?.world().run(&self.entity, &self.name, &name);
        Ok(run.map(|run| self.node(run)))
    }
}

impl Project {
    pub(crate) fn node(&self, run: Arc<project::Run>) -> Run {
        Run { entity: self.entity.clone(), project: self.name.clone(), run }
    }
}

#[derive(SimpleObject)]
pub(crate) struct RunConnection {
    edges: Vec<RunEdge>,
    page_info: PageInfo,
    total_count: i32,
}

#[derive(SimpleObject)]
pub(crate) struct RunEdge {
    node: Run,
    cursor: String,
}

/// A run.
pub(crate) struct Run {
    entity: String,
    project: String,
    run: Arc<project::Run>,
}

impl Run {
    fn time(&self, at: i64) -> DateTime {
        DateTime(self.run.timestamps.format(at))
    }
}

#[Object]
impl Run {
    async fn id(&self) -> ID {
        ID(self.run.storage_id(&self.entity, &self.project))
    }

    async fn project_id(&self) -> Int64 {
        Int64(1001)
    }

    async fn project(&self) -> Project {
        Project { entity: self.entity.clone(), name: self.project.clone() }
    }

    async fn name(&self) -> &str {
        &self.run.id
    }

    async fn display_name(&self) -> Option<&str> {
        self.run.display_name.as_deref()
    }

    async fn sweep_name(&self) -> Option<&str> {
        None
    }

    async fn state(&self) -> Option<&str> {
        Some(&self.run.state)
    }

    async fn group(&self) -> Option<&str> {
        self.run.group.as_deref()
    }

    async fn job_type(&self) -> Option<&str> {
        self.run.job_type.as_deref()
    }

    async fn commit(&self) -> Option<&str> {
        None
    }

    async fn read_only(&self) -> Option<bool> {
        Some(false)
    }

    async fn created_at(&self) -> DateTime {
        self.time(self.run.created_at)
    }

    async fn updated_at(&self) -> Option<DateTime> {
        self.run.updated_at.map(|at| self.time(at))
    }

    async fn heartbeat_at(&self) -> Option<DateTime> {
        Some(self.time(self.run.heartbeat_at))
    }

    async fn description(&self) -> Option<&str> {
        self.run.display_name.as_deref()
    }

    async fn notes(&self) -> Option<&str> {
        self.run.notes.as_deref()
    }

    async fn tags(&self) -> Option<&[String]> {
        self.run.tags.as_deref()
    }

    async fn user(&self) -> Option<User> {
        let user = self.run.user.as_ref()?;
        Some(User { name: user.name.clone(), username: user.username.clone(), entity: self.entity.clone() })
    }

    async fn config(&self) -> Option<JsonString> {
        self.run.config.clone().map(JsonString)
    }

    async fn summary_metrics(&self) -> Option<JsonString> {
        self.run.summary.clone().map(JsonString)
    }

    async fn system_metrics(&self) -> Option<JsonString> {
        Some(JsonString("{}".to_owned()))
    }

    async fn history_line_count(&self) -> Option<i32> {
        Some(self.run.history.len() as i32)
    }

    async fn history_keys(&self) -> Option<Json> {
        history_keys::of(&self.run.history).and_then(|keys| Value::from_json(keys).ok()).map(Json)
    }

    /// Rows with `minStep <= step < maxStep`; complete only when there are enough samples.
    async fn history(
        &self,
        ctx: &Context<'_>,
        min_step: Option<Int64>,
        max_step: Option<Int64>,
        samples: Option<i32>,
    ) -> Result<Vec<JsonString>> {
        let (min, max) = (min_step.map(|it| it.0), max_step.map(|it| it.0));
        let history = &self.run.history;
        let found = history.rows_between(min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
        let wanted = usize::try_from(samples.unwrap_or(DEFAULT_SAMPLES)).unwrap_or(0);
        // The span need not fit 64 bits.
        let span = i128::from(max.unwrap_or(i64::MAX)) - i128::from(min.unwrap_or(0));
        let sampled = (wanted as i128) < span && found.len() > wanted;
        let rows = if sampled { sample(found, wanted, shared(ctx)?.next_sampling()) } else { found };
        request(ctx)?.read(HistoryRead {
            run_id: self.run.id.clone(),
            min_step: min,
            max_step: max,
            samples: samples.map(|it| usize::try_from(it).unwrap_or(0)),
            rows: rows.len(),
            sampled,
        });
        Ok(vec![spliced(ctx, history, &rows)?])
    }

    /// Rows that have all of a spec's keys, sampled.
    async fn sampled_history(&self, ctx: &Context<'_>, specs: Vec<JsonString>) -> Result<Vec<Json>> {
        let mut answers = Vec::new();
        for spec in specs {
            let seed = shared(ctx)?.next_sampling();
            let (rows, read) = sampled::answer(&self.run, &spec.0, seed).map_err(Error::new)?;
            request(ctx)?.read(read);
            answers.push(Json(rows));
        }
        Ok(answers)
    }

    /// System metrics.
    async fn events(&self, samples: Option<i32>) -> Vec<JsonString> {
        let wanted = usize::try_from(samples.unwrap_or(DEFAULT_SAMPLES)).unwrap_or(0);
        self.run.events.iter().take(wanted).cloned().map(JsonString).collect()
    }

    async fn log_line_count(&self) -> Option<i32> {
        Some(0)
    }

    async fn events_line_count(&self) -> Option<i32> {
        Some(self.run.events.len() as i32)
    }

    async fn parquet_history(&self, ctx: &Context<'_>, live_keys: Vec<String>) -> Result<ParquetHistory> {
        let shared = shared(ctx)?;
        let base = &request(ctx)?.base_url;
        let urls = shared.storage.urls(shared, base, &self.entity, &self.project, &self.run);
        let live = shared.storage.live_rows(&shared.options.parquet, &self.run);
        Ok(ParquetHistory { parquet_urls: urls, live_data: sampled::live(&self.run, live, &live_keys) })
    }

    async fn file_count(&self) -> Option<i32> {
        Some(self.run.files.len() as i32)
    }

    async fn files(
        &self,
        ctx: &Context<'_>,
        names: Option<Vec<Option<String>>>,
        after: Option<String>,
        first: Option<i32>,
        pattern: Option<String>,
    ) -> Result<Option<FileConnection>> {
        let names: Vec<String> = names.unwrap_or_default().into_iter().flatten().collect();
        let base = &request(ctx)?.base_url;
        let first = first.unwrap_or(DEFAULT_PAGE);
        files_of(base, &self.entity, &self.project, &self.run, &names, pattern.as_deref(), after.as_deref(), first)
            .map(Some)
    }
}

/// The placeholder for rows.
fn spliced(ctx: &Context<'_>, history: &History, rows: &[usize]) -> Result<JsonString> {
    let mut text = String::new();
    history.push_escaped(&mut text, rows);
    Ok(JsonString(request(ctx)?.splice(text)))
}

/// `wanted` of the rows, other ones at each call, in their order.
fn sample(mut rows: Vec<usize>, wanted: usize, seed: u64) -> Vec<usize> {
    let mut random = Random::new(seed);
    while rows.len() > wanted {
        let at = random.below(rows.len());
        rows.swap_remove(at);
    }
    rows.sort_unstable();
    rows
}

/// Where a run's exported history lies, and what is not exported yet.
#[derive(SimpleObject)]
pub(crate) struct ParquetHistory {
    parquet_urls: Vec<String>,
    live_data: Vec<Json>,
}
