//! The binary is ended at any moment of a sync (SIGKILL), runs out of room, or meets another sync: what it leaves is whole for every
//! reader, its state never claims what the tables lack, and the next sync goes on from there.
//!
//! Each kill comes at a moment drawn from a seed: the n-th request, line of output or step of writing, or a time, and a little later. A
//! failure names the seed. `WANDB_KILLS` sets the number of kills for each kind of destination and dialect, `WANDB_KILLS_SEED` the seed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod disk;
mod second_sync;
mod source;

use std::time::{Duration, Instant};

use serde_json::json;
use source::{ENTITY, PROJECT, Source};
use wandb_connector_tests::crash_oracle::{Ended, ExpectedWrites, Left, Running, Site, Storage};
use wandb_connector_tests::local_wandb::{Dialect, Random};

/// When a sync is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The server has seen so many of its requests.
    Requests(usize),
    /// It has written so many lines to standard error.
    Lines(usize),
    /// So many steps of writing were seen in the destination.
    Writes(usize),
    /// So long after its start.
    After(Duration),
}

/// How much there is of everything in a whole sync that nothing disturbs.
#[derive(Debug)]
struct Whole {
    requests: usize,
    lines: usize,
    writes: usize,
    time: Duration,
}

impl Moment {
    /// Somewhere in what is left of a sync.
    fn draw(random: &mut Random, whole: &Whole, left: f64) -> Self {
        let mut within = |most: usize| 1 + random.below((most as f64 * left).ceil() as usize);
        let (requests, lines, writes) = (within(whole.requests), within(whole.lines), within(whole.writes));
        match random.below(8) {
            0..=1 => Self::Requests(requests),
            2 => Self::Lines(lines),
            3..=6 => Self::Writes(writes),
            _ => Self::After(whole.time.mul_f64(random.unit() * left)),
        }
    }
}

/// Counts the steps of writing seen so far.
struct Writes {
    traces: u64,
    seen: usize,
}

impl Writes {
    fn from(site: &Site) -> Self {
        Self { traces: site.traces(), seen: 0 }
    }

