//! TLS, and HTTP/2 where the server offers it. The certificates were made for these tests and are worth nothing elsewhere.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use elt_host::HttpClient;
use elt_host::test_support::network::Boxed;
use elt_host::test_support::network::Dial;
use elt_host::test_support::network::HttpOptions;
use elt_host::test_support::network::Resolve;
use elt_support::certificates::Trust;
use http::HeaderValue;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::{KEY, Run, Script};

const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/leaf.pem");
const PRIVATE_KEY: &[u8] = include_bytes!("tls/key.pem");
/// As `openssl req -x509` makes them: with itself as authority. The second has expired.
const SELF_SIGNED: &[u8] = include_bytes!("tls/self_signed.pem");
/// Of the same name as [`SELF_SIGNED`], with another key.
const SAME_NAME: &[u8] = include_bytes!("tls/same_name.pem");
/// With a common name and no other.
const COMMON_NAME: &[u8] = include_bytes!("tls/common_name.pem");
const EXPIRED: &[u8] = include_bytes!("tls/expired.pem");

/// Resolves every name to a public address, and answers for that address on this machine.
struct Elsewhere(SocketAddr);

impl Resolve for Elsewhere {
    fn resolve<'a>(&'a self, _: &'a str) -> Boxed<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec!["93.184.216.34".parse().unwrap()]) })
    }
}

impl Dial for Elsewhere {
    fn dial(&self, address: SocketAddr) -> Boxed<'_, io::Result<TcpStream>> {
        assert_eq!(address.to_string(), "93.184.216.34:443");
        Box::pin(TcpStream::connect(self.0))
    }
}

/// How each connection to a server began.
type Handshakes = Arc<Mutex<Vec<Option<HandshakeKind>>>>;

/// A TLS server that speaks `protocols`; returns its address, its connections, and what it was asked (version, authority, key). It ends a
/// connection after it was asked for `/last`.
async fn serve(protocols: &[&[u8]]) -> (SocketAddr, Handshakes, Arc<Mutex<Vec<String>>>) {
    serve_as(CERTIFICATE, protocols).await
}

/// The same with another certificate.
async fn serve_as(certificate: &[u8], protocols: &[&[u8]]) -> (SocketAddr, Handshakes, Arc<Mutex<Vec<String>>>) {
    let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(PRIVATE_KEY).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let http2 = protocols.contains(&&b"h2"[..]);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, asked) = (Handshakes::default(), Arc::<Mutex<Vec<String>>>::default());
    let (counted, heard) = (connections.clone(), asked.clone());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, counted, heard) = (acceptor.clone(), counted.clone(), heard.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                counted.lock().unwrap().push(tls.get_ref().1.handshake_kind());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
                    let authority = request.uri().authority().map(ToString::to_string).or(host).unwrap_or_default();
                    let key =
                        request.headers().get("authorization").is_some_and(|key| key.to_str().unwrap().contains(KEY));
                    heard.lock().unwrap().push(format!("{:?} {authority} {key}", request.version()));
                    let mut response = Response::new(Full::new(Bytes::from_static(b"over TLS")));
                    if request.uri().path() == "/last" {
                        response.headers_mut().insert("connection", HeaderValue::from_static("close"));
                    }
                    async move { Ok::<_, Infallible>(response) }
                });
                let io = TokioIo::new(tls);
                if http2 {
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, answer)
                        .await
                        .ok();
                } else {
                    hyper::server::conn::http1::Builder::new().serve_connection(io, answer).await.ok();
                }
            });
        }
    });
    (address, connections, asked)
}

