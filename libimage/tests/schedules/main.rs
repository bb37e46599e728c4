//! Several threads on one qcow2 image, in thousands of orders.
//!
//! Shuttle runs the threads of a scenario one at a time and chooses at every lock and every request to the file who
//! goes on. A failure prints the order that led to it, which `shuttle::replay` plays again.
#![allow(clippy::unwrap_used)]

mod cache;
mod lab;
mod whole;
mod writers;
