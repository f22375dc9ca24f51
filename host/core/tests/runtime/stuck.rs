//! A destination that does not answer: the sync does not wait for it for ever, and its error says what is not known to be stored.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elt_host::{
    Connector, Destination, DestinationError, Error, Event, Group, HttpClient, Observer, Outcome, Policy, Preparation,
    State, SyncRequest, Waits,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{KEY, connector};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Prepare,
    Apply,
    Commit,
    Finish,
    Drop,
}

/// Gets stuck in one call, until the test is over.
struct Stuck {
    at: Call,
    /// Cancelled when it is stuck.
    tell: CancellationToken,
    until: Mutex<Receiver<()>>,
}

impl Stuck {
    fn call(&self, call: Call) {
        if call == self.at {
            self.tell.cancel();
            // The other end is dropped at the end of the test.
            let _ = self.until.lock().unwrap().recv();
        }
    }
}

impl Destination for Stuck {
    fn prepare(&mut self, _: Preparation) -> Result<State, DestinationError> {
        self.call(Call::Prepare);
        Ok(State::new())
    }

    fn apply(&mut self, _: Group) -> Result<(), DestinationError> {
        self.call(Call::Apply);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        self.call(Call::Commit);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.call(Call::Finish);
        Ok(())
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        Ok(State::new())
    }

    fn replace_state(&mut self, _: &State) -> Result<(), DestinationError> {
        Ok(())
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.call(Call::Drop);
    }
}

struct Deaf;

impl Observer for Deaf {
    fn event(&self, _: Event) {}
}

async fn request(connector: &Connector, config: Value) -> SyncRequest {
    SyncRequest::new(connector.spec().await.unwrap(), config.as_object().unwrap().clone())
}

/// A sync whose destination is stuck at `at`. It is cancelled then, or not at all and has little time. The sender frees the destination.
async fn sync(at: Call, cancelled: bool) -> (Outcome, Sender<()>) {
    let (free, until) = channel();
    let (tell, cancel) = (CancellationToken::new(), CancellationToken::new());
    let stuck = Stuck { at, tell: tell.clone(), until: Mutex::new(until) };
    let steps =
        json!([["rows", 0, 2], ["checkpoint", {"a": "1"}], ["rows", 2, 2], ["checkpoint", {"a": "2"}], ["rows", 4, 2]]);
    let config = json!({"api_key": KEY, "script": steps});
    let mut policy = Policy::default().destination_grace(Duration::from_millis(100));
    if cancelled {
        let cancel = cancel.clone();
        tokio::spawn(async move {
            tell.cancelled().await;
            cancel.cancel();
        });
    } else {
        policy.limits.wall_time = Duration::from_secs(1);
    }
    let (connector, client) = (connector(), HttpClient::default());
    let request = request(&connector, config).await.policy(policy);
    let sync = connector.sync(request, Box::new(stuck), &client, Arc::new(Deaf), &cancel);
    (tokio::time::timeout(Duration::from_secs(60), sync).await.expect("a sync ends in bounded time"), free)
}

#[tokio::test]
async fn a_stuck_destination_is_left_and_what_is_not_known_is_said() {
    let stored = "0 checkpoint(s) are stored for certain; whether";
    for (at, doing, known) in [
        (Call::Prepare, "being opened", "nothing of this sync is in it"),
        (Call::Apply, "being written to", stored),
        (Call::Commit, "committing", stored),
        (Call::Finish, "being closed", "3 checkpoint(s) are stored for certain, which is everything that came"),
        (Call::Drop, "being closed", "3 checkpoint(s) are stored for certain, which is everything that came"),
    ] {
        // With little time the guest may not get as far as that.
        let ways: &[bool] = if matches!(at, Call::Finish | Call::Drop) { &[true] } else { &[true, false] };
        for &cancelled in ways {
            let (outcome, free) = sync(at, cancelled).await;
            let Some(Error::Destination(why)) = &outcome.error else {
                panic!("{at:?} {cancelled}: {:?}", outcome.error)
            };
            assert!(why.contains(doing) && why.contains(known), "{at:?} {cancelled}: {why}");
            assert_eq!(outcome.checkpoints, if known.starts_with('3') { 3 } else { 0 }, "{at:?} {cancelled}");
            drop(free);
        }
    }
}

