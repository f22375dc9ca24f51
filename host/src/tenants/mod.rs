//! Many tenants in one process, none of which trusts the others.
//!
//! | module | concern |
//! |---|---|
//! | [`tenant`] | one tenant: whose data, from where, to where, how often, within which limits |
//! | [`schedule`] | when syncs are due |
//! | [`record`] | how a sync ended, as the history keeps it |
//! | [`overview`] | what there is to see of the tenants at this moment |

pub mod overview;
pub mod record;
pub mod schedule;
pub mod tenant;
