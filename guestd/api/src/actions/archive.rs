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
        opt TarInOptions { compress: String, xattrs: Bool, selinux: Bool, acls: Bool } -> Void;

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
        } -> Void;
}
