//! Forensic work on file systems: deleted files, single blocks.

use crate::table::actions;

actions! {
    group "sleuthkit";

    /// List all names that the structures of a file system hold, deleted ones too.
    ///
    /// The file system need not be mounted. Bit 0 of `tsk_flags` says that the name is in use, bit 1 that its
    /// inode belongs to another file by now, bit 2 that the file is compressed.
    ///
    ///     filesystem-walk /dev/sda1
    fn filesystem_walk(device: Mountable) -> StructList<TskDirent> { feature: Some("libtsk") };

    /// List all names of an inode, deleted ones too.
    ///
    /// Fields as for `filesystem-walk`.
    ///
    ///     find-inode /dev/sda1 12
    fn find_inode(device: Mountable, inode: Int64) -> StructList<TskDirent> { feature: Some("libtsk") };

    /// Get the content of a file by its inode.
    ///
    /// Works for deleted files as long as their blocks are known.
    ///
    ///     download-inode /dev/sda1 12 file
    fn download_inode(device: Mountable, inode: Int64, filename: FileOut) -> Void { feature: Some("sleuthkit") };

    /// Get a range of blocks of a file system.
    ///
    /// From block `start` to block `stop`, in the file system's own block size. `unallocated:true` leaves out
    /// what is in use.
    ///
    ///     download-blocks /dev/sda1 0 1023 blocks
    fn download_blocks(device: Mountable, start: Int64, stop: Int64, filename: FileOut)
        opt DownloadBlocksOptions { unallocated: Bool } -> Void { feature: Some("sleuthkit") };
}
