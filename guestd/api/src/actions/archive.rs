//! Archives in and out.

use crate::table::actions;

actions! {
    group "archive";

    /// Unpack a tar archive of the host into a directory.
    ///
    /// `compress` is one of `compress`, `gzip`, `bzip2`, `xz`, `lzop`, `lzma`, `zstd` if the archive is
    /// compressed. `xattrs`, `selinux`, `acls` also restore those from the archive.
    ///
    ///     tar-in tree.tar /srv
    ///     tar-in tree.tar.gz /srv compress:gzip
    fn tar_in(tarfile: FileIn, directory: Pathname)
        opt TarInOptions { compress: String, xattrs: Bool, selinux: Bool, acls: Bool } -> Void
        { aliases: &["tar_in_opts"] };

    /// Pack a directory of the guest into a tar archive of the host.
    ///
    /// `compress` as for `tar-in`. `numericowner:true` stores numbers instead of names of owners, `excludes`
    /// is a list of patterns to leave out, `xattrs`, `selinux`, `acls` also store those.
    ///
    ///     tar-out /etc etc.tar
    ///     tar-out /home home.tar.gz compress:gzip "excludes:*.tmp .cache"
    fn tar_out(directory: String, tarfile: FileOut)
        opt TarOutOptions {
            compress: String, numericowner: Bool, excludes: StringList, xattrs: Bool, selinux: Bool, acls: Bool,
        } -> Void { aliases: &["tar_out_opts"] };

    /// Unpack a tar archive compressed with gzip.
    ///
    ///     tgz-in tree.tar.gz /srv
    fn tgz_in(tarball: FileIn, directory: Pathname) -> Void { deprecated_by: Some("tar_in") };

    /// Pack a directory into a tar archive compressed with gzip.
    ///
    ///     tgz-out /etc etc.tar.gz
    fn tgz_out(directory: Pathname, tarball: FileOut) -> Void { deprecated_by: Some("tar_out") };

    /// Unpack a tar archive compressed with xz.
    ///
    ///     txz-in tree.tar.xz /srv
    fn txz_in(tarball: FileIn, directory: Pathname) -> Void
        { feature: Some("xz"), deprecated_by: Some("tar_in") };

    /// Pack a directory into a tar archive compressed with xz.
    ///
    ///     txz-out /etc etc.tar.xz
    fn txz_out(directory: Pathname, tarball: FileOut) -> Void
        { feature: Some("xz"), deprecated_by: Some("tar_out") };

    /// Pack a directory of the guest into a cpio archive of the host.
    ///
    /// `format` is `newc`, which initial RAM disks have as well, or `crc`, the same with checksums.
    ///
    ///     cpio-out /etc etc.cpio
    fn cpio_out(directory: String, cpiofile: FileOut) opt CpioOutOptions { format: String } -> Void;

    /// Pack a directory of the guest into a squashfs image of the host.
    ///
    /// `compress` is one of `gzip`, `lzma`, `lzo`, `lz4`, `xz`, `zstd`. `excludes` is a list of patterns to leave out.
    ///
    ///     mksquashfs /usr usr.squashfs compress:xz "excludes:*.pyc"
    fn mksquashfs(path: Pathname, filename: FileOut)
        opt MksquashfsOptions { compress: String, excludes: StringList } -> Void { feature: Some("squashfs") };

    /// Decode base64 text of the host into a file of the guest.
    ///
    ///     base64-in key.b64 /etc/key
    fn base64_in(base64file: FileIn, filename: Pathname) -> Void;

    /// Encode a file of the guest as base64 text.
    ///
    ///     base64-out /etc/key key.b64
    fn base64_out(filename: Pathname, base64file: FileOut) -> Void;
}
