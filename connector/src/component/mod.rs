//! The connector as a component: `wit/`'s world bound to the sync logic. The only part of the crate that knows WASI.

mod bindings;
mod convert;
mod destination;
mod exchange;
mod executor;

use bindings::Guest;
use bindings::elt::connector::types;

use crate::config::{self, Config};
use crate::sync;

use destination::HostDestination;
use exchange::WasiExchange;

struct Connector;

#[allow(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Connector, bindings};

    bindings::export!(Connector with_types_in bindings);
}

impl Guest for Connector {
    fn spec() -> String {
        config::json_schema().to_string()
    }

    fn check(config: String) -> Result<String, types::Error> {
        let config = Config::parse(&config)?;
        Ok(executor::block_on(sync::check(&WasiExchange::default(), &HostDestination, &config))?)
    }

    fn schema(config: String) -> Result<Vec<types::TableSchema>, types::Error> {
        let config = Config::parse(&config)?;
        Ok(config.schema().into_iter().map(convert::table).collect())
    }

    fn sync(config: String, state: Vec<(String, String)>) -> Result<types::Summary, types::Error> {
        let config = Config::parse(&config)?;
        let summary = executor::block_on(sync::sync(
            &WasiExchange::default(),
            &HostDestination,
            &config,
            state.into_iter().collect(),
        ))?;
        Ok(summary.into())
    }
}
