//! What went wrong with a request: a code of wasi:http for the guest, which decides by it whether to try again, and a
//! sentence for people where the code says too little.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use wasmtime_wasi_http::Error as WasiError;

use crate::http::egress::dial::DialError;
use elt_support::certificates;

/// A failed request.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For the guest.
    pub(crate) code: WasiError,
    /// For people; none when the code says it all.
    pub(crate) advice: Option<String>,
}

impl From<WasiError> for Failure {
    fn from(code: WasiError) -> Self {
        Self { code, advice: None }
    }
}

impl Failure {
    /// No connection was made.
    pub(crate) fn of_dial(error: &DialError) -> Self {
        Self { code: dial_code(error), advice: Some(error.to_string()) }
    }

    /// Finds the cause of a client's error in an exchange with `host`.
    pub(crate) fn of(error: hyper_util::client::legacy::Error, host: &str) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(found) = cause {
            if let Some(failure) = known(found, host) {
                return failure;
            }
            cause = found.source();
        }
        match error.is_connect() {
            true => WasiError::ConnectionRefused.into(),
            false => WasiError::ConnectionTerminated.into(),
        }
    }
}

/// The code for an error in the middle of a response's body.
pub(crate) fn body_code(error: &hyper::Error) -> WasiError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(found) = cause {
        if let Some(why) = found.downcast_ref::<io::Error>() {
            return match why.kind() {
                ErrorKind::UnexpectedEof => WasiError::HttpResponseIncomplete,
                _ => WasiError::ConnectionTerminated,
            };
        }
        cause = found.source();
    }
    match error {
        error if error.is_timeout() => WasiError::HttpResponseTimeout,
        error if error.is_parse() => WasiError::HttpProtocolError,
        _ => WasiError::HttpResponseIncomplete,
    }
}

fn known(error: &(dyn StdError + 'static), host: &str) -> Option<Failure> {
    if let Some(error) = error.downcast_ref::<DialError>() {
        return Some(Failure::of_dial(error));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(Failure { code: tls_code(error), advice: Some(certificates::advice(host, error)) });
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // The TLS error hides inside of one or two of these, and is not their `source`.
        return error.get_ref().and_then(|inner| known(inner, host)).or_else(|| Some(io_code(error).into()));
    }
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_parse_too_large() {
        Some(WasiError::HttpResponseHeaderSectionSize(None).into())
    } else if error.is_parse() {
        Some(WasiError::HttpProtocolError.into())
    } else if error.is_timeout() {
        Some(WasiError::HttpResponseTimeout.into())
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        // Also a reused connection that the server closed while the request was on its way: worth another try.
        Some(WasiError::ConnectionTerminated.into())
    } else {
        error
            .source()
            .and_then(|source| source.downcast_ref::<WasiError>())
            .map(|_| WasiError::HttpProtocolError.into())
    }
}

fn dial_code(error: &DialError) -> WasiError {
    match error {
        DialError::Malformed => WasiError::HttpRequestUriInvalid,
        DialError::Resolve { .. } => {
            WasiError::DnsError { rcode: Some("the name was not found".into()), info_code: None }
        }
        DialError::Prohibited { .. } => WasiError::DestinationIpProhibited,
        DialError::Connect { why, .. } => io_code(why),
        DialError::Timeout { .. } => WasiError::ConnectionTimeout,
        DialError::Proxy { .. } => WasiError::DestinationUnavailable,
        // Asking again gets the same answer, so the guest should not.
        DialError::ProxyCredentials { .. } => WasiError::HttpRequestDenied,
    }
}

fn io_code(error: &io::Error) -> WasiError {
    match error.kind() {
        ErrorKind::ConnectionRefused => WasiError::ConnectionRefused,
        ErrorKind::TimedOut => WasiError::ConnectionTimeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => WasiError::DestinationIpUnroutable,
        ErrorKind::NotFound | ErrorKind::AddrNotAvailable => WasiError::DestinationUnavailable,
        _ => WasiError::ConnectionTerminated,
    }
}

fn tls_code(error: &rustls::Error) -> WasiError {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => WasiError::TlsCertificateError,
        rustls::Error::AlertReceived(alert) => {
            WasiError::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message: Some(format!("{alert:?}")) }
        }
        _ => WasiError::TlsProtocolError,
    }
}
