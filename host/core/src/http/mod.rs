//! The way of a guest's requests to the network, in the order in which they meet it: the egress policy, the secrets, the quotas, the
//! connections, and what happens to a response's body on its way back.

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod egress;
pub(crate) mod error;
pub(crate) mod mask;
pub(crate) mod open_requests;
pub(crate) mod proxy;
pub(crate) mod quota;
pub(crate) mod rate_gate;
pub(crate) mod secrets;
