//! What a destination does while others are in its way: it says so, and gives up when the sync has to end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// Goes with a destination that may have to wait for others who use what it writes to.
#[derive(Clone)]
pub struct Waits {
    over: CancellationToken,
    tell: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Waits {
    /// Waits go on until `over` is cancelled. `tell` is given lines for the log; it must not block.
    pub fn new(over: CancellationToken, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { over, tell: Arc::new(tell) }
    }

    /// Whether the sync has to end, so that nothing that takes time may be waited for any more.
    pub fn are_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// A warning for people: who is in the way.
    pub fn tell(&self, line: &str) {
        (self.tell)(line);
    }
}

impl Default for Waits {
    /// They are never over, and nobody is told.
    fn default() -> Self {
        Self::new(CancellationToken::new(), |_| {})
    }
}
