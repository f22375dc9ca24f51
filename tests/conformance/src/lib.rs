//! A component that uses every import of the contract in known ways. What a host must have seen and stored after each of its
//! acts is in `expected.json`; what the component got from the host it says in its log, which is part of that. Of the annotations that a
//! specification may have (`x-elt-…`, see `wit/README.md`) it has the one that is not optional: a host that knows no other conforms.
#![cfg(target_arch = "wasm32")]
#![deny(unsafe_code)]

mod bindings {
    #![allow(missing_docs, unsafe_code, clippy::all)]
    wit_bindgen::generate!({ path: "../../wit", world: "connector", generate_all });
}
mod clocks;
mod errors;
mod exchange;
mod requests;
mod rows;

use bindings::elt::connector::types::{Error, QuarantinedItem, Summary, TableSchema};
use bindings::elt::connector::{destination, log, progress};
use bindings::exports::elt::connector::source::Guest;
use serde_json::{Value, json};

struct Conformance;

#[allow(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Conformance, bindings};

    bindings::export!(Conformance with_types_in bindings);
}

impl Guest for Conformance {
    fn spec() -> String {
        json!({"type": "object", "required": ["base_url", "act"], "properties": {
            "base_url": {"type": "string", "format": "uri", "x-elt-origin": true, "description": "Where the kit's server is."},
            "act": {"type": "string", "description": "What `sync` does."},
        }})
        .to_string()
    }

    fn check(config: String) -> Result<String, Error> {
        requests::check(&base_url(&config)?).map_err(Error::Internal)
    }

    fn schema(config: String) -> Result<Vec<TableSchema>, Error> {
        base_url(&config).map(|_| rows::schema())
    }

    fn sync(config: String, state: Vec<(String, String)>) -> Result<Summary, Error> {
        let base_url = base_url(&config)?;
        let mut state = state;
        state.sort();
        say(&format!("state: {}", json!(state)));
        match text(&config, "act")?.as_str() {
            "speak" => speak(),
            "wait" => clocks::act(),
            "ask" => requests::act(&base_url),
            "write" => rows::write()?,
            "rewrite" => rows::rewrite()?,
            "give up" => return rows::give_up(),
            "misname" => return rows::misname(),
            other => return Err(errors::of(other)),
        }
        Ok(Summary {
            item: "thing".into(),
            seen: 1 << 40,
            synced: 2,
            unchanged: 1,
            deleted: 4,
            quarantined: vec![QuarantinedItem { id: "broken \u{1f980}".into(), reason: "a reason".into() }],
            requests: exchange::requests(),
            retries: 0,
        })
    }
}

/// One line of what the component got from its host.
fn say(line: &str) {
    log::write(log::Level::Info, line);
}

fn speak() {
    log::write(log::Level::Debug, "debug");
    log::write(log::Level::Info, "info: \u{e9} \u{6f22} \u{1f980}");
    log::write(log::Level::Warning, "");
    log::write(log::Level::Severe, "severe");
    progress::report("things", 0, None);
    progress::report("things", 1, Some(1 << 40));
    progress::report("\u{6f22}", 0, Some(0));
    progress::throttled(1500);
}

fn base_url(config: &str) -> Result<String, Error> {
    text(config, "base_url")
}

fn text(config: &str, key: &str) -> Result<String, Error> {
    let config: Value = serde_json::from_str(config).map_err(|why| errors::configuration(None, &why.to_string()))?;
    let value = config[key].as_str().map(str::to_owned);
    value.ok_or_else(|| errors::configuration(Some(key), "is missing"))
}

/// What a connector returns when the destination refused.
fn refused(why: destination::DestinationError) -> Error {
    match why {
        destination::DestinationError::Interrupted => Error::Interrupted,
        other => Error::Destination(format!("{other:?}")),
    }
}
