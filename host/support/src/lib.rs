//! What the crates of the host share, and a program that embeds it does not need: how people write things, how they may be shown, and
//! which names and certificates are what they say.
//!
//! | module | concern |
//! |---|---|
//! | [`json`], [`text`], [`units`] | what people write in files and flags |
//! | [`printable`], [`url_password`] | what may be shown of texts from outside |
//! | [`paths`], [`file_access`] | files beside others, and who may read them |
//! | [`even_rate`] | how often something may happen |
//! | [`origin`], [`address`], [`certificates`] | whom a request goes to, and whether that is who it says |
//! | [`thread_clock`] | how long a thread has computed |
//! | [`metadata`] | what a component says of itself |
#![forbid(unsafe_code)]

pub mod address;
pub mod certificates;
pub mod even_rate;
pub mod file_access;
pub mod json;
pub mod metadata;
pub mod origin;
pub mod paths;
pub mod printable;
pub mod text;
pub mod thread_clock;
pub mod units;
pub mod url_password;
