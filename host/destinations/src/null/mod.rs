//! `null:` stores nothing. It shows how fast everything before the destination is.

mod destination;

pub use self::destination::Null;
