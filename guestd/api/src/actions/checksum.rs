//! Checksums of whole trees, and comparing files.

use crate::table::actions;

actions! {
    group "checksum";

    /// Compute the checksums of all regular files of a directory into a file.
    ///
    /// Types as for `checksum`. The file has one line per file, the checksum and the path that starts with
    /// `./`, as `sha256sum` and its relatives write and check them.
    ///
    ///     checksums-out sha256 /boot boot.sha256
    fn checksums_out(csumtype: String, directory: Pathname, sumsfile: FileOut) -> Void;

    /// Test whether two files have the same content.
    ///
    ///     equal /etc/passwd /etc/passwd-
    fn equal(file1: Pathname, file2: Pathname) -> Bool;
}
