//! The project at the source: it changes all the time, and never grows beyond a size, so that the memory of early and late syncs can be
//! compared.

use std::time::Duration;

use wandb_connector_tests::local_wandb::{LocalWandb, Mutation, Options, Project, Random, Run, World};

pub(crate) const ENTITY: &str = "acme";
pub(crate) const PROJECT: &str = "soak";

/// Above it each new run costs an old one.
const MOST_RUNS: usize = 40;
/// A run that reaches it is logged again from its middle.
const MOST_ROWS: usize = 900;
/// The same for the run that has exported rows; more than the connector needs to ask for them.
const MOST_EXPORTED: usize = 9_000;
/// The run that has them.
const EXPORTED: &str = "exported";
/// A run of rows that are too wide for all of it to be stored at once.
const WIDE: &str = "wide";
const MOST_WIDE: usize = 220;

/// The server, and what is needed to change it.
pub(crate) struct Source {
    pub(crate) server: LocalWandb,
    serial: u64,
}

fn row(id: &str, step: i64, life: u64) -> String {
    let time = 1_750_000_000 + step;
    if id == WIDE {
        let text = format!("{life}-{step} ").repeat(3_000);
        return format!(r#"{{"_step":{step},"_timestamp":{time},"text":"{text}"}}"#);
    }
    if id == EXPORTED {
        return format!(r#"{{"_step":{step},"_timestamp":{time},"loss":{life}.5,"acc":{step}}}"#);
    }
    let mut row = format!(r#"{{"_step":{step},"_timestamp":{time}.25,"loss":{},"life":{life}"#, step as f64 / 7.0);
    if step % 5 == 0 {
        row += &format!(r#","val":{{"acc":{step},"note":"step {step} of {life} é"}},"ok":true"#);
    }
    if step % 50 == 7 {
        row += r#","bad":NaN,"big":1152921504606846976,"list":["a",1,null]"#;
    }
    row + "}"
}

impl Source {
    /// A server with a project of half its largest size.
    pub(crate) fn start(random: &mut Random) -> anyhow::Result<Self> {
        let run = |id: String, rows: usize, exported: usize| {
            let mut run = Run::new(&id).with_history((0..rows as i64).map(|step| row(&id, step, 0)));
            run.exported_rows = exported;
            run
        };
        let mut runs: Vec<Run> = (0..30).map(|number| run(format!("run{number}"), random.below(300), 0)).collect();
        runs.push(run(EXPORTED.to_owned(), 6_500, 6_000));
        runs.push(run(WIDE.to_owned(), 120, 0));
        let mut world = World::default();
        *world.project_mut(ENTITY, PROJECT) = Project::new(runs);
        let options = Options { latency: Duration::from_millis(3), ..Options::with_world(world) };
        Ok(Self { server: LocalWandb::start_blocking(options)?, serial: 0 })
    }

    /// The ids of the runs, with the number of rows of each.
    pub(crate) fn runs(&self) -> Vec<(String, usize)> {
        let world = self.server.world();
        let runs = world.project(ENTITY, PROJECT).map(|project| project.runs.as_slice()).unwrap_or_default();
        runs.iter().map(|run| (run.id.clone(), run.history.len())).collect()
    }

    /// Changes every run: each is edited, and the two large ones log a row.
    pub(crate) fn touch_all(&mut self) -> anyhow::Result<()> {
        for (run, rows) in self.runs() {
            self.serial += 1;
            let life = self.serial;
            let (entity, project) = (ENTITY.to_owned(), PROJECT.to_owned());
            let large = run == EXPORTED || run == WIDE;
            self.server.mutate(&if large {
                Mutation::Append { rows: vec![row(&run, rows as i64, life)], entity, project, run }
            } else {
                Mutation::Touch { entity, project, run, display_name: Some(format!("name {life}")), tags: None }
            })?;
        }
        Ok(())
    }

    /// Changes for so many runs, no run twice: each is right whenever it is made, as long as no other comes between.
    pub(crate) fn changes(&mut self, count: usize, random: &mut Random) -> Vec<Mutation> {
        let mut runs = self.runs();
        let mut room = MOST_RUNS.saturating_sub(runs.len());
        let count = count.min(runs.len());
        (0..count)
            .map(|_| {
                let (run, rows) = runs.swap_remove(random.below(runs.len()));
                self.change(run, rows, &mut room, random)
            })
            .collect()
    }

    fn change(&mut self, run: String, rows: usize, room: &mut usize, random: &mut Random) -> Mutation {
        self.serial += 1;
        let life = self.serial;
        let (entity, project) = (ENTITY.to_owned(), PROJECT.to_owned());
        let log = |id: &str, from: usize, count: usize| -> Vec<String> {
            (from..from + count).map(|step| row(id, step as i64, life)).collect()
        };
        let (most, some) = match run.as_str() {
            EXPORTED => (MOST_EXPORTED, 400),
            WIDE => (MOST_WIDE, 40),
            _ => (MOST_ROWS, 80),
        };
        let ordinary = most == MOST_ROWS;
        if rows >= most {
            let keep = rows / 2;
            return Mutation::Rewind { rows: log(&run, keep + 1, 1), entity, project, run, step: keep as i64 };
        }
        match random.below(20) {
            0..=8 => Mutation::Append { rows: log(&run, rows, 1 + random.below(some)), entity, project, run },
            9..=11 => Mutation::Touch {
                entity,
                project,
                run,
                display_name: Some(format!("name {life}")),
                tags: Some(vec![format!("tag {life}")]),
            },
            12 if rows > 0 => Mutation::ReplaceLast { row: row(&run, rows as i64 - 1, life), entity, project, run },
            13 if !ordinary => {
                Mutation::Export { entity, project, run, rows: Some(rows - random.below(rows.max(1)) / 8) }
            }
            13..=14 if rows > 0 => {
                let at = random.below(rows);
                Mutation::Rewind { rows: log(&run, at + 1, random.below(some)), entity, project, run, step: at as i64 }
            }
            15 => {
                let state = if random.below(2) == 0 { "running" } else { "finished" };
                Mutation::SetState { entity, project, run, state: state.to_owned() }
            }
            16..=17 if *room > 0 => {
                *room -= 1;
                let id = format!("run{life}x");
                Mutation::Add { rows: log(&id, 0, random.below(200)), entity, project, run: id }
            }
            _ if ordinary => Mutation::Delete { entity, project, run },
            _ => Mutation::Append { rows: log(&run, rows, 1), entity, project, run },
        }
    }
}
