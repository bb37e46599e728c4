//! Builds the appliance and boots it on the best back-end there is.

pub mod build;
pub mod rpc;
