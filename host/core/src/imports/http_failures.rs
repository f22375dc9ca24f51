//! What the host has to say about requests that went wrong, which the guest can't know: where a name led, why a request was refused.
//!
//! Each failure is logged once, as a warning. When a sync ends because no request was answered, its error names the failure too, but only when
//! it is the only kind of failure since the last request that succeeded: requests run concurrently, and a failure of another request would
//! mislead.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::events::Level;
use crate::runtime::report::Reporter;

/// Different failures that are logged; each of them once.
const MOST_COMPLAINTS: usize = 100;

/// The failures of the requests of one sync.
pub(crate) struct FailureLog {
    report: Arc<Reporter>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    told: HashSet<String>,
    since_success: Since,
}

/// What has gone wrong since a request last went well.
#[derive(Default)]
enum Since {
    #[default]
    Nothing,
    /// One thing, however often; with nothing to say about it, it speaks for itself.
    One(Option<String>),
    Several,
}

impl FailureLog {
    pub(crate) fn new(report: Arc<Reporter>) -> Self {
        Self { report, known: Mutex::default() }
    }

    /// A request failed. `advice` is what there is to say beyond the code that the guest gets.
    pub(crate) fn failed(&self, advice: Option<String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.since_success = match std::mem::take(&mut known.since_success) {
            Since::Nothing => Since::One(advice.clone()),
            Since::One(earlier) if earlier == advice => Since::One(earlier),
            Since::One(_) | Since::Several => Since::Several,
        };
        let Some(advice) = advice else { return };
        if known.told.len() < MOST_COMPLAINTS && known.told.insert(advice.clone()) {
            drop(known);
            self.report.line(Level::Warning, &advice);
        }
    }

    /// A request succeeded, so earlier failures no longer explain the end of the sync.
    pub(crate) fn succeeded(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).since_success = Since::Nothing;
    }

    /// Why requests fail now, where there is one reason.
    pub(crate) fn cause(&self) -> Option<String> {
        match &self.known.lock().unwrap_or_else(PoisonError::into_inner).since_success {
            Since::One(advice) => advice.clone(),
            Since::Nothing | Since::Several => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::connector::Silent;
    use crate::http::secrets::Redactor;
    use crate::runtime::policy::Limits;

    #[test]
    fn trouble_is_a_cause_only_where_nothing_else_went_wrong_since_the_last_success() {
        let report = Reporter::new(Arc::new(Silent), Redactor::default(), &Limits::default());
        let failures_told = FailureLog::new(Arc::new(report));
        let refused = || Some("refused".to_owned());
        assert_eq!(failures_told.cause(), None);
        failures_told.failed(refused());
        failures_told.failed(refused());
        assert_eq!(failures_told.cause(), refused());
        failures_told.failed(None);
        assert_eq!(failures_told.cause(), None, "which of the two ended it is not known");
        failures_told.failed(refused());
        assert_eq!(failures_told.cause(), None);
        failures_told.succeeded();
        failures_told.failed(None);
        assert_eq!(failures_told.cause(), None);
        failures_told.failed(refused());
        assert_eq!(failures_told.cause(), None);
        failures_told.succeeded();
        failures_told.failed(refused());
        failures_told.failed(Some("another".to_owned()));
        assert_eq!(failures_told.cause(), None);
        failures_told.succeeded();
        assert_eq!(failures_told.cause(), None);
    }
}
