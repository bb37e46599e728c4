//! Blocks over blocks: each changes one thing about what lies below it.

pub mod fault;
pub mod trace;

pub use fault::Fault;
pub use trace::{Event, Trace};
