//! Authorisation, headers and limits of the status server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use chrono::{TimeDelta, Utc};
use elt_serve::metrics::Metrics;
use elt_serve::status::Server;
use flate2::read::GzDecoder;
use serde_json::json;
use std::io::Read as _;

use crate::fake::{Fake, Running, TOKEN};

const CLOSED: [&str; 6] =
    ["/", "/metrics", "/tenants/acme", "/api/tenants", "/api/tenants/acme", "/api/tenants/acme/history"];

#[tokio::test]
async fn probes_need_no_token_and_readiness_follows_the_tenants() {
    let server = Running::closed().await;
    assert_eq!(server.get("/healthz", &[]).await.status, 200);
    assert_eq!(server.get("/readyz", &[]).await.status, 200);
    server.watch.is_ready.store(false, Ordering::Relaxed);
    assert_eq!(server.get("/readyz", &[]).await.status, 503);
    assert_eq!(server.get("/healthz", &[]).await.status, 200, "it lives");
}

#[tokio::test]
async fn what_can_be_seen_needs_the_token_when_there_is_one() {
    let (closed, open) = (Running::closed().await, Running::open().await);
    closed.watch.add("acme", &["ok"]);
    open.watch.add("acme", &["ok"]);
    for path in CLOSED {
        assert_eq!(open.get(path, &[]).await.status, 200, "{path}");
        let (expected, is_page) = if path == "/" || path.starts_with("/tenants") { (303, true) } else { (401, false) };
        let wrong = format!("authorization: Bearer {TOKEN}x");
        let basic = format!("authorization: Basic {TOKEN}");
        for header in ["x: y", &wrong, "authorization: Bearer ", "authorization: ä", &basic, "cookie: status_session="]
        {
            let reply = closed.get(path, &[header]).await;
            assert_eq!(reply.status, expected, "{path} {header}");
            assert!(!reply.text().contains("acme"), "{path} {header}");
            assert_eq!(reply.header("location"), is_page.then_some("/sign-in"));
        }
        for scheme in ["Bearer", "bearer"] {
            let reply = closed.get(path, &[&format!("authorization: {scheme} {TOKEN}")]).await;
            assert_eq!(reply.status, 200, "{path} {scheme}");
        }
        let in_url = closed.get(&format!("{path}?token={TOKEN}"), &[]).await;
        assert_eq!(in_url.status, expected, "no token is taken from a URL");
    }
}

#[tokio::test]
async fn a_browser_signs_in_with_a_form_and_out_again() {
    let server = Running::closed().await;
    let form = ["content-type: application/x-www-form-urlencoded"];
    assert!(server.get("/sign-in", &[]).await.text().contains("<form method=\"post\" action=\"/sign-in\">"));
    let wrong = server.ask("POST", "/sign-in", &form, "token=wrong").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (403, None));
    assert!(wrong.text().contains("role=\"alert\"") && !wrong.text().contains("wrong"));
    let elsewhere = ["sec-fetch-site: cross-site"];
    let forged = server.ask("POST", "/sign-in", &elsewhere, &format!("token={TOKEN}")).await;
    assert_eq!((forged.status, forged.header("set-cookie")), (403, None));

    let right = server.ask("POST", "/sign-in", &form, &format!("token={TOKEN}")).await;
    assert_eq!((right.status, right.header("location")), (303, Some("/")));
    let cookie = right.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!right.head.contains(TOKEN), "the token is not what is kept");
    let session = format!("cookie: other=1; {}", cookie.split(';').next().unwrap());
    assert_eq!(server.get("/", &[&session]).await.status, 200);
    assert_eq!(server.get("/api/tenants", &[&session]).await.status, 200);
    assert_eq!(server.get("/sign-in", &[&session]).await.header("location"), Some("/"));
    assert_eq!(server.get("/", &["cookie: status_session=0000"]).await.status, 303);

    let behind_tls = ["x-forwarded-proto: https"];
    let right = server.ask("POST", "/sign-in", &behind_tls, &format!("token={TOKEN}")).await;
    assert!(right.header("set-cookie").unwrap().ends_with("; Secure"));

    let out = server.ask("POST", "/sign-out", &[&session], "").await;
    assert_eq!((out.status, out.header("location")), (303, Some("/sign-in")));
    assert_eq!(server.get("/", &[&session]).await.status, 303);
}

