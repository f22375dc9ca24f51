//! Generated from `wit/`.
#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, reason = "generated code")]

wit_bindgen::generate!({ path: "../wit", world: "connector", generate_all });

pub use exports::elt::connector::source::Guest;
