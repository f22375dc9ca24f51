//! `serve` as whoever watches it meets it: the status page of a real process, its metrics, and its traces.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::sync::Semaphore;
use wandb_connector_tests::crash_oracle::Running;
use wandb_connector_tests::local_wandb::{Fault, TEST_KEY, generate};
use wandb_connector_tests::plain_http::{PlainServer, answer};
use wandb_connector_tests::platform::{Platform, count, held, server, wait_until};

const TOKEN: &str = "0f5e1c9a7b3d2468ace013579bdf0f5e";
/// Where a test's own `serve` listens.
const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// What there is at a path: the status, and head and body as they came.
fn get(address: &str, path: &str, more: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{more}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    for form in secrets() {
        assert!(!text.contains(&form), "{path} shows a secret");
    }
    (status, text)
}

/// The key and the token, in the forms in which they travel.
fn secrets() -> Vec<String> {
    let basic = [format!("api:{TEST_KEY}"), format!(":{TEST_KEY}")].map(|pair| BASE64.encode(pair));
    [TEST_KEY.to_owned(), TOKEN.to_owned()].into_iter().chain(basic).collect()
}

fn json_of(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Where the log says that the status page is.
fn address(serving: &Running) -> String {
    wait_until("the status page is named", || serving.has_said("status page: http://"));
    // The line is the last thing that the process says before it starts syncs, and it has one port.
    let ports = listening(serving.id());
    assert_eq!(ports.len(), 1, "{ports:?}");
    let address = format!("127.0.0.1:{}", ports.first().unwrap());
    assert!(serving.has_said(&format!("INFO: status page: http://{address}/")));
    address
}

/// The ports that a process listens on.
fn listening(process: u32) -> BTreeSet<u16> {
    let links = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let links = links.filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok());
    let sockets: BTreeSet<String> =
        links.filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{process}/net/{table}")));
    let tables = tables.map(Result::unwrap_or_default).concat();
    let rows = tables.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Local address, state (0A listens) and inode.
    let own = rows.filter(|row| row.len() > 9 && row[3] == "0A" && sockets.contains(row[9]));
    own.map(|row| u16::from_str_radix(row[1].rsplit_once(':').unwrap().1, 16).unwrap()).collect()
}

/// A series of what Prometheus reads.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(|value| value.parse().unwrap())
}

#[test]
fn a_process_tells_how_its_tenants_are_until_it_ends() {
    let gate = Arc::new(Semaphore::new(0));
    let (_source, platform) = held(2, 1, &Fault::Hold(gate.clone()));
    let serving = platform.serve(&[&ANY_PORT[..], &["--drain", "10m"]].concat());
    let address = address(&serving);
    wait_until("it is ready", || get(&address, "/readyz", "").0 == 200);
    assert_eq!(get(&address, "/healthz", "").0, 200);
    let state = |id: &str| {
        let tenants = json_of(&get(&address, "/api/tenants", "").1);
        let found = tenants["tenants"].as_array().unwrap().iter().find(|it| it["id"] == id).cloned();
        found.unwrap_or_else(|| panic!("no {id} in {tenants}"))
    };
    wait_until("the first is synced and the second runs", || {
        state("t0")["state"] == "ok" && state("t1")["state"] == "running"
    });
    let first = state("t0");
    assert_eq!(first["last"]["end"]["outcome"], "ok", "{first}");
    let rows = first["last"]["end"]["rows"].as_f64().unwrap();
    assert!(rows > 0.0 && first["lag_seconds"].as_f64().is_some() && first["next"].is_string(), "{first}");
    let metrics = get(&address, "/metrics", "").1;
    let series = |name: &str| value(&metrics, &format!("connector_{name}{{tenant=\"t0\",outcome=\"ok\"}}"));
    assert_eq!(series("sync_duration_seconds_count"), Some(1.0), "{metrics}");
    assert_eq!(series("rows_total"), Some(rows), "{metrics}");
    let history = get(&address, "/api/tenants/t0/history", "");
    assert!(history.0 == 200 && history.1.contains("\"outcome\":\"ok\""), "{history:?}");
    for page in ["/", "/tenants/t0", "/tenants/t1"] {
        let (status, text) = get(&address, page, "");
        assert!(status == 200 && text.contains("t0") != (page == "/tenants/t1"), "{page}: {text}");
    }
    assert_eq!((get(&address, "/tenants/t2", "").0, get(&address, "/elsewhere", "").0), (404, 404));

    serving.stop().unwrap();
    wait_until("it is ready no more", || get(&address, "/readyz", "").0 == 503);
    // The sync that runs is seen to its end.
    assert_eq!((get(&address, "/healthz", "").0, state("t1")["state"].as_str()), (200, Some("running")));
    gate.close();
    let ended = serving.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(TcpStream::connect(&address).is_err(), "the port is free again");
    assert_eq!(count(&platform.states(), "ok"), 2);
    assert!(secrets().iter().all(|form| !ended.stderr.contains(form)), "{ended:?}");
}

