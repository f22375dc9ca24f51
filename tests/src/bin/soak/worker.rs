//! One destination of the soak, with what it has been through.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use wandb_connector::records::time;
use wandb_connector_tests::crash_oracle::{Ended, Left, Running, Site, Storage, narrow};
use wandb_connector_tests::local_wandb::truth::compare;
use wandb_connector_tests::local_wandb::{Dialect, Matcher, Random, When};
use wandb_connector_tests::product;

use super::project::{ENTITY, PROJECT, Source};
use super::report::{Sample, Tally};
use super::weather;

/// With so many deleted runs in the destination it is filled anew, since their rows would stay for ever.
const MOST_GONE: usize = 25;
/// A disturbed sync is asked to stop after this time. Its waits for a server that does not recover could be longer.
const LONGEST: Duration = Duration::from_secs(8);

/// A destination.
pub(crate) struct Worker {
    site: Site,
    pub(crate) turns: u64,
    watermark: Option<i64>,
    gone: usize,
}

/// When a disturbed sync is killed.
#[derive(Debug)]
enum Moment {
    Requests(usize),
    Writes(usize),
    After(Duration),
}

/// How a disturbed sync is ended, unless it has ended before.
#[derive(Debug)]
enum End {
    Kill(Moment),
    Stop(Duration),
}

impl End {
    fn draw(random: &mut Random) -> Self {
        let soon = Duration::from_millis(random.below(400) as u64);
        match random.below(20) {
            0..=3 => Self::Kill(Moment::Requests(1 + random.below(25))),
            4..=8 => Self::Kill(Moment::Writes(1 + random.below(15))),
            9..=11 => Self::Kill(Moment::After(soon)),
            12 => Self::Stop(soon),
            _ => Self::Stop(LONGEST),
        }
    }
}

impl Worker {
    pub(crate) fn new(source: &Source, storage: Storage, dialect: Dialect) -> anyhow::Result<Self> {
        let settings = json!({"concurrency": 4, "page_size": if dialect == Dialect::Rest { 50 } else { 9 }});
        let site = Site::new(&source.server, (ENTITY, PROJECT), (storage, dialect), &settings)?;
        Ok(Self { site, turns: 0, watermark: None, gone: 0 })
    }

    pub(crate) fn name(&self) -> String {
        format!("{:?}, {:?}", self.site.storage, self.site.dialect).to_lowercase()
    }