/// Nothing is left unsaid, or undone, where the destination takes its time and comes to an end after all.
#[tokio::test]
async fn a_destination_that_comes_to_its_end_within_its_grace_is_waited_for() {
    let (free, until) = channel();
    let cancel = CancellationToken::new();
    let stuck = Stuck { at: Call::Commit, tell: cancel.clone(), until: Mutex::new(until) };
    let config = json!({"api_key": KEY, "script": [["rows", 0, 2], ["checkpoint", {"a": "1"}], ["sleep", 600_000]]});
    let request = request(&connector(), config).await.policy(Policy::default().commit_after(Duration::ZERO));
    let after = cancel.clone();
    tokio::spawn(async move {
        after.cancelled().await;
        drop(free);
    });
    let outcome = connector().sync(request, Box::new(stuck), &HttpClient::default(), Arc::new(Deaf), &cancel).await;
    assert!(matches!(outcome.error, Some(Error::Interrupted)), "{:?}", outcome.error);
    assert_eq!((outcome.checkpoints, outcome.state["a"].as_str()), (1, "1"));
}

/// Waits for somebody who stays, until the sync has to end.
#[derive(Default)]
struct Patient {
    waits: Waits,
}

impl Destination for Patient {
    fn wait_with(&mut self, waits: Waits) {
        self.waits = waits;
    }

    fn prepare(&mut self, _: Preparation) -> Result<State, DestinationError> {
        Ok(State::new())
    }

    fn apply(&mut self, _: Group) -> Result<(), DestinationError> {
        self.waits.tell("a reader is in the way");
        while !self.waits.are_over() {
            std::thread::yield_now();
        }
        Err(DestinationError::Stopped("a reader was in the way to the end".into()))
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        Ok(())
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        Ok(State::new())
    }

    fn replace_state(&mut self, _: &State) -> Result<(), DestinationError> {
        Ok(())
    }
}

/// Cancels when it hears that somebody is in the way, if it has what to cancel, and keeps what it hears.
#[derive(Default)]
struct Listener {
    cancel: Option<CancellationToken>,
    lines: Mutex<Vec<String>>,
}

impl Observer for Listener {
    fn event(&self, event: Event) {
        if let Event::Log { message, .. } = event {
            if let Some(cancel) = self.cancel.as_ref().filter(|_| message == "a reader is in the way") {
                cancel.cancel();
            }
            self.lines.lock().unwrap().push(message);
        }
    }
}

#[tokio::test]
async fn a_destination_that_waits_for_others_ends_with_the_sync_which_is_the_cause_of_its_end() {
    // With the guest still there, and with one that has come to its end.
    for last in [json!(["sleep", 600_000]), json!(["checkpoint", {"a": "2"}])] {
        for cancelled in [true, false] {
            let cancel = CancellationToken::new();
            let config = json!({"api_key": KEY, "script": [["rows", 0, 2], ["checkpoint", {"a": "1"}], last]});
            let mut policy = Policy::default();
            if !cancelled {
                policy.limits.wall_time = Duration::from_secs(1);
            }
            let (request, patient) = (request(&connector(), config).await.policy(policy), Box::<Patient>::default());
            let observer = Arc::new(Listener { cancel: cancelled.then(|| cancel.clone()), ..Listener::default() });
            let outcome = connector().sync(request, patient, &HttpClient::default(), observer.clone(), &cancel).await;
            match outcome.error {
                Some(Error::Interrupted) if cancelled => {}
                Some(Error::Limit { limit: "wall_time", .. }) if !cancelled => {}
                other => panic!("{cancelled} {last}: {other:?}"),
            }
            let lines = observer.lines.lock().unwrap();
            assert!(lines.iter().any(|line| line == "a reader was in the way to the end"), "{lines:?}");
        }
    }
}
