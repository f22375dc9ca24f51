//! A soak: a project that changes at random, syncs of it that are disturbed at random and killed at random, and again and again a quiet
//! moment, in which one more sync must make every table equal the truth. Memory must stay flat over all of it.
//!
//! Every random choice comes from a seed, which is printed; times are the machine's own. The first thing that is wrong ends the soak with
//! exit code 1, and the destination in question stays for inspection.

#![forbid(unsafe_code)]

mod project;
mod report;
mod weather;
mod worker;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Parser;
use wandb_connector_tests::crash_oracle::Storage;
use wandb_connector_tests::local_wandb::{Dialect, Random};

use project::Source;
use report::Report;
use worker::Worker;

/// Syncs a changing project under faults and kills, and compares.
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// What all choices are drawn from; by default the time
    #[arg(long)]
    seed: Option<u64>,
}

/// Syncs of a destination in a round, of which the last one is undisturbed.
const TURNS: u64 = 4;
/// After each sync it pauses for as long as the sync took, up to this: the machine has other users.
const LONGEST_REST: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let seed = arguments.seed.unwrap_or_else(clock);
    let length = Duration::from_secs_f64(arguments.minutes.max(0.0) * 60.0);
    println!("soaking for {} minutes, seed {seed} (again with: soak --seed {seed})", arguments.minutes);
    let mut random = Random::new(seed);
    let mut source = Source::start(&mut random)?;
    let mut lanes = Vec::new();
    for storage in [Storage::Sqlite, Storage::Parquet] {
        for dialect in [Dialect::Graphql, Dialect::Rest] {
            lanes.push(Worker::new(&source, storage, dialect)?);
        }
    }
    let mut report = Report::new(lanes.iter().map(Worker::name).collect());
    let began = Instant::now();
    let mut minutes = 0;
    // Every destination is compared at the end, whatever the time.
    let mut left = lanes.len();
    for turn in 0u64.. {
        let number = (turn % lanes.len() as u64) as usize;
        let worker = &mut lanes[number];
        let over = began.elapsed() >= length;
        let turned = Instant::now();
        let outcome = if over || worker.turns % TURNS == TURNS - 1 {
            worker.calm(&mut source, &mut random, report.of(number))
        } else {
            worker.storm(&mut source, &mut random, report.of(number))
        };
        worker.turns += 1;
        if let Err(error) = outcome {
            let folder = worker.keep();
            println!("{}", report.line(began.elapsed()));
            let what = format!("seed {seed}, turn {turn}, {}: what is there is in {}", worker.name(), folder.display());
            return Err(error).context(what);
        }
        if began.elapsed().as_secs() / 60 > minutes {
            minutes = began.elapsed().as_secs() / 60;
            println!("{}", report.line(began.elapsed()));
        }
        if over {
            left -= 1;
            if left == 0 {
                break;
            }
        } else {
            std::thread::sleep(turned.elapsed().min(LONGEST_REST));
        }
    }
    println!("{}", report.line(began.elapsed()));
    println!("{report}");
    report.verdict().with_context(|| format!("seed {seed}"))
}
