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
    ///     lvremove /dev/VG/LV
    fn lvremove(device: Device) -> Void { feature: Some("lvm2") };

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
}
