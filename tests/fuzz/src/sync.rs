//! A whole sync against a server that answers what it likes.

use wandb_connector::sync::state::{RUNS, RunEntry, State};

use crate::pages::config;
use crate::rows::Sink;
use crate::server::{Server, drive};

/// More requests than the answers of a short script can be worth.
const MOST_REQUESTS: usize = 96;

/// The first line names the dialect; then follow the server's answers, with `----` on a line between two. However they look, the sync
/// ends; what it emits are batches that a host takes, and what it remembers can be read.
pub fn sync(script: &[u8]) {
    let end = script.iter().position(|byte| *byte == b'\n').unwrap_or(script.len());
    let dialect = match script[..end].trim_ascii() {
        b"rest" => "rest",
        b"auto" => "auto",
        _ => "graphql",
    };
    let server = Server::scripted(script.get(end + 1..).unwrap_or_default(), MOST_REQUESTS);
    let (sink, config) = (Sink::default(), config(dialect));
    let result = drive(wandb_connector::sync::sync(&server, &sink, &config, State::new()));
    let result = result.expect("every question is answered");
    let state = sink.state();
    for id in state.keys().filter_map(|key| key.strip_prefix(RUNS)) {
        assert!(RunEntry::find(&state, id).is_some(), "{id:?}: {:?}", state.get(&format!("{RUNS}{id}")));
    }
    if let Ok(summary) = result {
        assert!(summary.synced + summary.unchanged + summary.quarantined.len() as u64 <= summary.seen);
        assert_eq!(summary.requests, server.asked() as u64);
    }
}
