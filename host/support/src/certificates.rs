//! Which servers are believed to be who they say: the certificates that this machine trusts, or those that the environment names.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` (OpenSSL, curl), `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE` (Python's `requests`,
//! which the tools of many services use) name PEM files or folders of them; all that are set count together, and in the place of the system's own. Where
//! nothing can be read of what they name, the system's are used after all. Whatever can't be read is told by [`problems`].
//!
//! A self-hosted server often has a certificate that it signed itself, and the file names just that one. To webpki a certificate that
//! may sign others can't be a server's, and a server's own is no authority; so a certificate that such a file names is also
//! trusted where a server presents exactly it. Its dates, the name of the server and the signatures of the handshake are
//! checked as ever.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use sha2::{Digest, Sha256};

use crate::text;

/// Variables that name certificates, and whether a list of folders is meant.
const VARIABLES: [(&str, bool); 4] =
    [("SSL_CERT_FILE", false), ("SSL_CERT_DIR", true), ("REQUESTS_CA_BUNDLE", false), ("CURL_CA_BUNDLE", false)];

/// What this process trusts; read once, when it is first needed.
static TRUST: LazyLock<Trust> = LazyLock::new(|| Trust::of(&named(|name| std::env::var_os(name))));

/// A file or folder that the environment names, and by which variable.
type Named = (&'static str, PathBuf);

/// Certificates, read.
#[derive(Debug, Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    /// What a server may present as it is.
    pinned: Arc<Vec<CertificateDer<'static>>>,
    problems: Vec<String>,
}

/// What could not be read of the certificates that the environment names. Reads them only where it names some.
pub fn problems() -> &'static [String] {
    match named(|name| std::env::var_os(name)).is_empty() {
        true => &[],
        false => &TRUST.problems,
    }
}

/// TLS as this process trusts it. Without any certificate every handshake fails, and says so.
pub fn system_tls() -> ClientConfig {
    TRUST.tls()
}

fn named(variable: impl Fn(&str) -> Option<OsString>) -> Vec<Named> {
    let mut named = Vec::new();
    for (name, many) in VARIABLES {
        let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
        match many {
            true => named.extend(std::env::split_paths(&value).map(|path| (name, path))),
            false => named.push((name, PathBuf::from(value))),
        }
    }
    named.retain(|(_, path)| !path.as_os_str().is_empty());
    named
}

impl Trust {
    /// The certificates in a PEM file, or in the files of a folder; none of the system's.
    pub fn in_file(path: &Path) -> Self {
        let mut trust = Self::nothing();
        trust.add("the file", path);
        trust
    }

    fn of(named: &[Named]) -> Self {
        let mut trust = Self::nothing();
        for (variable, path) in named {
            trust.add(variable, path);
        }
        if trust.roots.is_empty() {
            if !named.is_empty() {
                trust.problems.push(
                    "no certificate could be read of those that the environment names; those of the system are used"
                        .into(),
                );
            }
            let native_only = named.iter().all(|(variable, _)| !variable.starts_with("SSL_"));
            let certs = if native_only { load_native_certs().certs } else { system_certs() };
            Arc::make_mut(&mut trust.roots).add_parsable_certificates(certs);
        }
        trust
    }

    fn nothing() -> Self {
        Self { roots: Arc::new(RootCertStore::empty()), pinned: Arc::default(), problems: Vec::new() }
    }

    fn add(&mut self, variable: &str, path: &Path) {
        let CertificateResult { mut certs, mut errors, .. } = match path.is_dir() {
            true => load_certs_from_paths(None, Some(path)),
            false => load_certs_from_paths(Some(path), None),
        };
        let shown = path.display();
        let others = in_other_encodings(path);
        if !others.is_empty() {
            // What was wrong with the bytes is not wrong with the text.
            errors.clear();
            certs.extend(others);
        }
        self.problems.extend(errors.iter().map(|why| format!("certificates of {variable} ({shown}): {why}")));
        if certs.is_empty() && errors.is_empty() {
            self.problems.push(format!("certificates of {variable} ({shown}): there is none in it; a PEM file begins with `-----BEGIN CERTIFICATE-----`"));
        }
        Arc::make_mut(&mut self.roots).add_parsable_certificates(certs.iter().cloned());
        Arc::make_mut(&mut self.pinned).extend(certs);
    }

    /// What could not be read.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// TLS of a client that trusts these.
    pub fn tls(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = match versions {
            Ok(builder) => builder,
            Err(never) => unreachable!("ring speaks the default versions of TLS: {never}"),
        };
        match self.verifier(provider) {
            Some(verifier) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
            }
            None => builder.with_root_certificates(self.roots.clone()).with_no_client_auth(),
        }
    }

    /// None where nothing is pinned.
    fn verifier(&self, provider: Arc<CryptoProvider>) -> Option<Verifier> {
        if self.pinned.is_empty() {
            return None;
        }
        let chains = WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider).build().ok()?;
        Some(Verifier { chains, pinned: self.pinned.clone() })
    }
}

