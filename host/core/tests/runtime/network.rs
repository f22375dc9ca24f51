//! What reaches the network, with what, and what comes back when it fails.

use std::time::Duration;

use elt_host::Limits;
use serde_json::{Value, json};

use crate::server::{Part, Server, answer, gzip, gzipped};
use crate::support::{KEY, Run, Script, client_that_resolves_to, client_with_proxy};

async fn ask(server: &Server, steps: Value) -> Run {
    Script::new(steps).with("base_url", json!(server.url())).run().await
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = request.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| {
        line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

#[tokio::test]
async fn the_guest_never_sees_the_key_and_the_server_does() {
    let server = Server::start(|_| answer("200 OK", "hello")).await;
    let url = server.url();
    let run = ask(
        &server,
        json!([
            ["log-config"],
            ["get", format!("{url}/bearer"), {"authorization": "Bearer KEY"}],
            ["post", format!("{url}/basic"), {"Authorization": "Basic BASIC"}],
        ]),
    )
    .await;
    assert!(run.outcome.error.is_none(), "{}", run.error());
    assert_eq!(run.log()[1..], ["200 hello", "200 hello"]);
    assert!(run.log()[0].contains(r#""api_key":"***""#), "{}", run.log()[0]);
    let requests = server.requests();
    assert_eq!(header(&requests[0], "authorization"), Some(format!("Bearer {KEY}").as_str()));
    let basic = header(&requests[1], "authorization").unwrap().to_owned();
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(basic.strip_prefix("Basic ").unwrap()).unwrap();
    assert_eq!(decoded, format!("api:{KEY}").as_bytes());
    assert!(requests[1].starts_with("POST") && !requests[1].contains(KEY));
    assert_eq!((run.outcome.requests, server.connections()), (2, 1));
    run.assert_discreet();
}

#[tokio::test]
async fn the_key_is_nowhere_in_the_guests_memory() {
    let server = Server::start(|_| answer("200 OK", &format!("an echo of {KEY}"))).await;
    let reversed: String = KEY.chars().rev().collect();
    let ask_and_look = json!([["get", server.url(), {"authorization": "Bearer KEY"}], ["find", reversed]]);
    let run = ask(&server, ask_and_look.clone()).await;
    assert_eq!(run.log()[1], "found 0");
    // The same question finds a value that is no secret.
    let run = Script::new(ask_and_look).with("base_url", json!(server.url())).with("entity", json!(KEY)).run().await;
    assert_ne!(run.log()[1], "found 0");
}

#[tokio::test]
async fn a_download_host_gets_no_credentials() {
    let (server, downloads) =
        (Server::start(|_| answer("200 OK", "")).await, Server::start(|_| answer("200 OK", "file")).await);
    let steps = json!([["get", format!("{}/f", downloads.url()), {"authorization": "Bearer KEY", "cookie": "a=b", "x-other": "kept"}]]);
    let mut script = Script::new(steps).with("base_url", json!(server.url()));
    script.policy.download_origins = vec![downloads.url()];
    let run = script.run().await;
    assert_eq!(run.log(), ["200 file"]);
    let request = &downloads.requests()[0];
    assert_eq!(
        (header(request, "authorization"), header(request, "cookie"), header(request, "x-other")),
        (None, None, Some("kept"))
    );
}

#[tokio::test]
async fn no_other_origin_is_reached() {
    let (server, other) =
        (Server::start(|_| answer("200 OK", "")).await, Server::start(|_| answer("200 OK", "secret")).await);
    let port = server.address.port();
    let targets = [
        other.url(),
        format!("http://localhost:{port}"),
        format!("http://127.0.0.2:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("https://127.0.0.1:{port}"),
        format!("http://user@127.0.0.1:{port}"),
        "http://169.254.169.254/latest/meta-data/".into(),
        "http://api.example/".into(),
    ];
    let steps: Vec<_> = targets.iter().map(|url| json!(["get", url])).collect();
    let run = ask(&server, json!(steps)).await;
    let denied = run.log().iter().filter(|line| line.contains("HttpRequestDenied")).count();
    assert_eq!(denied, targets.len(), "{:#?}", run.log());
    assert!(run.log().iter().any(|line| line.contains("--allow-origin")), "{:#?}", run.log());
    assert_eq!((other.requests().len(), server.requests().len(), run.outcome.requests), (0, 0, 0));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::start(|_| answer("200 OK", "secret")).await;
    let location = format!("302 Found\r\nlocation: {}", other.url());
    let server = Server::start(move |_| answer(&location, "over there")).await;
    let run = ask(&server, json!([["get", server.url(), {"authorization": "Bearer KEY"}]])).await;
    assert_eq!((run.log(), other.requests().len()), (vec!["302 over there"], 0));
}

#[tokio::test]
async fn a_handle_outside_of_the_authorization_header_is_not_sent() {
    let server = Server::start(|_| answer("200 OK", "")).await;
    let url = server.url();
    let run = ask(
        &server,
        json!([
            ["get", format!("{url}/?key=KEY")],
            ["get", format!("{url}/KEY"), {"authorization": "Bearer KEY"}],
            ["get", &url, {"x-api-key": "KEY"}],
        ]),
    )
    .await;
    assert_eq!(run.log().iter().filter(|line| line.contains("HttpRequestDenied")).count(), 3, "{:#?}", run.log());
    assert_eq!(server.requests().len(), 0);
    run.assert_discreet();
}

#[tokio::test]
async fn one_set_of_credentials_is_sent_and_it_is_the_configurations() {
    let server = Server::start(|_| answer("200 OK", "")).await;
    let url = server.url();
    let run = ask(
        &server,
        json!([
            ["get", &url, {"authorization": ["Bearer KEY", "Bearer somebody-elses"]}],
            ["get", &url, {"Authorization": "Bearer KEY", "cookie": "session=1"}],
            ["get", &url, {"authorization": ["Bearer somebody-elses", "Bearer KEY"]}],
            ["get", &url, {"cookie": "session=KEY"}],
        ]),
    )
    .await;
    let sent = server.requests();
    assert_eq!(sent.len(), 2, "{:?}", run.log());
    for request in &sent {
        let credentials: Vec<&str> =
            request.lines().filter(|line| line.to_ascii_lowercase().starts_with("authorization")).collect();
        assert_eq!(credentials.len(), 1, "{request}");
        assert_eq!(header(request, "authorization"), Some(format!("Bearer {KEY}").as_str()));
    }
    run.assert_discreet();
}

#[tokio::test]
async fn trailers_of_a_request_carry_no_key() {
    let server = Server::start(|_| answer("200 OK", "fine")).await;
    // Trailers that no header announces are not sent at all.
    let headers = json!({"authorization": "Bearer KEY", "trailer": "authorization, x-key"});
    let run = ask(&server, json!([["post-trailers", server.url(), headers]])).await;
    assert_eq!(run.log(), ["200 fine"]);
    let [request] = server.requests().try_into().unwrap();
    let (_, trailers) = request.split_once("\r\n0\r\n").unwrap();
    assert!(trailers.starts_with("x-key: Bearer "), "{request}");
    assert_eq!(request.matches(KEY).count(), 1, "only in its header: {request}");
    assert!(run.outcome.error.is_none(), "{}", run.error());
    run.assert_discreet();
}

#[tokio::test]
async fn trailers_of_a_response_and_names_of_headers_hold_no_key() {
    let server = Server::start(|_| {
        let head = format!("HTTP/1.1 200 OK\r\nx-{KEY}: 1\r\ntransfer-encoding: chunked\r\ntrailer: x-echo\r\n\r\n");
        vec![Part::Bytes(format!("{head}4\r\nfine\r\n0\r\nx-echo: {KEY}\r\n\r\n").into_bytes())]
    })
    .await;
    let reversed: String = KEY.chars().rev().collect();
    let run =
        ask(&server, json!([["get-all", server.url(), {"authorization": "Bearer KEY"}], ["find", reversed]])).await;
    assert!(run.log()[0].contains("200 fine") && run.log()[0].contains("***"), "{:?}", run.log());
    assert_eq!(run.log()[1], "found 0");
    run.assert_discreet();
}

#[tokio::test]
async fn headers_that_steer_the_connection_are_not_the_guests() {
    let server = Server::start(|_| answer("200 OK", "")).await;
    let url = server.url();
    for name in ["host", "connection", "transfer-encoding", "proxy-authorization", "upgrade"] {
        let run = ask(&server, json!([["get", url, {name: "evil.example"}]])).await;
        assert!(run.log()[0].contains("Forbidden"), "{name}: {:?}", run.log());
    }
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_key_that_the_server_echoes_does_not_reach_the_guest() {
    let echo = |_: &str| {
        let (first, second) = KEY.split_at(5);
        let head =
            format!("HTTP/1.1 200 OK\r\nx-echo: {KEY}\r\ncontent-length: {}\r\n\r\nyou sent {first}", KEY.len() + 9);
        vec![
            Part::Bytes(head.into_bytes()),
            Part::Pause(Duration::from_millis(50)),
            Part::Bytes(second.as_bytes().to_vec()),
        ]
    };
    let server = Server::start(echo).await;
    let run =
        ask(&server, json!([["get", server.url(), {"authorization": "Bearer KEY"}], ["fail", "upstream", "no"]])).await;
    let told = "a secret of the configuration was found in 2 places of responses and rows; stars stand there";
    assert_eq!(run.log(), [format!("200 you sent {}", "*".repeat(KEY.len())).as_str(), told]);
    run.assert_discreet();
}

#[tokio::test]
async fn a_key_that_the_server_echoes_compressed_does_not_reach_the_guest() {
    let server = Server::start(|_| gzip(&format!("you sent {KEY}{}", " ".repeat(1 << 20)))).await;
    let (url, key) = (server.url(), json!("Bearer KEY"));
    let reversed: String = KEY.chars().rev().collect();
    let run = ask(
        &server,
        json!([
            ["get", &url, {"authorization": key, "accept-encoding": "gzip"}],
            ["get", &url, {"authorization": key, "accept-encoding": "br, gzip;q=0.1"}],
            ["get", &url, {"authorization": key}],
            ["find", reversed],
        ]),
    )
    .await;
    let hidden = format!("200 you sent {}", "*".repeat(KEY.len()));
    assert!(run.log()[..3].iter().all(|line| line.trim_end() == hidden), "{:#?}", run.log());
    assert_eq!(run.log()[3], "found 0");
    let asked = server.requests();
    let asked: Vec<_> = asked.iter().map(|request| header(request, "accept-encoding")).collect();
    assert_eq!(asked, [Some("gzip"), Some("gzip"), None], "nothing that the host could not look into");
    run.assert_discreet();
}

#[tokio::test]
async fn an_answer_that_the_host_can_not_look_into_does_not_reach_the_guest() {
    let server = Server::start(|path| answer(&format!("200 OK\r\ncontent-encoding: {}", &path[1..]), KEY)).await;
    for coding in ["br", "zstd", "deflate", "gzip,gzip"] {
        let run =
            ask(&server, json!([["get", format!("{}/{coding}", server.url()), {"authorization": "Bearer KEY"}]])).await;
        assert!(run.log()[0].contains("HttpResponseContentCoding"), "{coding}: {:?}", run.log());
        run.assert_discreet();
    }
    // A host that was sent no key has none to echo.
    let steps = json!([["get", format!("{}/br", server.url())]]);
    let mut script = Script::new(steps).with("base_url", json!("http://api.example"));
    script.policy.download_origins = vec![server.url()];
    assert_eq!(script.run().await.log(), [format!("200 {}", "***")]);
}

#[tokio::test]
async fn what_a_compressed_answer_holds_is_what_counts() {
    let server = Server::start(|_| gzip(&"x".repeat(1 << 20))).await;
    let get = json!(["get", server.url()]);
    let script = |limit| {
        let limits = Limits::default().response_bytes(limit);
        Script::new(json!([get])).with("base_url", json!(server.url())).limits(limits).run()
    };
    let run = script(1 << 20).await;
    assert!(run.log()[0].starts_with("200 xxx"), "{:?}", run.log());
    let run = script((1 << 20) - 1).await;
    assert!(run.log().iter().any(|line| line.contains("HttpResponseBodySize(Some(1048575))")), "{:?}", run.log());
    assert!(run.log().iter().any(|line| line.contains("`response_bytes`")), "{:?}", run.log());
}

#[tokio::test]
async fn credentials_of_the_connectors_own_are_not_sent() {
    let server = Server::start(|_| answer("200 OK", "")).await;
    let run = ask(&server, json!([["get", server.url(), {"authorization": "Bearer somebody-elses"}]])).await;
    assert!(run.log().iter().any(|line| line.contains("HttpRequestDenied")), "{:?}", run.log());
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn failures_of_the_network_have_precise_codes() {
    let head =
        |length: usize| Part::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nbegin").into_bytes());
    let server = Server::start(move |path| match path {
        "/close" => vec![Part::Close],
        "/short" => vec![head(100), Part::Close],
        "/stall" => vec![head(100), Part::Pause(Duration::from_secs(60))],
        "/silent" => vec![Part::Pause(Duration::from_secs(60))],
        "/garbage" => vec![Part::Bytes(b"\x16\x03\x01 this is not http\r\n\r\n".to_vec()), Part::Close],
        "/huge-head" => vec![Part::Bytes([b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 2 << 20]].concat())],
        "/chunks" => vec![
            Part::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegin\r\n".to_vec()),
            Part::Close,
        ],
        _ => answer("200 OK", "fine"),
    })
    .await;
    let url = server.url();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let get = |path: &str| json!(["get", format!("{url}{path}"), {}, 300]);
    let cases = [
        (get("/close"), "ConnectionTerminated"),
        (get("/short"), "HttpResponseIncomplete"),
        (get("/chunks"), "HttpResponseIncomplete"),
        (get("/stall"), "ConnectionReadTimeout"),
        (get("/silent"), "ConnectionReadTimeout"),
        (get("/garbage"), "HttpProtocolError"),
        (get("/huge-head"), "HttpResponseHeaderSectionSize"),
        (get("/fine"), "200 fine"),
    ];
    for (step, expected) in cases {
        let run = ask(&server, json!([step])).await;
        assert!(run.log()[0].contains(expected), "{step}: {:?}", run.log());
    }
    let run = Script::new(json!([["get", format!("http://{nobody}/")]]))
        .with("base_url", json!(format!("http://{nobody}")))
        .run()
        .await;
    assert!(run.log().iter().any(|line| line.contains("ErrorCode::ConnectionRefused")), "{:?}", run.log());
    let mut script =
        Script::new(json!([["get", "http://nowhere.example/"]])).with("base_url", json!("http://nowhere.example"));
    script.client = client_that_resolves_to(None);
    let run = script.run().await;
    assert!(run.log().iter().any(|line| line.contains("DnsError")), "{:?}", run.log());
}

/// How the server of the next test answers: `/FRAMING/CODING/END/BYTES`.
fn cut_answer(path: &str) -> Vec<Part> {
    let mut parts = path.split('/').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (framing, coding, end, bytes) = (part(), part(), part(), part());
    let text =
        b"a body that is long enough for some chunks, and a body that is long enough to be worth some compression";
    let packed = match coding {
        "gzip" => gzipped(text),
        _ => text.to_vec(),
    };
    let coding = if coding == "gzip" { "content-encoding: gzip\r\n" } else { "" };
    let whole = match framing {
        "chunks" => {
            let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            let chunks: Vec<u8> = packed.chunks(16).flat_map(chunk).chain(*b"0\r\n\r\n").collect();
            [format!("HTTP/1.1 200 OK\r\n{coding}transfer-encoding: chunked\r\n\r\n").into_bytes(), chunks].concat()
        }
        "length" => {
            [format!("HTTP/1.1 200 OK\r\n{coding}content-length: {}\r\n\r\n", packed.len()).into_bytes(), packed]
                .concat()
        }
        _ => [format!("HTTP/1.1 200 OK\r\n{coding}connection: close\r\n\r\n").into_bytes(), packed].concat(),
    };
    match bytes.parse::<usize>() {
        Ok(bytes) if bytes < whole.len() => {
            let last = if end == "reset" { Part::Reset } else { Part::Close };
            vec![Part::Bytes(whole[..bytes].to_vec()), last]
        }
        Ok(_) => answer("404 Not Found", "there are no more bytes"),
        Err(_) => vec![Part::Bytes(whole), Part::Close],
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_at_any_byte_is_never_taken_for_a_whole_one() {
    let server = Server::start(cut_answer).await;
    // Without a length and without compression nobody could tell; then it is for the connector to see.
    for answer in ["length/plain", "chunks/plain", "length/gzip", "chunks/gzip", "close/gzip"] {
        for end in ["close", "reset"] {
            let cut = |bytes: usize| json!(["get", format!("{}/{answer}/{end}/{bytes}", server.url()), {}, 5000]);
            let mut steps: Vec<Value> = (0..400).map(cut).collect();
            steps.push(json!(["get", format!("{}/{answer}/{end}/all", server.url())]));
            let run = ask(&server, json!(steps)).await;
            let lines: Vec<&str> = run.log().into_iter().filter(|line| !line.contains("can't be reached")).collect();
            let (whole, cut) = lines.split_last().unwrap();
            assert!(whole.starts_with("200 a body that is long"), "{whole}");
            let broken = cut.iter().take_while(|line| !line.contains("no more bytes")).count();
            assert!((100..400).contains(&broken), "{answer}: {broken} cuts");
            let taken = cut[..broken].iter().find(|line| !line.starts_with("error"));
            assert_eq!(taken, None, "{answer}/{end}");
        }
    }
}

#[tokio::test]
async fn plain_http_where_tls_is_expected_is_a_tls_error() {
    let server = Server::start(|_| answer("200 OK", "plain")).await;
    let url = server.url().replace("http://", "https://");
    let run = Script::new(json!([["get", &url]])).with("base_url", json!(url)).run().await;
    assert!(
        run.log().iter().any(|line| line.contains("Tls") || line.contains("ConnectionTerminated")),
        "{:?}",
        run.log()
    );
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_reused() {
    let server = Server::start(|_| [answer("200 OK", "fine"), vec![Part::Close]].concat()).await;
    let step = json!(["get", server.url()]);
    // Nothing tells a guest that a connection was closed: it is away for long enough that the host has seen it.
    let run = ask(&server, json!([step, ["sleep", 50], step, ["sleep", 50], step])).await;
    assert_eq!(run.log(), ["200 fine"; 3]);
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn responses_are_bounded() {
    let server = Server::start(|_| answer("200 OK", &"x".repeat(100_000))).await;
    let script = Script::new(json!([["get", server.url()], ["log", "went on"]])).with("base_url", json!(server.url()));
    let run = script.limits(Limits::default().response_bytes(50_000)).run().await;
    assert!(run.log().iter().any(|line| line.contains("HttpResponseBodySize(Some(50000))")), "{:?}", run.log());
    assert!(run.log().iter().any(|line| line.contains("`response_bytes`")), "{:?}", run.log());
    assert!(run.outcome.error.is_none());
}

#[tokio::test]
async fn the_trouble_of_another_request_explains_nothing() {
    let server = Server::start(|path| match path {
        "/broken" => vec![Part::Close],
        _ => answer("200 OK", "fine"),
    })
    .await;
    let (refused, broken) =
        (json!(["get", "http://elsewhere.example/"]), json!(["get", format!("{}/broken", server.url())]));
    let (fine, fail) = (json!(["get", server.url()]), json!(["fail", "upstream", "no answer"]));
    let explained = "no answer (a request to `elsewhere.example` was refused";
    for (steps, is_explained) in [
        (json!([refused, fail]), true),
        (json!([fine, refused, refused, fail]), true),
        (json!([refused, broken, fail]), false),
        (json!([broken, refused, fail]), false),
        (json!([refused, fine, fail]), false),
        (json!([refused, fine, broken, fail]), false),
    ] {
        let run = Script::new(steps.clone()).with("base_url", json!(server.url())).run().await;
        assert!(run.log().iter().any(|line| line.contains("`elsewhere.example` was refused")), "{:?}", run.log());
        match is_explained {
            true => assert!(run.error().starts_with(explained), "{steps}: {}", run.error()),
            false => assert_eq!(run.error(), "no answer", "{steps}"),
        }
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_with_advice() {
    let script = Script::new(json!([["get", "http://inside.example/"], ["fail", "upstream", "no answer"]]));
    let mut script = script.with("base_url", json!("http://inside.example"));
    script.client = client_that_resolves_to(Some("10.0.0.7"));
    let run = script.run().await;
    assert!(run.log().iter().any(|line| line.contains("DestinationIpProhibited")), "{:?}", run.log());
    assert!(run.error().contains("no answer") && run.error().contains("--allow-network 10.0.0.7"), "{}", run.error());
}

#[tokio::test]
async fn a_connection_that_one_policy_allowed_serves_no_request_under_another() {
    let server = Server::start(|_| answer("200 OK", "inside")).await;
    let url = format!("http://inside.example:{}", server.address.port());
    let client = client_that_resolves_to(Some("127.0.0.1"));
    for (networks, said) in
        [(vec!["127.0.0.1/32"], true), (vec![], false), (vec!["10.0.0.0/8"], false), (vec!["127.0.0.1/32"], true)]
    {
        let mut script = Script::new(json!([["get", url]])).with("base_url", json!(url));
        script.policy.networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        script.client = client.clone();
        let run = script.run().await;
        let answered = run.log().contains(&"200 inside");
        let refused = run.log().iter().any(|line| line.contains("DestinationIpProhibited"));
        assert_eq!((answered, refused), (said, !said), "{networks:?}: {:?}", run.log());
    }
    assert_eq!((server.requests().len(), server.connections()), (2, 1), "the connection was there all the while");
}

#[tokio::test]
async fn a_proxy_is_asked_for_whole_urls_and_for_tunnels() {
    let proxy = Server::start(|_| answer("200 OK", "from the proxy")).await;
    let through = |url: &str| {
        let mut script =
            Script::new(json!([["get", url, {"authorization": "Bearer KEY"}, 500]])).with("base_url", json!(url));
        script.client = client_with_proxy(&format!("http://user:pass@{}", proxy.address));
        script.run()
    };
    let run = through("http://api.example/x").await;
    assert_eq!(run.log(), ["200 from the proxy"]);
    let request = &proxy.requests()[0];
    assert!(request.starts_with("GET http://api.example/x HTTP/1.1"), "{request}");
    assert_eq!(header(request, "host"), Some("api.example"));
    assert_eq!(header(request, "proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(header(request, "authorization"), Some(format!("Bearer {KEY}").as_str()));
    // The tunnel itself carries no credentials of the connector; TLS fails behind it, as there is no server.
    let run = through("https://api.example/x").await;
    assert!(run.log().iter().any(|line| line.contains("error")), "{:?}", run.log());
    let request = &proxy.requests()[1];
    assert!(request.starts_with("CONNECT api.example:443 HTTP/1.1"), "{request}");
    assert_eq!(header(request, "proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(header(request, "authorization"), None);
}

#[tokio::test]
async fn a_proxy_that_wants_credentials_is_named_as_the_one_who_does() {
    for (user, told) in
        [("", "wants a user and a password"), ("user:pass@", "does not accept the user and the password")]
    {
        for scheme in ["http", "https"] {
            let proxy = Server::start(|_| answer("407 Proxy Authentication Required", "who are you?")).await;
            let url = format!("{scheme}://api.example");
            let steps =
                json!([["get", format!("{url}/x"), {"authorization": "Bearer KEY"}], ["fail", "upstream", "no"]]);
            let mut script = Script::new(steps).with("base_url", json!(url));
            script.client = client_with_proxy(&format!("http://{user}{}", proxy.address));
            let run = script.run().await;
            // Final for the guest: another attempt gets the same answer.
            assert!(run.log().iter().any(|line| line.contains("HttpRequestDenied")), "{:?}", run.log());
            let named = format!("the proxy http://{}/ {told}", proxy.address);
            assert!(run.error().contains(&named) && run.error().contains("407"), "{}", run.error());
            assert!(!format!("{:?} {:?}", run.events, run.outcome).contains("pass@"), "{:?}", run.events);
            assert_eq!(proxy.requests().len(), 1);
        }
    }
}
