//! The local server against what is known of W&B: authentication, paging, sampling, exports, changes and logging.

mod support;

use percent_encoding::percent_encode_byte;
use serde_json::{Value, json};
use support::{BASIC, get, query, rows, send, server_of};
use wandb_connector_tests::local_wandb::{
    BadKey, LocalWandb, Matcher, Mutation, ParquetOptions, RequestKind, RestHistory, Run, awkward,
};

const LISTING: &str = "query Runs($after: String, $first: Int, $filters: JSONString) {
    project(name: \"demo\", entityName: \"acme\") {
        runs(filters: $filters, after: $after, first: $first, order: \"+created_at\") {
            edges { node { name updatedAt heartbeatAt historyLineCount } cursor }
            pageInfo { endCursor hasNextPage }
        }
    }
}";

const HISTORY: &str = "query History($run: String!, $min: Int64!, $max: Int64!, $samples: Int!) {
    project(name: \"demo\", entityName: \"acme\") {
        run(name: $run) { history(minStep: $min, maxStep: $max, samples: $samples) }
    }
}";

fn runs(count: usize) -> Vec<Run> {
    (0..count).map(|i| Run::new(format!("r{i}")).with_history(rows(0, 3))).collect()
}

fn names(edges: &Value) -> Vec<String> {
    let edges = edges.as_array().expect("a list");
    edges.iter().map(|edge| edge["node"]["name"].as_str().expect("a name").to_owned()).collect()
}

fn steps(lines: &Value) -> Vec<i64> {
    let lines = lines.as_array().expect("a list").iter().map(|line| line.as_str().expect("a JSON string"));
    lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON")["_step"].as_i64().expect("a step")).collect()
}

async fn history(server: &LocalWandb, run: &str, min: i64, max: i64, samples: i64) -> Vec<i64> {
    let variables = json!({ "run": run, "min": min, "max": max, "samples": samples });
    steps(&query(server, HISTORY, variables).await.json()["data"]["project"]["run"]["history"])
}

fn delete(run: &str) -> Mutation {
    Mutation::Delete { entity: "acme".into(), project: "demo".into(), run: run.into() }
}

fn append(run: &str, rows: Vec<String>) -> Mutation {
    Mutation::Append { entity: "acme".into(), project: "demo".into(), run: run.into(), rows }
}

#[tokio::test]
async fn each_dialect_accepts_only_its_own_kind_of_authorization() {
    let server = server_of(runs(1), |_| {});
    let rest = format!("{}/projects/acme/demo/runs", server.base_url());
    let graphql = format!("{}/graphql", server.base_url());
    let viewer = r#"{"query":"{viewer{username}}"}"#;
    let status = async |method, url: &str, headers: &[(&str, &str)], body| {
        send(method, url, headers, body).await.expect("an answer").status
    };
    assert_eq!(status("GET", &rest, &[("authorization", support::BEARER)], "").await, 200);
    assert_eq!(status("GET", &rest, &[("authorization", BASIC)], "").await, 401);
    assert_eq!(status("GET", &rest, &[], "").await, 401);
    assert_eq!(status("POST", &graphql, &[("authorization", BASIC)], viewer).await, 200);
    assert_eq!(status("POST", &graphql, &[("authorization", support::BEARER)], viewer).await, 401);
    let refused = send("POST", &graphql, &[], viewer).await.expect("an answer");
    assert!(refused.json()["errors"][0]["message"].is_string());
    let logged = server.log().all();
    assert_eq!(logged[0].header("authorization"), Some(support::BEARER));
    assert_eq!((logged[0].kind, logged[3].kind), (RequestKind::RestRuns, RequestKind::GraphqlViewer));
}

#[tokio::test]
async fn a_wrong_key_can_also_be_told_by_a_null_viewer() {
    let server = server_of(runs(1), |options| options.bad_key = BadKey::NullViewer);
    let body = r#"{"query":"{viewer{id} project(name:\"demo\",entityName:\"acme\"){id}}"}"#;
    let reply = send("POST", &format!("{}/graphql", server.base_url()), &[], body).await.expect("an answer");
    assert_eq!((reply.status, reply.json()), (200, json!({"data": {"viewer": null, "project": null}})));
}

#[tokio::test]
async fn a_query_that_wandb_would_refuse_is_refused() {
    let server = server_of(runs(1), |_| {});
    for text in [
        "{ viewer { nope } }",
        "query Q($min: Int!) { project(name: \"demo\") { run(name: \"r0\") { history(minStep: $min) } } }",
        "query Q($n: Int) { project(name: $n) { id } }",
        "{ project(name: \"demo\" ",
    ] {
        let reply = query(&server, text, json!({ "n": 1, "min": 0 })).await;
        assert_eq!(reply.status, 400, "{text}");
        assert!(reply.json().get("data").is_none() && reply.json()["errors"].is_array(), "{}", reply.text());
    }
}

