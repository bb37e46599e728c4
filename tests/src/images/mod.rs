//! Images for tests, made by the tools that everybody has: never by the code under test.

mod disk;
mod hive;
mod tree;

pub use disk::{Table, disk, ext, format, overlay, part_of};
pub use hive::{WINDOWS_QUESTIONS, hives};
pub use tree::{BOOT_LABEL, ROOT_UUID, boot_tree, debian_tree, odd_tree};
