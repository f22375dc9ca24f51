//! Tells runs that can't be read from a W&B that is down.
//!
//! Whatever is answered about one run costs that run. But when nothing but failures comes, each with its retries, the fault may be
//! W&B's, and a refusal may mean that the key was revoked. So after some failures in a row, and at the end where the key was refused, something
//! is asked for that is known to work: the listing, and a run that was read before. A refused listing ends the sync; a run that can be read shows that the others can't.
//! Until then nothing is said of the runs that failed.

use std::time::Duration;

use crate::error::Error;

/// So many failures in a row raise the question whether W&B is down.
pub(crate) const MOST_FAILURES: usize = 10;
/// So many times in a row the listing may work and no run, before that ends the sync.
const MOST_ROUNDS: usize = 2;

/// A run that could not be read.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The run.
    pub(crate) id: String,
    /// Why.
    pub(crate) error: Error,
}

impl Failed {
    fn refuses_key(&self) -> bool {
        matches!(self.error, Error::Authentication(_) | Error::Permission(_))
    }
}

/// What asking for something known to work has shown.
#[derive(Debug)]
pub(crate) enum ProbeResult {
    /// W&B works.
    Works,
    /// W&B lists runs. Whether it has any that can be read is not known.
    Lists,
    /// W&B does not answer either, or refuses.
    Down(Error),
}

/// Follows the failures of a sync.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// Those of which nothing was said yet.
    open: Vec<Failed>,
    /// Failures since a run could last be read, or since W&B was last asked.
    in_a_row: usize,
    /// How many of them took retries, rather than being refused at once.
    lasting: usize,
    rounds: usize,
    last_success: Duration,
}

impl Failures {
    /// A run was read. Returns those that failed meanwhile, which W&B is not to blame for. But where the key was refused, it may have been
    /// revoked after this run was answered: that stays open until the listing is asked for.
    pub(crate) fn success(&mut self, now: Duration) -> Vec<Failed> {
        (self.in_a_row, self.lasting, self.rounds, self.last_success) = (0, 0, 0, now);
        let (open, settled) = std::mem::take(&mut self.open).into_iter().partition(Failed::refuses_key);
        self.open = open;
        settled
    }

    /// A run whose reading began at `began` could not be read.
    pub(crate) fn failure(&mut self, failed: Failed, began: Duration) {
        if self.last_success <= began {
            self.in_a_row += 1;
            self.lasting += usize::from(!failed.error.is_refusal());
        }
        self.open.push(failed);
    }

    /// A run whose reading began at `began` was not there. Where that is so of many in a row, it may be said of anything.
    pub(crate) fn absence(&mut self, began: Duration) {
        self.in_a_row += usize::from(self.last_success <= began);
    }

    /// Whether to ask for something known to work. `all_read`: there is nothing to be read any more.
    pub(crate) fn raise_doubt(&self, all_read: bool) -> bool {
        match all_read {
            true => self.open.iter().any(|failed| failed.error.is_refusal()),
            false => self.in_a_row >= MOST_FAILURES,
        }
    }

    /// Whether what failed took its retries, so that a listing that works does not show yet that runs can be read.
    pub(crate) fn wants_witness(&self) -> bool {
        self.lasting > 0
    }

    /// Whether small runs go first, since others were seen to fail while the listing worked.
    pub(crate) fn wants_small(&self) -> bool {
        self.rounds > 0
    }

    /// W&B was asked. Returns the runs that are left out, or why the sync ends; then with those that are left out all the same.
    pub(crate) fn settle(&mut self, verdict: ProbeResult) -> Result<Vec<Failed>, (Error, Vec<Failed>)> {
        let lasting = std::mem::take(&mut self.lasting);
        let failures = std::mem::take(&mut self.in_a_row);
        let open = std::mem::take(&mut self.open);
        match verdict {
            ProbeResult::Works => {
                self.rounds = 0;
                Ok(open)
            }
            ProbeResult::Down(error) if error.is_refusal() || failures == 0 => Err((error, Vec::new())),
            ProbeResult::Down(error) => Err((
                told(error, |error| {
                    format!(
                        "{failures} runs in a row could not be read, nor can the listing; W&B seems to be down. {error}"
                    )
                }),
                Vec::new(),
            )),
            ProbeResult::Lists => {
                self.rounds += usize::from(lasting >= MOST_FAILURES);
                match open.iter().rev().find(|failed| !failed.error.is_refusal()) {
                    Some(last) if self.rounds >= MOST_ROUNDS => {
                        let rows = MOST_ROUNDS * MOST_FAILURES;
                        let error = told(last.error.clone(), |error| {
                            format!(
                                "W&B lists its runs, but {rows} and more in a row could not be read, large and small. The last one: {error}"
                            )
                        });
                        Err((error, open))
                    }
                    _ => Ok(open),
                }
            }
        }
    }

