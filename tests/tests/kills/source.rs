//! The project that the killed syncs read: runs of every size, one of them stored in several groups, one with exported rows.

use std::time::Duration;

use wandb_connector_tests::local_wandb::{
    Dialect, LocalWandb, LoggedRequest, Mutation, Options, Project, Random, Run, Truth, World,
};

pub(crate) const ENTITY: &str = "acme";
pub(crate) const PROJECT: &str = "demo";
const RUNS: usize = 22;

/// A server with its project, and what is needed to change it.
pub(crate) struct Source {
    pub(crate) server: LocalWandb,
    dialect: Dialect,
    serial: u64,
}

/// A row of three metrics and a text. `life` tells rows of the same step apart.
fn row(step: i64, life: u64) -> String {
    format!(
        r#"{{"_step":{step},"_timestamp":{}.5,"loss":{},"acc":{}.25,"note":"step {step} of {life}","bad":{}}}"#,
        1_750_000_000 + step,
        step as f64 / 7.0,
        life,
        if step % 9 == 4 { "NaN" } else { "1" }
    )
}

/// A row too wide for a whole run of them to be stored at once.
fn wide_row(step: i64, life: u64) -> String {
    let text = format!("{life}-{step} ").repeat(4_000);
    format!(r#"{{"_step":{step},"_timestamp":{},"text":"{text}"}}"#, 1_750_000_000 + step)
}

fn plain_row(step: i64, life: u64) -> String {
    format!(r#"{{"_step":{step},"_timestamp":{},"v":{life}.5}}"#, 1_750_000_000 + step)
}

impl Source {
    pub(crate) fn start(dialect: Dialect) -> Self {
        let mut runs: Vec<Run> = (0..RUNS)
            .map(|number| {
                let mut run =
                    Run::new(format!("run{number:02}")).with_history((0..number as i64 * 4).map(|step| row(step, 0)));
                run.exported_rows = 0;
                run
            })
            .collect();
        let mut wide = Run::new("wide").with_history((0..110).map(|step| wide_row(step, 0)));
        wide.exported_rows = 0;
        runs.push(wide);
        // Enough for its export to be worth asking for; `rest` has none.
        let long = if dialect == Dialect::Graphql { 6_000 } else { 300 };
        let mut exported = Run::new("long").with_history((0..long).map(|step| plain_row(step, 0)));
        exported.exported_rows = long as usize * 9 / 10;
        runs.push(exported);
        let mut world = World::default();
        *world.project_mut(ENTITY, PROJECT) = Project::new(runs);
        let options = Options { latency: Duration::from_millis(6), ..Options::with_world(world) };
        Self { server: LocalWandb::start_blocking(options).unwrap(), dialect, serial: 0 }
    }

    pub(crate) fn truth(&self) -> Truth {
        self.server.truth(self.dialect, ENTITY, PROJECT)
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.server.world().project(ENTITY, PROJECT).unwrap().runs.iter().map(|run| run.id.clone()).collect()
    }

    /// Requests that read one of these runs; whether a run still exists may be asked.
    pub(crate) fn asked_for(&self, runs: &[String]) -> Vec<LoggedRequest> {
        self.server.log().matching(|request| {
            let exists = matches!(request.operation.as_deref(), Some("HasRun" | "HaveRuns"))
                || request.path.ends_with("/history?perPage=1");
            !exists && request.run_ids.iter().any(|id| runs.contains(id))
        })
    }

    /// Half of the runs change, in every way there is.
    pub(crate) fn change(&mut self, random: &mut Random) {
        for id in self.ids() {
            if random.below(2) == 0 {
                continue;
            }
            self.serial += 1;
            let life = self.serial;
            let (entity, project, run) = (ENTITY.to_owned(), PROJECT.to_owned(), id.clone());
            let steps = self.server.run(ENTITY, PROJECT, &id).unwrap().history.len() as i64;
            let line = match id.as_str() {
                "wide" => wide_row,
                "long" => plain_row,
                _ => row,
            };
            let rows = |from: i64, count: i64| (from..from + count).map(|step| line(step, life)).collect();
            let ordinary = id.starts_with("run") || id.starts_with("new");
            let mutation = match random.below(10) {
                0..=3 => Mutation::Append { entity, project, run, rows: rows(steps, 1 + random.below(30) as i64) },
                4..=5 => {
                    Mutation::Touch { entity, project, run, display_name: Some(format!("name {life}")), tags: None }
                }
                6 if steps > 0 => Mutation::ReplaceLast { entity, project, run, row: line(steps - 1, life) },
                // Logged again, no longer than it was.
                7 if steps > 0 => {
                    let at = random.below(steps as usize) as i64;
                    Mutation::Rewind { entity, project, run, step: at, rows: rows(at + 1, (steps - at - 1) / 2) }
                }
                8 if ordinary => Mutation::Delete { entity, project, run },
                _ => {
                    Mutation::Add { entity, project, run: format!("new{life}"), rows: rows(0, random.below(60) as i64) }
                }
            };
            self.server.mutate(&mutation).unwrap();
        }
    }
}
