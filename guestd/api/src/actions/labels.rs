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

    /// Find the partition that has a name in its GUID partition table.
    ///
    ///     findfs-partlabel boot
    fn findfs_partlabel(label: String) -> Device;

    /// Find the partition that has a GUID in its partition table.
    ///
    ///     findfs-partuuid c12a7328-f81f-11d2-ba4b-00a0c93ec93b
    fn findfs_partuuid(uuid: String) -> Device;

    /// Set the UUID of a file system to a random one.
    ///
    /// For the types that `set-uuid` knows.
    ///
    ///     set-uuid-random /dev/sda1
    fn set_uuid_random(device: Device) -> Void;

    /// Show all that is recognised on a device.
    ///
    /// `TYPE`, `UUID`, `LABEL`, `VERSION`, `USAGE`, and what its partition table says about it.
    ///
    ///     blkid /dev/sda1
    fn blkid(device: Device) -> Hash;

    /// Show how small a file system can be made, in bytes.
    ///
    /// For ext2/3/4, btrfs, ntfs, and xfs, which cannot shrink.
    ///
    ///     vfs-minimum-size /dev/sda1
    fn vfs_minimum_size(mountable: Mountable) -> Int64;
}
