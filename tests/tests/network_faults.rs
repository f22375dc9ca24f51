//! The network at its worst, on the way from the built component through the host into SQLite: connections that are refused, reset,
//! stalled, dripping or closed too early, names that are not found, and answers that lie about themselves. Nothing is lost, nothing
//! is doubled: what passes is ridden out in the same sync, what lasts ends as the error that it is, and the next sync completes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elt_host::test_support::network::Boxed;
use elt_host::test_support::network::HttpOptions;
use elt_host::test_support::network::Resolve;
use elt_host::test_support::network::Timeouts;
use elt_host::{Error, HttpClient};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use serde_json::{Value, json};
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Options, ParquetOptions, Project, Run, When, World,
};
use wandb_connector_tests::native::{Memory, sync_into};
use wandb_connector_tests::product::{Workspace, assert_ok, assert_stored};
use wandb_connector_tests::wire::{Exchange, Framing, Step, Wire};

const BOTH: [Dialect; 2] = [Dialect::Rest, Dialect::Graphql];

fn row(step: i64) -> String {
    format!(r#"{{"_step":{step},"_timestamp":{},"loss":{step}.5,"note":"step {step} é"}}"#, 1_750_000_000 + step)
}

fn serve_runs(runs: impl IntoIterator<Item = Run>, parquet: ParquetOptions) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = Project::new(runs);
    LocalWandb::start_blocking(Options { parquet, ..Options::with_world(world) }).unwrap()
}

/// Four runs, none large enough for an exported file.
fn serve() -> LocalWandb {
    serve_runs(
        (0..4).map(|n| Run::new(format!("run{n}")).with_history((0..40 * n).map(row))),
        ParquetOptions::default(),
    )
}

fn workspace(server: &LocalWandb, dialect: Dialect) -> Workspace {
    Workspace::new(server, dialect, "acme", "demo").with("page_size", 60).with("concurrency", 2)
}

/// Waits that a test can wait for.
fn impatient() -> HttpClient {
    let short = Duration::from_millis(400);
    let longest = Timeouts { connect: Duration::from_secs(5), first_byte: short, between_bytes: short };
    HttpClient::new(HttpOptions { longest, ..HttpOptions::default() })
}

/// Every position worth cutting at: the whole head's beginning and end, the end of the body, and many between.
fn positions(bytes: usize) -> impl Iterator<Item = usize> {
    (0..bytes).filter(move |at| *at < 20 || bytes - *at <= 24 || at % 13 == 0)
}

fn native_config(wire: &Wire, server: &LocalWandb, dialect: Dialect) -> Value {
    let api = if dialect == Dialect::Rest { "rest" } else { "graphql" };
    json!({"api_key": server.api_key(), "base_url": wire.base_url(), "entity": "acme", "project": "demo", "api": api})
}

/// Cuts the first answer to a request that holds `part`, at one position after the other, and syncs each time. Returns how many cuts
/// were made.
async fn sweep(server: &LocalWandb, dialect: Dialect, part: &'static str, framing: Framing, every: usize) -> usize {
    let wire = Wire::to(server).unwrap();
    let config = native_config(&wire, server, dialect);
    let length = Arc::new(AtomicUsize::new(0));
    let seen = length.clone();
    wire.play(move |exchange| {
        if exchange.request.contains(part) {
            seen.fetch_max(exchange.bytes(framing).len(), Ordering::SeqCst);
        }
        exchange.whole()
    });
    let truth = Memory::new();
    sync_into(&truth, &config).await.unwrap();
    let length = length.load(Ordering::SeqCst);
    assert!(length > 200, "{part} was not asked for");
    let mut cuts = 0;
    for at in positions(length).step_by(every) {
        let done = Arc::new(AtomicBool::new(false));
        let fired = done.clone();
        wire.play(move |exchange| {
            if !exchange.request.contains(part) || fired.swap(true, Ordering::SeqCst) {
                return exchange.whole();
            }
            exchange.cut(framing, at, if at % 2 == 0 { Step::Reset } else { Step::End })
        });
        let what = format!("{dialect:?} {part} {framing:?} cut at {at} of {length}");
        let memory = Memory::new();
        let summary = sync_into(&memory, &config).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert!(done.load(Ordering::SeqCst), "{what}: never asked");
        assert_eq!((summary.quarantined, summary.retries), (vec![], 1), "{what}");
        assert!(memory.stored().tables == truth.stored().tables, "{what}: other rows");
        cuts += 1;
    }
    cuts
}

