//! Browsers that have given the token. Each holds a random text in a cookie, which opens the page until it is too old, the browser signs
//! out or the process ends; the token itself is in no cookie.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::token::{digest, equal};

/// How long a browser stays signed in.
pub(super) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Browsers that are signed in at once. The one that signed in first is signed out for a further one.
const MOST: usize = 64;

/// All of them, as digests of their texts, the oldest first.
#[derive(Default)]
pub(super) struct Sessions(Mutex<VecDeque<([u8; 32], Instant)>>);

impl Sessions {
    /// Signs a browser in: its text. None when the system has no random numbers.
    pub(super) fn open(&self, now: Instant) -> Option<String> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).ok()?;
        let text = BASE64_URL_SAFE_NO_PAD.encode(random);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, since)| now.duration_since(*since) < LIFETIME);
        if open.len() >= MOST {
            open.pop_front();
        }
        open.push_back((digest(text.as_bytes()), now));
        Some(text)
    }

    /// Whether `text` is that of a browser that is signed in.
    pub(super) fn has(&self, text: &str, now: Instant) -> bool {
        let given = digest(text.as_bytes());
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().any(|(known, since)| equal(known, &given) && now.duration_since(*since) < LIFETIME)
    }

    /// Signs a browser out.
    pub(super) fn close(&self, text: &str) {
        let given = digest(text.as_bytes());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| !equal(known, &given));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_age_by_sign_out_and_by_too_many_others() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let [first, second] = [(); 2].map(|()| sessions.open(start).unwrap());
        assert!(sessions.has(&first, start) && sessions.has(&second, start) && !sessions.has("", start));
        sessions.close(&first);
        assert!(!sessions.has(&first, start) && sessions.has(&second, start));
        assert!(!sessions.has(&second, start + LIFETIME));
        for _ in 0..MOST {
            assert!(sessions.has(&second, start));
            sessions.open(start).unwrap();
            if sessions.0.lock().unwrap().len() == MOST && !sessions.has(&second, start) {
                return;
            }
        }
        panic!("more sessions than there may be");
    }
}
