//! What is W&B's own: where its tools keep addresses and keys, and what a person can do about a key.

pub(crate) mod advice;
pub(crate) mod configuration;
pub(crate) mod key_source;
pub mod netrc;
pub(crate) mod service;
mod settings;
mod surroundings;
