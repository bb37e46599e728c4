//! A btrfs as a whole: its devices, its size, its health.

use crate::table::actions;

actions! {
    group "btrfs_volume";

    /// Make a btrfs, on one device or several.
    ///
    /// `datatype` and `metadata` say how data and metadata are spread: `single`, `dup`, `raid0`, `raid1`, `raid10`,
    /// ... Sizes are in bytes.
    ///
    ///     mkfs-btrfs /dev/sda1 label:data
    ///     mkfs-btrfs "/dev/sda1 /dev/sdb1" datatype:raid0 metadata:raid1
    fn mkfs_btrfs(devices: DeviceList) opt MkfsBtrfsOptions {
        allocstart: Int64, bytecount: Int64, datatype: String, leafsize: Int, label: String, metadata: String,
        nodesize: Int, sectorsize: Int,
    } -> Void { feature: Some("btrfs") };

    /// Add devices to a mounted btrfs.
    ///
    /// Whatever was on them is lost.
    ///
    ///     btrfs-device-add "/dev/sdb1 /dev/sdc1" /
    fn btrfs_device_add(devices: DeviceList, fs: Pathname) -> Void { feature: Some("btrfs") };

    /// Take devices out of a mounted btrfs.
    ///
    /// What is on them moves to the others first.
    ///
    ///     btrfs-device-delete /dev/sdb1 /
    fn btrfs_device_delete(devices: DeviceList, fs: Pathname) -> Void { feature: Some("btrfs") };

    /// Replace a device of a mounted btrfs by another.
    ///
    ///     btrfs-replace /dev/sda1 /dev/sdb1 /
    fn btrfs_replace(srcdev: Device, targetdev: Device, mntpoint: Pathname) -> Void { feature: Some("btrfs") };

    /// List the devices of the btrfs that a device belongs to.
    ///
    /// Fails if some are missing.
    ///
    ///     btrfs-filesystem-show /dev/sda1
    fn btrfs_filesystem_show(device: Device) -> DeviceList { feature: Some("btrfs") };

    /// Set the size of a mounted btrfs.
    ///
    /// To `size` bytes, or as large as its device. For a file system of several devices this is about the first.
    ///
    ///     btrfs-filesystem-resize / size:10G
    fn btrfs_filesystem_resize(mountpoint: Pathname) opt BtrfsFilesystemResizeOptions { size: Int64 } -> Void
        { feature: Some("btrfs") };

    /// Write everything that a btrfs has in memory to its devices.
    ///
    ///     btrfs-filesystem-sync /
    fn btrfs_filesystem_sync(fs: Pathname) -> Void { feature: Some("btrfs") };

    /// Defragment a file or directory.
    ///
    /// With all that is below it. `flush:true` writes it to the disk at once; `compress` is `zlib`, `lzo` or `zstd`.
    ///
    ///     btrfs-filesystem-defragment /var compress:zlib
    fn btrfs_filesystem_defragment(path: Pathname)
        opt BtrfsFilesystemDefragmentOptions { flush: Bool, compress: String } -> Void { feature: Some("btrfs") };

    /// Spread the content of a btrfs evenly over its devices.
    ///
    /// Rewrites everything; returns when that is done.
    ///
    ///     btrfs-balance /
    fn btrfs_filesystem_balance(fs: Pathname) -> Void { aliases: &["btrfs_balance"], feature: Some("btrfs") };

    /// Stop a balance for good.
    ///
    ///     btrfs-balance-cancel /
    fn btrfs_balance_cancel(path: Pathname) -> Void { feature: Some("btrfs") };

    /// Stop a balance that can be resumed.
    ///
    ///     btrfs-balance-pause /
    fn btrfs_balance_pause(path: Pathname) -> Void { feature: Some("btrfs") };

    /// Resume a balance that was paused.
    ///
    ///     btrfs-balance-resume /
    fn btrfs_balance_resume(path: Pathname) -> Void { feature: Some("btrfs") };

    /// Show how far a balance is.
    ///
    /// The status is `running`, `paused` or `none`, the counts are in chunks, `left` in percent.
    ///
    ///     btrfs-balance-status /
    fn btrfs_balance_status(path: Pathname) -> Struct<Btrfsbalance> { feature: Some("btrfs") };

    /// Start reading everything on a mounted btrfs and repairing what does not match its checksum.
    ///
    /// Goes on in the background.
    ///
    ///     btrfs-scrub-start /
    fn btrfs_scrub_start(path: Pathname) -> Void { feature: Some("btrfs") };

    /// Stop a scrub.
    ///
    ///     btrfs-scrub-cancel /
    fn btrfs_scrub_cancel(path: Pathname) -> Void { feature: Some("btrfs") };

    /// Resume a scrub that was stopped.
    ///
    ///     btrfs-scrub-resume /
    fn btrfs_scrub_resume(path: Pathname) -> Void { feature: Some("btrfs") };

    /// Show what a scrub has found so far, or the last one.
    ///
    ///     btrfs-scrub-status /
    fn btrfs_scrub_status(path: Pathname) -> Struct<Btrfsscrub> { feature: Some("btrfs") };

    /// Scrub a mounted btrfs and wait for the end.
    ///
    /// Fails if there are errors that could not be corrected. `readonly:true` only looks.
    ///
    ///     btrfs-scrub-full / readonly:true
    fn btrfs_scrub_full(path: Pathname) opt BtrfsScrubFullOptions { readonly: Bool } -> Void
        { feature: Some("btrfs") };

    /// Check a btrfs that is not mounted.
    ///
    /// `superblock` is the number of the copy of the superblock to start from. `repair:true` tries to repair, which
    /// can make things worse.
    ///
    ///     btrfs-fsck /dev/sda1
    fn btrfs_fsck(device: Device) opt BtrfsFsckOptions { superblock: Int64, repair: Bool } -> Void
        { feature: Some("btrfs") };

    /// Save the metadata of a btrfs to a file of the guest.
    ///
    /// All data is left out. `compresslevel` is 0 to 9.
    ///
    ///     btrfs-image /dev/sdb1 /dump
    fn btrfs_image(source: DeviceList, image: Pathname) opt BtrfsImageOptions { compresslevel: Int } -> Void
        { feature: Some("btrfs") };

    /// Rebuild the chunk tree of a btrfs by searching the device.
    ///
    ///     btrfs-rescue-chunk-recover /dev/sda1
    fn btrfs_rescue_chunk_recover(device: Device) -> Void { feature: Some("btrfs") };

    /// Restore bad superblocks of a btrfs from good copies.
    ///
    ///     btrfs-rescue-super-recover /dev/sda1
    fn btrfs_rescue_super_recover(device: Device) -> Void { feature: Some("btrfs") };

    /// Make a btrfs a seed for others, or stop that.
    ///
    /// A seed can only be mounted read-only; devices added to it take what is written.
    ///
    ///     btrfs-set-seeding /dev/sda1 true
    fn btrfs_set_seeding(device: Device, seeding: Bool) -> Void { feature: Some("btrfs") };

    /// Make a btrfs a seed for others, or stop that.
    ///
    /// As `btrfs-set-seeding`, but it can stop even if devices were added.
    ///
    ///     btrfstune-seeding /dev/sda1 false
    fn btrfstune_seeding(device: Device, seeding: Bool) -> Void { feature: Some("btrfs") };

    /// Allow a btrfs more hard links to a file in one directory.
    ///
    ///     btrfstune-enable-extended-inode-refs /dev/sda1
    fn btrfstune_enable_extended_inode_refs(device: Device) -> Void { feature: Some("btrfs") };

    /// Have a btrfs use the smaller form of references to metadata.
    ///
    ///     btrfstune-enable-skinny-metadata-extent-refs /dev/sda1
    fn btrfstune_enable_skinny_metadata_extent_refs(device: Device) -> Void { feature: Some("btrfs") };
}
