//! Addresses and names as people write them: what is meant is read, and what can't be used is named at once, without retries and without
//! blaming the project. The sync logic runs natively.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use wandb_connector::error::Error;
use wandb_connector_tests::local_wandb::{Fault, LocalWandb, Matcher, Options, Project, Run, World};
use wandb_connector_tests::native::{Memory, sync_into};

const APIS: [&str; 3] = ["auto", "graphql", "rest"];

fn serve() -> LocalWandb {
    let mut world = World::default();
    let run = Run::new("run1").with_history([r#"{"_step":0,"_timestamp":1750000000,"loss":0.5}"#]);
    *world.project_mut("acme", "demo") = Project::new([run]);
    LocalWandb::start_blocking(Options::with_world(world)).unwrap()
}

fn config(server: &LocalWandb, api: &str) -> Value {
    json!({"api_key": server.api_key(), "base_url": server.base_url(), "entity": "acme", "project": "demo", "api": api})
}

/// What is said of `base_url`.
fn problem(error: &Error) -> &str {
    match error {
        Error::Configuration(problems) => match problems.as_slice() {
            [problem] if problem.key.as_deref() == Some("base_url") => &problem.message,
            _ => panic!("{error:?}"),
        },
        _ => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn what_is_surely_meant_is_read_as_it_is_meant() {
    let server = serve();
    for api in APIS {
        for path in ["/graphql", "/graphql/", "/acme/demo", "/acme/demo/runs/run1?"] {
            let mut config = config(&server, api);
            config["base_url"] = json!(format!("{}{}", server.base_url(), path.trim_end_matches('?')));
            let summary = sync_into(&Memory::new(), &config).await.unwrap();
            assert_eq!(summary.synced, 1, "{api} {path}");
        }
        for (entity, project) in [
            (json!("acme"), json!("acme/demo")),
            (Value::Null, json!("acme/demo")),
            (json!("acme/demo"), json!("demo")),
            (json!(""), json!(format!("{}/acme/demo/runs/run1/overview", server.base_url()))),
            (json!(format!("{}/acme", server.base_url())), json!("demo")),
        ] {
            let mut config = config(&server, api);
            (config["entity"], config["project"]) = (entity, project);
            let summary = sync_into(&Memory::new(), &config).await.unwrap();
            assert_eq!(summary.synced, 1, "{api} {config}");
        }
    }
}

#[tokio::test]
async fn an_address_that_goes_on_where_the_api_is_not_is_named_with_the_right_one() {
    for api in APIS {
        for path in ["/api", "/api/v1", "/acme/other/runs/x", "/home"] {
            let server = serve();
            let mut config = config(&server, api);
            config["base_url"] = json!(format!("{}{path}", server.base_url()));
            let error = sync_into(&Memory::new(), &config).await.unwrap_err();
            let said = problem(&error);
            assert!(said.contains(&format!("it is at {}", server.base_url())) && said.contains(path), "{api}: {said}");
            assert!(!said.contains("acme/demo"), "{said}");
            assert!(server.log().len() <= 4, "{api} {path}: {} requests", server.log().len());
        }
    }
}

#[tokio::test]
async fn a_server_that_answers_everything_with_a_web_page_is_named_at_once() {
    for api in APIS {
        let server = serve();
        server.fault(Matcher::any(), Fault::html());
        let error = sync_into(&Memory::new(), &config(&server, api)).await.unwrap_err();
        let said = problem(&error);
        assert!(said.contains("web page") && said.contains(&server.base_url()), "{api}: {said}");
        assert!(said.contains("https://api.wandb.ai") && !said.contains("acme"), "{api}: {said}");
        assert_eq!(server.log().len(), 2, "{api}");
        let asked = server.log().all();
        let is_told =
            |name: &str| asked.iter().filter(|request| request.headers.iter().any(|(key, _)| key == name)).count();
        assert_eq!(is_told("authorization"), 1, "{api}: the second question needs no key");
    }
}

#[tokio::test]
async fn a_web_site_on_which_every_page_is_missing_is_named_and_the_project_is_not_blamed() {
    for api in APIS {
        let server = serve();
        let html = vec![("content-type".to_owned(), "text/html".to_owned())];
        server.fault(Matcher::any(), Fault::Status(404, html, "<!DOCTYPE html><h1>Not found</h1>".to_owned()));
        let error = sync_into(&Memory::new(), &config(&server, api)).await.unwrap_err();
        let said = problem(&error);
        assert!(
            said.contains("web page") && said.contains(&server.base_url()) && !said.contains("acme"),
            "{api}: {said}"
        );
        assert!(server.log().len() <= 4, "{api}: {}", server.log().len());
    }
}

#[tokio::test]
async fn the_web_site_is_named_without_a_request() {
    for base_url in ["https://wandb.ai", "https://wandb.ai/acme/demo", "https://www.wandb.ai/home"] {
        let config = json!({"api_key": "k", "base_url": base_url, "entity": "acme", "project": "demo"});
        let error = sync_into(&Memory::new(), &config).await.unwrap_err();
        assert!(problem(&error).contains("https://api.wandb.ai"), "{base_url}: {error:?}");
    }
}

#[tokio::test]
async fn a_redirect_says_where_it_leads_to() {
    for api in APIS {
        let server = serve();
        let target = "https://wandb.corp.example/login?next=secret";
        server.fault(Matcher::any(), Fault::Redirect(302, target.to_owned()));
        let error = sync_into(&Memory::new(), &config(&server, api)).await.unwrap_err();
        let Error::Upstream { status: Some(302), message } = &error else { panic!("{api}: {error:?}") };
        assert!(
            message.contains("to https://wandb.corp.example/login,") && message.contains("`base_url`"),
            "{message}"
        );
        assert!(server.log().len() <= 2, "{api}");
    }
}
