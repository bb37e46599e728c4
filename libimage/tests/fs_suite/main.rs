//! Every reader of a file system against the kernel: what it says of every file is what the kernel's mount says.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod btrfs;
mod dump;
mod erofs;
mod exfat;
mod ext4;
mod fat;
mod harm;
mod image;
mod iso9660;
mod squashfs;
mod xfs;
