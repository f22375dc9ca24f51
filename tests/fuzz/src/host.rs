//! What the host reads: files that people write, URLs, addresses, and what a component says of itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use elt_destinations::url::DestinationUrl;
use elt_host::Spec;
use elt_host::state;
use elt_host::test_support::policed::Egress;
use elt_host::test_support::policed::Extracted;
use elt_host::test_support::policed::Permit;
use elt_host::test_support::policed::Secrets;
use elt_support::address::{is_allowed, special};
use elt_support::json as strict;
use elt_support::origin::{Origin, OriginPattern};
use serde_json::{Map, Value, json};
use wandb_connector_cli::netrc;
use wandb_connector_cli::netrc::NetrcError;

/// A configuration file or an exported state. What is taken means the same to every reader of JSON; a mistake has a place in the file.
pub fn host_json(bytes: &[u8]) {
    match strict::object(bytes) {
        Ok(object) => {
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            assert_eq!(serde_json::from_slice::<Map<String, Value>>(text).as_ref().ok(), Some(&object));
            if let Ok(state) = state::from_object(object.clone()) {
                let exported = serde_json::to_vec_pretty(&state).expect("a map of strings");
                let imported = strict::object(&exported).map(|object| state::from_object(object).ok());
                assert_eq!(imported, Ok(Some(state)));
            } else {
                assert!(object.values().any(|value| !value.is_string()));
            }
        }
        Err(error) => {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&error.line) && error.column >= 1 && !error.message.is_empty(), "{error:?}");
        }
    }
}

/// A `~/.netrc`. A password stands in the file, but for quotes and backslashes.
pub fn host_netrc(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match netrc::password(&text, &["api.wandb.ai", "localhost:8080"]) {
        Ok(password) => {
            let mut rest = text.chars();
            let found =
                password.is_none_or(|password| password.chars().all(|wanted| rest.any(|there| there == wanted)));
            assert!(found, "a password that is not in the file");
        }
        Err(NetrcError { line }) => assert!((1..=text.matches('\n').count() + 1).contains(&line), "{line}"),
    }
}

