//! Every limit, hit.

use std::collections::BTreeSet;
use std::time::Duration;

use elt_host::{Error, Limits};
use serde_json::{Value, json};

use crate::server::{Part, Server, answer, gzipped};
use crate::support::{Run, Script, client_that_waits};

/// What reaching a limit does.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// Ends the sync, with an error that names the limit.
    Ends,
    /// Refuses or delays one thing; the log names the limit, and the sync goes through.
    Tells,
    /// Cuts a line, which shows it.
    Cuts,
}

struct Case {
    limit: &'static str,
    limits: Limits,
    steps: Value,
    effect: Effect,
}

/// A case for each limit.
macro_rules! cases {
    ($($limit:ident = $value:expr, $effect:ident: $steps:expr;)*) => {{
        vec![$(Case {
            limit: stringify!($limit),
            limits: Limits::default().$limit($value),
            steps: $steps,
            effect: Effect::$effect,
        }),*]
    }};
}

fn cases(url: &str) -> Vec<Case> {
    let (get, get_large) = (json!(["get", url]), json!(["get", format!("{url}/large")]));
    let log = json!(["log", "a line that is not short"]);
    cases! {
        memory = 32 << 20, Ends: json!([["memory"]]);
        wall_time = Duration::from_secs(1), Ends: json!([["sleep", 1_000_000_000]]);
        cpu_time = Duration::from_millis(200), Ends: json!([["loop"]]);
        handles = 10, Ends: json!([["timers", 11]]);
        header_bytes = 1 << 10, Ends: json!([["headers", 2, 1 << 10]]);
        open_requests = 4, Tells: json!([["open-and-read", url, 12]]);
        requests = 3, Ends: json!([get, get, get, get]);
        requests_per_minute = 600, Tells: json!(vec![get; 12]);
        bytes_in = 50_000, Ends: json!([get_large]);
        bytes_out = 50_000, Ends: json!([["post", url, {}, null, 100_000]]);
        response_bytes = 50_000, Tells: json!([get_large]);
        batch_bytes = 4 << 10, Ends: json!([["rows", 0, 10_000]]);
        group_bytes = 64 << 10, Ends: json!([["rows-forever", 1]]);
        rows = 5, Ends: json!([["rows", 0, 5], ["rows", 5, 1]]);
        state_bytes = 100, Ends: json!([["checkpoint", {"k": "x".repeat(100)}]]);
        log_lines = 2, Tells: json!([log, log, log]);
        log_line_bytes = 10, Cuts: json!([log]);
    }
}

async fn server() -> Server {
    Server::start(|path| match path {
        "/large" => answer("200 OK", &"x".repeat(100_000)),
        _ => answer("200 OK", "fine"),
    })
    .await
}

async fn run(server: &Server, steps: Value, limits: Limits) -> Run {
    let script = Script::new(steps).with("base_url", json!(server.url())).limits(limits);
    tokio::time::timeout(Duration::from_secs(60), script.run()).await.expect("a limit ends it")
}

