//! The status page in a real browser.

use std::process::Command;

use serde_json::{Value, json};
use wandb_connector_tests::set_up;

use crate::fake::{Running, TOKEN};

const HOSTILE: &str = "<script>globalThis.hacked=1</script>\"'><img src=x onerror=globalThis.hacked=1>";

/// What a person sees (`tests/browser/status.mjs`).
fn look(url: &str) -> Value {
    let browser = set_up::program("setup-browser.sh").expect("a browser");
    let node = set_up::program("setup-node.sh").expect("Node");
    // `STATUS_PICTURES=FOLDER` keeps pictures of what was seen.
    let pictures = std::env::var("STATUS_PICTURES").ok();
    let asked = json!({ "browser": browser, "url": url, "token": TOKEN, "tenant": "acme", "pictures": pictures });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/status.mjs");
    let output = Command::new(node).arg(script).arg(asked.to_string()).output().expect("Node runs");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {problem}"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_how_tenants_are_in_a_browser() {
    let server = Running::closed().await;
    let outcomes: Vec<&str> = (0..25).map(|nth| if nth % 5 == 0 { "upstream" } else { "ok" }).collect();
    server.watch.add("acme", &outcomes);
    server.watch.say("acme", HOSTILE);
    server.watch.change("acme", |tenant| _ = tenant.labels.insert("name".into(), HOSTILE.into()));
    for (id, outcomes) in [("fine", &["ok", "ok"][..]), ("partly", &["partial"]), ("new", &[]), ("busy", &["ok"])] {
        server.watch.add(id, outcomes);
    }
    server.watch.run("busy", 4321, true);
    let long = "an-id-of-sixty-four-characters-without-any-place-to-break-it-0000";
    server.watch.add(&long[..64], &["limit"]);
    server.watch.problems.lock().unwrap().push(format!("tenants.toml:7:3: {HOSTILE}"));

    let url = format!("http://{}/", server.address);
    let seen = tokio::task::spawn_blocking({
        let url = url.clone();
        move || look(&url)
    });
    let seen = seen.await.unwrap();

    // In and out.
    assert_eq!((seen["formAt"].as_str(), seen["listAt"].as_str()), (Some(&*format!("{url}sign-in")), Some(&*url)));
    assert_eq!((&seen["cookies"][0]["httpOnly"], &seen["cookies"][0]["sameSite"]), (&json!(true), &json!("Strict")));
    assert!(!seen["cookies"].to_string().contains(TOKEN));
    assert_eq!(
        (seen["afterwards"].as_str(), &seen["cookiesAfterwards"]),
        (Some(&*format!("{url}sign-in")), &json!([]))
    );

    // The table.
    let titles = ["Tenant", "State", "Last sync", "Lag", "Rows", "Errors", "Recent syncs", "Next sync"];
    assert_eq!(texts(&seen["titles"]), titles);
    assert_eq!(texts(&seen["rows"]), ["acme", &long[..64], "partly", "busy", "new", "fine"]);
    let list = seen["list"].as_str().unwrap();
    for text in [
        HOSTILE,
        "plan=basic",
        "failed",
        "running (waits for a rate limit)",
        "4\u{202f}321",
        "4 of 20",
        "never complete",
    ] {
        assert!(list.contains(text), "{text} in {list}");
    }
    assert!(texts(&seen["problems"]).iter().any(|line| line.contains(&format!("tenants.toml:7:3: {HOSTILE}"))));
    let line = &seen["sparkline"];
    assert_eq!(line["label"], "The last 20 syncs: 16 ok, 0 partial, 4 failed; the longest took 9.0 s");
    assert_eq!((&line["bars"], &line["crosses"]), (&json!(16), &json!(4)));
    let heights: Vec<f64> = line["heights"].as_array().unwrap().iter().map(|height| height.as_f64().unwrap()).collect();
    let (low, high) = (heights.iter().copied().fold(f64::MAX, f64::min), heights.iter().copied().fold(0.0, f64::max));
    assert!(low >= 3.0 && high > 2.0 * low && high <= 24.0, "{heights:?}");
    assert!(line["box"]["width"].as_f64().unwrap() >= 100.0);

    // Moving about.
    assert_eq!((&seen["renews"], &seen["stopped"]), (&json!(1), &json!(0)));
    assert_eq!(texts(&seen["filtered"]), ["acme"]);
    let history = seen["history"].as_str().unwrap();
    assert!(
        history.contains(HOSTILE) && history.contains("upstream") && history.contains("20, 2 retries"),
        "{history}"
    );
    assert_eq!(texts(&seen["withoutScripts"]), texts(&seen["rows"]));

    // Hostile texts are texts.
    assert_eq!(
        (&seen["hacked"], &seen["hackedByHistory"], &seen["injected"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!((&seen["scripts"], &seen["images"], &seen["dialogs"]), (&json!(0), &json!(0), &json!([])));
    // Nothing from elsewhere, nothing to complain about, and no token where it could be seen.
    let requests = texts(&seen["requests"]);
    assert!(
        requests.len() >= 10 && requests.iter().all(|asked| asked.starts_with(&url) || *asked == "data:,"),
        "{requests:?}"
    );
    assert!(requests.iter().all(|asked| !asked.contains(TOKEN)));
    assert_eq!((&seen["console"], &seen["refusals"]), (&json!([]), &json!(1)), "{}", seen["console"]);

    // On a phone, and in the dark.
    let phone = &seen["phone"];
    assert_eq!((&phone["list"], &phone["tenant"], &phone["rows"]), (&json!(375), &json!(375), &json!(7)));
    assert!(phone["cells"].as_u64() >= Some(200), "cells are still cells: {phone}");
    assert_ne!(seen["light"], seen["dark"]);
}
