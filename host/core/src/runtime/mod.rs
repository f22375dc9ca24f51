//! Running a component: the engine, one sync from its request to its outcome, and the policy and limits that it runs under.

mod call;
pub(crate) mod engine;
pub(crate) mod events;
pub(crate) mod instance;
pub(crate) mod limits;
pub(crate) mod machine;
pub(crate) mod outcome;
pub(crate) mod policy;
mod progress_labels;
pub(crate) mod report;
pub(crate) mod request;
mod run;
mod seconds;
