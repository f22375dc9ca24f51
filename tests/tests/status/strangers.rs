//! Clients that mean no good, or know no better.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::fake::{Running, TOKEN};

#[tokio::test]
async fn a_name_that_was_made_to_resolve_to_this_machine_is_no_way_in() {
    let server = Running::open().await;
    let port = server.address.port();
    for host in
        ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "0.0.0.0", "10.0.0.1", "[::2]", "@", ""]
    {
        for path in ["/", "/api/tenants", "/metrics"] {
            let reply = server.get(path, &[&format!("host: {host}")]).await;
            assert!(matches!(reply.status, 400 | 421), "{host}: {}", reply.status);
        }
    }
    for host in
        [format!("localhost:{port}"), format!("LOCALHOST.:{port}"), format!("127.0.0.1:{port}"), "[::1]:1".into()]
    {
        assert_eq!(server.get("/", &[&format!("host: {host}")]).await.status, 200, "{host}");
    }
    let whole = server.send(b"GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(whole.status, 421);
    let none = server.send(b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(none.status, 421);
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_not_read() {
    let server = Running::closed().await;
    let long = format!("x: {}", "x".repeat(64 << 10));
    assert!(matches!(server.get("/healthz", &[&long]).await.status, 0 | 431));
    let many: Vec<String> = (0..100).map(|nth| format!("x-{nth}: x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(server.get("/healthz", &many).await.status, 431);
    assert!(matches!(server.get(&format!("/{}", "x".repeat(64 << 10)), &[]).await.status, 0 | 414 | 431));

    let body = server.ask("GET", "/healthz", &[], "a body").await;
    assert_eq!((body.status, body.header("connection")), (413, Some("close")));
    let form = server.ask("POST", "/sign-in", &[], &format!("token={}", "x".repeat(4 << 10))).await;
    assert_eq!((form.status, form.header("connection")), (413, Some("close")));
    // Neither is a body of a gigabyte waited for.
    let announced = server.ask("POST", "/sign-in", &["content-length: 1073741824"], "").await;
    assert!(matches!(announced.status, 0 | 413), "{announced:?}");
    let garbage = server.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
    assert!(matches!(garbage.status, 0 | 400));
    assert_eq!(server.get("/healthz", &[]).await.status, 200, "it goes on");
}

/// Sends `start`, then a byte now and then, until the server has had enough.
async fn trickle(server: &Running, start: &[u8]) {
    let mut stream = server.connect().await;
    stream.write_all(start).await.unwrap();
    let (mut incoming, mut outgoing) = stream.split();
    let began = Instant::now();
    let closed = async {
        let mut answer = Vec::new();
        let _ = incoming.read_to_end(&mut answer).await;
    };
    let sending = async {
        while outgoing.write_all(b"x").await.is_ok() && began.elapsed() < Duration::from_secs(60) {
            // The slowness is what is tested.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let patience = Duration::from_secs(45);
    tokio::select! {
        ended = timeout(patience, closed) => ended.expect("the server waits forever"),
        () = sending => {}
    }
    assert!(began.elapsed() < patience);
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let server = Running::closed().await;
    let head = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\nx: ", server.address);
    let form = format!("POST /sign-in HTTP/1.1\r\nhost: {}\r\ncontent-length: 2000\r\n\r\ntoken=", server.address);
    let silent = async {
        let mut stream = server.connect().await;
        timeout(Duration::from_secs(45), stream.read(&mut [0; 16])).await.expect("a silent connection stays")
    };
    let (_, (), ()) = tokio::join!(silent, trickle(&server, head.as_bytes()), trickle(&server, form.as_bytes()));
}

#[tokio::test]
async fn connections_are_bounded_and_make_room_when_they_end() {
    let server = Running::open().await;
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    async fn ask(stream: &mut TcpStream, request: &str) {
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    async fn hear(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.is_ok_and(|_| byte == *b"H")
    }
    let mut open = Vec::new();
    for _ in 0..128 {
        let mut stream = server.connect().await;
        ask(&mut stream, &request).await;
        assert!(hear(&mut stream).await);
        open.push(stream);
    }
    let mut further = server.connect().await;
    ask(&mut further, &request).await;
    assert!(timeout(Duration::from_millis(500), hear(&mut further)).await.is_err(), "there was room for it");
    drop(open);
    assert!(timeout(Duration::from_secs(30), hear(&mut further)).await.unwrap());
}

#[tokio::test]
async fn nothing_that_is_answered_holds_the_token() {
    let server = Running::closed().await;
    server.watch.add("acme", &["ok"]);
    let header = format!("authorization: Bearer {TOKEN}");
    for path in ["/", "/sign-in", "/tenants/acme", "/metrics", "/api/tenants", "/api/tenants/acme/history", "/nothing"]
    {
        let reply = server.get(&format!("{path}?q={TOKEN}0"), &[&header]).await;
        let shown = String::from_utf8_lossy(&reply.body).replace(&format!("{TOKEN}0"), "");
        assert!(!shown.contains(TOKEN) && !reply.head.contains(TOKEN), "{path}");
    }
    let wrong = server.ask("POST", "/sign-in", &[], &format!("token={TOKEN}x")).await;
    assert!(wrong.status == 403 && !wrong.text().contains(TOKEN));
}
