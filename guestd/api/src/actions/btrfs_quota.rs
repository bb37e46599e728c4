//! Quotas of btrfs: how much the data of subvolumes may take.

use crate::table::actions;

actions! {
    group "btrfs_quota";

    /// Switch quotas on or off.
    ///
    /// `fs` is the device of the file system, or a path on it when it is mounted.
    ///
    ///     btrfs-quota-enable / true
    fn btrfs_quota_enable(fs: MountableOrPath, enable: Bool) -> Void { feature: Some("btrfs") };

    /// Have the space that quota groups use counted anew.
    ///
    ///     btrfs-quota-rescan /
    fn btrfs_quota_rescan(fs: MountableOrPath) -> Void { feature: Some("btrfs") };

    /// Limit the size of a subvolume.
    ///
    /// In bytes.
    ///
    ///     btrfs-qgroup-limit /home 10G
    fn btrfs_qgroup_limit(subvolume: Pathname, size: Int64) -> Void { feature: Some("btrfs") };

    /// Make a quota group.
    ///
    /// Its number consists of a level and an identifier.
    ///
    ///     btrfs-qgroup-create 1/100 /
    fn btrfs_qgroup_create(qgroupid: String, subvolume: Pathname) -> Void { feature: Some("btrfs") };

    /// Remove a quota group.
    ///
    ///     btrfs-qgroup-destroy 1/100 /
    fn btrfs_qgroup_destroy(qgroupid: String, subvolume: Pathname) -> Void { feature: Some("btrfs") };

    /// List the quota groups with the bytes they refer to and those that nobody else refers to.
    ///
    ///     btrfs-qgroup-show /
    fn btrfs_qgroup_show(path: Pathname) -> StructList<Btrfsqgroup> { feature: Some("btrfs") };

    /// Put a quota group into another.
    ///
    ///     btrfs-qgroup-assign 0/256 1/100 /
    fn btrfs_qgroup_assign(src: String, dst: String, path: Pathname) -> Void { feature: Some("btrfs") };

    /// Take a quota group out of another.
    ///
    ///     btrfs-qgroup-remove 0/256 1/100 /
    fn btrfs_qgroup_remove(src: String, dst: String, path: Pathname) -> Void { feature: Some("btrfs") };
}
