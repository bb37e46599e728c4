//! Zeroes: looking for them, writing them, and making data unreadable for good.

use crate::table::actions;

actions! {
    group "wipe";

    /// Test whether a file holds nothing but zeroes.
    ///
    /// An empty file does.
    ///
    ///     is-zero /swapfile
    fn is_zero(path: Pathname) -> Bool;

    /// Test whether a device holds nothing but zeroes.
    ///
    ///     is-zero-device /dev/sda1
    fn is_zero_device(device: Device) -> Bool;

    /// Write zeroes over the first blocks of a device.
    ///
    /// 128 KiB, enough that nothing is recognised there. `wipefs` removes signatures elsewhere as well.
    ///
    ///     zero /dev/sda1
    fn zero(device: Device) -> Void { progress: true };

    /// Write zeroes over a whole device.
    ///
    /// What is zero already is only read.
    ///
    ///     zero-device /dev/sda1
    fn zero_device(device: Device) -> Void { progress: true };

    /// Write zeroes over the free space of a file system.
    ///
    /// It must be mounted for writing; `directory` is anywhere on it. `fstrim` gives the space back instead, where
    /// the disk can do that.
    ///
    ///     zero-free-space /
    fn zero_free_space(directory: Pathname) -> Void { progress: true };

    /// Overwrite a device several times so that its content cannot be recovered.
    ///
    ///     scrub-device /dev/sda1
    fn scrub_device(device: Device) -> Void { feature: Some("scrub") };

    /// Overwrite a file several times and remove it.
    ///
    ///     scrub-file /root/secret
    fn scrub_file(file: Pathname) -> Void { feature: Some("scrub") };

    /// Overwrite the free space of a file system several times.
    ///
    /// Makes the directory `dir`, fills it with files until there is no space left, and overwrites and removes
    /// those.
    ///
    ///     scrub-freespace /scrub
    fn scrub_freespace(dir: Pathname) -> Void { feature: Some("scrub") };
}