#[tokio::test]
async fn what_does_not_exist_is_404_or_null() {
    let server = server_of(runs(1), |_| {});
    assert_eq!(get(&server, "/projects/acme/nope/runs").await.status, 404);
    assert_eq!(get(&server, "/runs/acme/demo/nope/history").await.status, 404);
    let text = "{ a: project(name: \"nope\", entityName: \"acme\") { id } \
                b: project(name: \"demo\", entityName: \"acme\") { run(name: \"nope\") { id } } }";
    assert_eq!(query(&server, text, json!({})).await.json(), json!({"data": {"a": null, "b": {"run": null}}}));
    let off = server_of(runs(1), |options| options.graphql = false);
    assert_eq!(query(&off, text, json!({})).await.status, 404);
}

#[tokio::test]
async fn rest_pages_are_followed_until_next_url_is_absent() {
    let server = server_of(runs(5), |_| {});
    let mut next = Some("/projects/acme/demo/runs?perPage=2".to_owned());
    let mut seen = Vec::new();
    while let Some(path) = next {
        let page = get(&server, &path).await.json();
        seen.extend(page["runs"].as_array().expect("runs").iter().map(|run| run["id"].clone()));
        next = page.get("nextUrl").map(|it| it.as_str().expect("a URL").to_owned());
    }
    assert_eq!(seen, ["r0", "r1", "r2", "r3", "r4"]);
    assert_eq!(server.log().listing_requests().len(), 3);

    let relative = server_of(runs(2), |options| options.relative_next_url = true);
    let page = get(&relative, "/runs/acme/demo/r0/history?perPage=1").await.json();
    assert_eq!(page["nextUrl"], "/runs/acme/demo/r0/history?perPage=1&cursor=1");
}

