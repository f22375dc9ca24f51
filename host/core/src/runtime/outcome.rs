//! How a sync ended.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::runtime::seconds;
use crate::state::State;

/// How a sync ended. Also filled as far as possible when it failed.
///
/// It serialises by the names of its fields, durations in seconds as `…_seconds`; without the state, which is in the destination, and which
/// may be hundreds of MiB.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Outcome {
    /// Counts of the source's items.
    pub items: Items,
    /// Rows committed, by table.
    pub rows: BTreeMap<String, u64>,
    /// Rows' keys deleted, by table: calls of `delete`, not rows that vanished.
    pub deletes: BTreeMap<String, u64>,
    /// HTTP requests that the connector made, retries included.
    pub requests: u64,
    /// How many of them were retries, as the connector counts.
    pub retries: u64,
    /// Bytes received over the network, bodies and header fields, about.
    pub bytes_in: u64,
    /// Bytes sent over the network, bodies and heads, about.
    pub bytes_out: u64,
    /// Waits for rate limits, as the connector told them. Those of requests under way at once are all counted, so this can be more than
    /// `elapsed`.
    #[serde(with = "seconds", rename = "throttled_seconds")]
    pub throttled: Duration,
    /// Processor time of the connector, of the host in its calls, and of decompressing and masking what it received.
    #[serde(with = "seconds", rename = "cpu_time_seconds")]
    pub cpu_time: Duration,
    /// The most linear memory that the connector had, in bytes.
    pub memory: u64,
    /// Checkpoints committed.
    pub checkpoints: u64,
    /// From start to end.
    #[serde(with = "seconds", rename = "elapsed_seconds")]
    pub elapsed: Duration,
    /// The state after the last commit.
    #[serde(skip)]
    pub state: State,
    /// Items left out, by identifier, with reasons.
    pub quarantined: Vec<(String, String)>,
    /// Why the sync ended early; none when it went through.
    pub error: Option<Error>,
}

/// The source's items, counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Items {
    /// The unit, in the singular (`run`); empty when the connector did not get as far as saying it.
    pub unit: String,
    /// The unit, in the plural (`runs`); empty like that.
    pub units: String,
    /// Listed by the source.
    pub seen: u64,
    /// Written.
    pub synced: u64,
    /// Found unchanged.
    pub unchanged: u64,
    /// Known from this sync or an earlier one, and no longer at the source.
    pub deleted: u64,
    /// Could not be read.
    pub quarantined: u64,
}

impl Outcome {
    /// Of a sync that ended before it began.
    pub fn failed(error: Error) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outcome_reads_back_as_it_was_written_but_for_the_state() {
        let mut outcome = Outcome::failed(Error::Interrupted);
        outcome.items.synced = 3;
        outcome.rows.insert("metrics".into(), 9);
        outcome.elapsed = Duration::from_millis(2500);
        outcome.quarantined.push(("a".into(), "broken".into()));
        outcome.state.insert("cursor".into(), "7".into());
        let written = serde_json::to_value(&outcome).unwrap();
        assert_eq!((&written["elapsed_seconds"], &written["error"]["kind"]), (&json!(2.5), &json!("interrupted")));
        assert!(!written.to_string().contains("cursor"));
        let read: Outcome = serde_json::from_value(written).unwrap();
        outcome.state.clear();
        assert_eq!(format!("{read:?}"), format!("{outcome:?}"));
    }
}
