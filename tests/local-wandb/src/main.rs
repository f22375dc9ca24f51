//! A local W&B server to try things against: `local-wandb --preset realistic --runs 300`.
//!
//! Prints one line with its URL when it is ready, and serves until it is ended.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use local_wandb::{LocalWandb, Options, ParquetOptions, RateLimit, TEST_KEY, Time, World, awkward, generate, unions};

/// Serves made-up W&B projects on 127.0.0.1, in both dialects.
#[derive(Parser)]
#[command(name = "local-wandb")]
struct Arguments {
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// What the project is like
    #[arg(long, value_enum, default_value_t = Preset::Realistic)]
    preset: Preset,
    /// Number of runs
    #[arg(long, default_value_t = 200)]
    runs: usize,
    /// What the data is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps of each run (preset bench)
    #[arg(long, default_value_t = 1000)]
    steps: usize,
    /// Metrics of each step (preset bench)
    #[arg(long, default_value_t = 10)]
    metrics: usize,
    /// Entity that owns the project
    #[arg(long, default_value = "acme")]
    entity: String,
    /// Name of the project
    #[arg(long, default_value = "demo")]
    project: String,
    /// API key that is accepted
    #[arg(long, default_value = TEST_KEY)]
    key: String,
    /// Time added to each answer
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Answer so many requests in so many seconds, and 429 to others (REQUESTS/SECONDS)
    #[arg(long, value_parser = rate_limit)]
    rate_limit: Option<RateLimit>,
    /// Export no histories to parquet: they come by steps alone
    #[arg(long)]
    no_parquet: bool,
    /// Never compress answers
    #[arg(long)]
    no_gzip: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    /// Training runs of a small team
    Realistic,
    /// Many like runs, for measuring
    Bench,
    /// Every awkward value that W&B was seen to send
    Awkward,
    /// Long runs with metrics of several kinds
    Unions,
}

fn rate_limit(text: &str) -> Result<RateLimit, String> {
    let parts =
        text.split_once('/').and_then(|(requests, seconds)| Some((requests.parse().ok()?, seconds.parse().ok()?)));
    let (requests, seconds) =
        parts.filter(|(_, seconds)| *seconds > 0).ok_or("the form is REQUESTS/SECONDS, as in 200/60")?;
    Ok(RateLimit { requests, window: Duration::from_secs(seconds), time: Time::Real(Instant::now()) })
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let project = match arguments.preset {
        Preset::Realistic => generate::realistic(arguments.runs, arguments.seed),
        Preset::Bench => generate::bench(arguments.runs, arguments.steps, arguments.metrics, arguments.seed),
        Preset::Awkward => awkward::awkward(),
        Preset::Unions => unions::unions(),
    };
    let runs = project.runs.len();
    let mut world = World::default();
    *world.project_mut(&arguments.entity, &arguments.project) = project;
    let server = LocalWandb::start_blocking(Options {
        api_key: arguments.key,
        port: arguments.port,
        latency: Duration::from_millis(arguments.latency_ms),
        gzip: !arguments.no_gzip,
        rate_limit: arguments.rate_limit,
        parquet: ParquetOptions { enabled: !arguments.no_parquet, ..ParquetOptions::default() },
        ..Options::with_world(world)
    })?;
    println!("{} serves {}/{} with {runs} runs", server.base_url(), arguments.entity, arguments.project);
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}
