//! Every fault, as a client sees it.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{BEARER, get, query, rows, send, server_of};
use wandb_connector_tests::local_wandb::{Fault, LocalWandb, Matcher, Run, When};

const PATH: &str = "/runs/acme/demo/r/history?perPage=10";

fn server(fault: Fault) -> LocalWandb {
    let server = server_of([Run::new("r").with_history(rows(0, 100))], |_| {});
    server.fault(Matcher::any(), fault);
    server
}

async fn try_get(server: &LocalWandb) -> Result<support::Reply, String> {
    send(
        "GET",
        &format!("{}{PATH}", server.base_url()),
        &[("authorization", BEARER)],
        "",
    )
    .await
}

#[tokio::test]
async fn statuses_come_with_their_headers() {
    let reply = get(&server(Fault::rate_limited(Some("7"))), PATH).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "7"));
    assert_eq!(
        get(&server(Fault::rate_limited(None)), PATH)
            .await
            .header("retry-after"),
        ""
    );
    assert_eq!(get(&server(Fault::status(503)), PATH).await.status, 503);
    let reply = get(
        &server(Fault::Redirect(302, "http://elsewhere.test/".into())),
        PATH,
    )
    .await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, "http://elsewhere.test/")
    );
}

#[tokio::test]
async fn connections_break_where_they_are_told_to() {
    assert!(try_get(&server(Fault::ResetBefore)).await.is_err());
    for fault in [
        Fault::ResetAfter(20),
        Fault::Truncate(20),
        Fault::ContentLength(1 << 40),
    ] {
        let name = fault.to_string();
        let reply = try_get(&server(fault)).await.expect("headers arrive");
        assert_eq!(reply.status, 200, "{name}");
        assert!(reply.body.is_err(), "{name}: {:?}", reply.body);
    }
    let short = get(&server(Fault::ContentLength(5)), PATH).await;
    assert_eq!(short.text(), "{\"his");
}

#[tokio::test]
async fn answers_come_late_or_slowly() {
    let wait = Duration::from_millis(150);
    for fault in [
        Fault::Stall(wait),
        Fault::StallAfter(10, wait),
        Fault::Drip(60, wait / 10),
    ] {
        let name = fault.to_string();
        let started = Instant::now();
        let reply = get(&server(fault), PATH).await;
        assert_eq!(
            reply.json()["history"].as_array().map(Vec::len),
            Some(10),
            "{name}"
        );
        assert!(
            started.elapsed() >= Duration::from_millis(60),
            "{name} took {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn bodies_are_not_what_was_asked_for() {
    assert_eq!(
        get(&server(Fault::html()), PATH)
            .await
            .header("content-type"),
        "text/html"
    );
    let malformed = get(&server(Fault::malformed_json()), PATH).await;
    assert!(serde_json::from_str::<serde_json::Value>(&malformed.text()).is_err());
    let cut = get(&server(Fault::CutBody(12)), PATH).await;
    assert_eq!(cut.text().len(), 12);
    let invalid = get(&server(Fault::invalid_utf8()), PATH)
        .await
        .body
        .expect("bytes");
    assert!(std::str::from_utf8(&invalid).is_err());
    let bomb = get(&server(Fault::GzipBomb(50 << 20)), PATH).await;
    assert_eq!(bomb.header("content-encoding"), "gzip");
    assert!(bomb.body.expect("bytes").len() < 1 << 20);
    assert!(
        get(&server(Fault::DeepJson(100_000)), PATH)
            .await
            .text()
            .contains(&"[".repeat(100_000))
    );
}

#[tokio::test]
async fn graphql_errors_come_in_every_shape() {
    let viewer = "{ viewer { username } }";
    let objects = query(
        &server(Fault::errors(&["permission denied"])),
        viewer,
        json!({}),
    )
    .await;
    assert_eq!(
        objects.json(),
        json!({"data": null, "errors": [{"message": "permission denied"}]})
    );
    let strings = query(&server(Fault::string_errors(&["boom"])), viewer, json!({})).await;
    assert_eq!(strings.json()["errors"], json!(["boom"]));
    let partial = query(
        &server(Fault::ErrorsBesideData(r#"[{"message":"half"}]"#.into())),
        viewer,
        json!({}),
    )
    .await;
    assert_eq!(
        partial.json(),
        json!({"errors": [{"message": "half"}], "data": {"viewer": {"username": "ada"}}})
    );
}

#[tokio::test]
async fn pages_lead_nowhere() {
    let next = |body: &serde_json::Value| body["nextUrl"].as_str().expect("a next page").to_owned();
    let foreign = get(&server(Fault::Next("http://evil.test/x".into())), PATH)
        .await
        .json();
    assert_eq!(next(&foreign), "http://evil.test/x");
    let cyclic = server(Fault::Cycle);
    assert_eq!(
        next(&get(&cyclic, PATH).await.json()),
        format!("{}{PATH}", cyclic.base_url())
    );
    let endless = server(Fault::EndlessEmptyPages);
    let first = get(&endless, PATH).await.json();
    assert_eq!(first["history"], json!([]));
    let second = get(&endless, &next(&first)).await.json();
    assert_ne!(next(&first), next(&second));

    let listing = "{ project(name: \"demo\", entityName: \"acme\") { runs(first: 5) { edges { cursor } pageInfo { endCursor hasNextPage } } } }";
    let page = query(&server(Fault::EndlessEmptyPages), listing, json!({}))
        .await
        .json();
    let runs = &page["data"]["project"]["runs"];
    assert_eq!(
        (&runs["edges"], &runs["pageInfo"]["hasNextPage"]),
        (&json!([]), &json!(true))
    );
}

#[tokio::test]
async fn a_rule_hits_only_what_it_names() {
    let server = server_of(
        [
            Run::new("r").with_history(rows(0, 3)),
            Run::new("s").with_history(rows(0, 3)),
        ],
        |_| {},
    );
    server.fault(
        Matcher::history().run("s").when(When::Nth(2)),
        Fault::status(502),
    );
    let mut seen = Vec::new();
    for path in [
        "/runs/acme/demo/r/history",
        "/runs/acme/demo/s/history",
        "/runs/acme/demo/s/history",
        "/runs/acme/demo/s/history",
    ] {
        seen.push(get(&server, path).await.status);
    }
    assert_eq!(seen, [200, 200, 502, 200]);
    assert_eq!(server.log().matching(|it| it.fault.is_some()).len(), 1);
    server.fault(
        Matcher::any().path("/projects/").when(When::First(1)),
        Fault::status(500),
    );
    server.clear_faults();
    assert_eq!(get(&server, "/projects/acme/demo/runs").await.status, 200);
}