#[tokio::test]
async fn an_address_that_others_reach_needs_a_token() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:9090"] {
        let (watch, metrics) = (Arc::new(Fake::default()), Arc::new(Metrics::default()));
        let error = Server::bind(address.parse().unwrap(), None, watch, metrics).await.err().unwrap().to_string();
        assert!(error.contains(address) && error.contains("give it a token, or bind it to this machine"), "{error}");
    }
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let server = Running::open().await;
    let (watch, metrics) = (server.watch.clone(), server.metrics.clone());
    let error = Server::bind(server.address, None, watch, metrics).await.err().unwrap().to_string();
    assert!(error.contains(&server.address.to_string()), "{error}");
}

#[tokio::test]
async fn programs_get_the_same_as_json() {
    let server = Running::open().await;
    server.watch.add("acme", &["partial", "ok", "upstream"]);
    server.watch.add("other", &[]);
    server.watch.run("other", 99, true);
    server.watch.problems.lock().unwrap().push("tenants.toml:3:1: no".into());
    let all = server.get("/api/tenants", &[]).await;
    assert_eq!(all.header("content-type"), Some("application/json"));
    let all = all.json();
    assert_eq!(all["problems"], json!(["tenants.toml:3:1: no"]));
    assert_eq!((&all["ready"], &all["slots"]), (&json!(true), &json!({"taken": 1, "all": 16})));
    let acme = &all["tenants"][0];
    assert_eq!(
        (&acme["id"], &acme["state"], &acme["labels"]["plan"]),
        (&json!("acme"), &json!("partial"), &json!("basic"))
    );
    let lag = acme["lag_seconds"].as_f64().unwrap();
    assert!((1200.0..1300.0).contains(&lag), "since the start of the sync before the last one: {lag}");
    let end = &acme["last"]["end"];
    assert_eq!((&end["outcome"], &end["rows"], &end["seconds"]), (&json!("partial"), &json!(1234), &json!(3.0)));
    assert_eq!(end["items"], json!({"written": 7, "left_out": 1}));
    assert_eq!((&end["throttled_seconds"], &end["memory_bytes"]), (&json!(1.5), &json!(3 << 20)));
    let other = &all["tenants"][1];
    assert_eq!(
        (&other["state"], &other["running"]["rows"], &other["running"]["throttled"]),
        (&json!("running"), &json!(99), &json!(true))
    );
    assert_eq!((&other["last"], &other["lag_seconds"]), (&json!(null), &json!(null)));

    assert_eq!(
        server.get("/api/tenants?q=plan%3Dbasic+PARTIAL", &[]).await.json()["tenants"].as_array().unwrap().len(),
        1
    );
    assert_eq!(server.get("/api/tenants/acme", &[]).await.json()["id"], "acme");
    let history = server.get("/api/tenants/acme/history?limit=2", &[]).await.json();
    let outcomes: Vec<_> = history["syncs"].as_array().unwrap().iter().map(|sync| &sync["end"]["outcome"]).collect();
    assert_eq!(outcomes, ["partial", "ok"]);
    for path in ["/api/tenants/nobody", "/api/tenants/nobody/history"] {
        let reply = server.get(path, &[]).await;
        assert_eq!((reply.status, &reply.json()["error"]), (404, &json!("there is no such tenant")));
    }
}