    /// Lets the folder stay.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.site.keep()
    }

    fn start(&mut self, refresh: bool) -> anyhow::Result<Running> {
        let mut command = self.site.command(product::binary());
        command.args(self.site.sync_arguments());
        if refresh {
            command.arg("--full-refresh");
            self.watermark = None;
        }
        Running::start(command)
    }

    /// A sync while the source changes, answers badly, and the process may be killed.
    pub(crate) fn storm(&mut self, source: &mut Source, random: &mut Random, tally: &mut Tally) -> anyhow::Result<()> {
        let count = random.below(7);
        for mutation in source.changes(count, random) {
            source.server.mutate(&mutation)?;
        }
        if random.below(5) < 3 {
            let count = 1 + random.below(5);
            for mutation in source.changes(count, random) {
                source.server.mutate_before(Matcher::any().when(When::Nth(1 + random.below(25))), mutation);
                tally.changes += 1;
            }
        }
        if random.below(5) < 2 {
            tally.faults += weather::turn_bad(&source.server, random);
        }
        let end = End::draw(random);
        source.server.log().clear();
        let refresh = self.gone > MOST_GONE || random.below(60) == 0;
        let mut sync = self.start(refresh)?;
        let (ended, killed) = self.end(&mut sync, &end, source).and_then(|killed| Ok((sync.end()?, killed)))?;
        source.server.clear_faults();
        let told = || format!("{end:?}, full refresh: {refresh}, {ended:?}");
        match ended.code() {
            None if killed => tally.killed += 1,
            None => bail!("the sync was ended by a signal that nobody sent: {}", told()),
            Some(0) => tally.ended += 1,
            Some(130) => tally.stopped += 1,
            Some(4 | 5) => tally.failed += 1,
            Some(code) => bail!("the sync ended with exit code {code}: {}", told()),
        }
        let left = Left::read(&self.site).with_context(told)?;
        self.check(&left).with_context(told)
    }

    /// Waits for the moment and ends the sync, if it lives that long. Returns whether it was killed.
    fn end(&self, sync: &mut Running, end: &End, source: &Source) -> anyhow::Result<bool> {
        let began = Instant::now();
        match end {
            End::Kill(moment) => {
                let (mut traces, mut seen) = (self.site.traces(), 0);
                let came = sync.wait_until(|_| {
                    let now = self.site.traces();
                    seen += usize::from(std::mem::replace(&mut traces, now) != now);
                    let came = match moment {
                        Moment::Requests(n) => source.server.log().len() >= *n,
                        Moment::Writes(n) => seen >= *n,
                        Moment::After(time) => began.elapsed() >= *time,
                    };
                    came || began.elapsed() >= LONGEST
                })?;
                if came {
                    sync.kill()?;
                }
                Ok(came)
            }
            End::Stop(after) => {
                if sync.wait_until(|_| began.elapsed() >= *after)? {
                    sync.stop()?;
                }
                Ok(false)
            }
        }
    }

    /// A sync that nothing disturbs: afterwards everything is equal.
    pub(crate) fn calm(&mut self, source: &mut Source, random: &mut Random, tally: &mut Tally) -> anyhow::Result<()> {
        source.server.log().clear();
        let ended = self.whole_sync()?;
        let traces = self.leftovers()?;
        ensure!(traces.is_empty(), "a sync that ended well leaves behind {traces:?}");
        let left = Left::read(&self.site)?;
        self.check(&left)?;
        ensure!(left.newer.is_none(), "readers see another generation than the state's");
        let truth = source.server.truth(self.site.dialect, ENTITY, PROJECT);
        let live: BTreeSet<String> = truth.runs.keys().cloned().collect();
        narrow(&left.rows, &live)?;
        let differences = compare(&left.rows, &truth)?;
        let shown = &differences[..differences.len().min(5)];
        ensure!(differences.is_empty(), "{} differences: {shown:#?}\n{ended:?}", differences.len());
        self.gone =
            left.state.keys().filter(|key| key.strip_prefix("runs/").is_some_and(|id| !live.contains(id))).count();
        if random.below(3) == 0 {
            source.server.log().clear();
            let ended = self.whole_sync()?;
            let asked = source.server.log().history_requests();
            ensure!(
                asked.is_empty(),
                "nothing had changed, and histories were asked for: {:?}, {ended:?}",
                asked.first()
            );
        }
        // Memory is compared where the work is the same: every run has changed a little.
        source.touch_all()?;
        tally.samples.push(Sample {
            peak_kib: self.whole_sync()?.peak_kib,
            bytes: bytes_below(&self.site.destination_path())?,
            rows: truth.runs.len() + truth.metrics.len() + truth.objects.len(),
        });
        Ok(())
    }

    fn whole_sync(&mut self) -> anyhow::Result<Ended> {
        let ended = self.start(false)?.end()?;
        ensure!(ended.code() == Some(0), "a sync that nothing disturbs failed: {ended:?}");
        Ok(ended)
    }

    /// What holds at any time: the watermark never falls, and no row is there that the state does not answer for.
    fn check(&mut self, left: &Left) -> anyhow::Result<()> {
        let watermark = match left.state.get("runs_hwm_utc") {
            Some(text) => Some(time::parse(text).with_context(|| format!("the watermark {text:?}"))?),
            None => None,
        };
        // A full refresh that was killed before its first commit has changed nothing.
        ensure!(watermark >= self.watermark, "the watermark fell from {:?} to {watermark:?}", self.watermark);
        self.watermark = watermark;
        for table in ["runs", "metrics", "metric_objects"] {
            let mut ids = left.rows.prepare(&format!("SELECT DISTINCT run_id FROM {table}"))?;
            for id in ids.query_map([], |row| row.get::<_, String>(0))? {
                let id = id?;
                ensure!(left.state.contains_key(&format!("runs/{id}")), "{table} has rows of {id}, the state no entry");
            }
        }
        Ok(())
    }

    /// Files that only a sync under way, or one that was killed, should have.
    fn leftovers(&self) -> anyhow::Result<Vec<String>> {
        let (folder, expected): (_, &[&str]) = match self.site.storage {
            Storage::Sqlite => (self.site.folder().to_owned(), &["configuration.json", "w.db"]),
            Storage::Parquet => (self.site.destination_path().join("_elt"), &["catalog.db", "current"]),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| !expected.contains(&name.as_str()));
        if self.site.storage == Storage::Parquet {
            let generation = names.iter().position(|name| name.starts_with("generation-"));
            names.swap_remove(generation.context("no generation")?);
        }
        Ok(names)
    }
}

fn bytes_below(path: &std::path::Path) -> std::io::Result<u64> {
    let metadata = path.symlink_metadata()?;
    if !metadata.is_dir() {
        return Ok(if metadata.is_symlink() { 0 } else { metadata.len() });
    }
    fs::read_dir(path)?.map(|entry| bytes_below(&entry?.path())).sum()
}
