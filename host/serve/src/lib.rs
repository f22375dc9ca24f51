//! Many tenants in one process, none of which trusts the others.
//!
//! | module | concern |
//! |---|---|
//! | [`tenant`] | one tenant: whose data, from where, to where, how often, within which limits |
//! | [`mod@file`], [`problem`] | the files that describe tenants, and what is wrong with them |
//! | [`registry`], [`destination_claims`], [`config_checks`] | all tenants: no two with one place, each fit for its component |
//! | [`check`] | whether tenants could be synced |
//! | [`secret`] | where secrets are looked up |
//! | [`schedule`], [`backoff`] | when syncs are due, and how long what keeps failing is left alone |
//! | [`scheduler`], [`budget`] | who syncs when, and how often all together ask an origin |
//! | [`components`] | the components that tenants run |
//! | [`record`], [`history`] | how a sync ended, and where that is kept |
//! | [`overview`] | what there is to see of the tenants at this moment |
//! | [`status`] | the status page, its API, and what machines ask a process for |
//! | [`metrics`] | numbers for Prometheus |
//! | [`traces`] | spans for OpenTelemetry |
//! | [`operations`] | joins metrics and traces to the scheduler |
#![forbid(unsafe_code)]

pub mod backoff;
pub mod budget;
pub mod check;
pub mod components;
pub mod config_checks;
pub mod destination_claims;
pub mod file;
pub mod history;
pub mod metrics;
pub mod operations;
pub mod overview;
pub mod problem;
pub mod record;
pub mod registry;
pub mod schedule;
pub mod scheduler;
pub mod secret;
pub mod status;
pub mod tenant;
pub mod traces;

mod file_version;
mod limit_keys;
mod listener;
mod one_sync;
mod scheduling;
mod slot_permit;
mod tenant_id;
mod toml_reader;
