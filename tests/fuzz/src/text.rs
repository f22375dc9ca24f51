//! Times and URLs.

use http::Uri;
use wandb_connector::api::url;
use wandb_connector::records::time;

use crate::rows::TIMESTAMPS;

/// A time that is understood is a date, and is the same after it was written and read again.
pub fn time(bytes: &[u8]) {
    if let Some(micros) = std::str::from_utf8(bytes).ok().and_then(time::parse) {
        assert!(TIMESTAMPS.contains(&micros));
        assert_eq!(time::parse(&time::format(micros)), Some(micros));
    }
    if let Some((number, rest)) = bytes.split_first_chunk::<8>() {
        let float = f64::from_le_bytes(*number);
        assert!(time::from_history(float).is_none_or(|micros| TIMESTAMPS.contains(&micros)));
        let integer = i64::from_le_bytes(*number);
        if let Some(micros) = time::from_history(integer as f64) {
            assert_eq!(micros.signum(), integer.signum());
        }
        for units in [1_000, 1_000_000, 1_000_000_000, i64::from(rest.first().copied().unwrap_or(0))] {
            assert!(time::from_units(integer, units).is_none_or(|micros| TIMESTAMPS.contains(&micros)));
        }
    }
}

/// A page's address, a link on it, and a part of a path, each on a line. The host reads URLs with another parser than the connector:
/// where both understand one, they agree on who is asked.
pub fn url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let (page, link) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if let Ok(next) = url::follow(page, link) {
        assert_eq!(url::follow(page, &next).as_ref(), Ok(&next), "what was followed leads to itself");
        assert_eq!(url::follow(&next, page).as_ref().map(|back| origin(back)), Ok(origin(page)));
        if let (Some(next), Some(page)) = (origin(&next), origin(page)) {
            assert_eq!(next, page, "{link}");
        }
    }
    if let Ok(file) = url::download(link) {
        assert_eq!(url::download(&file).as_ref(), Ok(&file));
        if let Ok(uri) = file.parse::<Uri>() {
            assert!(matches!(uri.scheme_str(), Some("http" | "https")), "{file}");
            assert!(uri.authority().is_some_and(|authority| !authority.as_str().contains('@')), "{file}");
        }
    }
    let part = lines.next().unwrap_or_default();
    let encoded = url::encode(part);
    assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{encoded}");
    assert!(!matches!(encoded.as_str(), "." | ".."));
    assert_eq!(percent_encoding::percent_decode_str(&encoded).decode_utf8().as_deref(), Ok(part));
}

/// Scheme, host and port as the host's parser sees them.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let default = if scheme == "https" { 443 } else { 80 };
    let authority = uri.authority()?;
    let has_port = authority.as_str().len() > authority.host().len() + 1;
    let port = if has_port { authority.port_u16()? } else { default };
    Some((scheme, authority.host().to_ascii_lowercase(), port))
}
