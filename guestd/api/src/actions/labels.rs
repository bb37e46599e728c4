//! Types, labels and UUIDs of file systems.

use crate::table::actions;

actions! {
    group "labels";

    /// Show the type of a file system.
    ///
    /// As blkid says it: `ext4`, `xfs`, `LVM2_member`, `crypto_LUKS`, ... Empty if nothing is recognised.
    ///
    ///     vfs-type /dev/sda1
    fn vfs_type(mountable: Mountable) -> String;

    /// Show the label of a file system.
    ///
    /// Empty if it has none.
    ///
    ///     vfs-label /dev/sda1
    fn vfs_label(mountable: Mountable) -> String;

    /// Show the UUID of a file system.
    ///
    /// Empty if it has none.
    ///
    ///     vfs-uuid /dev/sda1
    fn vfs_uuid(mountable: Mountable) -> String { aliases: &["get_uuid"] };

    /// Set the label of a file system.
    ///
    /// Works for ext2/3/4, xfs, btrfs, vfat, ntfs and swap, within the length each allows. xfs must not be
    /// mounted.
    ///
    ///     set-label /dev/sda1 root
    fn set_label(mountable: Mountable, label: String) -> Void;

    /// Set the UUID of a file system.
    ///
    /// Works for ext2/3/4, xfs, btrfs and swap while they are not mounted.
    ///
    ///     set-uuid /dev/sda1 7d3f2a10-64c1-4a8e-9a59-5f2d1a0c7e11
    fn set_uuid(device: Device, uuid: String) -> Void;

    /// Find the file system that has a label.
    ///
    ///     findfs-label root
    fn findfs_label(label: String) -> Device;

    /// Find the file system that has a UUID.
    ///
    ///     findfs-uuid 7d3f2a10-64c1-4a8e-9a59-5f2d1a0c7e11
    fn findfs_uuid(uuid: String) -> Device;
}
