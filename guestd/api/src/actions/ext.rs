//! What is particular to ext2, ext3 and ext4.
#![allow(
    non_snake_case,
    reason = "some actions carry the option of the tool they stand for, as in `resize2fs -M`"
)]

use crate::table::actions;

actions! {
    group "ext";

    /// Check an ext2/3/4 file system.
    ///
    /// It must not be mounted. Without options the check stops at the first thing that would need an answer.
    /// `correct:true` repairs what is safe to repair, `forceall:true` everything, `forceno:true` nothing (it only
    /// looks). At most one of them can be given.
    ///
    ///     e2fsck /dev/sda1 correct:true
    fn e2fsck(device: Device) opt E2fsckOptions { correct: Bool, forceall: Bool, forceno: Bool } -> Void;

    /// Check an ext2/3/4 file system and repair what is safe to repair.
    ///
    ///     e2fsck-f /dev/sda1
    fn e2fsck_f(device: Device) -> Void { deprecated_by: Some("e2fsck") };

    /// Show the attributes of a file.
    ///
    /// The letters of lsattr(1), sorted: `i` is immutable, `a` append-only, `e` stored in extents, ...
    ///
    ///     get-e2attrs /etc/resolv.conf
    fn get_e2attrs(file: Pathname) -> String;

    /// Set attributes of a file.
    ///
    /// Adds the attributes whose letters are given, or takes them away with `clear:true`. Others stay.
    ///
    ///     set-e2attrs /etc/resolv.conf i
    ///     set-e2attrs /etc/resolv.conf i clear:true
    fn set_e2attrs(file: Pathname, attrs: String) opt SetE2attrsOptions { clear: Bool } -> Void;

    /// Show the generation number of a file.
    ///
    ///     get-e2generation /etc/passwd
    fn get_e2generation(file: Pathname) -> Int64;

    /// Set the generation number of a file.
    ///
    ///     set-e2generation /etc/passwd 123456
    fn set_e2generation(file: Pathname, generation: Int64) -> Void;

    /// Show the label of an ext2/3/4 file system.
    ///
    ///     get-e2label /dev/sda1
    fn get_e2label(device: Device) -> String { deprecated_by: Some("vfs_label") };

    /// Set the label of an ext2/3/4 file system.
    ///
    ///     set-e2label /dev/sda1 root
    fn set_e2label(device: Device, label: String) -> Void { deprecated_by: Some("set_label") };

    /// Show the UUID of an ext2/3/4 file system.
    ///
    ///     get-e2uuid /dev/sda1
    fn get_e2uuid(device: Device) -> String { deprecated_by: Some("vfs_uuid") };

    /// Set the UUID of an ext2/3/4 file system.
    ///
    /// `uuid` may also be `clear`, `random` or `time`.
    ///
    ///     set-e2uuid /dev/sda1 7d3f2a10-64c1-4a8e-9a59-5f2d1a0c7e11
    fn set_e2uuid(device: Device, uuid: String) -> Void { deprecated_by: Some("set_uuid") };

    /// Make an ext2/3/4 file system with every choice there is.
    ///
    /// `mkfs` is enough for most. `fstype` is `ext2` (if nothing else is said), `ext3` or `ext4`. Sizes of blocks
    /// and inodes are in bytes, `journalsize` in megabytes, `blockscount` and strides in blocks. `journaldevice` is
    /// a device, `LABEL=...` or `UUID=...`. The switches from `extent` on turn features of the file system on or
    /// off.
    ///
    ///     mke2fs /dev/sda1 fstype:ext4 blocksize:1024 label:data
    ///     mke2fs /dev/sda1 fstype:ext3 journaldevice:/dev/sdb1
    fn mke2fs(device: Device) opt Mke2fsOptions {
        blockscount: Int64, blocksize: Int64, fragsize: Int64, blockspergroup: Int64, numberofgroups: Int64,
        bytesperinode: Int64, inodesize: Int64, journalsize: Int64, numberofinodes: Int64, stridesize: Int64,
        stripewidth: Int64, maxonlineresize: Int64, reservedblockspercentage: Int, mmpupdateinterval: Int,
        journaldevice: String, label: String, lastmounteddir: String, creatoros: String, fstype: String,
        usagetype: String, uuid: String, forcecreate: Bool, writesbandgrouponly: Bool, lazyitableinit: Bool,
        lazyjournalinit: Bool, testfs: Bool, discard: Bool, quotatype: Bool, extent: Bool, filetype: Bool,
        flexbg: Bool, hasjournal: Bool, journaldev: Bool, largefile: Bool, quota: Bool, resizeinode: Bool,
        sparsesuper: Bool, uninitbg: Bool,
    } -> Void;

    /// Make an ext2/3/4 file system whose journal is on another device.
    ///
    ///     mke2fs-J ext3 4096 /dev/sda1 /dev/sdb1
    fn mke2fs_J(fstype: String, blocksize: Int, device: Device, journal: Device) -> Void
        { deprecated_by: Some("mke2fs") };

    /// Make an ext2/3/4 file system whose journal is on the device with a label.
    ///
    ///     mke2fs-JL ext3 4096 /dev/sda1 JOURNAL
    fn mke2fs_JL(fstype: String, blocksize: Int, device: Device, label: String) -> Void
        { deprecated_by: Some("mke2fs") };

    /// Make an ext2/3/4 file system whose journal is on the device with a UUID.
    ///
    ///     mke2fs-JU ext3 4096 /dev/sda1 7d3f2a10-64c1-4a8e-9a59-5f2d1a0c7e11
    fn mke2fs_JU(fstype: String, blocksize: Int, device: Device, uuid: String) -> Void
        { feature: Some("linuxfsuuid"), deprecated_by: Some("mke2fs") };

    /// Make a journal for a file system on another device.
    ///
    /// The block size must be that of the file system.
    ///
    ///     mke2journal 4096 /dev/sdb1
    fn mke2journal(blocksize: Int, device: Device) -> Void { deprecated_by: Some("mke2fs") };

    /// Make a journal with a label.
    ///
    ///     mke2journal-L 4096 JOURNAL /dev/sdb1
    fn mke2journal_L(blocksize: Int, label: String, device: Device) -> Void { deprecated_by: Some("mke2fs") };

    /// Make a journal with a UUID.
    ///
    ///     mke2journal-U 4096 7d3f2a10-64c1-4a8e-9a59-5f2d1a0c7e11 /dev/sdb1
    fn mke2journal_U(blocksize: Int, uuid: String, device: Device) -> Void
        { feature: Some("linuxfsuuid"), deprecated_by: Some("mke2fs") };

    /// Make the directory `lost+found`.
    ///
    /// With room for many names, so that a later repair need not allocate. `mountpoint` is the directory to make
    /// it in, usually the top of the file system.
    ///
    ///     mklost-and-found /
    fn mklost_and_found(mountpoint: Pathname) -> Void;

    /// Make an ext2/3/4 file system as large as its device.
    ///
    /// If it is not mounted it is checked first.
    ///
    ///     resize2fs /dev/sda1
    fn resize2fs(device: Device) -> Void;

    /// Make an ext2/3/4 file system as small as its content allows.
    ///
    /// It must not be mounted, and is checked first. `tune2fs-l` shows the size it got.
    ///
    ///     resize2fs-M /dev/sda1
    fn resize2fs_M(device: Device) -> Void;

    /// Set the size of an ext2/3/4 file system.
    ///
    /// In bytes, a multiple of 1024. If it is not mounted it is checked first.
    ///
    ///     resize2fs-size /dev/sda1 200M
    fn resize2fs_size(device: Device, size: Int64) -> Void;

    /// Adjust parameters of an ext2/3/4 file system.
    ///
    /// `maxmountcount` and `intervalbetweenchecks` (in seconds) say when it wants to be checked, `mountcount` sets
    /// how often it was mounted. `errorbehavior` is `continue`, `remount-ro` or `panic`. `reservedblockspercentage`
    /// or `reservedblockscount` set what is kept for root, or for the numbers `user` and `group`.
    ///
    ///     tune2fs /dev/sda1 maxmountcount:0 intervalbetweenchecks:0
    fn tune2fs(device: Device) opt Tune2fsOptions {
        force: Bool, maxmountcount: Int, mountcount: Int, errorbehavior: String, group: Int64,
        intervalbetweenchecks: Int, reservedblockspercentage: Int, lastmounteddirectory: String,
        reservedblockscount: Int64, user: Int64,
    } -> Void;

    /// Show the superblock of an ext2/3/4 file system.
    ///
    /// Names and values as tune2fs(8) shows them.
    ///
    ///     tune2fs-l /dev/sda1
    fn tune2fs_l(device: Device) -> Hash;
}
