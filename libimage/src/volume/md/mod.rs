//! Software RAID of Linux: several devices, the members, are one array.
//!
//! Every member has a superblock that tells of the array. Those that changed last count; a member that fell behind is
//! never read. An array is a block device again, if it is complete, or can be read without what is missing. What
//! is under way (a reshape, a rebuild) is refused by name.

mod array;
mod layout;
mod rebuilt;
mod superblock;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use array::{Array, arrays};
pub use superblock::{Role, Superblock, Version, read};

/// The signature that probes report for a member.
pub const KIND: &str = "linux_raid_member";