#[tokio::test]
async fn an_answer_that_breaks_off_at_any_byte_is_asked_for_again() {
    let server = serve_runs([Run::new("a").with_history((0..60).map(row))], ParquetOptions::default());
    let kinds = [
        (Dialect::Rest, "/projects/acme/demo/runs"),
        (Dialect::Rest, "/history"),
        (Dialect::Graphql, "query Runs("),
        (Dialect::Graphql, "query RunAndHistory("),
    ];
    for (dialect, part) in kinds {
        for framing in [Framing::Length, Framing::Chunked(50), Framing::UntilClose] {
            let cuts = sweep(&server, dialect, part, framing, 1).await;
            assert!(cuts > 50, "{part} {framing:?}: {cuts}");
        }
    }
}

#[tokio::test]
async fn an_exported_file_that_breaks_off_at_any_byte_is_asked_for_again() {
    let small = |step: i64| format!(r#"{{"_step":{step},"loss":{step}}}"#);
    let run = Run::new("long").with_history((0..5_200).map(small));
    let server = serve_runs([run], ParquetOptions { rows_per_file: 10_000, ..ParquetOptions::default() });
    for framing in [Framing::Length, Framing::Chunked(5_000)] {
        assert!(sweep(&server, Dialect::Graphql, "/_storage/", framing, 60).await > 10);
    }
}

/// What is broken on the wire, for the first answer to a listing and to a history.
type Break = fn(&Exchange) -> Vec<Step>;

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_on_the_wire_is_ridden_out() {
    let breaks: [(&str, Break); 12] = [
        ("reset in the head", |it| it.cut(Framing::Length, 9, Step::Reset)),
        ("end in the head", |it| it.cut(Framing::Length, 30, Step::End)),
        ("reset between two chunks", |it| {
            let at =
                it.bytes(Framing::Chunked(100)).windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4 + 4 + 100 + 2;
            it.cut(Framing::Chunked(100), at, Step::Reset)
        }),
        ("end before the last chunk", |it| {
            let length = it.bytes(Framing::Chunked(100)).len();
            it.cut(Framing::Chunked(100), length - 5, Step::End)
        }),
        ("end before the last byte", |it| {
            let length = it.bytes(Framing::Length).len();
            it.cut(Framing::Length, length - 1, Step::End)
        }),
        ("an end that nothing told of", |it| {
            let length = it.bytes(Framing::UntilClose).len();
            it.cut(Framing::UntilClose, length - 3, Step::End)
        }),
        ("a length that is too long", |it| {
            let more = it.with_body([it.body.to_vec(), vec![b' '; 50]].concat()).bytes(Framing::Length);
            vec![Step::Send(more.slice(..more.len() - 50)), Step::End]
        }),
        ("a length that is too short", |it| {
            // What is left over lies in wait for the next request on the connection.
            let short = it.with_body(it.body.slice(..it.body.len() - 7)).bytes(Framing::Length);
            vec![Step::Send([short, it.body.slice(it.body.len() - 7..)].concat().into())]
        }),
        ("a stall before the first byte", |_| vec![Step::Wait(Duration::from_secs(600))]),
        ("a stall in the head", |it| {
            vec![Step::Send(it.bytes(Framing::Length).slice(..20)), Step::Wait(Duration::from_secs(600))]
        }),
        ("a stall between two bytes of the body", |it| {
            let bytes = it.bytes(Framing::Length);
            vec![Step::Send(bytes.slice(..bytes.len() - 9)), Step::Wait(Duration::from_secs(600))]
        }),
        ("gzip that was damaged", |it| {
            let mut damaged = it.body.to_vec();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0x55;
            damaged.truncate(damaged.len() - 1);
            it.with_body(damaged).whole()
        }),
    ];
    let cases = BOTH.into_iter().flat_map(|dialect| breaks.map(|(name, broken)| (dialect, name, broken)));
    let checks = cases.map(|(dialect, name, broken)| async move {
        let server = serve();
        let wire = Wire::to(&server).unwrap();
        let (listing, history) = (AtomicBool::new(false), AtomicBool::new(false));
        wire.play(move |exchange| {
            let asked = |parts: &[&str]| parts.iter().any(|part| exchange.request.contains(part));
            let first = match (asked(&["/projects/", "query Runs("]), asked(&["/run2/history", ":\"run2\""])) {
                (true, _) => !listing.swap(true, Ordering::SeqCst),
                (_, true) => !history.swap(true, Ordering::SeqCst),
                _ => false,
            };
            if first { broken(exchange) } else { exchange.whole() }
        });
        let mut workspace = workspace(&server, dialect).with("base_url", wire.base_url());
        workspace.client = impatient();
        let outcome = workspace.sync().await;
        let what = format!("{dialect:?}: {name}");
        assert_ok(&outcome, &what);
        assert!(outcome.retries >= 2, "{what}: {} retries", outcome.retries);
        assert_stored(&workspace, &server, &what);
    });
    stream::iter(checks).buffer_unordered(24).collect::<Vec<()>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_answers_in_passing_is_ridden_out() {
    let mut faults: Vec<Fault> = [429, 500, 502, 503, 504].map(Fault::status).into();
    faults
        .extend([Some("0"), Some("-5"), Some("Wed, 21 Oct 2015 07:28:00 GMT"), Some("soon")].map(Fault::rate_limited));
    faults.extend([Fault::html(), Fault::malformed_json(), Fault::DeepJson(100_000), Fault::ResetBefore]);
    let graphql_only = [
        Fault::errors(&["internal server error"]),
        Fault::string_errors(&["context deadline exceeded"]),
        Fault::ErrorsBesideData(r#"[{"message":"upstream timed out","path":["project"]}]"#.to_owned()),
        Fault::invalid_utf8(),
    ];
    let both = faults.into_iter().flat_map(|fault| BOTH.map(|dialect| (dialect, fault.clone())));
    let cases = both.chain(graphql_only.map(|fault| (Dialect::Graphql, fault)));
    let checks = cases.map(|(dialect, fault)| async move {
        let server = serve();
        server.fault(Matcher::listing().when(When::Nth(1)), fault.clone());
        server.fault(Matcher::history().run("run2").when(When::Nth(1)), fault.clone());
        let mut workspace = workspace(&server, dialect);
        let outcome = workspace.sync().await;
        let what = format!("{dialect:?}: {fault}");
        assert_ok(&outcome, &what);
        assert_eq!(outcome.retries, 2, "{what}");
        assert_stored(&workspace, &server, &what);
    });
    stream::iter(checks).buffer_unordered(24).collect::<Vec<()>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drips_byte_by_byte_is_waited_for() {
    for dialect in BOTH {
        let server = serve();
        // Each pause is far below the limit between two bytes; all of them together are far above it.
        server.fault(Matcher::history().run("run1"), Fault::Drip(1, Duration::from_millis(1)));
        let mut workspace = workspace(&server, dialect);
        workspace.client = impatient();
        let outcome = workspace.sync().await;
        assert_ok(&outcome, "drip");
        assert_eq!(outcome.retries, 0, "{dialect:?}");
        assert_stored(&workspace, &server, "drip");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drips_for_ever_meets_the_time_of_the_sync() {
    let server = serve();
    server.fault(Matcher::history().run("run3"), Fault::Drip(1, Duration::from_millis(200)));
    let mut workspace = workspace(&server, Dialect::Rest);
    workspace.client = impatient();
    workspace.policy.limits.wall_time = Duration::from_secs(2);
    let outcome = tokio::time::timeout(Duration::from_secs(60), workspace.sync()).await.expect("the sync ends");
    assert!(matches!(outcome.error, Some(Error::Limit { limit: "wall_time", .. })), "{:?}", outcome.error);
    server.clear_faults();
    workspace.policy.limits.wall_time = Duration::from_secs(600);
    assert_ok(&workspace.sync().await, "the next sync");
    assert_stored(&workspace, &server, "the next sync");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_the_server_closes_as_it_is_used_again_costs_a_retry() {
    for end in [Step::End, Step::Reset] {
        let server = serve();
        let wire = Wire::to(&server).unwrap();
        let closed = Arc::new(AtomicUsize::new(0));
        let (count, how) = (closed.clone(), end.clone());
        wire.play(move |exchange| {
            // The second request on a connection finds it closed; twice.
            let close = exchange.on_connection == 2 && count.load(Ordering::SeqCst) < 2;
            if close {
                count.fetch_add(1, Ordering::SeqCst);
                return vec![how.clone()];
            }
            exchange.whole()
        });
        let mut workspace = workspace(&server, Dialect::Rest).with("base_url", wire.base_url()).with("concurrency", 1);
        let outcome = workspace.sync().await;
        assert_ok(&outcome, "keep-alive");
        assert_eq!((closed.load(Ordering::SeqCst), outcome.retries), (2, 2), "{end:?}");
        assert_stored(&workspace, &server, "keep-alive");
    }
}

/// Answers as it is told to: none for a name that is not found.
struct Names(Mutex<Option<IpAddr>>);

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str) -> Boxed<'a, std::io::Result<Vec<IpAddr>>> {
        let answer = *self.0.lock().unwrap();
        Box::pin(async move { answer.map(|it| vec![it]).ok_or_else(|| std::io::Error::other("no such name")) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_up_and_a_name_that_appears_in_the_midst_of_the_retries_are_found() {
    let server = serve();
    let wire = Wire::closed(&server).unwrap();
    let mut refused = workspace(&server, Dialect::Rest).with("base_url", wire.base_url());
    let recorder = refused.watch();
    let (outcome, ()) = tokio::join!(refused.sync(), async {
        recorder.until_logged("Retrying in").await;
        wire.open().unwrap();
    });
    assert_ok(&outcome, "refused");
    assert!(recorder.log()[0].1.contains("refused") || recorder.log()[1].1.contains("refused"), "{:?}", recorder.log());
    assert_stored(&refused, &server, "refused");

    let names = Arc::new(Names(Mutex::new(None)));
    let mut unknown = named(&server, names.clone());
    let recorder = unknown.watch();
    let (outcome, ()) = tokio::join!(unknown.sync(), async {
        recorder.until_logged("Retrying in").await;
        *names.0.lock().unwrap() = Some(Ipv4Addr::LOCALHOST.into());
    });
    assert_ok(&outcome, "unknown name");
    assert_stored(&unknown, &server, "unknown name");
}

/// A workspace whose server has a name.
fn named(server: &LocalWandb, names: Arc<Names>) -> Workspace {
    let url = format!("http://wandb.test:{}", server.address().port());
    let mut workspace = workspace(server, Dialect::Rest).with("base_url", url);
    workspace.client = HttpClient::new(HttpOptions { resolve: names, ..HttpOptions::default() });
    workspace.policy.networks = vec!["127.0.0.1/32".parse().unwrap()];
    workspace
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lasts_ends_as_the_error_that_it_is_and_the_next_sync_completes() {
    let by_fault = |fault: Fault, message: &'static str| {
        async move {
            let server = serve();
            server.fault(Matcher::listing(), fault.clone());
            let mut workspace = workspace(&server, Dialect::Graphql);
            workspace.client = impatient();
            let error = workspace.sync().await.error.unwrap();
            assert!(matches!(error, Error::Upstream { .. }), "{fault}: {error:?}");
            assert!(error.to_string().contains(message), "{fault}: {error}");
            assert_eq!(server.log().len(), 6, "{fault}: once, and five times again");
            server.clear_faults();
            assert_ok(&workspace.sync().await, fault.to_string());
            assert_stored(&workspace, &server, fault.to_string());
        }
        .boxed()
    };
    let unreachable = async {
        let server = serve();
        let wire = Wire::closed(&server).unwrap();
        let mut workspace = workspace(&server, Dialect::Rest).with("base_url", wire.base_url());
        let error = workspace.sync().await.error.unwrap();
        assert!(matches!(error, Error::Upstream { status: None, .. }), "{error:?}");
        assert!(error.to_string().contains("refused"), "{error}");
        wire.open().unwrap();
        assert_ok(&workspace.sync().await, "refused");
        assert_stored(&workspace, &server, "refused");
    };
    let unknown = async {
        let server = serve();
        let names = Arc::new(Names(Mutex::new(None)));
        let mut workspace = named(&server, names.clone());
        let error = workspace.sync().await.error.unwrap();
        assert!(matches!(error, Error::Upstream { status: None, .. }), "{error:?}");
        assert!(error.to_string().contains("`wandb.test` was not found"), "{error}");
        *names.0.lock().unwrap() = Some(Ipv4Addr::LOCALHOST.into());
        assert_ok(&workspace.sync().await, "unknown name");
        assert_stored(&workspace, &server, "unknown name");
    };
    let all: Vec<BoxFuture<'_, ()>> = vec![
        by_fault(Fault::status(503), "HTTP 503"),
        by_fault(Fault::Stall(Duration::from_secs(600)), "time limit"),
        by_fault(Fault::ResetAfter(10), "connection broke"),
        by_fault(Fault::Truncate(10), "ended too early"),
        by_fault(Fault::errors(&["internal server error"]), "internal server error"),
        unreachable.boxed(),
        unknown.boxed(),
    ];
    futures_util::future::join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_in_the_middle_of_a_sync_is_an_authentication_error_and_what_was_complete_stays() {
    for dialect in BOTH {
        let runs = (0..120).map(|n| Run::new(format!("run{n}")).with_history((0..2).map(row)));
        let server = serve_runs(runs, ParquetOptions::default());
        // The listing and some of the runs come before: one, or as many as one request brings.
        server.fault(Matcher::any().when(When::After(2)), Fault::status(401));
        let mut workspace = workspace(&server, dialect).with("page_size", 1000).with("concurrency", 1);
        let outcome = workspace.sync().await;
        assert!(matches!(outcome.error, Some(Error::Authentication(_))), "{dialect:?}: {:?}", outcome.error);
        let stored = outcome.rows.get("runs").copied().unwrap_or_default();
        assert!((1..120).contains(&stored), "{dialect:?}: {stored}");
        server.clear_faults();
        let next = workspace.sync().await;
        assert_ok(&next, "after a new key");
        assert_eq!(next.items.unchanged, stored, "{dialect:?}: what was complete is not read again");
        assert_stored(&workspace, &server, "after a new key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_an_error_that_names_it_wherever_it_leads() {
    let elsewhere = serve();
    for (dialect, status) in
        [(Dialect::Rest, 301), (Dialect::Graphql, 302), (Dialect::Rest, 307), (Dialect::Graphql, 308)]
    {
        let server = serve();
        let own = format!("{}/projects/acme/demo/runs?perPage=60", server.base_url());
        // To another origin, within the own one, and to itself for ever.
        for target in [format!("{}/x", elsewhere.base_url()), format!("{}/x", server.base_url()), own] {
            server.fault(Matcher::listing(), Fault::Redirect(status, target.clone()));
            let mut workspace = workspace(&server, dialect);
            let error = workspace.sync().await.error.unwrap();
            assert!(matches!(&error, Error::Upstream { status: Some(said), .. } if *said == status), "{error:?}");
            assert!(error.to_string().contains("redirect"), "{error}");
            assert_eq!(server.log().len(), 1, "{dialect:?} {target}: not followed, not repeated");
            server.clear_faults();
            server.fault(Matcher::history().run("run1"), Fault::Redirect(status, target));
            let outcome = workspace.sync().await;
            assert_eq!(outcome.quarantined.len(), 1, "{dialect:?}: {:?}", outcome.error);
            assert!(outcome.quarantined[0].1.contains("redirect"), "{:?}", outcome.quarantined);
            server.clear_faults();
            assert_ok(&workspace.sync().await, "healed");
            assert_stored(&workspace, &server, "healed");
            server.log().clear();
        }
    }
    assert_eq!(elsewhere.log().len(), 0);
}
