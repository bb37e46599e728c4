//! Dynamic disks of Windows.

use crate::table::actions;

actions! {
    group "ldm";

    /// Switch on all volumes of dynamic disks that are found.
    ///
    /// They are then `/dev/mapper/ldm_vol_...` and `/dev/mapper/ldm_part_...`.
    ///
    ///     ldmtool-create-all
    fn ldmtool_create_all() -> Void { feature: Some("ldm") };

    /// Switch off all volumes of dynamic disks.
    ///
    ///     ldmtool-remove-all
    fn ldmtool_remove_all() -> Void { feature: Some("ldm") };

    /// List the GUIDs of the disk groups on all disks.
    ///
    ///     ldmtool-scan
    fn ldmtool_scan() -> StringList { feature: Some("ldm") };

    /// List the GUIDs of the disk groups on some disks.
    ///
    ///     ldmtool-scan-devices "/dev/sda /dev/sdb"
    fn ldmtool_scan_devices(devices: DeviceList) -> StringList { feature: Some("ldm") };

    /// Show the name of a disk group.
    ///
    ///     ldmtool-diskgroup-name 7cb4bc11-e05b-11e1-8bd8-000c29af1a1b
    fn ldmtool_diskgroup_name(diskgroup: String) -> String { feature: Some("ldm") };

    /// List the volumes of a disk group.
    ///
    ///     ldmtool-diskgroup-volumes 7cb4bc11-e05b-11e1-8bd8-000c29af1a1b
    fn ldmtool_diskgroup_volumes(diskgroup: String) -> StringList { feature: Some("ldm") };

    /// List the disks of a disk group.
    ///
    ///     ldmtool-diskgroup-disks 7cb4bc11-e05b-11e1-8bd8-000c29af1a1b
    fn ldmtool_diskgroup_disks(diskgroup: String) -> DeviceList { feature: Some("ldm") };

    /// Show the type of a volume.
    ///
    /// `simple`, `spanned`, `striped`, `mirrored` or `raid5`.
    ///
    ///     ldmtool-volume-type 7cb4bc11-e05b-11e1-8bd8-000c29af1a1b Volume1
    fn ldmtool_volume_type(diskgroup: String, volume: String) -> String { feature: Some("ldm") };

    /// Show where Windows suggests to mount a volume.
    ///
    /// Empty if it does not.
    ///
    ///     ldmtool-volume-hint 7cb4bc11-e05b-11e1-8bd8-000c29af1a1b Volume1
    fn ldmtool_volume_hint(diskgroup: String, volume: String) -> String { feature: Some("ldm") };

    /// List the partitions of a volume.
    ///
    ///     ldmtool-volume-partitions 7cb4bc11-e05b-11e1-8bd8-000c29af1a1b Volume1
    fn ldmtool_volume_partitions(diskgroup: String, volume: String) -> DeviceList { feature: Some("ldm") };

    /// List the volumes of dynamic disks that are switched on.
    ///
    ///     list-ldm-volumes
    fn list_ldm_volumes() -> DeviceList { feature: Some("ldm") };

    /// List the partitions of dynamic disks that are switched on.
    ///
    ///     list-ldm-partitions
    fn list_ldm_partitions() -> DeviceList { feature: Some("ldm") };
}
