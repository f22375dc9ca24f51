//! When syncs are due.

use std::time::Duration;

/// When a tenant's syncs are due.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What is repeated.
    pub repeat: Repeat,
    /// Each due time is put off by up to this much, by an amount that is the same for a tenant every time, so that tenants with one
    /// schedule don't all start at once.
    pub jitter: Duration,
}

/// What is repeated.
#[derive(Debug, Clone, PartialEq)]
pub enum Repeat {
    /// This long after the start of the last sync.
    Every(Duration),
    /// At the times that a cron expression of five fields names, in UTC.
    Cron(Box<croner::Cron>),
}
