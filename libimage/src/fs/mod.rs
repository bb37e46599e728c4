//! Read-only views of file systems, straight from the block device.

pub mod detect;
pub mod ext;
pub mod system;

pub use detect::{Content, detect};
