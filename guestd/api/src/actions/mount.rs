//! Mounting.

use crate::table::actions;

actions! {
    group "mount";

    /// Mount a file system.
    ///
    /// `mountpoint` is `/` first, then directories on what is mounted. Writable and without any options.
    ///
    ///     mount /dev/sda1 /
    fn mount(mountable: Mountable, mountpoint: String) -> Void;

    /// Mount a file system read-only.
    ///
    ///     mount-ro /dev/sda1 /
    fn mount_ro(mountable: Mountable, mountpoint: String) -> Void;

    /// Mount a file system with options.
    ///
    /// Options are separated by commas, as for mount(8).
    ///
    ///     mount-options ro,noatime /dev/sda1 /
    fn mount_options(options: String, mountable: Mountable, mountpoint: String) -> Void;

    /// Mount a file system with options and as a given type.
    ///
    ///     mount-vfs ro ext2 /dev/sda1 /
    fn mount_vfs(options: String, vfstype: String, mountable: Mountable, mountpoint: String) -> Void;

    /// Unmount a file system.
    ///
    /// Named by its mount point or its device. `force:true` and `lazyunmount:true` as for umount(8).
    ///
    ///     umount /boot
    fn umount(pathordevice: DevOrPath) opt UmountOptions { force: Bool, lazyunmount: Bool } -> Void
        { aliases: &["unmount", "umount_opts"] };

    /// Unmount everything.
    ///
    /// Inner mounts first. Nothing mounted is no error.
    ///
    ///     umount-all
    fn umount_all() -> Void { aliases: &["unmount_all"] };

    /// List the devices that are mounted.
    ///
    ///     mounts
    fn mounts() -> MountableList;

    /// List the devices that are mounted and where.
    ///
    ///     mountpoints
    fn mountpoints() -> MountableHash;

    /// Make a directory to mount on before anything is mounted.
    ///
    /// For several file systems side by side without one at `/`. Do not mix it with a mount on `/`.
    ///
    ///     mkmountpoint /a
    ///     mount /dev/sda1 /a
    fn mkmountpoint(exemptpath: String) -> Void;

    /// Remove a directory made by `mkmountpoint`.
    ///
    ///     rmmountpoint /a
    fn rmmountpoint(exemptpath: String) -> Void;

    /// Show the device of a mountable.
    ///
    ///     mountable-device btrfsvol:/dev/sda1/root
    fn mountable_device(mountable: Mountable) -> Device;

    /// Show the subvolume of a mountable.
    ///
    /// Fails if it is a plain device.
    ///
    ///     mountable-subvolume btrfsvol:/dev/sda1/root
    fn mountable_subvolume(mountable: Mountable) -> String;

    /// Mount a file system that is in a file of the guest.
    ///
    ///     mount-loop /images/debian.iso /mnt
    fn mount_loop(file: Pathname, mountpoint: Pathname) -> Void;

    /// Change a mounted file system from read-only to writable or back.
    ///
    ///     remount / rw:true
    fn remount(mountpoint: Pathname) opt RemountOptions { rw: Bool } -> Void;

    /// Fail: directories of the host cannot be shared with the appliance.
    ///
    /// Copy files with `copy-in` and `copy-out`.
    ///
    ///     list-9p
    fn list_9p() -> StringList;

    /// Fail: directories of the host cannot be shared with the appliance.
    ///
    /// Copy files with `copy-in` and `copy-out`.
    ///
    ///     mount-9p tag /mnt
    fn mount_9p(mounttag: String, mountpoint: String) opt Mount9pOptions { options: String } -> Void;
}
