//! What the SDK sends while a run logs: lines of its files at offsets, heartbeats, and how it ended; and whole files.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;

use super::http::{Answer, basic_key, error, json, with_type};
use super::mutate::alive;
use super::project::Run;
use super::server::{Request, Shared};

/// The body of `POST /files/{entity}/{project}/{run}/file_stream`.
#[derive(Deserialize)]
struct Batch {
    #[serde(default)]
    files: std::collections::BTreeMap<String, Chunk>,
    #[serde(default)]
    complete: Option<bool>,
    #[serde(default)]
    exitcode: Option<i64>,
    #[serde(default)]
    preempting: Option<bool>,
}

/// Lines of a file from an offset on; lines there already are replaced.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    content: Vec<String>,
}

/// Answers a batch.
pub(crate) fn answer(shared: &Shared, request: &Request, entity: &str, project: &str, id: &str) -> Answer {
    if basic_key(&request.headers).is_none_or(|key| key != shared.options.api_key) {
        return error(StatusCode::UNAUTHORIZED, "user is not logged in");
    }
    let batch: Batch = match serde_json::from_slice(&request.body) {
        Ok(batch) => batch,
        Err(problem) => return error(StatusCode::BAD_REQUEST, &problem.to_string()),
    };
    let mut world = shared.world();
    let Some(run) = world.project_mut(entity, project).run_mut(id) else {
        return error(StatusCode::NOT_FOUND, "run not found");
    };
    for (name, chunk) in &batch.files {
        store(run, name, chunk);
    }
    if batch.preempting == Some(true) {
        run.state = "preempting".to_owned();
    }
    if batch.complete == Some(true) {
        run.state = match batch.exitcode {
            Some(0) | None => "finished",
            Some(_) => "failed",
        }
        .to_owned();
    }
    alive(run, shared);
    let exitcode = serde_json::json!({ "exitcode": batch.exitcode, "limits": {}, "stopped": false });
    json(StatusCode::OK, exitcode.to_string())
}

fn store(run: &mut Run, name: &str, chunk: &Chunk) {
    match name {
        "wandb-history.jsonl" => {
            let history = Arc::make_mut(&mut run.history);
            history.truncate(chunk.offset);
            for line in &chunk.content {
                history.push(line.trim_end());
            }
            run.exported_rows = run.exported_rows.min(chunk.offset);
        }
        "wandb-events.jsonl" => {
            run.events.truncate(chunk.offset);
            run.events.extend(chunk.content.iter().cloned());
        }
        "wandb-summary.json" => {
            if let Some(summary) = chunk.content.last() {
                run.summary = Some(summary.clone());
            }
        }
        _ => {
            let mut text = run.files.get(name).map(|it| it.to_vec()).unwrap_or_default();
            for line in &chunk.content {
                text.extend_from_slice(line.as_bytes());
                text.push(b'\n');
            }
            run.files.insert(name.to_owned(), text.into());
        }
    }
}

/// Answers `PUT /_upload/{entity}/{project}/{run}/{path}`, a signed URL: no key is asked for.
pub(crate) fn upload(shared: &Shared, request: &Request, entity: &str, project: &str, id: &str, path: &str) -> Answer {
    let mut world = shared.world();
    let Some(run) = world.project_mut(entity, project).run_mut(id) else {
        return error(StatusCode::NOT_FOUND, "run not found");
    };
    run.files.insert(path.to_owned(), request.body.as_ref().into());
    with_type(StatusCode::OK, "text/plain", "")
}
