//! Software RAID.

use crate::table::actions;

actions! {
    group "md";

    /// Make a RAID array.
    ///
    /// `level` is one of `linear`, `raid0`, `raid1` (the default), `raid4`, `raid5`, `raid6`, `raid10`. `nrdevices` is the
    /// number of devices that hold data, `spare` that of those in reserve. `missingbitmap` has a bit for each place
    /// that stays empty, the lowest for the first. `chunk` is in bytes.
    ///
    ///     md-create r1 "/dev/sda1 /dev/sdb1"
    ///     md-create r5 "/dev/sda /dev/sdb /dev/sdc" level:raid5 chunk:64K
    fn md_create(name: String, devices: DeviceList)
        opt MdCreateOptions { missingbitmap: Int64, nrdevices: Int, spare: Int, chunk: Int64, level: String } -> Void
        { feature: Some("mdadm") };

    /// List the RAID arrays.
    ///
    ///     list-md-devices
    fn list_md_devices() -> DeviceList;

    /// Show what is known of a RAID array.
    ///
    ///     md-detail /dev/md127
    fn md_detail(md: Device) -> Hash { feature: Some("mdadm") };

    /// List the members of a RAID array.
    ///
    /// `mdstat_flags` has letters as in the kernel's list: `F` for a faulty one, `S` for a spare one, `W` for one that
    /// is mostly written.
    ///
    ///     md-stat /dev/md127
    fn md_stat(md: Device) -> StructList<Mdstat> { feature: Some("mdadm") };

    /// Switch a RAID array off.
    ///
    /// Its members are free then.
    ///
    ///     md-stop /dev/md127
    fn md_stop(md: Device) -> Void { feature: Some("mdadm") };
}
