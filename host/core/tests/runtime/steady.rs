//! What a long sync must not do: grow with every request.

use elt_host::Limits;
use serde_json::json;

use crate::server::{Part, Server, answer};
use crate::support::Script;

/// A table for a few requests holds thousands of them, whichever way the guest makes them and lets go of them: one entry lost with each
/// request of one way would fill it before the first hundred of those.
#[tokio::test]
async fn no_way_to_make_a_request_leaves_anything_behind() {
    let server = Server::start(|path| match path {
        "/broken" => vec![Part::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec()), Part::Close],
        "/trailers" => vec![Part::Bytes(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n4\r\nfine\r\n0\r\nx-end: 1\r\n\r\n".to_vec(),
        )],
        _ => answer("200 OK", "fine"),
    })
    .await;
    let script = Script::new(json!([["assorted", server.url(), 4200]])).with("base_url", json!(server.url()));
    let run = script.limits(Limits::default().handles(24).open_requests(8)).run().await;
    assert_eq!(run.error(), "");
    assert!(server.requests().len() > 2500, "{}", server.requests().len());
    let pages: Vec<&str> =
        run.log().into_iter().filter_map(|line| line.split_once(" pages after")).map(|(n, _)| n).collect();
    assert_eq!(pages.len(), 2, "{:?}", run.log());
    assert_eq!(pages[0], pages[1], "the guest's memory grew");
}
