//! Making, checking and trimming file systems and swap.

use crate::table::actions;

actions! {
    group "mkfs";

    /// Make a file system.
    ///
    /// `fstype` is `ext4`, `xfs`, `btrfs`, `vfat`, `ntfs`, ... Whatever was on the device is lost. Options, where
    /// the type knows them: `blocksize` in bytes (for vfat the cluster size), `features` for ext2/3/4, `inode`
    /// size in bytes, `sectorsize` in bytes, `label`.
    ///
    ///     mkfs ext4 /dev/sda1
    ///     mkfs xfs /dev/sda2 blocksize:4096 label:data
    fn mkfs(fstype: String, device: Device)
        opt MkfsOptions { blocksize: Int, features: String, inode: Int, sectorsize: Int, label: String } -> Void
        { aliases: &["mkfs_opts"] };

    /// Make swap space.
    ///
    ///     mkswap /dev/sda3 label:swap
    fn mkswap(device: Device) opt MkswapOptions { label: String, uuid: String } -> Void
        { aliases: &["mkswap_opts"] };

    /// Check a file system and repair what is safe to repair.
    ///
    /// Runs the checker of `fstype`. Returns its status, of which 0 means clean and 1 repaired; statuses of 2
    /// and more mean trouble but are no failure of this action.
    ///
    ///     fsck ext4 /dev/sda1
    fn fsck(fstype: String, device: Device) -> Int;

    /// Give unused space of a mounted file system back to the disk.
    ///
    /// `offset`, `length` and `minimumfreeextent` are in bytes.
    ///
    ///     fstrim /
    fn fstrim(mountpoint: Pathname) opt FstrimOptions { offset: Int64, length: Int64, minimumfreeextent: Int64 } -> Void
        { feature: Some("fstrim") };

    /// Write zeroes over the unused space of an ext2/3/4 file system that is not mounted.
    ///
    ///     zerofree /dev/sda1
    fn zerofree(device: Device) -> Void { feature: Some("zerofree") };

    /// Remove the signatures of file systems, RAID and partition tables from a device.
    ///
    /// The data stays, but nothing recognises it any more.
    ///
    ///     wipefs /dev/sda1
    fn wipefs(device: Device) -> Void { feature: Some("wipefs") };

    /// Make a file system with a block size.
    ///
    /// In bytes; the cluster size for vfat and ntfs.
    ///
    ///     mkfs-b ext4 1024 /dev/sda1
    fn mkfs_b(fstype: String, blocksize: Int, device: Device) -> Void { deprecated_by: Some("mkfs") };

    /// Make an f2fs as large as its device.
    ///
    /// It must not be mounted.
    ///
    ///     f2fs-expand /dev/sda1
    fn f2fs_expand(device: Device) -> Void { feature: Some("f2fs") };
}
