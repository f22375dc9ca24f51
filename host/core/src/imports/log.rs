//! `elt:connector/log`: lines for people.

use super::Guest;
use crate::bindings::log::{Host, Level as GuestLevel};
use crate::runtime::events::Level;

impl Host for Guest {
    fn write(&mut self, level: GuestLevel, message: String) -> wasmtime::Result<()> {
        let level = match level {
            GuestLevel::Debug => Level::Debug,
            GuestLevel::Info => Level::Info,
            GuestLevel::Warning => Level::Warning,
            GuestLevel::Severe => Level::Severe,
        };
        self.report.guest_line(level, &message);
        Ok(())
    }
}
