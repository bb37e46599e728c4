//! Block devices over other block devices.

pub mod concat;
pub mod slice;

pub use concat::Concat;
pub use slice::Slice;
