//! Every reader of a file system against the kernel: what it says of every file is what the kernel's mount says.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

/// One test for each line, so that they run side by side: it calls the `agree` of its file with what stands there.
macro_rules! agree {
    ($($name:ident: $($argument:expr),+;)*) => {
        $(#[test]
        fn $name() {
            agree($($argument),+);
        })*
    };
}

mod btrfs;
mod dump;
mod erofs;
mod exfat;
mod ext4;
mod fat;
mod harm;
mod image;
mod iso9660;
mod ntfs;
mod squashfs;
mod xfs;