/// `--destination`: what is understood is the same after it was written and read again.
pub fn host_destination(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<DestinationUrl>() {
        Ok(url) => assert_eq!(url.to_string().parse::<DestinationUrl>().ok().as_ref(), Some(&url), "{url}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The configuration's origin, another URL, and an allowed pattern, each on a line. Credentials go to the first one's origin only;
/// what the connector follows as a link of its own server is the same server to the host.
pub fn host_origin(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let [own, other, pattern] = [(); 3].map(|()| lines.next().unwrap_or_default());
    let Ok(origin) = Origin::parse(own) else {
        return;
    };
    assert_eq!(Origin::parse(&origin.to_string()).as_ref(), Ok(&origin));
    if let Ok(next) = wandb_connector::api::url::follow(own, other)
        && let Ok(next) = Origin::parse(&next)
    {
        assert_eq!(next, origin, "the connector follows {other}");
    }
    let pattern = OriginPattern::parse(pattern).ok();
    let egress = Egress::new([origin.clone()], pattern.clone());
    let Ok(uri) = other.parse::<http::Uri>() else {
        return;
    };
    match egress.decide(&uri) {
        Ok((Permit::WithCredentials, asked)) => assert_eq!(asked, origin),
        Ok((Permit::Anonymous, asked)) => {
            assert_eq!(Origin::of(&uri).as_ref(), Ok(&asked));
            assert!(asked != origin && pattern.is_some_and(|pattern| pattern.matches(&asked)));
        }
        Err(_) => assert!(Origin::of(&uri).as_ref() != Ok(&origin)),
    }
}

/// An address: what the standard library calls private is never public here, in whatever spelling.
pub fn host_address(bytes: &[u8]) {
    if let Some((octets, _)) = bytes.split_first_chunk::<4>() {
        let address = Ipv4Addr::from(*octets);
        let private = address.is_private()
            || address.is_loopback()
            || address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_documentation()
            || address.is_unspecified();
        let kind = special(address.into());
        assert!(!private || kind.is_some(), "{address}");
        let [a, b, c, d] = *octets;
        let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        let spellings = [
            address.to_ipv6_mapped(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
        ];
        for spelling in spellings {
            assert!(kind.is_none() || special(spelling.into()).is_some(), "{spelling}");
            assert_eq!(is_allowed(spelling.into(), &[]), special(spelling.into()).is_none());
        }
        // A named network opens what lies in it, and nothing else.
        let network: ipnet::IpNet = IpAddr::from(address).into();
        assert!(is_allowed(address.into(), &[network]) && is_allowed(address.to_ipv6_mapped().into(), &[network]));
        let metadata = Ipv4Addr::new(169, 254, 169, 254);
        assert!(address == metadata || !is_allowed(metadata.into(), &[network]));
    }
    if let Some((octets, _)) = bytes.split_first_chunk::<16>() {
        let address = Ipv6Addr::from(*octets);
        let private = address.is_loopback()
            || address.is_unspecified()
            || address.is_unique_local()
            || address.is_unicast_link_local()
            || address.is_multicast();
        assert!(!private || special(address.into()).is_some(), "{address}");
        let inner = address.to_ipv4_mapped().map(|inner| special(inner.into()));
        assert!(inner.is_none_or(|inner| inner == special(address.into())), "{address}");
    }
}

/// Text that a server or a component wrote, with the key in it wherever `KEY` stands: neither the key nor anything that acts on a
/// terminal is left.
pub fn host_redaction(bytes: &[u8]) {
    const KEY: &str = "0123456789abcdef/+ key?";
    let spec = Spec::parse(r#"{"properties": {"api_key": {"writeOnly": true}}}"#).expect("a schema");
    let config = json!({ "api_key": KEY });
    let config = config.as_object().expect("an object");
    let Extracted { secrets, shown, problems } = Secrets::extract(&spec, config).expect("random numbers");
    let handle = shown["api_key"].as_str().expect("a text").to_owned();
    assert!(problems.is_empty() && !handle.contains(KEY));
    let given = String::from_utf8_lossy(bytes).replace("KEY", KEY).replace("HANDLE", &handle);
    let clean = secrets.redactor().clean(&given);
    assert!(!clean.contains(KEY) && !clean.contains(&handle), "{clean}");
    assert!(!clean.chars().any(char::is_control), "{clean:?}");
    assert!(clean.len() <= given.len() * 8);
}

/// A connector's specification: secrets and origins are properties of it.
pub fn host_specification(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(spec) = Spec::parse(&text) else {
        return;
    };
    let properties = spec.schema().get("properties").and_then(Value::as_object).expect("a schema of an object");
    assert!(spec.secrets().iter().all(|name| properties[name]["writeOnly"] == true));
    let config = Map::new();
    for (name, url) in spec.origins(&config) {
        assert_eq!(properties[name]["default"], url);
    }
    // What the annotations say is well-formed, whatever they are.
    assert!(spec.downloads(&config).iter().all(|origin| OriginPattern::parse(origin).is_ok()));
    let names = spec.items().into_iter().flat_map(|names| [&names.singular, &names.plural]);
    assert!(names.into_iter().all(|name| !name.is_empty() && name.is_ascii() && !name.contains(char::is_control)));
    assert!(spec.state().and_then(|keys| keys.items.as_ref()).is_none_or(|items| !items.prefix.is_empty()));
    let Ok(extracted) = Secrets::extract(&spec, properties) else {
        return;
    };
    let shown = Value::Object(extracted.shown);
    for name in spec.secrets() {
        assert!(!shown[name].is_object() || shown[name].as_object().is_some_and(Map::is_empty), "{name}: {shown}");
    }
}
