//! Boot loaders.

use crate::table::actions;

actions! {
    group "boot";

    /// Install SYSLINUX in a directory of a mounted ext2/3/4, btrfs, XFS or FAT file system.
    ///
    /// Its partition must also be made active (`part-set-bootable`), and a master boot record be written to the
    /// disk, such as SYSLINUX' own `mbr.bin`. What it boots is said in `extlinux.conf` in that directory.
    ///
    ///     extlinux /boot
    ///     upload-offset /usr/lib/EXTLINUX/mbr.bin /dev/sda 0
    fn extlinux(directory: Pathname) -> Void { feature: Some("extlinux") };

    /// Install SYSLINUX on a FAT file system that is not mounted.
    ///
    /// In its root, or in `directory`. What it boots is said in `syslinux.cfg` there. Partition and master boot
    /// record as for `extlinux`.
    ///
    ///     syslinux /dev/sda1
    fn syslinux(device: Device) opt SyslinuxOptions { directory: String } -> Void { feature: Some("syslinux") };

    /// Install GRUB on a disk.
    ///
    /// With the grub-install of the appliance, if it has one. A guest's own grub-install, run with `command`, fits
    /// the guest better.
    ///
    ///     grub-install / /dev/sda
    fn grub_install(root: Pathname, device: Device) -> Void { feature: Some("grub") };
}
