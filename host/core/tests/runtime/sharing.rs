//! Syncs that share a process: its pool of instances, and its threads.

use std::time::Duration;

use elt_host::{Cache, Connector, Engine, EngineOptions, Error, Limits};
use serde_json::json;

use crate::server::{Server, answer};
use crate::support::{Script, connector, guest};

fn pooled(instances: u32) -> Connector {
    let options = EngineOptions::default().pool(instances, 64 << 20);
    Connector::load(&Engine::new(&options).unwrap(), &guest(), &Cache::none()).unwrap()
}

#[tokio::test]
async fn an_instance_sees_nothing_of_what_was_in_its_memory_before() {
    // One place, so that every instance gets it.
    let connector = pooled(1);
    let pattern =
        |round: usize| format!("the pattern of round {round}, in every place").chars().rev().collect::<String>();
    for round in 1..4 {
        let steps = json!([["find", pattern(round - 1)], ["fill", 500, pattern(round)], ["find", pattern(round)]]);
        let run = Script::new(steps).run_in(&connector).await;
        assert_eq!((run.log()[0], run.log()[1], run.error().as_str()), ("found 0", "0 bytes were not zero", ""));
        let copies = run.log()[2].strip_prefix("found ").unwrap().parse::<usize>().unwrap();
        assert!(copies > 500_000, "the search finds what is there: {copies}");
    }
}

#[tokio::test]
async fn a_sync_waits_for_a_place_among_the_instances() {
    let connector = pooled(1);
    let run = || tokio::spawn(Script::new(json!([["sleep", 20], ["log", "done"]])).run_in_owned(connector.clone()));
    for run in [run(), run(), run()] {
        let run = run.await.unwrap();
        assert_eq!((run.log(), run.error().as_str()), (vec!["done"], ""));
    }
    // One that waits can be cancelled.
    let (holds, waits) =
        (Script::new(json!([["log", "holds"], ["sleep", 600_000]])), Script::new(json!([["log", "never"]])));
    let (end, cancel) = (holds.cancel.clone(), waits.cancel.clone());
    let holds = tokio::spawn(holds.run_in_owned(connector.clone()));
    let waits = tokio::spawn(waits.run_in_owned(connector.clone()));
    cancel.cancel();
    assert!(matches!(waits.await.unwrap().outcome.error, Some(Error::Interrupted)));
    end.cancel();
    assert!(matches!(holds.await.unwrap().outcome.error, Some(Error::Interrupted)));
}

#[tokio::test]
async fn a_limit_of_memory_above_that_of_the_pool_counts_as_the_pools() {
    let run = Script::new(json!([["memory"]])).limits(Limits::default().memory(1 << 30));
    let run = run.run_in(&pooled(1)).await;
    assert!(matches!(run.outcome.error, Some(Error::Limit { limit: "memory", .. })), "{}", run.error());
    assert!(run.error().contains(&(64_usize << 20).to_string()), "{}", run.error());
}

#[test]
fn guests_that_compute_share_one_thread_with_a_guest_that_waits_for_the_network() {
    // Compiled before it is timed.
    let connector = connector();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start(|_| answer("200 OK", "fine")).await;
        let spinners: Vec<_> = (0..3)
            .map(|_| Script::new(json!([["log", "spins"], ["spin", 20_000]])))
            .map(|script| (script.cancel.clone(), script.start_and_tell(connector.clone(), "spins")))
            .collect();
        // They compute, and the ordinary sync begins among them.
        let mut spinning = Vec::new();
        for (cancel, (spinner, spins)) in spinners {
            spins.await.unwrap();
            spinning.push((cancel, spinner));
        }
        let url = server.url();
        let round = [json!(["get", url]), json!(["rows", 0, 10]), json!(["checkpoint", {}]), json!(["sleep", 1])];
        let steps: Vec<_> = (0..10).flat_map(|_| round.clone()).collect();
        let ordinary = Script::new(json!(steps)).with("base_url", json!(url));
        let run = tokio::spawn(ordinary.run_in_owned(connector.clone())).await.unwrap();
        assert_eq!((run.log(), run.error().as_str(), run.contents.rows()), (vec!["200 fine"; 10], "", 100));
        for (cancel, spinner) in spinning {
            assert!(!spinner.is_finished(), "it computed all the while");
            cancel.cancel();
            let run = spinner.await.unwrap();
            assert!(matches!(run.outcome.error, Some(Error::Interrupted)), "{}", run.error());
            assert!(run.outcome.cpu_time > Duration::ZERO);
        }
    });
}
