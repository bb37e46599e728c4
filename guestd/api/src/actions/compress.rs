//! Compressed copies for the host.

use crate::table::actions;

actions! {
    group "compress";

    /// Compress a file to a file of the host.
    ///
    /// `ctype` is one of `compress`, `gzip`, `bzip2`, `xz`, `lzop`. `level` as that program takes it, usually 1
    /// (fast) to 9 (small).
    ///
    ///     compress-out gzip /var/log/syslog syslog.gz level:9
    fn compress_out(ctype: String, file: Pathname, zfile: FileOut) opt CompressOutOptions { level: Int } -> Void;

    /// Compress a device to a file of the host.
    ///
    /// Types and levels as for `compress-out`.
    ///
    ///     compress-device-out xz /dev/sda1 sda1.xz
    fn compress_device_out(ctype: String, device: Device, zdevice: FileOut)
        opt CompressDeviceOutOptions { level: Int } -> Void;
}
