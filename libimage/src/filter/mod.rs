//! Block devices over other block devices.

pub mod slice;

pub use slice::Slice;
