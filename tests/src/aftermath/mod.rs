//! What a sync leaves behind, however it ended: the binary run as a process against the local server, its destination as any reader
//! finds it, and a ledger that tells from the stored state what the tables must hold.

mod ledger;
mod left;
mod site;

pub use ledger::Ledger;
pub use left::{Left, narrow};
pub use site::{Ended, Running, Site, Storage};