#[tokio::test]
async fn every_limit_is_enforced_and_says_so_by_its_name() {
    let server = server().await;
    let mut missed = Vec::new();
    // By serialising, since that names every field.
    let every = serde_json::to_value(Limits::default()).unwrap();
    let every: BTreeSet<_> = every.as_object().unwrap().keys().map(|name| name.trim_end_matches("_seconds")).collect();
    let cases = cases(&server.url());
    assert_eq!(cases.iter().map(|case| case.limit).collect::<BTreeSet<_>>(), every);
    for Case { limit, limits, steps, effect } in cases {
        let script = Script::new(steps).with("base_url", json!(server.url())).limits(limits);
        let Ok(run) = tokio::time::timeout(Duration::from_secs(20), script.run()).await else {
            missed.push(format!("{limit}: nothing happens"));
            continue;
        };
        let (log, error, name) = (run.log(), run.error(), format!("`{limit}`"));
        let seen = match effect {
            Effect::Ends => {
                let named =
                    matches!(&run.outcome.error, Some(Error::Limit { limit: reached, .. }) if *reached == limit);
                named && error.contains(&name)
            }
            Effect::Tells => error.is_empty() && log.iter().any(|line| line.contains(&name)),
            Effect::Cuts => error.is_empty() && log == ["a line tha… (cut)"],
        };
        if !seen {
            missed.push(format!("{limit}: {error:?} {log:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[tokio::test]
async fn a_total_may_be_used_up_and_what_is_too_much_is_not_sent() {
    let server = server().await;
    let get = json!(["get", server.url()]);
    let three = Limits::default().requests(3);
    let whole = run(&server, json!([get, get, get]), three.clone()).await;
    assert_eq!((whole.error().as_str(), whole.outcome.requests), ("", 3));
    let ended = run(&server, json!([get, get, get, get, get]), three).await;
    assert_eq!((ended.outcome.requests, server.requests().len()), (3, 6));
    assert_eq!(ended.log().iter().filter(|line| line.starts_with("200")).count(), 3);
}

#[tokio::test]
async fn requests_that_are_too_many_for_a_minute_wait_and_all_are_sent() {
    let server = server().await;
    let limits = Limits::default().requests_per_minute(600);
    let run = run(&server, json!(vec![json!(["get", server.url()]); 12]), limits).await;
    assert_eq!(run.log().iter().filter(|line| **line == "200 fine").count(), 12);
    assert_eq!(run.log().iter().filter(|line| line.contains("requests_per_minute")).count(), 1);
    // The first ten may come at once.
    assert!(run.outcome.elapsed >= Duration::from_millis(200), "{:?}", run.outcome.elapsed);
}

#[tokio::test]
async fn requests_wait_while_too_many_are_under_way_and_all_are_answered() {
    let server = server().await;
    let limits = Limits::default().open_requests(3);
    let run = run(&server, json!([["open-and-read", server.url(), 40]]), limits).await;
    assert_eq!(run.error(), "");
    assert_eq!(run.log().iter().filter(|line| **line == "200 fine").count(), 40);
    assert_eq!(run.log().iter().filter(|line| line.contains("`open_requests`")).count(), 1);
}

#[tokio::test]
async fn a_guest_that_reads_nothing_and_asks_for_more_is_not_waited_for_without_end() {
    let server = server().await;
    let mut script = Script::new(json!([["open", server.url(), 30]]));
    script = script.with("base_url", json!(server.url())).limits(Limits::default().open_requests(20));
    script.client = client_that_waits(Duration::from_millis(300));
    let run = tokio::time::timeout(Duration::from_secs(60), script.run()).await.expect("the wait is bounded");
    assert!(matches!(run.outcome.error, Some(Error::Limit { limit: "open_requests", .. })), "{}", run.error());
    assert_eq!(server.requests().len(), 20);
}

#[tokio::test]
async fn decompressing_counts_as_computing() {
    // The guest reads none of it: all that it takes is what the host does.
    let bomb = gzipped(&vec![0; 512 << 20]);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
    let bytes = [head.into_bytes(), bomb].concat();
    let server = Server::start(move |_| vec![Part::Bytes(bytes.clone())]).await;
    let limits = Limits::default().cpu_time(Duration::from_millis(100));
    let run = run(&server, json!([["skip", server.url()]]), limits).await;
    assert!(
        matches!(run.outcome.error, Some(Error::Limit { limit: "cpu_time", .. })),
        "{} {:?}",
        run.error(),
        run.log()
    );
}

#[tokio::test]
async fn an_outcome_tells_what_was_used() {
    let server = server().await;
    let url = server.url();
    let steps = json!([
        ["get", format!("{url}/large"), {"x-a": "b"}],
        ["throttled", 1500],
        ["throttled", 500],
        ["fill", 100, "x"],
        ["spin", 50],
    ]);
    let outcome = run(&server, steps, Limits::default()).await.outcome;
    assert_eq!(outcome.bytes_in, 100_000 + "content-length: 100000\r\n".len() as u64);
    assert_eq!(outcome.bytes_out, format!("GET{url}/largex-a: b\r\n").len() as u64);
    assert_eq!(outcome.throttled, Duration::from_secs(2));
    assert!(outcome.memory >= 100 << 16 && outcome.memory < 64 << 20, "{}", outcome.memory);
    // How much of the 50 ms the guest had a processor is not certain on a busy machine.
    assert!(outcome.cpu_time >= Duration::from_millis(1) && outcome.cpu_time <= outcome.elapsed, "{outcome:?}");
}

#[tokio::test]
async fn waits_that_a_guest_makes_up_do_no_harm() {
    let server = server().await;
    let run = run(&server, json!([["throttled", u64::MAX], ["throttled", u64::MAX]]), Limits::default()).await;
    assert_eq!((run.error().as_str(), run.outcome.throttled), ("", Duration::from_millis(u64::MAX)));
}
