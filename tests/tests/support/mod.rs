//! A small HTTP client, and a project to ask for.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use wandb_connector_tests::local_wandb::{LocalWandb, Options, Project, Run, World};

/// `Basic api:KEY` for the test key.
pub(crate) const BASIC: &str = "Basic YXBpOjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc=";

/// `Bearer KEY` for the test key.
pub(crate) const BEARER: &str = "Bearer 0123456789abcdef0123456789abcdef01234567";

/// An answer; the error says what broke on the way.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Result<Bytes, String>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.body.as_ref().expect("the body is whole")).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text())
            .unwrap_or_else(|problem| panic!("{problem}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|it| it.to_str().expect("text"))
            .unwrap_or_default()
    }
}

/// Sends a request on a connection of its own.
pub(crate) async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Reply, String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::from(body.to_owned()))
        .map_err(|it| it.to_string())?;
    let exchange = async {
        let response = client.request(request).await.map_err(|it| it.to_string())?;
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map(|it| it.to_bytes())
            .map_err(|it| it.to_string());
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    };
    tokio::time::timeout(Duration::from_secs(10), exchange)
        .await
        .map_err(|_| "timeout".to_owned())?
}

/// `GET` of a path or URL with the Bearer key.
pub(crate) async fn get(server: &LocalWandb, path: &str) -> Reply {
    let url = if path.starts_with("http") {
        path.to_owned()
    } else {
        format!("{}{path}", server.base_url())
    };
    send("GET", &url, &[(AUTHORIZATION.as_str(), BEARER)], "")
        .await
        .expect("an answer")
}

/// A GraphQL query with the Basic key.
pub(crate) async fn query(server: &LocalWandb, query: &str, variables: Value) -> Reply {
    let body = serde_json::json!({ "query": query, "variables": variables }).to_string();
    let headers = [
        (AUTHORIZATION.as_str(), BASIC),
        ("content-type", "application/json"),
    ];
    send(
        "POST",
        &format!("{}/graphql", server.base_url()),
        &headers,
        &body,
    )
    .await
    .expect("an answer")
}

/// Rows `{"_step":i,"a":i}`.
pub(crate) fn rows(from: i64, to: i64) -> Vec<String> {
    (from..to)
        .map(|step| format!(r#"{{"_step":{step},"a":{step}}}"#))
        .collect()
}

/// A server whose `acme/demo` holds these runs.
pub(crate) fn server_of(
    runs: impl IntoIterator<Item = Run>,
    change: impl FnOnce(&mut Options),
) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = Project::new(runs);
    let mut options = Options::with_world(world);
    change(&mut options);
    LocalWandb::start_blocking(options).expect("the server starts")
}
