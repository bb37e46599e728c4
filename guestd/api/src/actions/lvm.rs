//! Logical volumes.

use crate::table::actions;

actions! {
    group "lvm";

    /// Make a physical volume.
    ///
    /// Whatever was on the device is lost.
    ///
    ///     pvcreate /dev/sda1
    fn pvcreate(device: Device) -> Void { feature: Some("lvm2") };

    /// Remove the mark of a physical volume.
    ///
    ///     pvremove /dev/sda1
    fn pvremove(device: Device) -> Void { feature: Some("lvm2") };

    /// List the physical volumes.
    ///
    ///     pvs
    fn pvs() -> DeviceList { feature: Some("lvm2") };

    /// Make a volume group of physical volumes.
    ///
    ///     vgcreate VG "/dev/sda1 /dev/sdb1"
    fn vgcreate(volgroup: String, physvols: DeviceList) -> Void { feature: Some("lvm2") };

    /// Remove a volume group and the logical volumes in it.
    ///
    ///     vgremove VG
    fn vgremove(vgname: String) -> Void { feature: Some("lvm2") };

    /// List the volume groups.
    ///
    ///     vgs
    fn vgs() -> StringList { feature: Some("lvm2") };

    /// Switch all logical volumes on or off.
    ///
    ///     vg-activate-all true
    fn vg_activate_all(activate: Bool) -> Void { feature: Some("lvm2") };

    /// Make a logical volume.
    ///
    /// The size is in units of 1 MiB.
    ///
    ///     lvcreate LV VG 500
    fn lvcreate(logvol: String, volgroup: String, mbytes: Int) -> Void { feature: Some("lvm2") };

    /// Make a logical volume from a share of the free space.
    ///
    ///     lvcreate-free LV VG 100
    fn lvcreate_free(logvol: String, volgroup: String, percent: Int) -> Void { feature: Some("lvm2") };

    /// Remove a logical volume.
    ///
    /// The name of a group, as `/dev/VG`, stands for all volumes in it.
    ///
    ///     lvremove /dev/VG/LV
    fn lvremove(device: String) -> Void { feature: Some("lvm2") };

    /// Set the size of a logical volume.
    ///
    /// In units of 1 MiB. The file system in it is not touched.
    ///
    ///     lvresize /dev/VG/LV 800
    fn lvresize(device: Device, mbytes: Int) -> Void { feature: Some("lvm2") };

    /// List the logical volumes.
    ///
    /// As `/dev/VG/LV`.
    ///
    ///     lvs
    fn lvs() -> DeviceList { feature: Some("lvm2") };

    /// List the physical volumes with all that is known of them.
    ///
    ///     pvs-full
    fn pvs_full() -> StructList<LvmPv> { feature: Some("lvm2") };

    /// List the volume groups with all that is known of them.
    ///
    ///     vgs-full
    fn vgs_full() -> StructList<LvmVg> { feature: Some("lvm2") };

    /// List the logical volumes with all that is known of them.
    ///
    ///     lvs-full
    fn lvs_full() -> StructList<LvmLv> { feature: Some("lvm2") };

    /// Show the UUID of a physical volume.
    ///
    ///     pvuuid /dev/sda1
    fn pvuuid(device: Device) -> String;

    /// Show the UUID of a volume group.
    ///
    ///     vguuid VG
    fn vguuid(vgname: String) -> String;

    /// Show the UUID of a logical volume.
    ///
    ///     lvuuid /dev/VG/LV
    fn lvuuid(device: Device) -> String;

    /// List the UUIDs of the physical volumes of a group.
    ///
    ///     vgpvuuids VG
    fn vgpvuuids(vgname: String) -> StringList;

    /// List the UUIDs of the logical volumes of a group.
    ///
    ///     vglvuuids VG
    fn vglvuuids(vgname: String) -> StringList;

    /// Show the metadata of a volume group as text.
    ///
    /// In the form that LVM writes as its backups.
    ///
    ///     vgmeta VG
    fn vgmeta(vgname: String) -> Buffer { feature: Some("lvm2") };

    /// Switch the logical volumes of some groups on or off.
    ///
    /// An empty list means all groups.
    ///
    ///     vg-activate true "VG1 VG2"
    fn vg_activate(activate: Bool, volgroups: StringList) -> Void { feature: Some("lvm2") };

    /// Look for volumes again.
    ///
    /// Needed after something that may hold volumes was opened, such as an encrypted device. With `true` the
    /// logical volumes found are switched on.
    ///
    ///     lvm-scan true
    fn lvm_scan(activate: Bool) -> Void;

    /// Look for volume groups again.
    ///
    ///     vgscan
    fn vgscan() -> Void { deprecated_by: Some("lvm_scan") };

    /// Let LVM see only some devices.
    ///
    /// A disk stands for its partitions as well. This helps where several disks are copies of each other. All
    /// volumes are switched off and those that can still be seen on again.
    ///
    ///     lvm-set-filter "/dev/sda /dev/sdb1"
    fn lvm_set_filter(devices: DeviceList) -> Void { feature: Some("lvm2") };

    /// Let LVM see all devices again.
    ///
    ///     lvm-clear-filter
    fn lvm_clear_filter() -> Void;

    /// Show the usual name of a logical volume.
    ///
    ///     lvm-canonical-lv-name /dev/mapper/VG-LV
    fn lvm_canonical_lv_name(lvname: String) -> Device;

    /// Test whether a device is a logical volume.
    ///
    ///     is-lv /dev/VG/LV
    fn is_lv(mountable: Mountable) -> Bool;

    /// Remove all logical volumes, volume groups and physical volumes.
    ///
    ///     lvm-remove-all
    fn lvm_remove_all() -> Void { feature: Some("lvm2") };

    /// Make a logical volume larger by a share of the free space.
    ///
    /// The file system in it is not touched.
    ///
    ///     lvresize-free /dev/VG/LV 100
    fn lvresize_free(lv: Device, percent: Int) -> Void { feature: Some("lvm2") };

    /// Rename a logical volume.
    ///
    ///     lvrename /dev/VG/LV /dev/VG/new
    fn lvrename(logvol: String, newlogvol: String) -> Void;

    /// Rename a volume group.
    ///
    ///     vgrename VG new
    fn vgrename(volgroup: String, newvolgroup: String) -> Void;

    /// Make a physical volume as large as its device.
    ///
    ///     pvresize /dev/sda1
    fn pvresize(device: Device) -> Void { feature: Some("lvm2") };

    /// Set the size of a physical volume.
    ///
    /// In bytes.
    ///
    ///     pvresize-size /dev/sda1 50M
    fn pvresize_size(device: Device, size: Int64) -> Void { feature: Some("lvm2") };

    /// Give a physical volume a new random UUID.
    ///
    /// Its group must be switched off.
    ///
    ///     pvchange-uuid /dev/sda1
    fn pvchange_uuid(device: Device) -> Void { feature: Some("lvm2") };

    /// Give all physical volumes new random UUIDs.
    ///
    ///     pvchange-uuid-all
    fn pvchange_uuid_all() -> Void { feature: Some("lvm2") };

    /// Give a volume group a new random UUID.
    ///
    /// It must be switched off.
    ///
    ///     vgchange-uuid VG
    fn vgchange_uuid(vg: String) -> Void { feature: Some("lvm2") };

    /// Give all volume groups new random UUIDs.
    ///
    ///     vgchange-uuid-all
    fn vgchange_uuid_all() -> Void { feature: Some("lvm2") };
}
