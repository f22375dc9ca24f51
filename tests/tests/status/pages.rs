//! What people read, as HTML.

use std::collections::BTreeSet;
use std::time::Instant;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Regex;

use crate::fake::Running;

/// The ids of a page's rows, in their order.
fn ids(page: &str) -> Vec<&str> {
    let row = Regex::new("scope=\"row\"><a href=\"/tenants/([^\"]*)\"").unwrap();
    row.captures_iter(page).map(|found| found.get(1).unwrap().as_str()).collect()
}

#[tokio::test]
async fn tenants_with_problems_come_first() {
    let server = Running::open().await;
    for (id, outcomes) in [
        ("a-ok", &["ok"][..]),
        ("b-new", &[]),
        ("c-interrupted", &["interrupted", "ok"]),
        ("d-partial", &["partial"]),
        ("e-failed", &["authentication", "ok"]),
        ("f-runs", &["ok"]),
        ("g-failed-and-runs", &["limit"]),
    ] {
        server.watch.add(id, outcomes);
    }
    server.watch.run("f-runs", 10, false);
    server.watch.run("g-failed-and-runs", 10, true);
    let page = server.get("/", &[]).await.text();
    let expected = ["e-failed", "g-failed-and-runs", "d-partial", "f-runs", "b-new", "c-interrupted", "a-ok"];
    assert_eq!(ids(&page), expected);
    for (state, number) in [("failed", 1), ("partial", 1), ("running", 2), ("waiting", 2), ("ok", 1)] {
        assert!(page.contains(&format!("href=\"/?q={state}\">{number} {state}</a>")), "{state}");
    }
    assert!(page.contains("(waits for a rate limit)") && page.contains("2 of 16 slots taken"));
    assert_eq!(ids(&server.get("/?q=FAILED", &[]).await.text()), ["e-failed", "g-failed-and-runs"]);
    assert_eq!(ids(&server.get("/?q=plan%3Dbasic+limit", &[]).await.text()), ["g-failed-and-runs"]);
    assert_eq!(ids(&server.get("/?q=nothing-like-that", &[]).await.text()), [""; 0]);
}

#[tokio::test]
async fn no_text_is_ever_markup() {
    let server = Running::open().await;
    let hostile = "<script>hacked=1</script>\"'><img src=x onerror=hacked=1>\u{202e}&amp;";
    server.watch.add("acme", &["upstream", "ok"]);
    server.watch.say("acme", hostile);
    server.watch.change("acme", |tenant| _ = tenant.labels.insert(hostile.into(), hostile.into()));
    server.watch.problems.lock().unwrap().push(hostile.into());
    let query = utf8_percent_encode(hostile, NON_ALPHANUMERIC).to_string();
    for path in ["/", "/tenants/acme", &format!("/?q={query}"), &format!("/?q={query}&refresh=off&page=2")] {
        let page = server.get(path, &[]).await.text();
        let plain = page.to_lowercase();
        assert!(!plain.contains("<script") && !plain.contains("<img") && !page.contains('\u{202e}'), "{path}");
        assert!(page.contains("&lt;script&gt;hacked=1&lt;/script&gt;&quot;'&gt;&lt;img"), "{path}");
        assert!(page.contains("&amp;amp;"), "{path}");
    }
}

#[tokio::test]
async fn ten_thousand_tenants_are_a_hundred_pages() {
    let server = Running::open().await;
    (0..10_000).for_each(|nth| server.watch.add(&format!("tenant-{nth:05}"), &["ok", "partial", "ok"]));
    let began = Instant::now();
    let first = server.get("/", &[]).await;
    eprintln!("a page of 10,000 tenants: {} bytes in {:?}", first.body.len(), began.elapsed());
    assert!(first.text().contains("Page 1 of 100") && first.text().contains("href=\"/?page=2\">Next"));
    let mut seen = BTreeSet::new();
    for page in [1, 2, 50, 100] {
        let text = server.get(&format!("/?page={page}"), &[]).await.text();
        assert_eq!(ids(&text).len(), 100);
        assert!(ids(&text).iter().all(|id| seen.insert((*id).to_owned())), "no tenant is on two pages");
    }
    assert!(seen.contains("tenant-00000") && seen.contains("tenant-09999"));
    for page in ["0", "101", "-1", "x", "99999999999999999999"] {
        assert_eq!(ids(&server.get(&format!("/?page={page}"), &[]).await.text()).len(), 100, "{page}");
    }
    let found = server.get("/?q=tenant-09&refresh=off", &[]).await.text();
    assert!(found.contains("href=\"/?q=tenant-09&amp;page=2&amp;refresh=off\">Next"));
}

#[tokio::test]
async fn a_page_of_one_tenant_shows_its_history() {
    let server = Running::open().await;
    server.watch.add("acme", &["upstream", "ok", "partial"]);
    server.watch.history.lock().unwrap().get_mut(&"acme".parse().unwrap()).unwrap()[1].end = None;
    let page = server.get("/tenants/acme", &[]).await.text();
    assert_eq!(page.matches("<tr role=\"row\"><th role=\"rowheader\"").count(), 3);
    for text in
        ["it ended as upstream", "the host ended before it did", "1\u{202f}234", "20, 2 retries", "3.0 MiB", "1.5 s"]
    {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.contains("aria-label=\"The last 2 syncs: 0 ok, 1 partial, 1 failed; the longest took 5.0 s\""));
}
