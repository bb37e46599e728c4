//! Builds the appliance and boots it on the best back-end there is.

#![deny(unsafe_code)]

pub mod backend;
pub mod build;
mod devices;
pub mod kvm;
pub mod launch;
mod log;
mod network;
mod ports;
mod process;
mod processor;
pub mod rpc;
mod sandbox;
pub mod tcg;
pub mod uml;