#[tokio::test]
async fn a_large_answer_is_compressed_for_who_wants_that() {
    let server = Running::open().await;
    (0..200).for_each(|nth| server.watch.add(&format!("tenant-{nth}"), &["ok"]));
    let plain = server.get("/api/tenants", &["accept-encoding: br, gzip;q=0"]).await;
    assert_eq!(plain.header("content-encoding"), None);
    let packed = server.get("/api/tenants", &["accept-encoding: br, gzip;q=0.5"]).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    GzDecoder::new(&*packed.body).read_to_string(&mut text).unwrap();
    assert!(packed.body.len() * 4 < plain.body.len());
    let ids = |text: &str| text.matches("\"id\":\"tenant-").count();
    assert_eq!((ids(&text), ids(&plain.text())), (200, 200));
}

#[tokio::test]
async fn every_answer_tells_browsers_to_load_nothing_and_keep_nothing() {
    let server = Running::closed().await;
    let token = format!("authorization: Bearer {TOKEN}");
    for path in ["/", "/sign-in", "/healthz", "/metrics", "/api/tenants", "/tenants/nobody", "/nothing"] {
        let reply = server.get(path, &[&token]).await;
        let header = |name| reply.header(name).unwrap_or_else(|| panic!("{path} has no {name}"));
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"] {
            assert!(policy.split("; ").any(|found| found == part), "{path}: {policy}");
        }
        assert!(!policy.contains("script") && !policy.contains("unsafe"), "{policy}");
        assert_eq!((header("cache-control"), header("x-content-type-options")), ("no-store", "nosniff"), "{path}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
    }
    let page = server.get("/sign-in", &[]).await;
    let style = page.text().split_once("<style>").unwrap().1.split_once("</style>").unwrap().0.to_owned();
    let digest = base64::prelude::BASE64_STANDARD.encode(sha256(style.as_bytes()));
    assert!(page.header("content-security-policy").unwrap().contains(&format!("style-src 'sha256-{digest}'")));
}

/// By the tool, so that it is not our own arithmetic that is compared with itself.
fn sha256(bytes: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("style");
    std::fs::write(&file, bytes).unwrap();
    let output = std::process::Command::new("sha256sum").arg(file).output().unwrap();
    let hex = String::from_utf8(output.stdout[..64].to_vec()).unwrap();
    (0..32).map(|nth| u8::from_str_radix(&hex[2 * nth..2 * nth + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_refused() {
    let server = Running::open().await;
    server.watch.add("acme", &["ok"]);
    for path in [
        "/nothing",
        "/tenants",
        "/tenants/",
        "/tenants/..",
        "/tenants/a/b",
        "/tenants/%2e%2e",
        "/api",
        "//",
        "/api/tenants/acme/x",
    ] {
        assert_eq!(server.get(path, &[]).await.status, 404, "{path}");
    }
    let nobody = server.get("/tenants/nobody", &[]).await;
    assert!(nobody.status == 404 && nobody.text().contains("There is no such tenant"));
    for (method, path, allow) in [
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/api/tenants/acme", "GET, HEAD"),
        ("PUT", "/sign-in", "GET, HEAD, POST"),
        ("GET", "/sign-out", "POST"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
        ("HACK", "/healthz", "GET, HEAD"),
    ] {
        let reply = server.ask(method, path, &[], "").await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    let (get, head) = (server.get("/", &[]).await, server.ask("HEAD", "/", &[], "").await);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(get.header("content-length").is_some() && head.header("content-length").is_some());
}

#[tokio::test]
async fn a_server_that_is_stopped_lets_go_of_its_address() {
    let server = Running::open().await;
    let (address, idle) = (server.address, server.connect().await);
    server.stop().await;
    drop(idle);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_tenant_that_waits_for_its_turn_says_so() {
    let server = Running::open().await;
    server.watch.add("late", &["ok"]);
    server.watch.change("late", |tenant| tenant.next = Some(Utc::now() - TimeDelta::seconds(90)));
    assert!(server.get("/", &[]).await.text().contains("waits for a slot"));
    let metrics = server.get("/metrics", &[]).await.text();
    let waits: f64 = metrics
        .lines()
        .find_map(|line| line.strip_prefix("connector_overdue_seconds{tenant=\"late\"} "))
        .and_then(|seconds| seconds.parse().ok())
        .unwrap();
    assert!((90.0..120.0).contains(&waits), "{waits}");
}