#[test]
fn a_token_opens_what_is_about_tenants() {
    let source = server(TEST_KEY, [("vision".into(), generate::realistic(2, 1))]);
    let mut platform = Platform::new();
    platform.tenant("acme", &source, "vision", "");
    fs::write(platform.cli.path("token"), format!("{TOKEN}\n")).unwrap();
    let serving = platform.serve(&[&ANY_PORT[..], &["--token-file", "token"]].concat());
    wait_until("it warns", || {
        serving.has_said("token holds a token and other users may read it; run `chmod 600 token`")
    });
    let address = address(&serving);
    wait_until("it is ready", || get(&address, "/readyz", "").0 == 200);
    assert_eq!(get(&address, "/healthz", "").0, 200);
    let (wrong, right) = (format!("authorization: Bearer {TOKEN}0\r\n"), format!("authorization: Bearer {TOKEN}\r\n"));
    for path in ["/metrics", "/api/tenants", "/api/tenants/acme", "/api/tenants/acme/history"] {
        for given in ["", &wrong] {
            let (status, text) = get(&address, path, given);
            assert!(status == 401 && !text.contains("acme"), "{path}: {text}");
        }
        let (status, text) = get(&address, path, &right);
        assert!(status == 200 && (path.ends_with("history") || text.contains("acme")), "{path}: {text}");
    }
    for path in ["/", "/tenants/acme"] {
        let (status, text) = get(&address, path, &wrong);
        assert!(status == 303 && text.contains("location: /sign-in") && !text.contains("acme"), "{path}: {text}");
        assert_eq!(get(&address, path, &right).0, 200);
    }
    serving.stop().unwrap();
    let ended = serving.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(secrets().iter().all(|form| !ended.stderr.contains(form)), "{ended:?}");
}

#[test]
fn a_page_that_cannot_be_or_should_not_be_is_refused_before_anything_is_synced() {
    let source = server(TEST_KEY, [("vision".into(), generate::realistic(2, 1))]);
    let mut platform = Platform::new();
    platform.tenant("acme", &source, "vision", "");
    fs::write(platform.cli.path("short"), "secret").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (used, open, six) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), format!("[::]:{port}"));
    let mapped = format!("[::ffff:0.0.0.0]:{port}");
    let reached = "could be read by whoever reaches that address: give it a token, or bind it to this machine alone";
    for (arguments, said) in [
        // Were it tried, it would be in use.
        (&["--listen", &*open][..], reached),
        (&["--listen", &*six], reached),
        (&["--listen", &*mapped], reached),
        (&["--listen", "0.0.0.0:0"], reached),
        (&["--listen", &*used], "in use"),
        (&["--listen", "127.0.0.1"], "--listen"),
        (&["--listen", "127.0.0.1:0", "--token-file", "missing"], "there is no token in the file missing"),
        (&["--listen", "127.0.0.1:0", "--token-file", "short"], "the token in the file short can't be used"),
        (&["--listen", &*open, "--token-file", "short"], "the token in the file short can't be used"),
    ] {
        let ended = platform.cli.run(&[&["serve"], arguments].concat());
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(said) && ended.stderr.contains(arguments[arguments.len() - 2]), "{ended:?}");
        assert!(!ended.stderr.contains("status page: http://") && !ended.stderr.contains("panicked"), "{ended:?}");
    }
    assert_eq!(source.log().len(), 0);
    assert_eq!(platform.states()["acme"], "never synced");
}

