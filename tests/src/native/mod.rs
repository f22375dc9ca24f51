//! The connector's sync logic as plain native code, without a component and without a host: for tests that look closely and
//! for the native baseline of the benchmarks.

mod exchange;
mod hurried;
mod memory;

pub use exchange::{NativeExchange, PlainClient, client, outgoing};
pub use hurried::HurriedExchange;
pub use memory::{Key, LogLine, Memory, Row, Stored};

use wandb_connector::config::Config;
use wandb_connector::error::Error;
use wandb_connector::sync::{Summary, sync};

/// One sync into `memory`, beginning with the state that it holds. Waits for retries pass in no time.
pub async fn sync_into(memory: &Memory, config: &serde_json::Value) -> Result<Summary, Error> {
    sync_within(memory, config, &HurriedExchange::default()).await
}

/// The same with an exchange whose clock the caller looks at.
pub async fn sync_within(
    memory: &Memory,
    config: &serde_json::Value,
    exchange: &HurriedExchange,
) -> Result<Summary, Error> {
    let config = Config::parse(&config.to_string())?;
    let state = memory.stored().state;
    let result = exchange.drive(sync(exchange, memory, &config, state)).await;
    memory.end(result.is_ok());
    result
}
