//! Partition tables in the terms of an old tool. The `part-` actions do the same for every type of table.
#![allow(non_snake_case, reason = "the actions are known by these names")]

use crate::table::actions;

actions! {
    group "sfdisk";

    /// Make an MBR partition table.
    ///
    /// Each line describes a partition as in a script of sfdisk: `START,SIZE,TYPE`, with what is left out chosen by
    /// it. `cyls`, `heads` and `sectors` are 0 or the geometry of the disk.
    ///
    ///     sfdisk /dev/sda 0 0 0 ",204800 ,"
    fn sfdisk(device: Device, cyls: Int, heads: Int, sectors: Int, lines: StringList) -> Void
        { deprecated_by: Some("part_add") };

    /// Change one partition.
    ///
    /// The line as for `sfdisk`.
    ///
    ///     sfdisk-N /dev/sda 1 0 0 0 ,409600
    fn sfdisk_N(device: Device, partnum: Int, cyls: Int, heads: Int, sectors: Int, line: String) -> Void
        { deprecated_by: Some("part_add") };

    /// Make an MBR partition table in units of 1 MiB.
    ///
    /// Lines as for `sfdisk`.
    ///
    ///     sfdiskM /dev/sda ",100 ,"
    fn sfdiskM(device: Device, lines: StringList) -> Void { deprecated_by: Some("part_add") };

    /// Show the partitions of a disk as text for people.
    ///
    ///     sfdisk-l /dev/sda
    fn sfdisk_l(device: Device) -> String { deprecated_by: Some("part_list") };

    /// Show the geometry of a disk as the kernel sees it.
    ///
    ///     sfdisk-kernel-geometry /dev/sda
    fn sfdisk_kernel_geometry(device: Device) -> String;

    /// Show the geometry of a disk.
    ///
    ///     sfdisk-disk-geometry /dev/sda
    fn sfdisk_disk_geometry(device: Device) -> String;
}
