//! Changes to what the server holds, while it runs. Each moves the timestamps that the real service would move.

use std::sync::Arc;

use serde::Deserialize;

use super::generate;
use super::project::Run;
use super::random::Random;
use super::server::Shared;

/// A change. As JSON: `{"op":"append","entity":"e","project":"p","run":"r","rows":["{…}"]}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mutation {
    /// Appends rows (JSON texts, kept verbatim) to a run's history.
    Append {
        /// Its entity.
        entity: String,
        /// Its project.
        project: String,
        /// Its id.
        run: String,
        /// The rows.
        rows: Vec<String>,
    },
    /// Replaces a run's last row, as when an incomplete row is completed.
    ReplaceLast {
        /// Its entity.
        entity: String,
        /// Its project.
        project: String,
        /// Its id.
        run: String,
        /// The row.
        row: String,
    },
    /// Edits a run as a person would in the browser: name and tags, nothing of its history.
    Touch {
        /// Its entity.
        entity: String,
        /// Its project.
        project: String,
        /// Its id.
        run: String,
        /// Its new name.
        #[serde(default)]
        display_name: Option<String>,
        /// Its new tags.
        #[serde(default)]
        tags: Option<Vec<String>>,
    },
    /// Sets a run's state.
    SetState {
        /// Its entity.
        entity: String,
        /// Its project.
        project: String,
        /// Its id.
        run: String,
        /// The state.
        state: String,
    },
    /// Deletes a run.
    Delete {
        /// Its entity.
        entity: String,
        /// Its project.
        project: String,
        /// Its id.
        run: String,
    },
    /// Starts a run with these rows.
    Add {
        /// Its entity.
        entity: String,
        /// Its project.
        project: String,
        /// Its id, which must be new.
        run: String,
        /// Its rows.
        #[serde(default)]
        rows: Vec<String>,
    },
    /// Uploads a finished run that was logged offline long ago: it is older than others, so pages of a listing shift.
    Upload {
        /// Its entity.
        entity: String,
        /// Its project.
        project: String,
        /// Its id, which must be new.
        run: String,
        /// Its place among the runs, from 0.
        place: usize,
        /// Its rows.
        #[serde(default)]
        rows: Vec<String>,
    },
    /// Drops every row above a step, and then appends rows.
    Rewind {
        /// Its entity.
        entity: String,
        /// Its project.
        project: String,
        /// Its id.
        run: String,
        /// The last step that stays.
        step: i64,
        /// What is logged anew.
        #[serde(default)]
        rows: Vec<String>,
    },
    /// Exports rows to parquet up to a count, as the hourly job does.
    Export {
        /// Its entity.
        entity: String,
        /// Its project.
        project: String,
        /// Its id.
        run: String,
        /// How many rows are exported in all; every one when absent.
        #[serde(default)]
        rows: Option<usize>,
    },
    /// Lets time pass in a project: running runs log on, some finish, some finished ones are edited, new ones start.
    Live {
        /// The entity.
        entity: String,
        /// The project.
        project: String,
        /// Rows that each running run logs.
        #[serde(default)]
        grow: usize,
        /// How many running runs finish.
        #[serde(default)]
        finish: usize,
        /// How many finished runs are renamed.
        #[serde(default)]
        edit: usize,
        /// How many runs start.
        #[serde(default)]
        add: usize,
        /// What to draw from.
        #[serde(default)]
        seed: u64,
    },
}

/// A mutation that names something the server does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound(String);

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not exist", self.0)
    }
}

impl std::error::Error for NotFound {}