#[tokio::test]
async fn a_bare_list_is_the_whole_history() {
    let server = server_of(runs(1), |_| {});
    server.project_mut("acme", "demo", |project| project.rest_history = RestHistory::BareList);
    let list = get(&server, "/runs/acme/demo/r0/history?perPage=1").await.json();
    assert_eq!(list.as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_run_deleted_between_two_pages_shifts_the_rest() {
    let server = server_of(runs(4), |_| {});
    server.mutate_before(Matcher::listing().when(wandb_connector_tests::local_wandb::When::Nth(2)), delete("r0"));
    let first = query(&server, LISTING, json!({ "first": 2 })).await.json();
    let connection = &first["data"]["project"]["runs"];
    assert_eq!(names(&connection["edges"]), ["r0", "r1"]);
    assert_eq!(connection["pageInfo"], json!({"endCursor": "YXJyYXljb25uZWN0aW9uOjE=", "hasNextPage": true}));
    let after = json!({ "first": 2, "after": "YXJyYXljb25uZWN0aW9uOjE=" });
    let second = query(&server, LISTING, after).await.json();
    assert_eq!(names(&second["data"]["project"]["runs"]["edges"]), ["r3"], "r2 moved to the first page");
}

#[tokio::test]
async fn an_empty_page_has_no_cursor() {
    let server = server_of(runs(2), |_| {});
    let page = query(&server, LISTING, json!({ "first": 2, "filters": r#"{"name":"nope"}"# })).await.json();
    let info = &page["data"]["project"]["runs"]["pageInfo"];
    assert_eq!(*info, json!({"endCursor": null, "hasNextPage": false}));
}

#[tokio::test]
async fn a_history_is_complete_only_with_a_sample_for_each_step() {
    let server = server_of([Run::new("r").with_history(rows(0, 500))], |_| {});
    assert_eq!(history(&server, "r", 100, 200, 100).await, (100..200).collect::<Vec<_>>());
    let few = history(&server, "r", 0, 500, 100).await;
    assert_eq!(few.len(), 100);
    assert!(few.is_sorted() && few != history(&server, "r", 0, 500, 100).await, "samples are not repeatable");
    let reads = server.log().history_reads();
    assert_eq!((reads[0].min_step, reads[0].max_step, reads[0].sampled), (Some(100), Some(200), false));
    assert!(reads[1].sampled && reads[1].rows == 100);
}

#[tokio::test]
async fn sparse_and_empty_histories_say_where_they_end() {
    let server = server_of(awkward::awkward().runs.iter().map(|run| Run::clone(run)), |_| {});
    let text = "query K($n: String!) { project(name: \"demo\", entityName: \"acme\") { run(name: $n) { historyKeys historyLineCount } } }";
    let keys =
        async |run: &str| query(&server, text, json!({ "n": run })).await.json()["data"]["project"]["run"].clone();
    assert_eq!(keys("sparse").await["historyKeys"]["lastStep"], 2_147_483_649i64);
    assert_eq!(keys("empty").await, json!({"historyKeys": null, "historyLineCount": 0}));
    assert_eq!(history(&server, "sparse", 1, 2_147_483_649, 5).await, [1000, 2_147_483_648]);
    assert_eq!(history(&server, "sparse", 1, 1000, 999).await, [0i64; 0]);
}

#[tokio::test]
async fn both_dialects_send_every_row_verbatim() {
    let server = server_of(awkward::awkward().runs.iter().map(|run| Run::clone(run)), |_| {});
    let project = server.project_mut("acme", "demo", |project| project.clone());
    for run in &project.runs {
        let lines: Vec<&str> = run.history.lines().collect();
        let id: String = run.id.bytes().map(percent_encode_byte).collect();
        let page = get(&server, &format!("/runs/acme/demo/{id}/history?perPage=1000")).await.text();
        let first: Vec<&str> = lines.iter().take(1000).copied().collect();
        assert!(page.starts_with(&format!("{{\"history\":[{}]", first.join(","))), "{}", run.id);

        let variables = json!({ "run": run.id, "min": 0, "max": 3_000_000_000i64, "samples": 2_000_000_000 });
        let data = query(&server, HISTORY, variables).await.json();
        let sent = data["data"]["project"]["run"]["history"].as_array().expect("rows").clone();
        assert_eq!(sent.iter().map(|it| it.as_str().expect("text")).collect::<Vec<_>>(), lines, "{}", run.id);
    }
}

#[tokio::test]
async fn exports_need_their_signature_and_answer_ranges() {
    let server = server_of([Run::new("r").with_history(rows(0, 10))], |options| {
        options.parquet = ParquetOptions { rows_per_file: 4, overlap: 1, ..ParquetOptions::default() };
    });
    server.project_mut("acme", "demo", |project| project.run_mut("r").expect("r").exported_rows = 8);
    let text = "{ project(name: \"demo\", entityName: \"acme\") { run(name: \"r\") { parquetHistory(liveKeys: [\"_step\"]) { parquetUrls liveData } } } }";
    let exported = query(&server, text, json!({})).await.json()["data"]["project"]["run"]["parquetHistory"].clone();
    assert_eq!(exported["liveData"], json!([{"_step": 7}, {"_step": 8}, {"_step": 9}]), "one row is in both");
    let urls = exported["parquetUrls"].as_array().expect("URLs").clone();
    assert_eq!(urls.len(), 2);
    let url = urls[0].as_str().expect("a URL");

    let whole = send("GET", url, &[], "").await.expect("an answer");
    let bytes = whole.body.expect("a file");
    assert_eq!((whole.status, &bytes[..4]), (200, &b"PAR1"[..]));
    let part = send("GET", url, &[("range", "bytes=-4")], "").await.expect("an answer");
    assert_eq!((part.status, part.text()), (206, "PAR1".to_owned()));
    assert_eq!(part.header("content-range"), format!("bytes {}-{}/{}", bytes.len() - 4, bytes.len() - 1, bytes.len()));
    let head = send("HEAD", url, &[], "").await.expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, bytes.len().to_string().as_str()));
    let forged =
        send("GET", &url.replace("X-Sig=", "X-Sig=0"), &[("authorization", BASIC)], "").await.expect("an answer");
    assert_eq!(forged.status, 403);
    let downloads = server.log().matching(|it| it.kind == RequestKind::Storage);
    let with_key = downloads.iter().filter(|it| it.header("authorization").is_some()).count();
    assert_eq!((downloads.len(), with_key), (4, 1), "a key sent to the store is seen");
}

#[tokio::test]
async fn changes_move_the_times_that_the_service_would_move() {
    let server = server_of(runs(2), |_| {});
    let light = async |name: &str| {
        let page = query(&server, LISTING, json!({ "filters": format!(r#"{{"name":"{name}"}}"#) })).await.json();
        page["data"]["project"]["runs"]["edges"][0]["node"].clone()
    };
    let before = light("r0").await;
    server.mutate(&append("r0", rows(3, 5))).expect("r0 exists");
    let grown = light("r0").await;
    assert_eq!((&before["historyLineCount"], &grown["historyLineCount"]), (&json!(3), &json!(5)));
    assert_ne!(before["heartbeatAt"], grown["heartbeatAt"]);
    assert_ne!(before["updatedAt"], grown["updatedAt"]);

    let touch = |name: &str| Mutation::Touch {
        entity: "acme".into(),
        project: "demo".into(),
        run: "r0".into(),
        display_name: Some(name.into()),
        tags: None,
    };
    server.mutate(&touch("once")).expect("r0 exists");
    let touched = light("r0").await;
    assert_eq!(touched["heartbeatAt"], grown["heartbeatAt"]);
    assert_ne!(touched["updatedAt"], grown["updatedAt"]);
    server.clock().set_tick(0);
    server.mutate(&touch("again")).expect("r0 exists");
    assert_eq!(light("r0").await["updatedAt"], touched["updatedAt"], "a tie");

    let rewind = Mutation::Rewind {
        entity: "acme".into(),
        project: "demo".into(),
        run: "r0".into(),
        step: 1,
        rows: vec![r#"{"_step":2,"b":9}"#.into()],
    };
    server.mutate(&rewind).expect("r0 exists");
    assert_eq!(light("r0").await["historyLineCount"], 3);
    assert_eq!(history(&server, "r0", 0, 10, 10).await, [0, 1, 2]);
    let add = Mutation::Add { entity: "acme".into(), project: "demo".into(), run: "new".into(), rows: rows(0, 2) };
    server.mutate(&add).expect("a new run");
    assert_eq!(light("new").await["historyLineCount"], 2);
    assert!(server.mutate(&delete("nope")).is_err());
}

#[tokio::test]
async fn the_file_stream_replaces_lines_from_its_offset_on() {
    let server = server_of(runs(0), |_| {});
    let upsert = "mutation UpsertBucket($name: String, $project: String, $entity: String, $config: JSONString) {
        upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, config: $config}) {
            bucket { id name historyLineCount project { name entity { name } } } inserted
        }
    }";
    let variables = json!({"name": "new", "project": "demo", "entity": "acme", "config": r#"{"lr":{"value":0.1}}"#});
    let made = query(&server, upsert, variables.clone()).await.json();
    assert_eq!(made["data"]["upsertBucket"]["inserted"], true);
    assert_eq!(query(&server, upsert, variables).await.json()["data"]["upsertBucket"]["inserted"], false);

    let url = format!("{}/files/acme/demo/new/file_stream", server.base_url());
    let stream = async |body: Value| {
        send("POST", &url, &[("authorization", BASIC)], &body.to_string()).await.expect("an answer").status
    };
    let lines = |offset: usize, content: Vec<String>| json!({"files": {"wandb-history.jsonl": {"offset": offset, "content": content}}});
    assert_eq!(stream(lines(0, rows(0, 4))).await, 200);
    assert_eq!(stream(lines(2, vec![r#"{"_step":2,"anew":NaN}"#.into()])).await, 200);
    let run = server.run("acme", "demo", "new").expect("it exists");
    assert_eq!((run.history.steps(), run.history.line(2)), (&[0, 1, 2][..], r#"{"_step":2,"anew":NaN}"#));
    assert_eq!(run.state, "running");
    assert_eq!(stream(json!({"complete": true, "exitcode": 0, "files": {"wandb-summary.json": {"offset": 0, "content": [r#"{"a":1}"#]}}})).await, 200);
    let run = server.run("acme", "demo", "new").expect("it exists");
    assert_eq!((run.state.as_str(), run.summary.as_deref()), ("finished", Some(r#"{"a":1}"#)));
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_ask() {
    let server = server_of([Run::new("r").with_history(rows(0, 500))], |_| {});
    let url = format!("{}/runs/acme/demo/r/history?perPage=500", server.base_url());
    let asked = [("authorization", support::BEARER), ("accept-encoding", "gzip, br")];
    let reply = send("GET", &url, &asked, "").await.expect("an answer");
    assert_eq!(reply.header("content-encoding"), "gzip");
    let plain = get(&server, &url).await;
    assert!(plain.header("content-encoding").is_empty());
    assert!(reply.body.expect("bytes").len() < plain.text().len() / 2);
}

#[tokio::test]
async fn requests_under_way_at_once_are_counted() {
    let server = server_of(runs(1), |options| options.latency = std::time::Duration::from_millis(200));
    tokio::join!(
        get(&server, "/projects/acme/demo/runs"),
        get(&server, "/projects/acme/demo/runs"),
        get(&server, "/projects/acme/demo/runs")
    );
    assert_eq!((server.log().max_in_flight(), server.log().connections(), server.log().len()), (3, 3, 3));
    server.log().clear();
    assert!(server.log().is_empty());
}
