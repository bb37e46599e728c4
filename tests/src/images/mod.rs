//! Images for tests, made by the tools that everybody has: never by the code under test.

mod disk;
mod tree;

pub use disk::{Table, disk, ext, format, overlay, part_of};
pub use tree::{BOOT_LABEL, ROOT_UUID, boot_tree, debian_tree, odd_tree};
