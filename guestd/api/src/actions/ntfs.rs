//! What is particular to NTFS.

use crate::table::actions;

actions! {
    group "ntfs";

    /// Test whether an NTFS can be mounted.
    ///
    /// For writing if `rw` is true, else for reading. Returns 0 if so, another number if not: 15 means that
    /// Windows is hibernated on it, 14 that it was not shut down cleanly, see ntfs-3g.probe(8).
    ///
    ///     ntfs-3g-probe true /dev/sda1
    fn ntfs_3g_probe(rw: Bool, device: Device) -> Int { feature: Some("ntfs3g") };

    /// Get a file of an NTFS by its inode.
    ///
    /// It must not be mounted. This reaches files that have no name in a mounted file system, such as 0, the
    /// master file table.
    ///
    ///     ntfscat-i /dev/sda1 0 mft
    fn ntfscat_i(device: Mountable, inode: Int64, filename: FileOut) -> Void { progress: true };

    /// Restore an NTFS from a backup made by `ntfsclone-out`.
    ///
    /// Whatever was on the device is lost.
    ///
    ///     ntfsclone-in windows.backup /dev/sda1
    fn ntfsclone_in(backupfile: FileIn, device: Device) -> Void { feature: Some("ntfs3g") };

    /// Back an NTFS up to a file of the host.
    ///
    /// Only what is in use is stored, in the format of ntfsclone(8). `metadataonly:true` leaves the content of files
    /// out, the other switches are those of that program.
    ///
    ///     ntfsclone-out /dev/sda1 windows.backup
    fn ntfsclone_out(device: Device, backupfile: FileOut) opt NtfscloneOutOptions {
        metadataonly: Bool, rescue: Bool, ignorefscheck: Bool, preservetimestamps: Bool, force: Bool,
    } -> Void { feature: Some("ntfs3g") };

    /// Repair the most common damage of an NTFS and have Windows check it.
    ///
    /// `clearbadsectors:true` forgets the list of bad sectors, for a clone on a good disk.
    ///
    ///     ntfsfix /dev/sda1
    fn ntfsfix(device: Device) opt NtfsfixOptions { clearbadsectors: Bool } -> Void { feature: Some("ntfs3g") };

    /// Resize an NTFS.
    ///
    /// To `size` bytes, or to the size of its device. It is then marked for a check by Windows; `force:true` is
    /// needed to resize it again before that has happened.
    ///
    ///     ntfsresize /dev/sda1 size:10G
    fn ntfsresize(device: Device) opt NtfsresizeOptions { size: Int64, force: Bool } -> Void
        { aliases: &["ntfsresize_opts"], feature: Some("ntfsprogs") };

    /// Resize an NTFS to a size in bytes.
    ///
    ///     ntfsresize-size /dev/sda1 10G
    fn ntfsresize_size(device: Device, size: Int64) -> Void
        { feature: Some("ntfsprogs"), deprecated_by: Some("ntfsresize") };

    /// Set the permissions of a file or directory on an NTFS.
    ///
    /// It must not be mounted. The mode becomes a Windows access control list that means the same. With
    /// `recursive:true` everything below a directory is changed as well.
    ///
    ///     ntfs-chmod /dev/sda1 0755 "/Program Files/Tool" recursive:true
    fn ntfs_chmod(device: Device, mode: Int, path: String) opt NtfsChmodOptions { recursive: Bool } -> Void
        { feature: Some("ntfs3g") };
}