    /// What is left at the end.
    pub(crate) fn rest(&mut self) -> Vec<Failed> {
        std::mem::take(&mut self.open)
    }
}

/// The error with other words.
fn told(error: Error, words: impl Fn(&Error) -> String) -> Error {
    let message = words(&error);
    match error {
        Error::RateLimited { retry_after, .. } => Error::RateLimited { message, retry_after },
        Error::Upstream { status, .. } => Error::Upstream { status, message },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(failures: &mut Failures, count: usize, error: &Error) {
        for n in 0..count {
            failures.failure(Failed { id: n.to_string(), error: error.clone() }, Duration::from_secs(9));
        }
    }

    #[test]
    fn failures_in_a_row_raise_the_question_and_a_success_settles_it() {
        let mut failures = Failures::default();
        let broken = Error::upstream("HTTP 502");
        fail(&mut failures, MOST_FAILURES - 1, &broken);
        assert!(!failures.raise_doubt(false));
        assert_eq!(failures.success(Duration::from_secs(1)).len(), MOST_FAILURES - 1);
        fail(&mut failures, MOST_FAILURES, &broken);
        assert!(failures.raise_doubt(false) && !failures.raise_doubt(true) && failures.wants_witness());
        assert_eq!(failures.settle(ProbeResult::Works).unwrap().len(), MOST_FAILURES);
        assert!(!failures.raise_doubt(false));
    }

    #[test]
    fn a_refusal_at_the_end_raises_the_question_too() {
        let mut failures = Failures::default();
        fail(&mut failures, 1, &Error::Permission(String::new()));
        assert!(failures.raise_doubt(true) && !failures.wants_witness());
        let (error, left_out) =
            failures.settle(ProbeResult::Down(Error::Authentication("401".to_owned()))).unwrap_err();
        assert_eq!((error, left_out.len()), (Error::Authentication("401".to_owned()), 0));
    }

    #[test]
    fn a_listing_that_works_while_no_run_does_ends_the_sync_after_large_and_small_ones() {
        let mut failures = Failures::default();
        let broken = Error::Upstream { status: Some(502), message: "HTTP 502".to_owned() };
        fail(&mut failures, MOST_FAILURES, &broken);
        assert_eq!(failures.settle(ProbeResult::Lists).unwrap().len(), MOST_FAILURES);
        assert!(failures.wants_small());
        fail(&mut failures, MOST_FAILURES, &broken);
        let (error, left_out) = failures.settle(ProbeResult::Lists).unwrap_err();
        assert!(matches!(&error, Error::Upstream { status: Some(502), message } if message.contains("HTTP 502")));
        assert_eq!(left_out.len(), MOST_FAILURES);
    }

    #[test]
    fn a_success_that_comes_late_does_not_excuse_a_key_that_was_refused() {
        for (error, settled) in [
            (Error::Authentication("401".to_owned()), 0),
            (Error::Permission("403".to_owned()), 0),
            (Error::NotFound("404".to_owned()), 3),
            (Error::upstream("HTTP 502"), 3),
        ] {
            let mut failures = Failures::default();
            fail(&mut failures, 3, &error);
            assert_eq!(failures.success(Duration::from_secs(10)).len(), settled, "{error}");
            assert_eq!(failures.raise_doubt(true), settled == 0, "{error}");
            assert_eq!(failures.settle(ProbeResult::Works).unwrap().len(), 3 - settled, "{error}");
        }
    }

    #[test]
    fn refusals_never_end_a_sync_whose_listing_works() {
        let mut failures = Failures::default();
        for _ in 0..20 {
            fail(&mut failures, MOST_FAILURES, &Error::Permission(String::new()));
            assert_eq!(failures.settle(ProbeResult::Lists).unwrap().len(), MOST_FAILURES);
        }
    }
}