    fn look(&mut self, site: &Site) -> usize {
        let traces = site.traces();
        self.seen += usize::from(std::mem::replace(&mut self.traces, traces) != traces);
        self.seen
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// One destination under one dialect, killed again and again.
struct Killing {
    source: Source,
    site: Site,
    expected_writes: ExpectedWrites,
    random: Random,
    /// How far into what is left of a sync the moments lie. It falls when a sync ends before its moment, and rises when a kill came before
    /// anything was stored, so that most kills come between the two.
    reach: f64,
    kills: u64,
    /// Kills that left something behind which was not there before.
    kills_after_a_commit: u64,
    finished: u64,
}

impl Killing {
    fn new(storage: Storage, dialect: Dialect, seed: u64) -> Self {
        let source = Source::start(dialect);
        let settings = json!({"concurrency": 2, "page_size": if dialect == Dialect::Rest { 20 } else { 7 }});
        let site = Site::new(&source.server, (ENTITY, PROJECT), (storage, dialect), &settings).unwrap();
        let expected_writes = ExpectedWrites::new(source.truth());
        Self {
            source,
            site,
            expected_writes,
            random: Random::new(seed),
            reach: 1.0,
            kills: 0,
            kills_after_a_commit: 0,
            finished: 0,
        }
    }

    /// A sync that nothing disturbs, to see how much there is of everything.
    fn measure(&mut self) -> Whole {
        let (began, mut writes) = (Instant::now(), Writes::from(&self.site));
        let mut sync = self.site.start().unwrap();
        sync.wait_until(|_| {
            writes.look(&self.site);
            false
        })
        .unwrap();
        let whole = Whole {
            requests: self.source.server.log().len(),
            lines: sync.lines(),
            writes: writes.seen,
            time: began.elapsed(),
        };
        self.finish(&sync.end().unwrap());
        whole
    }

    /// Starts a sync and kills it at that moment, unless it has ended before.
    fn kill_at(&mut self, moment: Moment, pause: Duration) -> Ended {
        let (began, mut writes) = (Instant::now(), Writes::from(&self.site));
        let mut sync = self.site.start().unwrap();
        let (site, log) = (&self.site, self.source.server.log());
        let came = |sync: &Running| match moment {
            Moment::Requests(n) => log.len() >= n,
            Moment::Lines(n) => sync.lines() >= n,
            Moment::Writes(n) => writes.look(site) >= n,
            Moment::After(time) => began.elapsed() >= time,
        };
        if sync.wait_until(came).unwrap() {
            // Between two events that can be seen there are moments that can't.
            std::thread::sleep(pause);
            sync.kill().unwrap();
        }
        sync.end().unwrap()
    }

    /// What a sync did not have to ask for again, it did not ask for.
    fn check_requests(&self, complete: &[String], partial: &[(String, i64)]) {
        let log = self.source.server.log();
        let again = self.source.asked_for(complete);
        assert!(again.is_empty(), "asked again for a run that is complete: {:?}", again[0]);
        if self.site.dialect == Dialect::Graphql {
            for read in log.history_reads() {
                let Some((_, below)) = partial.iter().find(|(id, _)| *id == read.run_id) else { continue };
                // The last row comes again, since it may have been incomplete.
                assert!(read.min_step >= Some(below - 1), "{read:?}, though all steps below {below} are stored");
            }
        }
    }

    /// A sync has ended by itself: everything is there.
    fn finish(&mut self, ended: &Ended) {
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        self.check();
        let complete = self.expected_writes.complete();
        let open: Vec<_> = self.source.ids().into_iter().filter(|id| !complete.contains(id.as_str())).collect();
        assert!(open.is_empty(), "the sync ended well, and these are not complete: {open:?}");
        self.finished += 1;
    }

    fn check(&mut self) {
        let left = Left::read(&self.site).unwrap_or_else(|error| panic!("{error:#}"));
        self.expected_writes.check(&left).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// The source changes, or the destination is begun anew.
    fn go_on(&mut self) {
        if self.random.below(3) == 0 {
            self.site.empty().unwrap();
            self.expected_writes.emptied();
        } else {
            self.source.change(&mut self.random);
            self.expected_writes.changed(self.source.truth());
        }
    }

    fn step(&mut self, whole: &Whole, told: &mut String) {
        let complete: Vec<String> = self.expected_writes.complete().into_iter().map(str::to_owned).collect();
        let partial: Vec<_> =
            self.expected_writes.partial().into_iter().map(|(id, below)| (id.to_owned(), below)).collect();
        let runs = self.source.ids().len();
        let left = 1.0 - complete.len() as f64 / runs as f64;
        let moment = Moment::draw(&mut self.random, whole, left.max(0.25) * self.reach);
        // The destination lags behind requests and lines; what it does itself is watched from close by.
        let most = if matches!(moment, Moment::Writes(_)) { whole.time / 100 } else { whole.time / 2 };
        let pause = most.mul_f64(self.random.unit());
        *told = format!("kill {}, at {moment:?} and {pause:?}, {} of {runs} runs complete", self.kills, complete.len());
        self.source.server.log().clear();
        let ended = self.kill_at(moment, pause);
        self.check_requests(&complete, &partial);
        if ended.code().is_some() {
            self.finish(&ended);
            self.reach = (self.reach * 0.8).max(0.3);
            return self.go_on();
        }
        self.kills += 1;
        self.check();
        let now = (self.expected_writes.complete().len(), self.expected_writes.partial().len());
        if now == (complete.len(), partial.len()) {
            self.reach = (self.reach * 1.3).min(6.0);
        } else {
            self.kills_after_a_commit += 1;
        }
    }
}

fn kill_again_and_again(storage: Storage, dialect: Dialect) {
    let (seed, kills) = (setting("WANDB_KILLS_SEED").unwrap_or(20), setting("WANDB_KILLS").unwrap_or(52));
    let mut killing = Killing::new(storage, dialect, seed);
    let mut told = "before the first kill".to_owned();
    let whole = killing.measure();
    killing.go_on();
    while killing.kills < kills {
        let step = std::panic::AssertUnwindSafe(|| killing.step(&whole, &mut told));
        if let Err(cause) = std::panic::catch_unwind(step) {
            eprintln!("{storage:?} {dialect:?}, seed {seed}: {told}");
            std::panic::resume_unwind(cause);
        }
    }
    let ended = killing.site.sync().unwrap();
    killing.finish(&ended);
    eprintln!(
        "{storage:?} {dialect:?}: {} kills, {} after a commit; {} syncs ended by themselves; of a whole sync: {whole:?}",
        killing.kills, killing.kills_after_a_commit, killing.finished
    );
    // Otherwise nothing was tried but the beginning.
    assert!(
        killing.kills_after_a_commit * 5 >= kills,
        "only {} of the kills came after a commit",
        killing.kills_after_a_commit
    );
}

#[test]
fn a_killed_sync_into_sqlite_by_graphql_goes_on_where_it_was() {
    kill_again_and_again(Storage::Sqlite, Dialect::Graphql);
}

#[test]
fn a_killed_sync_into_sqlite_by_rest_goes_on_where_it_was() {
    kill_again_and_again(Storage::Sqlite, Dialect::Rest);
}

#[test]
fn a_killed_sync_into_parquet_by_graphql_goes_on_where_it_was() {
    kill_again_and_again(Storage::Parquet, Dialect::Graphql);
}

#[test]
fn a_killed_sync_into_parquet_by_rest_goes_on_where_it_was() {
    kill_again_and_again(Storage::Parquet, Dialect::Rest);
}
