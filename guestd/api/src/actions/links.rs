//! Hard and symbolic links.

use crate::table::actions;

actions! {
    group "links";

    /// Make a hard link.
    ///
    /// `target` is the file that exists, `linkname` its new second name.
    ///
    ///     ln /etc/motd /etc/motd.keep
    fn ln(target: String, linkname: Pathname) -> Void;

    /// Make a hard link in the place of whatever has its name.
    ///
    ///     ln-f /etc/motd /etc/motd.keep
    fn ln_f(target: String, linkname: Pathname) -> Void;

    /// Make a symbolic link.
    ///
    /// The target is stored as it is given and need not exist.
    ///
    ///     ln-s ../run /var/run
    fn ln_s(target: String, linkname: Pathname) -> Void;

    /// Make a symbolic link in the place of whatever has its name.
    ///
    /// A link or file of that name is replaced; in a directory of that name the link is made inside.
    ///
    ///     ln-sf /usr/share/zoneinfo/UTC /etc/localtime
    fn ln_sf(target: String, linkname: Pathname) -> Void;

    /// Show where a symbolic link points to.
    ///
    ///     readlink /bin
    fn readlink(path: Pathname) -> String;

    /// Show where many symbolic links of one directory point to.
    ///
    /// The list has one answer per name, in order; it is empty for what is no link.
    ///
    ///     readlinklist /dev "stdin stdout"
    fn readlinklist(path: Pathname, names: FilenameList) -> StringList;
}
