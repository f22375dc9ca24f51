//! The binary and a W&B server of one's own: which certificates it trusts, and what it says where it does not.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const SELF_SIGNED: &[u8] = include_bytes!("../../core/tests/runtime/tls/self_signed.pem");
const PRIVATE_KEY: &[u8] = include_bytes!("../../core/tests/runtime/tls/key.pem");

/// A server with a certificate of its own making, which refuses every key. Counts connections.
async fn server() -> (String, Arc<AtomicUsize>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(SELF_SIGNED).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(PRIVATE_KEY).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match tls.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                tls.write_all(answer).await.ok();
                tls.shutdown().await.ok();
            });
        }
    });
    (url, connections)
}

/// `check` in a folder with a configuration for `url`; returns the exit code and all that was said.
async fn check(folder: &Path, url: &str, variables: Vec<(&'static str, PathBuf)>) -> (i32, String) {
    let config = serde_json::json!({
        "api_key": "0123456789abcdef0123456789abcdef01234567",
        "entity": "acme", "project": "demo", "base_url": url,
    });
    std::fs::write(folder.join("configuration.json"), config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wandb-connector"));
    command.args(["check", "--config", "configuration.json"]).current_dir(folder).stdin(Stdio::null());
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache");
    command.env_clear().env("HOME", folder).env("XDG_CACHE_HOME", cache).envs(variables);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_its_own_making_is_trusted_once_the_environment_names_it() {
    let (url, _) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.pem");
    std::fs::write(&file, SELF_SIGNED).unwrap();
    for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
        let (code, said) = check(folder.path(), &url, vec![(variable, file.clone())]).await;
        // The server was heard: it refuses the key.
        assert_eq!(code, 3, "{variable}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_named_is_refused_at_once_with_what_to_do() {
    let (url, connections) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = check(folder.path(), &url, Vec::new()).await;
    assert_eq!(code, 5, "{said}");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "{said}");
    assert!(said.contains("the certificate of `127.0.0.1` is refused") && said.contains("SSL_CERT_FILE"), "{said}");
    assert!(!said.contains("Retrying"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_certificates_that_can_not_be_read_is_a_warning_that_names_it() {
    let (url, _) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.pem");
    for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
        let (code, said) = check(folder.path(), &url, vec![(variable, missing.clone())]).await;
        assert_eq!(code, 5, "{said}");
        let warned = said.lines().any(|line| {
            line.starts_with("WARNING: ") && line.contains(variable) && line.contains(&missing.display().to_string())
        });
        assert!(warned, "{said}");
    }
}
