//! Streams between a host file and a file or device of the guest, and checksums.

use crate::table::actions;

actions! {
    group "transfer";

    /// Send a file of the host to the guest.
    ///
    /// The guest's file is made or replaced; a device is written from its start. `-` is standard input.
    ///
    ///     upload motd /etc/motd
    fn upload(filename: FileIn, remotefilename: DevOrPath) -> Void { progress: true };

    /// Send a file of the host into the middle of a file or device of the guest.
    ///
    /// The guest's file is made if needed and never shortened.
    ///
    ///     upload-offset boot.img /dev/sda 512
    fn upload_offset(filename: FileIn, remotefilename: DevOrPath, offset: Int64) -> Void { progress: true };

    /// Get a file or device of the guest.
    ///
    /// The host's file is made or replaced. `-` is standard output.
    ///
    ///     download /etc/fstab fstab
    fn download(remotefilename: DevOrPath, filename: FileOut) -> Void { progress: true };

    /// Get a piece of a file or device of the guest.
    ///
    /// Fails if there are not `size` bytes from `offset`.
    ///
    ///     download-offset /dev/sda mbr 0 512
    fn download_offset(remotefilename: DevOrPath, filename: FileOut, offset: Int64, size: Int64) -> Void { progress: true };

    /// Compute the checksum of a file.
    ///
    /// `csumtype` is one of `crc` (POSIX cksum), `md5`, `sha1`, `sha224`, `sha256`, `sha384`, `sha512`.
    ///
    ///     checksum sha256 /boot/vmlinuz
    fn checksum(csumtype: String, path: Pathname) -> String;

    /// Compute the checksum of a device.
    ///
    /// Types as for `checksum`.
    ///
    ///     checksum-device sha256 /dev/sda1
    fn checksum_device(csumtype: String, device: Device) -> String;
}