#[test]
fn no_port_is_open_where_none_is_wanted() {
    for arguments in [&["--listen", "none"][..], &["--once"]] {
        let gate = Arc::new(Semaphore::new(0));
        let (_source, platform) = held(1, 0, &Fault::Hold(gate.clone()));
        let serving = platform.serve(arguments);
        wait_until("it syncs", || count(&platform.states(), "running") == 1);
        assert_eq!(listening(serving.id()), BTreeSet::new(), "{arguments:?}");
        assert!(!serving.has_said("status page"));
        gate.close();
        wait_until("it is synced", || count(&platform.states(), "ok") == 1);
        if arguments != ["--once"] {
            serving.stop().unwrap();
        }
        let ended = serving.end().unwrap();
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
}

/// The spans in what a collector was sent.
fn spans(bodies: &[String]) -> Vec<Value> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let bodies = bodies.iter().map(|body| serde_json::from_str::<Value>(body).unwrap());
    let scopes = bodies.flat_map(|body| list(&body, "resourceSpans")).flat_map(|it| list(&it, "scopeSpans"));
    scopes.flat_map(|scope| list(&scope, "spans")).collect()
}

fn attribute(span: &Value, key: &str) -> Value {
    let found = span["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == key);
    found.and_then(|it| it["value"].as_object()?.values().next().cloned()).unwrap_or_default()
}

#[test]
fn a_collector_gets_the_spans_of_every_sync_and_no_key() {
    let got = Arc::<Mutex<Vec<(String, String)>>>::default();
    let heard = got.clone();
    let collector = PlainServer::start(move |request, connection| {
        let head = format!("{} {} {:?}", request.method, request.path, request.headers);
        heard.lock().unwrap().push((head, String::from_utf8(request.body.clone()).unwrap()));
        answer(connection, "200 OK", "content-type: application/json\r\n", b"{}")?;
        Ok(true)
    });
    let collector = collector.unwrap();
    let good = server(TEST_KEY, [("vision".into(), generate::realistic(2, 1))]);
    let refusing = server("another", []);
    let mut platform = Platform::new();
    platform.cli.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", collector.base_url()));
    platform.tenant("acme", &good, "vision", "");
    platform.tenant("other", &refusing, "vision", "");
    let ended = platform.once();
    assert_eq!(ended.code, 4, "{ended:?}");
    let got = got.lock().unwrap();
    assert!(!got.is_empty() && got.iter().all(|(head, _)| head.starts_with("POST /v1/traces ")), "{got:?}");
    let spans = spans(&got.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>());
    for (tenant, outcome, requests) in
        [("acme", "ok", good.log().len()), ("other", "authentication", refusing.log().len())]
    {
        let of = |name: &str| {
            let own = spans.iter().filter(|span| attribute(span, "tenant.id") == tenant);
            own.filter(|span| span["name"] == name).cloned().collect::<Vec<_>>()
        };
        let (syncs, posts, commits) = (of("sync"), [of("POST"), of("GET")].concat(), of("commit"));
        assert_eq!((syncs.len(), posts.len()), (1, requests), "{tenant}: {spans:#?}");
        assert_eq!(attribute(&syncs[0], "sync.outcome"), outcome);
        assert_eq!(commits.is_empty(), outcome != "ok");
        for span in posts.iter().chain(&commits) {
            assert_eq!((&span["traceId"], &span["parentSpanId"]), (&syncs[0]["traceId"], &syncs[0]["spanId"]));
        }
    }
    assert!(requests_hold_the_key(&good), "it travelled");
    let sent: Vec<&String> = got.iter().flat_map(|(head, body)| [head, body]).collect();
    for form in secrets() {
        assert!(!sent.iter().any(|text| text.contains(&form)), "a span holds a secret");
    }
}

fn requests_hold_the_key(source: &wandb_connector_tests::local_wandb::LocalWandb) -> bool {
    let forms = secrets();
    let with_it = |value: &str| forms.iter().any(|form| value.contains(form));
    !source.log().matching(|request| request.header("authorization").is_some_and(with_it)).is_empty()
}

#[test]
fn a_collector_that_cannot_be_spoken_to_is_refused_at_the_start() {
    let mut platform = Platform::new();
    platform.say("");
    for (variable, value, said) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "no url at all", "traces can't be sent"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only OTLP over HTTP is supported"),
    ] {
        platform.cli.variables.truncate(1);
        platform.cli.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9".into()));
        platform.cli.variables.push((variable, value.into()));
        let ended = platform.cli.run(&["serve", "--listen", "none"]);
        assert!(ended.code == 2 && ended.stderr.contains(said), "{ended:?}");
    }
}
