//! Many tenants in one process, none of which trusts the others.
//!
//! | module | concern |
//! |---|---|
//! | [`tenant`] | one tenant: whose data, from where, to where, how often, within which limits |
//! | [`schedule`] | when syncs are due |
//! | [`record`] | how a sync ended, as the history keeps it |
//! | [`overview`] | what there is to see of the tenants at this moment |
//! | [`status`] | the status page, its API, and what machines ask a process for |
//! | [`metrics`] | numbers for Prometheus |
//! | [`traces`] | spans for OpenTelemetry |

pub mod metrics;
pub mod overview;
pub mod record;
pub mod schedule;
pub mod status;
pub mod tenant;
pub mod traces;
