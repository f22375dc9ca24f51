//! Rate limits: the sync keeps below them, waits where it is told to, and gives no run up for it. The sync logic runs natively, with a clock
//! of its own that the server goes by too.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use serde_json::{Value, json};
use wandb_connector::error::Error;
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Options, Project, RateLimit, RequestKind, Run, Time, When, World,
};
use wandb_connector_tests::native::{HurriedExchange, Memory, sync_within};

const DIALECTS: [Dialect; 2] = [Dialect::Rest, Dialect::Graphql];
const SECOND: Duration = Duration::from_secs(1);

fn run(id: String, steps: i64) -> Run {
    let row = |step: i64| format!(r#"{{"_step":{step},"_timestamp":{},"loss":0.5}}"#, 1_750_000_000 + step);
    Run::new(id).with_history((0..steps).map(row))
}

fn serve(runs: impl IntoIterator<Item = Run>, rate_limit: Option<RateLimit>) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = Project::new(runs);
    LocalWandb::start_blocking(Options { rate_limit, ..Options::with_world(world) }).unwrap()
}

fn small_runs(count: usize) -> impl Iterator<Item = Run> {
    (0..count).map(|number| run(format!("run{number:03}"), 3))
}

fn config(server: &LocalWandb, dialect: Dialect) -> Value {
    let api = if dialect == Dialect::Rest { "rest" } else { "graphql" };
    json!({"api_key": server.api_key(), "base_url": server.base_url(), "entity": "acme", "project": "demo", "api": api})
}

fn assert_stored(memory: &Memory, server: &LocalWandb, dialect: Dialect) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stored.db");
    memory.stored().write_sqlite(&file).unwrap();
    let differences = compare_sqlite(&file, &server.truth(dialect, "acme", "demo")).unwrap();
    assert!(differences.is_empty(), "{:#?}", differences.first());
}

fn limit(requests: u32, seconds: u32, exchange: &HurriedExchange) -> Option<RateLimit> {
    Some(RateLimit { requests, window: SECOND * seconds, time: Time::Virtual(exchange.time.clone()) })
}

