//! Read-only views of file systems, straight from the block device.

mod acl;
pub mod detect;
mod device;
pub mod ext;
pub mod ext4;
pub mod system;

pub use detect::{Content, detect};
