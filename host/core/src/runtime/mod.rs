//! Running a component: the engine, one sync from its request to its outcome, and the policy and limits that it runs under.

mod call;
pub mod engine;
pub mod events;
pub(crate) mod instance;
pub(crate) mod limits;
pub(crate) mod machine;
pub(crate) mod outcome;
pub mod policy;
pub mod report;
pub(crate) mod request;
mod run;
mod seconds;