fn refused(server: &LocalWandb) -> usize {
    server.log().all().iter().filter(|request| request.status == Some(429)).count()
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn three_hundred_runs_behind_five_requests_a_second_come_whole_and_hardly_one_is_refused() {
    for dialect in DIALECTS {
        let exchange = HurriedExchange::default();
        let server = serve(small_runs(300), limit(5, 1, &exchange));
        let memory = Memory::new();
        let summary = sync_within(&memory, &config(&server, dialect), &exchange).await.unwrap();
        assert_eq!((summary.synced, summary.quarantined.len()), (300, 0), "{dialect:?}");
        assert_stored(&memory, &server, dialect);
        assert!(refused(&server) <= 5, "{dialect:?}: {} of {} refused", refused(&server), server.log().len());
        // Five a second is what the server gives; it is used.
        let needed = SECOND * (server.log().len() / 5) as u32;
        let took = exchange.time.now();
        assert!(took >= needed.saturating_sub(SECOND) && took < needed * 2, "{dialect:?}: {took:?} of {needed:?}");
    }
}

#[tokio::test]
async fn limits_of_any_size_are_kept_and_used() {
    for (requests, seconds) in [(1, 1), (2, 10), (50, 60), (200, 60), (3000, 60)] {
        let exchange = HurriedExchange::default();
        let server = serve(small_runs(120), limit(requests, seconds, &exchange));
        let summary = sync_within(&Memory::new(), &config(&server, Dialect::Graphql), &exchange).await.unwrap();
        assert_eq!((summary.synced, summary.quarantined.len()), (120, 0), "{requests}/{seconds}");
        let refused = refused(&server);
        assert!(refused <= 5, "{requests}/{seconds}: {refused} of {} refused", server.log().len());
        let needed = SECOND * seconds * (server.log().len() as u32).div_ceil(requests);
        assert!(exchange.time.now() <= needed * 2, "{requests}/{seconds}: {:?} of {needed:?}", exchange.time.now());
    }
}

#[tokio::test]
async fn a_wait_that_the_server_asks_for_is_none_of_the_five_retries() {
    let waits = [
        vec![header("ratelimit-remaining", "0"), header("ratelimit-reset", "40")],
        vec![header("retry-after", "40")],
        vec![header("retry-after", "1"), header("ratelimit-remaining", "0"), header("ratelimit-reset", "40")],
        vec![header("retry-after", "40"), header("ratelimit-remaining", "9"), header("ratelimit-reset", "0")],
    ];
    for headers in waits {
        for dialect in DIALECTS {
            let exchange = HurriedExchange::default();
            let server = serve(small_runs(4), None);
            let fault = Fault::Status(429, headers.clone(), String::new());
            server.fault(Matcher::history().run("run002").when(When::First(12)), fault);
            let memory = Memory::new();
            let summary = sync_within(&memory, &config(&server, dialect), &exchange).await.unwrap();
            assert_eq!((summary.synced, summary.quarantined), (4, vec![]), "{dialect:?} {headers:?}");
            assert_stored(&memory, &server, dialect);
            let took = exchange.time.now();
            assert!(took >= 12 * 40 * SECOND && took < 12 * 42 * SECOND, "{dialect:?} {headers:?}: {took:?}");
        }
    }
}

#[tokio::test]
async fn after_a_quarter_of_an_hour_without_one_success_the_sync_ends_as_rate_limited() {
    for dialect in DIALECTS {
        let exchange = HurriedExchange::default();
        let server = serve(small_runs(3), None);
        server.fault(Matcher::history(), Fault::rate_limited(Some("86400")));
        let memory = Memory::new();
        let error = sync_within(&memory, &config(&server, dialect), &exchange).await.unwrap_err();
        let Error::RateLimited { message, retry_after } = &error else { panic!("{dialect:?}: {error:?}") };
        assert!(message.contains("for 15 minutes") && *retry_after == Some(86_400 * SECOND), "{error:?}");
        let minutes = exchange.time.now().as_secs() / 60;
        assert!((15..=17).contains(&minutes), "{dialect:?}: {minutes} minutes");
        let wishes = memory.log_lines().iter().filter(|(_, line)| line.contains("asked for 86400s")).count();
        assert!(wishes > 0, "a longer wish is told");
    }
}

#[tokio::test]
async fn what_the_storage_host_refuses_slows_nothing_else() {
    let exchange = HurriedExchange::default();
    // The largest goes first.
    let large = std::iter::once(run("large".to_owned(), 6000));
    let server = serve(large.chain(small_runs(60)), None);
    server.fault(Matcher::kinds(&[RequestKind::Storage]), Fault::rate_limited(Some("50")));
    let memory = Memory::new();
    let config = config(&server, Dialect::Graphql);
    let summary = sync_within(&memory, &config, &exchange).await.unwrap();
    assert_eq!((summary.synced, summary.quarantined), (61, vec![]));
    assert_stored(&memory, &server, Dialect::Graphql);
    let requests = server.log().all();
    let are_small = |ids: &[String]| ids.iter().any(|id| id.starts_with("run"));
    let last_small = requests.iter().rposition(|request| are_small(&request.run_ids)).unwrap();
    let stored = |(_, request): &(usize, &wandb_connector_tests::local_wandb::LoggedRequest)| {
        request.kind == RequestKind::Storage
    };
    let (second_try, _) = requests.iter().enumerate().filter(stored).nth(1).unwrap();
    assert!(last_small < second_try, "request {last_small} of a small run waited for the storage host ({second_try})");
}

#[tokio::test]
async fn a_wait_of_no_time_is_no_wish_and_ends_after_five_retries() {
    let exchange = HurriedExchange::default();
    let server = serve(small_runs(12), None);
    let limited = Fault::Status(429, vec![header("retry-after", "0")], String::new());
    server.fault(Matcher::history().run("run003"), limited);
    let summary = sync_within(&Memory::new(), &config(&server, Dialect::Graphql), &exchange).await.unwrap();
    // Once each with eleven, five and two others, then five times alone.
    assert_eq!((summary.synced, summary.quarantined.len(), summary.retries), (11, 1, 8), "{summary:?}");
}

#[tokio::test]
async fn it_is_said_once_a_minute_that_requests_wait_for_the_limit() {
    let exchange = HurriedExchange::default();
    let server = serve(small_runs(60), limit(5, 60, &exchange));
    let memory = Memory::new();
    // By a dialect that asks for one run after the other.
    let summary = sync_within(&memory, &config(&server, Dialect::Rest), &exchange).await.unwrap();
    assert_eq!(summary.synced, 60);
    let said = memory.log_lines().iter().filter(|(_, message)| message.contains("requests wait for it")).count();
    let minutes = exchange.time.now().as_secs() as usize / 60;
    assert!((1..=minutes + 1).contains(&said), "{said} in {minutes} minutes");
}
