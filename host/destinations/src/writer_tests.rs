//! The writer with a destination that says what it was asked to do.

use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::conformance::data::*;
use elt_host::test_support::writer::Writer;
use elt_host::test_support::writer::WriterOptions;
use elt_host::test_support::writer::WriterReport;
use elt_host::{Change, Destination, DestinationError, Group, Preparation, State, Waits};
use tokio::sync::Notify;

/// Tells that the destination of some test was asked to do something.
static CALLED: Notify = Notify::const_new();

/// What a test destination does, and what it has done.
#[derive(Clone)]
struct Script {
    log: Arc<Mutex<Vec<String>>>,
    /// The call with this number fails, counted from 0 over `apply` and `commit`.
    fail_at: Option<usize>,
    panic_at: Option<usize>,
    /// Each `apply` waits for a message.
    gate: Option<Arc<Mutex<Receiver<()>>>>,
    refuse: bool,
    calls: Arc<Mutex<usize>>,
    /// Groups whose `apply` was called, those that wait at the gate included.
    begun: Arc<Mutex<usize>>,
}

impl Script {
    fn new() -> Self {
        Self {
            log: Arc::default(),
            fail_at: None,
            panic_at: None,
            gate: None,
            refuse: false,
            calls: Arc::default(),
            begun: Arc::default(),
        }
    }

    fn gated() -> (Self, Sender<()>) {
        let (open, gate) = channel();
        (Self { gate: Some(Arc::new(Mutex::new(gate))), ..Self::new() }, open)
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn call(&self, what: String) -> Result<(), DestinationError> {
        let mut calls = self.calls.lock().unwrap();
        let number = *calls;
        *calls += 1;
        drop(calls);
        assert!(self.panic_at != Some(number), "as scripted");
        if self.fail_at == Some(number) {
            return Err(DestinationError::Failed("the disk is full".to_owned()));
        }
        self.note(what);
        Ok(())
    }

    fn note(&self, what: String) {
        self.log.lock().unwrap().push(what);
        CALLED.notify_waiters();
    }

    fn begun(&self) -> usize {
        *self.begun.lock().unwrap()
    }
}

impl Destination for Script {
    fn prepare(&mut self, _: Preparation) -> Result<State, DestinationError> {
        if self.refuse {
            return Err(DestinationError::Refused("not ours".to_owned()));
        }
        Ok(State::from([("old".to_owned(), "1".to_owned())]))
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        *self.begun.lock().unwrap() += 1;
        CALLED.notify_waiters();
        if let Some(gate) = &self.gate {
            let _ = gate.lock().unwrap().recv();
        }
        self.call(group.patch[0].0.clone())
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        self.call("commit".to_owned())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.note("finish".to_owned());
        Ok(())
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        Ok(State::new())
    }

