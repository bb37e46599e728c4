//! What is particular to XFS.

use crate::table::actions;

actions! {
    group "xfs";

    /// Change parameters of an XFS.
    ///
    /// It must not be mounted. `label` and `uuid` set those (`uuid` may be `nil` or `generate`); the others are
    /// switches of old versions of the format.
    ///
    ///     xfs-admin /dev/sda1 label:data
    fn xfs_admin(device: Device) opt XfsAdminOptions {
        extunwritten: Bool, imgfile: Bool, v2log: Bool, projid32bit: Bool, lazycounter: Bool, label: String,
        uuid: String,
    } -> Void { feature: Some("xfs") };

    /// Make a mounted XFS larger.
    ///
    /// Without options it grows to the size of its device. `datasec`, `logsec`, `rtsec` choose the section,
    /// `datasize`, `logsize`, `rtsize` its size in file system blocks. `maxpct` is the share of space that inodes
    /// may take.
    ///
    ///     xfs-growfs /
    ///     xfs-growfs / datasec:true datasize:100000
    fn xfs_growfs(path: Pathname) opt XfsGrowfsOptions {
        datasec: Bool, logsec: Bool, rtsec: Bool, datasize: Int64, logsize: Int64, rtsize: Int64,
        rtextsize: Int64, maxpct: Int,
    } -> Void { feature: Some("xfs") };

    /// Show the geometry of an XFS.
    ///
    /// `pathordevice` is its device, or a path on it when it is mounted.
    ///
    ///     xfs-info /dev/sda1
    fn xfs_info(pathordevice: DevOrPath) -> Struct<Xfsinfo>
        { feature: Some("xfs"), deprecated_by: Some("xfs_info2") };

    /// Show the geometry of an XFS, all of it.
    ///
    /// Keys are the section and the name that xfs_info(8) uses, such as `meta-data.crc` and `data.bsize`.
    ///
    ///     xfs-info2 /dev/sda1
    fn xfs_info2(pathordevice: DevOrPath) -> Hash { feature: Some("xfs") };

    /// Check and repair an XFS.
    ///
    /// It must not be mounted; mounting it once before replays its log. Returns 0, or 1 if damage was found with
    /// `nomodify:true` or could not be repaired. `forcelogzero:true` throws the log away and what was only in it.
    /// `device` may be a file of the guest that holds a file system.
    ///
    ///     xfs-repair /dev/sda1
    ///     xfs-repair /dev/sda1 nomodify:true
    fn xfs_repair(device: DevOrPath) opt XfsRepairOptions {
        forcelogzero: Bool, nomodify: Bool, noprefetch: Bool, forcegeometry: Bool, maxmem: Int64,
        ihashsize: Int64, bhashsize: Int64, agstride: Int64, logdev: String, rtdev: String,
    } -> Int { feature: Some("xfs") };
}