/// The certificates of a file, or of the files of a folder, whose text is not plain UTF-8: editors on Windows put a byte order mark
/// before the first line, or write UTF-16.
fn in_other_encodings(path: &Path) -> Vec<CertificateDer<'static>> {
    let files = match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path.to_owned()],
    };
    let mut certificates = Vec::new();
    for bytes in files.into_iter().filter_map(|file| std::fs::read(file).ok()) {
        let text = text::in_utf8(bytes.clone());
        if text != bytes {
            certificates.extend(CertificateDer::pem_slice_iter(&text).flatten());
        }
    }
    certificates
}

/// Those of the system where `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, which the loader of the system's would follow.
fn system_certs() -> Vec<CertificateDer<'static>> {
    openssl_probe::candidate_cert_dirs().flat_map(|folder| load_certs_from_paths(None, Some(folder)).certs).collect()
}

/// Trusts what webpki trusts, and the very certificates that are pinned.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    pinned: Arc<Vec<CertificateDer<'static>>>,
}

impl Verifier {
    /// Whether a certificate that is refused, or who signed it, has the name of one that is trusted and is another.
    fn is_another(&self, why: &CertificateError, certificate: &CertificateDer<'_>) -> bool {
        let subject = |certificate| webpki::anchor_from_trusted_cert(certificate).map(|anchor| anchor.subject.to_vec());
        let Ok(name) = subject(certificate) else { return false };
        *why == CertificateError::BadSignature
            || is_about_issuer(why) && self.pinned.iter().any(|pinned| subject(pinned).is_ok_and(|other| other == name))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(rustls::Error::InvalidCertificate(why))
                if is_about_issuer(&why) && self.pinned.contains(end_entity) =>
            {
                // Its dates were looked at before its issuer.
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(rustls::Error::InvalidCertificate(why)) if self.is_another(&why, end_entity) => {
                let another = Another { presented: fingerprint(end_entity) };
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(another)))))
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// A certificate that, or whose authority, has the name of one that is trusted and is another.
#[derive(Debug, thiserror::Error)]
#[error(
    "it, or who signed it, has the name of a certificate that is trusted here, and is another (the SHA-256 fingerprint of what the server presents is {presented})"
)]
struct Another {
    presented: String,
}

/// As `openssl x509 -fingerprint -sha256` shows it.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Whether all that is wrong with a certificate is who signed it: nobody that is known, or it itself as an authority.
fn is_about_issuer(why: &CertificateError) -> bool {
    match why {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(other) => {
            matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

/// What a person can do about a certificate of `host` that is refused.
pub fn advice(host: &str, why: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(certificate) = why else {
        return format!("TLS with `{host}` failed: {why}");
    };
    let told = match certificate {
        why if is_about_issuer(why) => {
            "nobody that this machine trusts has signed it; if it is the right server, name a PEM file with its certificate, or \
             with that of its authority, in SSL_CERT_FILE"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("it has expired ({certificate}); the server needs a new one, unless the clock of this machine is wrong")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("it is not valid yet ({certificate}); is the clock of this machine right?")
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "it says in no subjectAltName for which name it is, and a common name (CN) does not count; the server needs one made \
             with its name or address there (`openssl req -x509 … -addext subjectAltName=DNS:NAME` or `IP:ADDRESS`)"
                .to_owned()
        }
        CertificateError::Other(OtherError(other)) if other.is::<Another>() => {
            format!(
                "{other}; if the server has a new certificate, put that into the file which SSL_CERT_FILE names (`openssl x509 -fingerprint -sha256 \
                 -in FILE` shows what is there); if not, this may not be the right server"
            )
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is for another name ({certificate}); use the name in it as the address, or give the server another one")
        }
        other => other.to_string(),
    };
    format!("the certificate of `{host}` is refused: {told}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn paths(variables: &[(&str, &str)]) -> Vec<String> {
        let given = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
        named(given).iter().map(|(name, path)| format!("{name} {}", path.display())).collect()
    }

    #[test]
    fn every_variable_that_names_certificates_counts() {
        assert_eq!(paths(&[]), [""; 0]);
        assert_eq!(paths(&[("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", ":")]), [""; 0]);
        let all = [
            ("SSL_CERT_FILE", "/a"),
            ("SSL_CERT_DIR", "/b:/c"),
            ("REQUESTS_CA_BUNDLE", "/d"),
            ("CURL_CA_BUNDLE", "/e"),
        ];
        let expected =
            ["SSL_CERT_FILE /a", "SSL_CERT_DIR /b", "SSL_CERT_DIR /c", "REQUESTS_CA_BUNDLE /d", "CURL_CA_BUNDLE /e"];
        assert_eq!(paths(&all), expected);
    }

    #[test]
    fn what_can_not_be_read_is_named_with_its_variable_and_the_systems_certificates_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate\n").unwrap();
        let missing = folder.path().join("missing.pem");
        let trust = Trust::of(&[("REQUESTS_CA_BUNDLE", missing.clone()), ("SSL_CERT_FILE", empty.clone())]);
        let told = trust.problems().join("\n");
        assert!(told.contains("REQUESTS_CA_BUNDLE") && told.contains(&missing.display().to_string()), "{told}");
        assert!(told.contains("SSL_CERT_FILE") && told.contains(&empty.display().to_string()), "{told}");
        assert!(told.contains("those of the system are used"), "{told}");
        assert!(trust.pinned.is_empty());
    }
}
