//! Copying and moving inside the guest.

use crate::table::actions;

actions! {
    group "copy";

    /// Copy a file.
    ///
    /// `dest` is the new file or a directory to put it in.
    ///
    ///     cp /etc/fstab /etc/fstab.bak
    fn cp(src: Pathname, dest: Pathname) -> Void;

    /// Copy a file or directory with all that is in it and all attributes.
    ///
    /// Modes, owners, times, links, extended attributes are kept.
    ///
    ///     cp-a /home /srv/home
    fn cp_a(src: Pathname, dest: Pathname) -> Void;

    /// Copy a file or directory with all that is in it.
    ///
    /// The copies belong to root and are new.
    ///
    ///     cp-r /etc/skel /home/ann
    fn cp_r(src: Pathname, dest: Pathname) -> Void;

    /// Move or rename a file or directory.
    ///
    /// Between file systems it is copied and removed. An existing file is replaced; into an existing
    /// directory it is moved.
    ///
    ///     mv /etc/motd /etc/motd.old
    fn mv(src: Pathname, dest: Pathname) -> Void;

    /// Rename a file or directory.
    ///
    /// This is the system call: on one file system only, and an existing directory is never moved into.
    ///
    ///     rename /new /old
    fn rename(oldpath: Pathname, newpath: Pathname) -> Void;
}
