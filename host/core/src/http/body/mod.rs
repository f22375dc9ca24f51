//! Bodies on their way: what is sent is counted; what is received is limited, decompressed, masked and read ahead, in that order.

pub(crate) mod ahead;
pub(crate) mod gzip;
pub(crate) mod limited;
pub(crate) mod masked;
pub(crate) mod sent;
pub(crate) mod watched;
