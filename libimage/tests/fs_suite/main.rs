//! Every reader of a file system against the kernel: what it says of every file is what the kernel's mount says.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod dump;
mod ext4;
mod image;
mod xfs;
