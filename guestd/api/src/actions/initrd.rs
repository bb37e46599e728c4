//! The content of initial RAM disks.

use crate::table::actions;

actions! {
    group "initrd";

    /// Show a file of an initial RAM disk.
    ///
    /// `filename` is its path without the first slash.
    ///
    ///     initrd-cat /boot/initrd.img conf/initramfs.conf
    fn initrd_cat(initrdpath: Pathname, filename: String) -> Buffer;

    /// List the files of an initial RAM disk.
    ///
    /// All parts of one that consists of several archives, compressed with gzip, xz, zstd, bzip2, lzop or lzma, or
    /// not at all.
    ///
    ///     initrd-list /boot/initrd.img
    fn initrd_list(path: Pathname) -> StringList;
}
