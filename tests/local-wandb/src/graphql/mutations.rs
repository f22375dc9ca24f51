//! Mutations: what the SDK calls to log a run.

use std::sync::Arc;

use async_graphql::{Context, Error, InputObject, Object, Result, SimpleObject};

use super::scalars::{Int64, JsonString};
use super::types::{self, request, shared};
use super::uploads::upload_url;
use crate::mutate::alive;
use crate::project;

pub(crate) struct Mutation;

#[derive(InputObject)]
pub(crate) struct UpsertBucketInput {
    id: Option<String>,
    name: Option<String>,
    group_name: Option<String>,
    model_name: Option<String>,
    entity_name: Option<String>,
    description: Option<String>,
    display_name: Option<String>,
    notes: Option<String>,
    config: Option<JsonString>,
    commit: Option<String>,
    host: Option<String>,
    debug: Option<bool>,
    job_program: Option<String>,
    job_repo: Option<String>,
    job_type: Option<String>,
    state: Option<String>,
    sweep: Option<String>,
    tags: Option<Vec<String>>,
    summary_metrics: Option<JsonString>,
}

#[derive(SimpleObject)]
pub(crate) struct UpsertBucketPayload {
    bucket: Option<types::Run>,
    inserted: Option<bool>,
}

#[derive(InputObject)]
pub(crate) struct CreateRunFilesInput {
    entity_name: String,
    project_name: String,
    run_name: String,
    files: Vec<String>,
}

#[derive(SimpleObject)]
pub(crate) struct CreateRunFilesPayload {
    #[graphql(name = "runID")]
    run_id: async_graphql::ID,
    upload_headers: Vec<String>,
    files: Vec<NewFile>,
}

#[derive(SimpleObject)]
pub(crate) struct NewFile {
    name: String,
    upload_url: Option<String>,
}

#[derive(InputObject)]
pub(crate) struct RewindRunInput {
    run_name: String,
    project_name: Option<String>,
    entity_name: Option<String>,
    metric_name: Option<String>,
    metric_value: Option<f64>,
}

#[derive(SimpleObject)]
pub(crate) struct RewindRunPayload {
    rewound_run: Option<types::Run>,
    history_line_count: Option<Int64>,
}

#[Object]
impl Mutation {
    /// Makes a run, or changes what is given of it.
    async fn upsert_bucket(&self, ctx: &Context<'_>, input: UpsertBucketInput) -> Result<Option<UpsertBucketPayload>> {
        let shared = shared(ctx)?;
        if !request(ctx)?.valid {
            return Err(Error::new("user is not logged in"));
        }
        let entity = input.entity_name.clone().unwrap_or_else(|| "acme".to_owned());
        let project_name = input.model_name.clone().unwrap_or_else(|| "uncategorized".to_owned());
        let name = input.name.clone().or_else(|| input.id.clone()).ok_or("a run wants a name")?;
        let mut world = shared.world();
        let project = world.project_mut(&entity, &project_name);
        let inserted = project.run(&name).is_none();
        if inserted {
            let mut run = project::Run::new(name.clone());
            run.created_at = shared.clock.now();
            run.state = "running".to_owned();
            run.tags = Some(Vec::new());
            project.runs.push(Arc::new(run));
        }
        let run = project.run_mut(&name).ok_or("the run vanished")?;
        apply(run, input);
        alive(run, shared);
        let run = Arc::new(run.clone());
        drop(world);
        let project = types::Project { entity, name: project_name };
        Ok(Some(UpsertBucketPayload { bucket: Some(project.node(run)), inserted: Some(inserted) }))
    }

    /// Says where a run's files are to be uploaded.
    async fn create_run_files(
        &self,
        ctx: &Context<'_>,
        input: CreateRunFilesInput,
    ) -> Result<Option<CreateRunFilesPayload>> {
        let CreateRunFilesInput { entity_name: entity, project_name: project, run_name, files } = input;
        let run = shared(ctx)?.world().run(&entity, &project, &run_name).ok_or("run not found")?;
        let base = &request(ctx)?.base_url;
        let files = files
            .into_iter()
            .map(|name| NewFile { upload_url: Some(upload_url(base, &entity, &project, &run.id, &name)), name });
        Ok(Some(CreateRunFilesPayload {
            run_id: async_graphql::ID(run.storage_id(&entity, &project)),
            upload_headers: Vec::new(),
            files: files.collect(),
        }))
    }

    /// Drops every step above the given one.
    async fn rewind_run(&self, ctx: &Context<'_>, input: RewindRunInput) -> Result<Option<RewindRunPayload>> {
        let shared = shared(ctx)?;
        let entity = input.entity_name.unwrap_or_else(|| "acme".to_owned());
        let project_name = input.project_name.unwrap_or_default();
        if input.metric_name.as_deref().is_some_and(|name| name != "_step") {
            return Err(Error::new("only a rewind by _step is supported"));
        }
        let step = input.metric_value.unwrap_or(0.0) as i64;
        let mut world = shared.world();
        let run = world.project_mut(&entity, &project_name).run_mut(&input.run_name).ok_or("run not found")?;
        let history = Arc::make_mut(&mut run.history);
        let keep = history.steps().iter().take_while(|&&it| it <= step).count();
        history.truncate(keep);
        run.exported_rows = run.exported_rows.min(keep);
        run.state = "running".to_owned();
        alive(run, shared);
        let run = Arc::new(run.clone());
        drop(world);
        let count = Int64(run.history.len() as i64);
        let project = types::Project { entity, name: project_name };
        Ok(Some(RewindRunPayload { rewound_run: Some(project.node(run)), history_line_count: Some(count) }))
    }
}

/// Sets what was given; null leaves a field as it is.
fn apply(run: &mut project::Run, input: UpsertBucketInput) {
    let set = |field: &mut Option<String>, value: Option<String>| {
        if value.is_some() {
            *field = value;
        }
    };
    set(&mut run.display_name, input.display_name);
    set(&mut run.notes, input.notes);
    set(&mut run.group, input.group_name);
    set(&mut run.job_type, input.job_type);
    set(&mut run.config, input.config.map(|it| it.0));
    set(&mut run.summary, input.summary_metrics.map(|it| it.0));
    if let Some(tags) = input.tags {
        run.tags = Some(tags);
    }
    if let Some(state) = input.state {
        run.state = state;
    }
}