fn options(server: SocketAddr, trusted: bool) -> HttpOptions {
    let mut roots = RootCertStore::empty();
    if trusted {
        roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    HttpOptions {
        resolve: Arc::new(Elsewhere(server)),
        dial: Arc::new(Elsewhere(server)),
        proxy: Arc::new(Matcher::builder().build()),
        tls: Some(tls.with_root_certificates(roots).with_no_client_auth()),
        ..HttpOptions::default()
    }
}

async fn ask(server: SocketAddr, trusted: bool, host: &str, times: usize) -> Run {
    ask_with(options(server, trusted), host, times).await
}

async fn ask_with(options: HttpOptions, host: &str, times: usize) -> Run {
    let url = format!("https://{host}");
    let steps: Vec<Value> = vec![json!(["get", format!("{url}/x"), {"authorization": "Bearer KEY"}]); times];
    let mut script = Script::new(json!(steps)).with("base_url", json!(url));
    script.client = HttpClient::new(options);
    script.run().await
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_offered_over_one_connection() {
    let (server, connections, asked) = serve(&[b"h2", b"http/1.1"]).await;
    let run = ask(server, true, "api.example", 3).await;
    assert_eq!(run.log(), ["200 over TLS"; 3]);
    assert_eq!(*asked.lock().unwrap(), ["HTTP/2.0 api.example true"; 3]);
    assert_eq!(connections.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn http1_is_spoken_elsewhere_over_one_connection() {
    let (server, connections, asked) = serve(&[b"http/1.1"]).await;
    let run = ask(server, true, "api.example", 3).await;
    assert_eq!(run.log(), ["200 over TLS"; 3]);
    assert_eq!(*asked.lock().unwrap(), ["HTTP/1.1 api.example true"; 3]);
    assert_eq!(connections.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_or_another_name_is_refused() {
    for (trusted, host) in [(false, "api.example"), (true, "other.example")] {
        let (server, _, asked) = serve(&[b"h2"]).await;
        let run = ask(server, trusted, host, 1).await;
        assert!(run.log().iter().any(|line| line.contains("TlsCertificateError")), "{:?}", run.log());
        assert!(run.log().iter().any(|line| line.contains("is refused")), "{:?}", run.log());
        assert_eq!(asked.lock().unwrap().len(), 0);
    }
}

/// Asks a server that has one certificate, where a file names another or the same.
async fn ask_where_a_file_names(named: &[u8], presented: &[u8], host: &str) -> (Run, usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("named.pem");
    std::fs::write(&file, named).unwrap();
    let (server, _, asked) = serve_as(presented, &[b"http/1.1"]).await;
    let tls = Some(Trust::in_file(&file).tls());
    let run = ask_with(HttpOptions { tls, ..options(server, false) }, host, 1).await;
    let asked = asked.lock().unwrap().len();
    (run, asked)
}

#[tokio::test]
async fn a_certificate_that_a_file_names_is_trusted_as_it_is() {
    for certificate in [SELF_SIGNED, CERTIFICATE] {
        let (run, _) = ask_where_a_file_names(certificate, certificate, "api.example").await;
        assert_eq!(run.log(), ["200 over TLS"]);
    }
    // As editors on Windows write it.
    let text = str::from_utf8(SELF_SIGNED).unwrap().replace('\n', "\r\n");
    let utf16 = text.encode_utf16().flat_map(u16::to_le_bytes);
    for written in [[b"\xef\xbb\xbf", text.as_bytes()].concat(), b"\xff\xfe".iter().copied().chain(utf16).collect()] {
        let (run, _) = ask_where_a_file_names(&written, SELF_SIGNED, "api.example").await;
        assert_eq!(run.log(), ["200 over TLS"]);
    }
    // An authority in the file is one, as ever.
    let (run, _) = ask_where_a_file_names(AUTHORITY, CERTIFICATE, "api.example").await;
    assert_eq!(run.log(), ["200 over TLS"]);
}

#[tokio::test]
async fn a_certificate_that_a_file_names_is_refused_for_another_name_or_when_it_has_expired_or_instead_of_another() {
    for (named, presented, host, told) in [
        (SELF_SIGNED, SELF_SIGNED, "other.example", "it is for another name"),
        (EXPIRED, EXPIRED, "api.example", "it has expired"),
        (EXPIRED, SELF_SIGNED, "api.example", "if the server has a new certificate, put that into the file"),
        (AUTHORITY, SELF_SIGNED, "api.example", "name a PEM file"),
        (
            SAME_NAME,
            SELF_SIGNED,
            "api.example",
            "trusted here, and is another (the SHA-256 fingerprint of what the server presents is ",
        ),
        (COMMON_NAME, COMMON_NAME, "api.example", "subjectAltName"),
    ] {
        let (run, asked) = ask_where_a_file_names(named, presented, host).await;
        assert!(run.log().iter().any(|line| line.contains("TlsCertificateError")), "{:?}", run.log());
        let line = format!("the certificate of `{host}` is refused");
        assert!(run.log().iter().any(|it| it.contains(&line) && it.contains(told)), "{told}: {:?}", run.log());
        assert_eq!(asked, 0);
    }
}

#[tokio::test]
async fn a_client_resumes_its_own_sessions_and_no_others() {
    let (server, connections, _) = serve(&[b"http/1.1"]).await;
    let options = options(server, true);
    for _ in 0..2 {
        let client = HttpClient::new(options.clone());
        for _ in 0..2 {
            let url = "https://api.example";
            let mut script = Script::new(json!([["get", format!("{url}/last")]])).with("base_url", json!(url));
            script.client = client.clone();
            assert_eq!(script.run().await.log(), ["200 over TLS"]);
        }
    }
    let one = [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)];
    assert_eq!(*connections.lock().unwrap(), [one, one].concat());
}
