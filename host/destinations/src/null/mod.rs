//! `null:` stores nothing. It shows how fast everything before the destination is.

mod destination;
mod kind;
#[cfg(test)]
pub(crate) mod subject;

pub use self::destination::Null;
pub use self::kind::{KIND, NullKind};
