//! Making files and changing their content.

use crate::table::actions;

actions! {
    group "write";

    /// Write a file.
    ///
    /// Makes the file or replaces its content. For large content use `upload`.
    ///
    ///     write /etc/hostname "web1\n"
    fn write(path: Pathname, content: BufferIn) -> Void;

    /// Write at the end of a file.
    ///
    /// Makes the file if there is none.
    ///
    ///     write-append /etc/hosts "10.0.0.1 db\n"
    fn write_append(path: Pathname, content: BufferIn) -> Void;

    /// Write a piece of a file.
    ///
    /// The file must exist. Returns the number of bytes written.
    ///
    ///     pwrite /boot/grub/grubenv x 100
    fn pwrite(path: Pathname, content: BufferIn, offset: Int64) -> Int;

    /// Write a piece of a device.
    ///
    /// Returns the number of bytes written, fewer where the device ends.
    ///
    ///     pwrite-device /dev/sda x 510
    fn pwrite_device(device: Device, content: BufferIn, offset: Int64) -> Int;

    /// Make an empty file, or set the times of one to now.
    ///
    /// Anything but a regular file is refused.
    ///
    ///     touch /.autorelabel
    fn touch(path: Pathname) -> Void;

    /// Make a file empty.
    ///
    /// The file must exist.
    ///
    ///     truncate /var/log/wtmp
    fn truncate(path: Pathname) -> Void;

    /// Set the size of a file.
    ///
    /// What is cut off is lost; what is added reads as zeroes and takes no space. The file must exist.
    ///
    ///     truncate-size /swapfile 1G
    fn truncate_size(path: Pathname, size: Int64) -> Void;

    /// Make a file of one byte repeated.
    ///
    /// `c` is the byte, 0 to 255, `len` the length in bytes.
    ///
    ///     fill 0x41 1M /tmp/a
    fn fill(c: Int, len: Int, path: Pathname) -> Void { progress: true };

    /// Make a file of a pattern repeated.
    ///
    /// The last repetition is cut so that the file has `len` bytes.
    ///
    ///     fill-pattern abc 100 /tmp/abc
    fn fill_pattern(pattern: String, len: Int, path: Pathname) -> Void { progress: true };

    /// Make a file of zeroes whose space is allocated.
    ///
    /// An existing file is replaced.
    ///
    ///     fallocate /swapfile 1M
    fn fallocate(path: Pathname, len: Int) -> Void { deprecated_by: Some("fallocate64") };

    /// Make a file of zeroes whose space is allocated.
    ///
    /// An existing file is replaced. Unlike after `truncate-size`, writing to the file cannot run out of space.
    ///
    ///     fallocate64 /swapfile 1G
    fn fallocate64(path: Pathname, len: Int64) -> Void;

    /// Make many empty files.
    ///
    /// `nr` files named 00000000, 00000001, ... in a directory, for tests of file systems.
    ///
    ///     fill-dir /many 1000
    fn fill_dir(dir: Pathname, nr: Int) -> Void;

    /// Write a file of a given size.
    ///
    /// The first `size` bytes of `content`, or all if `size` is 0. `write` does the same.
    ///
    ///     write-file /etc/hostname web1 0
    fn write_file(path: Pathname, content: String, size: Int) -> Void { deprecated_by: Some("write") };
}
