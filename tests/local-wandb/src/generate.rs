//! Made-up projects, the same for the same seed.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::clock::{Micros, SECOND, START, TimestampStyle};
use super::history::History;
use super::json::quoted;
use super::project::{Project, Run, User};
use super::random::Random;

const MODELS: [&str; 6] = ["bert-base", "resnet50", "gpt2-small", "vit-b16", "t5-small", "unet"];
const RATES: [&str; 5] = ["1e-5", "3e-5", "1e-4", "3e-4", "1e-3"];
const OPTIMIZERS: [&str; 3] = ["adamw", "sgd", "lion"];
const TAGS: [&str; 6] = ["baseline", "sweep", "prod", "nightly", "ablation", "debug"];

/// A project as a small team has it: runs named after model and learning rate, losses that fall, accuracies that rise,
/// some runs that crashed or diverged, and a few that still run.
pub fn realistic(runs: usize, seed: u64) -> Project {
    let mut random = Random::new(seed);
    let mut created = START;
    let runs: Vec<Run> = (0..runs)
        .map(|index| {
            // Sweeps start several runs in the same second.
            if random.unit() < 0.8 {
                created += SECOND * (60 + random.below(3600) as i64);
            }
            let mut run = new_run(index, created, &mut random);
            let steps = 80 + random.below(400);
            grow(&mut run, steps, &mut random);
            run.exported_rows = run.history.len();
            run.state = match random.below(20) {
                0 => "crashed",
                1 => "failed",
                2 => "killed",
                _ if index + 4 >= runs => "running",
                _ => "finished",
            }
            .to_owned();
            if run.state == "running" {
                // The hourly export has not caught up with it.
                run.exported_rows = run.history.len() * 2 / 3;
            }
            run
        })
        .collect();
    Project::new(runs)
}

/// A running run without history, as a training script starts it.
pub fn new_run(index: usize, now: Micros, random: &mut Random) -> Run {
    let (model, rate) = (*random.pick(&MODELS), *random.pick(&RATES));
    let seed = 1 + random.below(5);
    let mut run = Run::new(random.run_id());
    run.display_name = Some(format!("{model}-lr{rate}-s{seed}"));
    run.state = "running".to_owned();
    run.created_at = now;
    run.updated_at = Some(now);
    run.heartbeat_at = now;
    run.timestamps = if index % 7 == 3 { TimestampStyle::Bare } else { TimestampStyle::Zulu };
    run.tags = Some(TAGS.iter().filter(|_| random.unit() < 0.2).map(|tag| (*tag).to_owned()).collect());
    run.group = Some(model.to_owned());
    run.job_type = Some("train".to_owned());
    run.user = match random.below(12) {
        0 => None,
        1..=4 => Some(User { name: "Zoë Ünïcode 🦊".to_owned(), username: "zoe".to_owned() }),
        _ => Some(User { name: "Ada Lovelace".to_owned(), username: "ada".to_owned() }),
    };
    run.config = Some(format!(
        concat!(
            r#"{{"model":{{"desc":null,"value":{}}},"learning_rate":{{"desc":null,"value":{}}},"#,
            r#""optimizer":{{"desc":null,"value":{{"name":"{}","betas":[0.9,0.999],"weight_decay":0.01}}}},"#,
            r#""batch_size":{{"desc":null,"value":{}}},"seed":{{"desc":null,"value":{}}},"#,
            r#""_wandb":{{"desc":null,"value":{{"cli_version":"0.31.0","python_version":"3.11.7","start_time":{}}}}}}}"#
        ),
        quoted(model),
        rate,
        random.pick(&OPTIMIZERS),
        16 << random.below(4),
        seed,
        now / SECOND,
    ));
    run
}

/// How a run's curves go, told from its id: whoever grows it continues the same curves.
struct Curve {
    start: f64,
    floor: f64,
    decay: f64,
    noise: f64,
    peak_rate: f64,
    best_accuracy: f64,
    diverges_at: Option<i64>,
    seconds_per_step: f64,
}

impl Curve {
    fn of(run: &Run) -> Self {
        let mut hasher = DefaultHasher::new();
        run.id.hash(&mut hasher);
        let mut random = Random::new(hasher.finish());
        Curve {
            start: random.between(2.0, 7.0),
            floor: random.between(0.05, 0.8),
            decay: random.between(0.005, 0.04),
            noise: random.between(0.02, 0.08),
            peak_rate: random.between(1e-5, 1e-3),
            best_accuracy: random.between(0.7, 0.97),
            diverges_at: (random.unit() < 0.05).then(|| 40 + random.below(120) as i64),
            seconds_per_step: random.between(0.2, 3.0),
        }
    }