    fn replace_state(&mut self, _: &State) -> Result<(), DestinationError> {
        Ok(())
    }
}

fn options() -> WriterOptions {
    WriterOptions {
        waits: Waits::default(),
        queue_bytes: 1 << 20,
        commit_rows: 1_000_000,
        commit_bytes: usize::MAX,
        commit_after: Duration::from_secs(3600),
        ..WriterOptions::default()
    }
}

/// A group of `rows` rows whose patch sets `name`.
fn group(name: &str, rows: i64) -> Group {
    let rows: Vec<_> = (0..rows).map(|step| metric("r", step, "loss", 0.0)).collect();
    let keys = [vec!["r".into()], vec!["s".into()]];
    Group {
        changes: vec![delete(1, &metrics(), &keys), upsert(1, &metrics(), &rows, true)],
        patch: vec![(name.to_owned(), Some("1".to_owned())), ("old".to_owned(), None)],
    }
}

fn start(script: &Script, options: WriterOptions) -> Writer {
    Writer::start(Box::new(script.clone()), preparation(&[runs(), metrics()]), options).0
}

/// Waits until something holds, since the writer works beside the test.
async fn eventually(what: impl Fn() -> bool) -> bool {
    let so = async {
        loop {
            let mut called = pin!(CALLED.notified());
            called.as_mut().enable();
            if what() {
                return;
            }
            called.await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), so).await.is_ok()
}

#[tokio::test]
async fn groups_are_written_in_order_and_committed_and_finished_at_the_end() {
    let script = Script::new();
    let (writer, prepared) = Writer::start(Box::new(script.clone()), preparation(&[runs(), metrics()]), options());
    assert_eq!(prepared.await.unwrap().unwrap().state, State::from([("old".to_owned(), "1".to_owned())]));
    for name in ["a", "b", "c"] {
        writer.send(group(name, 3)).await.unwrap();
    }
    let (report, result) = writer.close().await;
    result.unwrap();
    assert_eq!(script.log(), ["a", "b", "c", "commit", "finish"]);
    assert_eq!((report.rows["metrics"], report.deletes["metrics"], report.checkpoints), (9, 6, 3));
    assert_eq!(report.state.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_transaction_is_committed_when_it_has_rows_enough() {
    let script = Script::new();
    let reports: Arc<Mutex<Vec<WriterReport>>> = Arc::default();
    let seen = reports.clone();
    let on_commit = Box::new(move |report: &WriterReport| seen.lock().unwrap().push(report.clone()));
    let writer = start(&script, WriterOptions { commit_rows: 10, on_commit, ..options() });
    for name in ["a", "b", "c"] {
        writer.send(group(name, 5)).await.unwrap();
    }
    writer.close().await.1.unwrap();
    assert_eq!(script.log(), ["a", "b", "commit", "c", "commit", "finish"]);
    let rows: Vec<u64> = reports.lock().unwrap().iter().map(|report| report.rows["metrics"]).collect();
    assert_eq!(rows, [10, 15]);
}

#[tokio::test]
async fn a_transaction_is_committed_when_it_is_old_enough_although_nothing_more_comes() {
    let script = Script::new();
    let writer = start(&script, WriterOptions { commit_after: Duration::from_millis(20), ..options() });
    writer.send(group("a", 1)).await.unwrap();
    assert!(eventually(|| script.log() == ["a", "commit"]).await, "{:?}", script.log());
    writer.send(group("b", 1)).await.unwrap();
    writer.close().await.1.unwrap();
    assert_eq!(script.log(), ["a", "commit", "b", "commit", "finish"]);
}

#[tokio::test]
async fn a_sender_waits_while_the_queue_is_full_and_a_group_larger_than_the_queue_passes_alone() {
    let (script, open) = Script::gated();
    let bytes = group("a", 100).bytes();
    let writer = start(&script, WriterOptions { queue_bytes: bytes * 2 + bytes / 2, ..options() });
    writer.send(group("a", 100)).await.unwrap();
    writer.send(group("b", 100)).await.unwrap();
    let third = tokio::time::timeout(Duration::from_millis(50), writer.send(group("c", 100))).await;
    assert!(third.is_err(), "there was no room");
    open.send(()).unwrap();
    writer.send(group("c", 100)).await.unwrap();
    drop(open);
    writer.send(group("large", 10_000)).await.unwrap();
    writer.close().await.1.unwrap();
    assert_eq!(script.log(), ["a", "b", "c", "large", "commit", "finish"]);
}

/// A group without rows, whose patch has a value of so many bytes.
fn patch(name: &str, bytes: usize) -> Group {
    Group { changes: Vec::new(), patch: vec![(name.to_owned(), Some("x".repeat(bytes)))] }
}

#[tokio::test]
async fn a_transaction_is_committed_when_it_has_bytes_enough_although_it_has_no_rows() {
    let script = Script::new();
    let writer = start(&script, WriterOptions { commit_bytes: 2 * patch("a", 1000).bytes(), ..options() });
    for name in ["a", "b", "c"] {
        writer.send(patch(name, 1000)).await.unwrap();
    }
    writer.close().await.1.unwrap();
    assert_eq!(script.log(), ["a", "b", "commit", "c", "commit", "finish"]);
}

#[tokio::test]
async fn the_last_word_about_a_key_counts_within_a_transaction() {
    let writer = start(&Script::new(), options());
    let set = |key: &str, value: Option<&str>| vec![(key.to_owned(), value.map(str::to_owned))];
    for patch in [set("a", Some("1")), set("b", Some("1")), set("a", Some("2")), set("b", None), set("old", Some("2"))]
    {
        writer.send(Group { changes: Vec::new(), patch }).await.unwrap();
    }
    let (report, result) = writer.close().await;
    result.unwrap();
    assert_eq!(report.checkpoints, 5);
    assert_eq!(report.state, State::from([("a".to_owned(), "2".to_owned()), ("old".to_owned(), "2".to_owned())]));
}

#[tokio::test]
async fn a_sender_of_state_waits_as_one_of_rows_does() {
    let (script, open) = Script::gated();
    let writer = start(&script, WriterOptions { queue_bytes: 16 << 10, ..options() });
    writer.send(patch("a", 10 << 10)).await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(50), writer.send(patch("b", 10 << 10))).await;
    assert!(second.is_err(), "there was no room");
    open.send(()).unwrap();
    writer.send(patch("b", 10 << 10)).await.unwrap();
    drop(open);
    writer.close().await.1.unwrap();
    assert_eq!(script.log(), ["a", "b", "commit", "finish"]);
}

#[tokio::test]
async fn a_destination_that_is_stuck_is_given_up_with_what_is_known() {
    let (script, open) = Script::gated();
    let writer = start(&script, WriterOptions { commit_rows: 1, ..options() });
    open.send(()).unwrap();
    writer.send(group("a", 1)).await.unwrap();
    assert!(eventually(|| script.log() == ["a", "commit"]).await, "{:?}", script.log());
    writer.send(group("b", 1)).await.unwrap();
    let (report, result) = writer.close_unless(async { assert!(eventually(|| script.begun() == 2).await) }).await;
    let Err(DestinationError::Failed(why)) = result else { panic!("{result:?}") };
    assert!(why.contains("being written to") && why.contains("1 checkpoint(s) are stored for certain"), "{why}");
    assert_eq!((report.checkpoints, report.rows["metrics"]), (1, 1));
    // It goes on by itself when it can.
    drop(open);
    assert!(eventually(|| script.log() == ["a", "commit", "b", "commit", "finish"]).await, "{:?}", script.log());
}

#[tokio::test]
async fn after_a_failure_every_sender_gets_it_also_those_that_wait_and_only_commits_count() {
    for (fail_at, failed_in) in [(2, "apply"), (3, "commit")] {
        let (script, open) = Script::gated();
        let script = Script { fail_at: Some(fail_at), ..script };
        let bytes = group("a", 100).bytes();
        let writer = start(&script, WriterOptions { queue_bytes: bytes + 1, commit_rows: 1, ..options() });
        open.send(()).unwrap();
        open.send(()).unwrap();
        let mut failure = None;
        for name in ["a", "b", "c", "d", "e"] {
            if let Err(error) = writer.send(group(name, 100)).await {
                failure = Some(error);
                break;
            }
        }
        assert!(matches!(&failure, Some(DestinationError::Failed(why)) if why == "the disk is full"), "{failure:?}");
        let (report, result) = writer.close().await;
        assert!(matches!(result, Err(DestinationError::Failed(why)) if why == "the disk is full"));
        assert_eq!(script.log()[..2], ["a", "commit"], "failed in {failed_in}");
        assert_eq!((report.rows["metrics"], report.checkpoints), (100, 1));
        assert_eq!(report.state.keys().collect::<Vec<_>>(), ["a"]);
        assert!(!script.log().contains(&"finish".to_owned()));
    }
}

#[tokio::test]
async fn a_destination_that_refuses_says_so_at_the_start_and_at_the_end() {
    let script = Script { refuse: true, ..Script::new() };
    let (writer, prepared) = Writer::start(Box::new(script), preparation(&[metrics()]), options());
    assert!(matches!(prepared.await.unwrap(), Err(DestinationError::Refused(why)) if why == "not ours"));
    let (report, result) = writer.close().await;
    assert!(matches!(result, Err(DestinationError::Refused(why)) if why == "not ours"));
    assert_eq!(report.checkpoints, 0);
}

#[tokio::test]
async fn a_destination_that_panics_ends_the_sync_with_an_error_and_nobody_hangs() {
    let script = Script { panic_at: Some(0), ..Script::new() };
    let writer = start(&script, WriterOptions { queue_bytes: 1, ..options() });
    let mut failed = false;
    for _ in 0..3 {
        failed |= writer.send(group("a", 100)).await.is_err();
    }
    assert!(failed);
    assert!(matches!(writer.close().await.1, Err(DestinationError::Failed(_))));
}

#[tokio::test]
async fn a_writer_that_is_dropped_still_stores_the_groups_it_was_given() {
    let script = Script::new();
    let writer = start(&script, options());
    writer.send(group("a", 1)).await.unwrap();
    drop(writer);
    assert!(eventually(|| script.log() == ["a", "commit", "finish"]).await, "{:?}", script.log());
}

/// With one thread that may block for all of them, writers that kept it would wait for each other.
#[test]
fn a_writer_holds_no_thread_while_nothing_is_to_be_written() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let scripts: Vec<Script> = (0..8).map(|_| Script::new()).collect();
        let writers: Vec<Writer> = scripts.iter().map(|script| start(script, options())).collect();
        for name in ["a", "b"] {
            for (writer, script) in writers.iter().zip(&scripts) {
                writer.send(group(name, 3)).await.unwrap();
                assert!(
                    eventually(|| script.log().last().is_some_and(|last| last == name)).await,
                    "{:?}",
                    script.log()
                );
            }
        }
        for (writer, script) in writers.into_iter().zip(&scripts) {
            writer.close().await.1.unwrap();
            assert_eq!(script.log(), ["a", "b", "commit", "finish"]);
        }
    });
}

