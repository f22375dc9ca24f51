//! The commands: what each does, from its flags to how the process ends.

pub(crate) mod check;
pub(crate) mod inspect;
pub(crate) mod preview;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod spec;
pub(crate) mod state;
pub(crate) mod sync;
pub(crate) mod tenants;
pub(crate) mod verify;
