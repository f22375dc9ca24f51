//! What a sync leaves behind, however it ended: the binary run as a process against the local server, its destination as any reader
//! finds it, and what tells from the stored state what the tables must hold.

mod expected_writes;
mod left;
mod site;

pub use expected_writes::ExpectedWrites;
pub use left::{Left, narrow};
pub use site::{Ended, Running, Site, Storage};
