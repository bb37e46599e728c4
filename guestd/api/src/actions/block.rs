//! Properties of block devices.

use crate::table::actions;

actions! {
    group "block";

    /// Show the size of a device in bytes.
    ///
    ///     blockdev-getsize64 /dev/sda
    fn blockdev_getsize64(device: Device) -> Int64;

    /// Show the size of a device in units of 512 bytes.
    ///
    ///     blockdev-getsz /dev/sda
    fn blockdev_getsz(device: Device) -> Int64;

    /// Show the logical sector size of a device in bytes.
    ///
    ///     blockdev-getss /dev/sda
    fn blockdev_getss(device: Device) -> Int;

    /// Show the block size that the kernel uses for a device, in bytes.
    ///
    /// This is not the block size of a file system on it.
    ///
    ///     blockdev-getbsz /dev/sda
    fn blockdev_getbsz(device: Device) -> Int;

    /// Test whether a device is read-only.
    ///
    ///     blockdev-getro /dev/sda
    fn blockdev_getro(device: Device) -> Bool;

    /// Make a device read-only for the appliance.
    ///
    ///     blockdev-setro /dev/sda
    fn blockdev_setro(device: Device) -> Void;

    /// Make a device writable for the appliance again.
    ///
    ///     blockdev-setrw /dev/sda
    fn blockdev_setrw(device: Device) -> Void;

    /// Write everything cached for a device to it.
    ///
    ///     blockdev-flushbufs /dev/sda
    fn blockdev_flushbufs(device: Device) -> Void;

    /// Read the partition table of a disk again.
    ///
    /// Fails while a partition of it is in use. Actions that change a table do this by themselves.
    ///
    ///     blockdev-rereadpt /dev/sda
    fn blockdev_rereadpt(device: Device) -> Void;

    /// Do nothing, for old scripts.
    ///
    /// The block size that the kernel uses for a device lasts only as long as something has it open.
    ///
    ///     blockdev-setbsz /dev/sda 4096
    fn blockdev_setbsz(device: Device, blocksize: Int) -> Void;

    /// Set how far the kernel reads ahead on a device, in units of 512 bytes.
    ///
    ///     blockdev-setra /dev/sda 1024
    fn blockdev_setra(device: Device, sectors: Int) -> Void;

    /// Give all the space of a device back to what stores it.
    ///
    /// Everything on it is lost. Fails if the storage cannot do that.
    ///
    ///     blkdiscard /dev/sda1
    fn blkdiscard(device: Device) -> Void { feature: Some("blkdiscard") };

    /// Test whether discarded blocks are sure to read as zeroes.
    ///
    /// Kernels since Linux 4.12 promise that for no device: only what was written with zeroes is sure to be zero.
    ///
    ///     blkdiscardzeroes /dev/sda1
    fn blkdiscardzeroes(device: Device) -> Bool { feature: Some("blkdiscardzeroes") };
}