    fn row(&self, created: Micros, step: i64, random: &mut Random) -> Row {
        let at = step as f64;
        let progress = 1.0 - (-self.decay * at).exp();
        let diverged = self.diverges_at.is_some_and(|from| step >= from);
        let smooth = self.floor + (self.start - self.floor) * (1.0 - progress);
        let loss = if diverged { f64::NAN } else { smooth * (1.0 + self.noise * random.normal()) };
        let warmup = (at / 50.0).min(1.0);
        let runtime = (at * self.seconds_per_step * 1000.0).round() / 1000.0;
        Row {
            step,
            runtime,
            timestamp: ((created / 1000) as f64 + (runtime * 1000.0).round()) / 1000.0,
            loss,
            rate: self.peak_rate * warmup * 0.5 * (1.0 + (at / 600.0).cos()),
            gradient: smooth.sqrt() * random.between(0.5, 1.5),
            validation: (step % 20 == 0 && !diverged).then(|| {
                let accuracy = (self.best_accuracy * progress + 0.01 * random.normal()).clamp(0.0, 1.0);
                (smooth * 1.1 + 0.02 * random.normal().abs(), accuracy)
            }),
        }
    }
}

struct Row {
    step: i64,
    runtime: f64,
    timestamp: f64,
    loss: f64,
    rate: f64,
    gradient: f64,
    validation: Option<(f64, f64)>,
}

impl Row {
    fn push(&self, out: &mut String) {
        let Row { step, runtime, timestamp, loss, rate, gradient, validation } = self;
        let loss = if loss.is_nan() { "NaN".to_owned() } else { loss.to_string() };
        let _ = write!(
            out,
            r#"{{"_step":{step},"_runtime":{runtime},"_timestamp":{timestamp},"epoch":{},"train/loss":{loss},"train/learning_rate":{rate},"train/grad_norm":{gradient}"#,
            step / 40,
        );
        if let Some((loss, accuracy)) = validation {
            let _ = write!(out, r#","val/loss":{loss},"val/acc":{accuracy}"#);
        }
        out.push('}');
    }
}

/// Logs `rows` more rows of a run's curves, and the summary that goes with the last.
pub fn grow(run: &mut Run, rows: usize, random: &mut Random) {
    let curve = Curve::of(run);
    let created = run.created_at;
    let next = run.history.last_step().map_or(0, |last| last + 1);
    let history = Arc::make_mut(&mut run.history);
    let mut line = String::new();
    for step in next..next + rows as i64 {
        let row = curve.row(created, step, random);
        line.clear();
        row.push(&mut line);
        history.push_at(step, &line);
        if step + 1 == next + rows as i64 {
            run.heartbeat_at = created + (row.runtime * 1e6) as Micros;
            run.updated_at = Some(run.heartbeat_at);
            let end = line.len() - 1;
            run.summary = Some(format!("{},\"_wandb\":{{\"runtime\":{}}}}}", &line[..end], row.runtime as i64));
        }
    }
}

/// A project for benchmarks: `runs` runs of `steps` rows with `metrics` metrics each. Histories are shared between runs,
/// so that memory holds a few of them, whatever the number of runs.
pub fn bench(runs: usize, steps: usize, metrics: usize, seed: u64) -> Project {
    const HISTORIES: usize = 4;
    let mut random = Random::new(seed);
    let histories: Vec<Arc<History>> =
        (0..HISTORIES.min(runs)).map(|_| Arc::new(bench_history(steps, metrics, &mut random))).collect();
    let runs = (0..runs).map(|index| {
        let mut run = Run::new(random.run_id());
        run.display_name = Some(format!("bench-{index}"));
        run.created_at = START + index as i64 * SECOND;
        run.heartbeat_at = run.created_at + steps as i64 * SECOND / 2;
        run.updated_at = Some(run.heartbeat_at);
        run.history = histories[index % histories.len()].clone();
        run.exported_rows = steps;
        run.config = Some(format!(r#"{{"lr":{{"value":{}}},"layers":{{"value":{}}}}}"#, random.unit(), index % 48));
        run.summary = run.history.len().checked_sub(1).map(|last| run.history.line(last).to_owned());
        run
    });
    Project::new(runs)
}

fn bench_history(steps: usize, metrics: usize, random: &mut Random) -> History {
    let mut history = History::with_capacity(steps, steps * (70 + metrics * 31));
    let mut line = String::new();
    for step in 0..steps {
        line.clear();
        let runtime = step as f64 * 0.5;
        let _ = write!(line, r#"{{"_step":{step},"_runtime":{runtime},"_timestamp":{}"#, 1_750_000_000.0 + runtime);
        for metric in 0..metrics {
            let _ = write!(line, r#","metric_{metric:02}":{}"#, random.unit());
        }
        line.push('}');
        history.push_at(step as i64, &line);
    }
    history
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    #[test]
    fn the_same_seed_makes_the_same_project() {
        let lines = |seed| -> Vec<String> {
            let project = realistic(3, seed);
            project.runs.iter().flat_map(|run| run.history.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
        };
        assert_eq!(lines(7), lines(7));
        assert_ne!(lines(7), lines(8));
    }

    #[test]
    fn every_text_is_as_json_as_wandb_writes_it() {
        for run in &realistic(30, 1).runs {
            for text in run.history.lines().chain(run.config.as_deref()).chain(run.summary.as_deref()) {
                Json::parse(text).unwrap_or_else(|problem| panic!("{problem}: {text}"));
            }
        }
    }

    #[test]
    fn a_benchmark_shares_histories() {
        let project = bench(100, 10, 3, 1);
        assert!(Arc::ptr_eq(&project.runs[0].history, &project.runs[4].history));
        assert_eq!(project.runs[99].history.len(), 10);
    }
}