impl Mutation {
    /// Makes the change, and says which runs it touched.
    pub(crate) fn apply(&self, shared: &Shared) -> Result<Vec<String>, NotFound> {
        match self {
            Mutation::Append { entity, project, run, rows } => {
                edit(shared, entity, project, run, |run| append(run, rows, shared))
            }
            Mutation::ReplaceLast { entity, project, run, row } => edit(shared, entity, project, run, |run| {
                let history = Arc::make_mut(&mut run.history);
                history.truncate(history.len().saturating_sub(1));
                history.push(row);
                run.exported_rows = run.exported_rows.min(history.len() - 1);
                alive(run, shared);
            }),
            Mutation::Touch { entity, project, run, display_name, tags } => edit(shared, entity, project, run, |run| {
                if let Some(name) = display_name {
                    run.display_name = Some(name.clone());
                }
                if let Some(tags) = tags {
                    run.tags = Some(tags.clone());
                }
                run.updated_at = Some(shared.clock.tick());
            }),
            Mutation::SetState { entity, project, run, state } => edit(shared, entity, project, run, |run| {
                run.state.clone_from(state);
                alive(run, shared);
            }),
            Mutation::Delete { entity, project, run } => {
                let mut world = shared.world();
                let runs = &mut world.project_mut(entity, project).runs;
                let before = runs.len();
                runs.retain(|it| it.id != *run);
                if runs.len() == before {
                    return Err(NotFound(format!("run {entity}/{project}/{run}")));
                }
                shared.clock.tick();
                Ok(vec![run.clone()])
            }
            Mutation::Add { entity, project, run, rows } => {
                let mut new = Run::new(run.clone());
                new.state = "running".to_owned();
                append(&mut new, rows, shared);
                new.created_at = new.heartbeat_at;
                new.updated_at = Some(new.heartbeat_at);
                shared.world().project_mut(entity, project).runs.push(Arc::new(new));
                Ok(vec![run.clone()])
            }
            Mutation::Upload { entity, project, run, place, rows } => {
                let mut new = Run::new(run.clone());
                append(&mut new, rows, shared);
                new.updated_at = Some(new.heartbeat_at);
                let mut world = shared.world();
                let runs = &mut world.project_mut(entity, project).runs;
                let place = (*place).min(runs.len());
                // Of runs created at one time, that which stands first is listed first.
                new.created_at = runs.get(place).map_or(new.heartbeat_at, |next| next.created_at);
                runs.insert(place, Arc::new(new));
                Ok(vec![run.clone()])
            }
            Mutation::Rewind { entity, project, run, step, rows } => edit(shared, entity, project, run, |run| {
                let history = Arc::make_mut(&mut run.history);
                let keep = history.steps().iter().take_while(|&it| it <= step).count();
                history.truncate(keep);
                run.exported_rows = run.exported_rows.min(keep);
                append(run, rows, shared);
            }),
            Mutation::Export { entity, project, run, rows } => edit(shared, entity, project, run, |run| {
                run.exported_rows = rows.unwrap_or(usize::MAX).min(run.history.len());
            }),
            Mutation::Live { entity, project, grow, finish, edit, add, seed } => Ok(live(
                shared,
                entity,
                project,
                &Live { grow: *grow, finish: *finish, edit: *edit, add: *add, seed: *seed },
            )),
        }
    }
}

fn edit(
    shared: &Shared,
    entity: &str,
    project: &str,
    id: &str,
    change: impl FnOnce(&mut Run),
) -> Result<Vec<String>, NotFound> {
    let mut world = shared.world();
    let run = world.project_mut(entity, project).run_mut(id);
    let run = run.ok_or_else(|| NotFound(format!("run {entity}/{project}/{id}")))?;
    change(run);
    Ok(vec![id.to_owned()])
}

fn append(run: &mut Run, rows: &[String], shared: &Shared) {
    let history = Arc::make_mut(&mut run.history);
    for row in rows {
        history.push(row);
    }
    alive(run, shared);
}

/// Moves the timestamps as a sign of life does.
pub(crate) fn alive(run: &mut Run, shared: &Shared) {
    let now = shared.clock.tick();
    run.heartbeat_at = now;
    if shared.options.append_moves_updated_at {
        run.updated_at = Some(now);
    }
}

struct Live {
    grow: usize,
    finish: usize,
    edit: usize,
    add: usize,
    seed: u64,
}

fn live(shared: &Shared, entity: &str, project: &str, what: &Live) -> Vec<String> {
    let mut random = Random::new(what.seed ^ 0x11fe);
    let mut changed = Vec::new();
    let mut world = shared.world();
    let project = world.project_mut(entity, project);
    let (mut to_finish, mut to_edit) = (what.finish, what.edit);
    for run in &mut project.runs {
        if run.state == "running" && what.grow > 0 {
            let run = Arc::make_mut(run);
            generate::grow(run, what.grow, &mut random);
            if to_finish > 0 {
                to_finish -= 1;
                run.state = "finished".to_owned();
            }
            alive(run, shared);
            changed.push(run.id.clone());
        } else if run.state == "finished" && to_edit > 0 && random.unit() < 0.3 {
            to_edit -= 1;
            let run = Arc::make_mut(run);
            let name = run.display_name.clone().unwrap_or_else(|| run.id.clone());
            run.display_name = Some(format!("{name} (reviewed)"));
            run.updated_at = Some(shared.clock.tick());
            changed.push(run.id.clone());
        }
    }
    for _ in 0..what.add {
        let now = shared.clock.tick();
        let run = generate::new_run(project.runs.len(), now, &mut random);
        changed.push(run.id.clone());
        project.runs.push(Arc::new(run));
    }
    changed
}
