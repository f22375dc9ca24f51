//! The first row behind a gap (`graphql`), however far it is: steps can be Unix milliseconds or microseconds.
//!
//! A range is complete only with as many samples as it has steps, and no question can have more than `i32::MAX`. So the steps are asked for
//! with few samples: any that comes has a row, and the least of them bounds the next question, until nothing comes below it. No row is read
//! from such an answer, and what W&B counts shows whether one was left out.

use crate::api::client::{Client, RequestError};
use crate::api::exchange::Exchange;
use crate::destination::Destination;
use crate::error::Error;

use super::Graphql;
use super::window::BODY_LIMIT;

/// Samples of one question. Of a million rows the first is found with three or four.
const SAMPLES: u32 = 100;
/// Questions, at most.
const MOST_QUESTIONS: u32 = 12;

/// The first step from `from` on that has a row; `to` where there is none before it; `from` where it is not found. None: the run does not
/// exist any more.
pub(super) async fn first_row<X: Exchange, D: Destination>(
    client: &Client<'_, X, D>,
    graphql: &Graphql,
    run_id: &str,
    from: i64,
    to: i64,
) -> Result<Option<i64>, Error> {
    let (mut nearest, mut samples) = (to, SAMPLES);
    for _ in 0..MOST_QUESTIONS {
        match graphql.some_steps(client, run_id, (from, nearest), samples, BODY_LIMIT).await {
            Ok(None) => return Ok(None),
            Ok(Some(steps)) => match steps.into_iter().min() {
                Some(step) if step > from => nearest = step,
                Some(_) => return Ok(Some(from)),
                None => return Ok(Some(nearest)),
            },
            Err(RequestError::TooLarge(_)) if samples > 1 => samples /= 10,
            // One row is larger than that: it is met by ranges.
            Err(RequestError::TooLarge(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(from))
}
