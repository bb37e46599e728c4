//! Copying and moving inside the guest.

use crate::table::actions;

actions! {
    group "copy";

    /// Copy a file.
    ///
    /// `dest` is the new file or a directory to put it in.
    ///
    ///     cp /etc/fstab /etc/fstab.bak
    fn cp(src: Pathname, dest: Pathname) -> Void;

    /// Copy a file or directory with all that is in it and all attributes.
    ///
    /// Modes, owners, times, links, extended attributes are kept.
    ///
    ///     cp-a /home /srv/home
    fn cp_a(src: Pathname, dest: Pathname) -> Void;

    /// Copy a file or directory with all that is in it.
    ///
    /// The copies belong to root and are new.
    ///
    ///     cp-r /etc/skel /home/ann
    fn cp_r(src: Pathname, dest: Pathname) -> Void;

    /// Move or rename a file or directory.
    ///
    /// Between file systems it is copied and removed. An existing file is replaced; into an existing
    /// directory it is moved.
    ///
    ///     mv /etc/motd /etc/motd.old
    fn mv(src: Pathname, dest: Pathname) -> Void;

    /// Rename a file or directory.
    ///
    /// This is the system call: on one file system only, and an existing directory is never moved into.
    ///
    ///     rename /new /old
    fn rename(oldpath: Pathname, newpath: Pathname) -> Void;

    /// Copy from a device to another device.
    ///
    /// The offsets are in bytes; without `size` all there is from `srcoffset` is copied. `sparse:true` leaves blocks
    /// of zeroes out, where the destination is known to have zeroes. `append` is for files.
    ///
    ///     copy-device-to-device /dev/sda1 /dev/sdb1 size:1M
    fn copy_device_to_device(src: Device, dest: Device)
        opt CopyDeviceToDeviceOptions { srcoffset: Int64, destoffset: Int64, size: Int64, sparse: Bool, append: Bool } -> Void
        { progress: true };

    /// Copy from a device to a file.
    ///
    /// The file is made if it is not there, and replaced unless `append:true` adds to it. Other options as for
    /// `copy-device-to-device`.
    ///
    ///     copy-device-to-file /dev/sda /boot.img size:512
    fn copy_device_to_file(src: Device, dest: Pathname)
        opt CopyDeviceToFileOptions { srcoffset: Int64, destoffset: Int64, size: Int64, sparse: Bool, append: Bool } -> Void
        { progress: true };

    /// Copy from a file to a device.
    ///
    /// Options as for `copy-device-to-device`.
    ///
    ///     copy-file-to-device /boot.img /dev/sda
    fn copy_file_to_device(src: Pathname, dest: Device)
        opt CopyFileToDeviceOptions { srcoffset: Int64, destoffset: Int64, size: Int64, sparse: Bool, append: Bool } -> Void
        { progress: true };

    /// Copy from a file to another file.
    ///
    /// The destination is made if it is not there, and replaced unless `append:true` adds to it. Other options as for
    /// `copy-device-to-device`.
    ///
    ///     copy-file-to-file /a /b srcoffset:1K size:1K
    fn copy_file_to_file(src: Pathname, dest: Pathname)
        opt CopyFileToFileOptions { srcoffset: Int64, destoffset: Int64, size: Int64, sparse: Bool, append: Bool } -> Void
        { progress: true };

    /// Copy a number of bytes between files or devices.
    ///
    ///     copy-size /dev/sda /dev/sdb 1M
    fn copy_size(src: DevOrPath, dest: DevOrPath, size: Int64) -> Void
        { progress: true, deprecated_by: Some("copy_device_to_device") };

    /// Copy a file or device to another one.
    ///
    /// All of the source must fit.
    ///
    ///     dd /dev/sda1 /image
    fn dd(src: DevOrPath, dest: DevOrPath) -> Void { deprecated_by: Some("copy_device_to_device") };
}
