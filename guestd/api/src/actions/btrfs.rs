//! Subvolumes of btrfs.

use crate::table::actions;

actions! {
    group "btrfs";

    /// List the subvolumes of a btrfs.
    ///
    /// `fs` is its device, or a path on it when it is mounted. The file system's own root is not in the list.
    ///
    ///     btrfs-subvolume-list /dev/sda1
    fn btrfs_subvolume_list(fs: MountableOrPath) -> StructList<Btrfssubvolume> { feature: Some("btrfs") };

    /// Make a subvolume.
    ///
    /// `qgroupid` is the quota group that it joins.
    ///
    ///     btrfs-subvolume-create /home
    fn btrfs_subvolume_create(dest: Pathname) opt BtrfsSubvolumeCreateOptions { qgroupid: String } -> Void
        { aliases: &["btrfs_subvolume_create_opts"], feature: Some("btrfs") };

    /// Remove a subvolume with all that is in it.
    ///
    ///     btrfs-subvolume-delete /home
    fn btrfs_subvolume_delete(subvolume: Pathname) -> Void { feature: Some("btrfs") };

    /// Make a copy of a subvolume that shares its data.
    ///
    /// With `ro:true` the copy cannot be written.
    ///
    ///     btrfs-subvolume-snapshot /home /home.old ro:true
    fn btrfs_subvolume_snapshot(source: Pathname, dest: Pathname)
        opt BtrfsSubvolumeSnapshotOptions { ro: Bool, qgroupid: String } -> Void
        { aliases: &["btrfs_subvolume_snapshot_opts"], feature: Some("btrfs") };

    /// Show the number of the subvolume that is mounted when none is named.
    ///
    ///     btrfs-subvolume-get-default /dev/sda1
    fn btrfs_subvolume_get_default(fs: MountableOrPath) -> Int64 { feature: Some("btrfs") };

    /// Set the subvolume that is mounted when none is named.
    ///
    /// 5 is the file system's own root.
    ///
    ///     btrfs-subvolume-set-default 256 /
    fn btrfs_subvolume_set_default(id: Int64, fs: Pathname) -> Void { feature: Some("btrfs") };

    /// Show what is known about a subvolume.
    ///
    /// Its names, numbers, UUIDs, times and snapshots, as btrfs-subvolume(8) shows them.
    ///
    ///     btrfs-subvolume-show /home
    fn btrfs_subvolume_show(subvolume: Pathname) -> Hash { feature: Some("btrfs") };
}
