//! What tests, fuzzers and benchmarks of this workspace replace or look at, under the feature `test-support`. It is no part of the interface:
//! an embedder's build has none of it, and any of it may change with any version.

/// The check of what a guest emits.
pub mod boundary {
    pub use crate::batch::{BatchError, keys, rows};
    pub use crate::bindings::types::{Batch, Column, ColumnValues, TextDictionary};
}

/// A network that a test makes up.
pub mod network {
    pub use crate::http::client::{HttpOptions, Timeouts};
    pub use crate::http::egress::dial::{Boxed, Dial, Resolve};
}

/// Where requests may go, and how secrets get into them.
pub mod policed {
    pub use crate::http::egress::{Egress, Permit};
    pub use crate::http::secrets::{Extracted, Secrets};
}

/// What runs a destination beside a guest.
pub mod writer {
    pub use crate::destination::writer::{Writer, WriterOptions, WriterReport};
}

/// The engine inside an engine.
pub fn wasmtime_of(engine: &crate::Engine) -> &wasmtime::Engine {
    engine.wasmtime()
}
