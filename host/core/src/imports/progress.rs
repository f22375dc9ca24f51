//! `elt:connector/progress`: how far a sync is.

use super::Guest;
use crate::bindings::progress::Host;

impl Host for Guest {
    fn report(&mut self, what: String, done: u64, total: Option<u64>) -> wasmtime::Result<()> {
        self.report.progress(&what, done, total);
        Ok(())
    }

    fn throttled(&mut self, milliseconds: u64) -> wasmtime::Result<()> {
        self.hooks.gate.throttled(milliseconds);
        Ok(())
    }
}