/// Notes when it was let go of.
struct Locked(Script);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.log.lock().unwrap().push("let go".to_owned());
    }
}

impl Destination for Locked {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        self.0.prepare(preparation)
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        self.0.apply(group)
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        self.0.commit()
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.0.finish()
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        self.0.state()
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        self.0.replace_state(state)
    }
}

#[tokio::test]
async fn the_destination_is_let_go_of_before_anyone_hears_of_the_end() {
    for script in
        [Script::new(), Script { fail_at: Some(0), ..Script::new() }, Script { refuse: true, ..Script::new() }]
    {
        let (writer, _) = Writer::start(Box::new(Locked(script.clone())), preparation(&[runs(), metrics()]), options());
        // Refused or not.
        let _ = writer.send(group("a", 1)).await;
        drop(writer.close().await);
        assert_eq!(script.log().last().map(String::as_str), Some("let go"), "{:?}", script.log());
    }
}

#[test]
fn a_thread_is_given_back_with_a_commit_although_more_is_queued() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let ((script, open), other) = (Script::gated(), Script::new());
        let busy = start(&script, WriterOptions { commit_rows: 1, ..options() });
        let waiting = start(&other, options());
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        for name in &names {
            busy.send(group(name, 1)).await.unwrap();
        }
        waiting.send(group("x", 1)).await.unwrap();
        // One group after the other, since the one that waits may ask for the thread a little later than the one that works.
        for written in 1..=names.len() {
            open.send(()).unwrap();
            assert!(
                eventually(|| script.log().len() == 2 * written || other.log() == ["x"]).await,
                "{:?}",
                script.log()
            );
            if other.log() == ["x"] {
                break;
            }
        }
        assert!(script.log().len() < 2 * names.len(), "the thread was kept to the end");
        assert!(eventually(|| other.log() == ["x"]).await, "{:?}", other.log());
        drop(open);
        busy.close().await.1.unwrap();
        waiting.close().await.1.unwrap();
        let order: Vec<&str> = names.iter().flat_map(|name| [name, "commit"]).chain(["finish"]).collect();
        assert_eq!(script.log(), order);
    });
}

#[test]
fn changes_name_their_table_and_rows() {
    let group = group("a", 2);
    assert!(group.changes.iter().all(|change| Change::table(change) == 1 && change.batch().num_rows() == 2));
    assert!(group.bytes() > 0);
}
