//! Which disks, partitions and file systems there are.

use crate::table::actions;

actions! {
    group "devices";

    /// List the disks.
    ///
    /// One device per line in the order in which they were added: `/dev/sda`, `/dev/sdb`, ...
    ///
    ///     list-devices
    fn list_devices() -> DeviceList;

    /// List the partitions of all disks.
    ///
    ///     list-partitions
    fn list_partitions() -> DeviceList;

    /// List file systems and what is in them.
    ///
    /// Disks without partitions, partitions, logical volumes and RAID arrays, each with its type as `vfs-type`
    /// says it, `swap` for swap space and `unknown` for what is not recognised. Members of LVM and RAID are
    /// left out, and each subvolume of btrfs is listed on its own.
    ///
    ///     list-filesystems
    fn list_filesystems() -> MountableHash;

    /// Show the usual name of a device.
    ///
    /// `/dev/vda`, `/dev/hda` and `/dev/sda` are the same disk, and `/dev/mapper/VG-LV` is `/dev/VG/LV`. A
    /// name that is not known is returned as it is.
    ///
    ///     canonical-device-name /dev/vda1
    fn canonical_device_name(device: String) -> String;

    /// Show the position of a disk in the order in which they were added.
    ///
    /// Counted from 0.
    ///
    ///     device-index /dev/sdb
    fn device_index(device: Device) -> Int;

    /// Count the disks.
    ///
    ///     nr-devices
    fn nr_devices() -> Int;

    /// Test whether a device is a whole disk and not a part of one.
    ///
    ///     is-whole-device /dev/sda1
    fn is_whole_device(device: Device) -> Bool;

    /// Show the name of the disk at a position in the order in which they were added.
    ///
    /// Counted from 0; the reverse of `device-index`.
    ///
    ///     device-name 1
    fn device_name(index: Int) -> Device;

    /// List the labels that disks were added with.
    ///
    /// A label and its disk, and its partitions with their numbers behind the label. Each is also a name of the
    /// device, `/dev/disk/guestfs/LABEL`.
    ///
    ///     list-disk-labels
    fn list_disk_labels() -> DeviceHash;

    /// List mapped devices that are not logical volumes.
    ///
    /// Such as opened encrypted devices.
    ///
    ///     list-dm-devices
    fn list_dm_devices() -> DeviceList;

    /// Show how many disks can be added at most.
    ///
    ///     max-disks
    fn max_disks() -> Int;
}
