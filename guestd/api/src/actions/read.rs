//! Reading files as text, lines or bytes.

use crate::table::actions;

actions! {
    group "read";

    /// Show a file.
    ///
    /// The whole content is returned as text. Content with NUL bytes is cut at the first one: use
    /// `read-file` for bytes and `download` for large files.
    ///
    ///     cat /etc/fstab
    fn cat(path: Pathname) -> String;

    /// Read a file as bytes.
    ///
    /// Printed as it is, without a newline at the end. For large files use `download`.
    ///
    ///     read-file /boot/grub/grubenv
    fn read_file(path: Pathname) -> Buffer;

    /// Read a file as a list of lines.
    ///
    /// Line ends, LF or CR LF, are removed. A missing line end at the end of the file does not matter.
    ///
    ///     read-lines /etc/passwd
    fn read_lines(path: Pathname) -> StringList;

    /// Read a piece of a file.
    ///
    /// Up to `count` bytes from `offset`; fewer where the file ends.
    ///
    ///     pread /vmlinuz 2 510
    fn pread(path: Pathname, count: Int, offset: Int64) -> Buffer;

    /// Read a piece of a device.
    ///
    /// Up to `count` bytes from `offset`; fewer where the device ends.
    ///
    ///     pread-device /dev/sda 512 0
    fn pread_device(device: Device, count: Int, offset: Int64) -> Buffer;

    /// Show the first ten lines of a file.
    ///
    ///     head /var/log/dpkg.log
    fn head(path: Pathname) -> StringList;

    /// Show the first lines of a file.
    ///
    /// A negative number shows all but the last ones; 0 shows nothing.
    ///
    ///     head-n 3 /etc/passwd
    fn head_n(nrlines: Int, path: Pathname) -> StringList;

    /// Show the last ten lines of a file.
    ///
    ///     tail /var/log/dpkg.log
    fn tail(path: Pathname) -> StringList;

    /// Show the last lines of a file.
    ///
    /// A negative number shows all lines from that one on, counted from 1; 0 shows nothing.
    ///
    ///     tail-n 3 /etc/passwd
    fn tail_n(nrlines: Int, path: Pathname) -> StringList;

    /// Count the bytes of a file.
    ///
    ///     wc-c /etc/passwd
    fn wc_c(path: Pathname) -> Int;

    /// Count the lines of a file.
    ///
    ///     wc-l /etc/passwd
    fn wc_l(path: Pathname) -> Int;

    /// Count the words of a file.
    ///
    ///     wc-w /etc/passwd
    fn wc_w(path: Pathname) -> Int;

    /// Show a file in hexadecimal.
    ///
    /// Sixteen bytes per line with their offset, and as characters. Lines that repeat are shown once, followed
    /// by `*`.
    ///
    ///     hexdump /etc/adjtime
    fn hexdump(path: Pathname) -> String;

    /// List the strings in a file.
    ///
    /// Four or more printable ASCII characters in a row.
    ///
    ///     strings /boot/grub/core.img
    fn strings(path: Pathname) -> StringList;

    /// List the strings of an encoding in a file.
    ///
    /// `encoding` is `s` for ASCII, `S` for 8-bit characters, `b` and `l` for 16 bits big and little endian, `B`
    /// and `L` for 32 bits.
    ///
    ///     strings-e l /Windows/explorer.exe
    fn strings_e(encoding: String, path: Pathname) -> StringList;

    /// Guess what is in a file or device.
    ///
    /// The answer of the program `file`, which looks into compressed files as well.
    ///
    ///     file /boot/vmlinuz
    fn file(path: DevOrPath) -> String;

    /// Guess what is in a compressed file.
    ///
    /// `meth` is `gzip`, `compress` or `bzip2`. `file` finds that out by itself.
    ///
    ///     zfile gzip /boot/initrd.img
    fn zfile(meth: String, path: Pathname) -> String { deprecated_by: Some("file") };
}
