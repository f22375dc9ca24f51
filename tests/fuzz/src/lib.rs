//! Fuzz targets: everything that reads data from outside, each with what must hold of its results.
//!
//! A target is a function of bytes. `cargo fuzz` calls it with bytes that reach new code (`make fuzz`), `cargo test` with what lies in
//! `corpus/` and with seeded changes of that. The targets of the host are behind the feature `host`, since they take wasmtime along.

#![forbid(unsafe_code)]

pub mod answer;
#[cfg(feature = "host")]
pub mod boundary;
pub mod configuration;
#[cfg(feature = "host")]
pub mod host;
pub mod json;
pub mod mutate;
pub mod pages;
pub mod parquet;
pub mod rows;
pub mod server;
pub mod state;
pub mod sync;
pub mod text;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its program and of its folder in `corpus/`.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// The targets of the connector.
pub const CONNECTOR: [Target; 16] = [
    target("configuration", configuration::configuration),
    target("graphql_listing", pages::graphql_listing),
    target("graphql_run", pages::graphql_run),
    target("history_rows", pages::history_rows),
    target("http_answer", answer::http_answer),
    target("json_repair", json::repair),
    target("parquet_column", parquet::parquet_column),
    target("parquet_download", answer::parquet_download),
    target("parquet_file", parquet::parquet_file),
    target("parquet_footer", parquet::parquet_footer),
    target("rest_history", pages::rest_history),
    target("rest_listing", pages::rest_listing),
    target("state", state::state),
    target("sync", sync::sync),
    target("time", text::time),
    target("url", text::url),
];

/// The targets of the host.
#[cfg(feature = "host")]
pub const HOST: [Target; 8] = [
    target("host_address", host::host_address),
    target("host_batch", boundary::host_batch),
    target("host_destination", host::host_destination),
    target("host_json", host::host_json),
    target("host_netrc", host::host_netrc),
    target("host_origin", host::host_origin),
    target("host_redaction", host::host_redaction),
    target("host_specification", host::host_specification),
];
