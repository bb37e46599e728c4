//! Disk images on the host.

use crate::table::actions;

actions! {
    group "host_disk";

    /// Create a disk image on the host.
    ///
    /// `format` is `raw` or `qcow2`. With `backingfile:FILE` the size is `-1`: it is taken from that file; then
    /// `backingformat:FORMAT` should be given too. `preallocation` is `off`, `sparse` or `full`, for qcow2 also
    /// `metadata`; `compat` is `0.10` or `1.1`; `clustersize` a power of two. A file of that name is replaced.
    ///
    ///     disk-create disk.qcow2 qcow2 10G
    ///     disk-create overlay.qcow2 qcow2 -1 backingfile:disk.qcow2 backingformat:qcow2
    fn disk_create(filename: String, format: String, size: Int64) opt DiskCreateOptions {
        backingfile: String, backingformat: String, preallocation: String, compat: String, clustersize: Int,
    } -> Void;

    /// Tell the format of a disk image on the host.
    ///
    /// Guests can make a raw image look like another format: do not rely on it for images of strangers.
    ///
    ///     disk-format disk.img
    fn disk_format(filename: String) -> String;

    /// Test whether a disk image on the host has a backing file.
    ///
    ///     disk-has-backing-file overlay.qcow2
    fn disk_has_backing_file(filename: String) -> Bool;

    /// Tell the size of the disk in an image on the host, in bytes.
    ///
    ///     disk-virtual-size disk.qcow2
    fn disk_virtual_size(filename: String) -> Int64;
}
