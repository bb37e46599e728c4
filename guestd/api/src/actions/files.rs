//! What a path is, and changing owner, mode and existence of files.

use crate::IntStyle;
use crate::table::actions;

actions! {
    group "files";

    /// Change the permissions of a file.
    ///
    /// Sets the mode of `path`. The umask plays no part. A number without a leading zero is decimal, so write
    /// modes in octal. Symbolic modes (`u+x`) are not understood.
    ///
    ///     chmod 0755 /usr/local/bin/start
    fn chmod(mode: Int, path: Pathname) -> Void;

    /// Change the owner and group of a file.
    ///
    /// Only numbers are understood: names would have to be looked up in the guest. -1 leaves one as it is.
    /// A symbolic link is followed, see `lchown`.
    ///
    ///     chown 0 0 /etc/motd
    fn chown(owner: Int, group: Int, path: Pathname) -> Void;

    /// Change the owner and group of a file or of a symbolic link itself.
    ///
    /// Like `chown`, but a symbolic link is changed and not what it points to.
    ///
    ///     lchown 1000 1000 /home/ann/link
    fn lchown(owner: Int, group: Int, path: Pathname) -> Void;

    /// Set the mask that is taken off the mode of new files.
    ///
    /// Returns the mask before. It is 022 at first, holds for all actions that follow, and is not used by
    /// `chmod`. Write it in octal.
    ///
    ///     umask 0077
    fn umask(mask: Int) -> Int { style: IntStyle::Octal };

    /// Show the mask that is taken off the mode of new files.
    ///
    ///     get-umask
    fn get_umask() -> Int { style: IntStyle::Octal };

    /// Test whether a path exists.
    ///
    /// True for anything that is there, a directory as well as a file. A symbolic link that points nowhere
    /// does not exist by this measure.
    ///
    ///     exists /etc/fstab
    fn exists(path: Pathname) -> Bool;

    /// Test whether a path is a regular file.
    ///
    /// With `followsymlinks:true` a symbolic link to a regular file is one too.
    ///
    ///     is-file /etc/fstab
    ///     is-file /etc/os-release followsymlinks:true
    fn is_file(path: Pathname) opt IsFileOptions { followsymlinks: Bool } -> Bool;

    /// Test whether a path is a directory.
    ///
    /// With `followsymlinks:true` a symbolic link to a directory is one too.
    ///
    ///     is-dir /etc
    fn is_dir(path: Pathname) opt IsDirOptions { followsymlinks: Bool } -> Bool;

    /// Test whether a path is a character device.
    ///
    /// With `followsymlinks:true` a symbolic link to one counts too.
    ///
    ///     is-chardev /dev/null
    fn is_chardev(path: Pathname) opt IsChardevOptions { followsymlinks: Bool } -> Bool;

    /// Test whether a path is a block device.
    ///
    /// This asks about a file inside the guest, not about the disks that are attached. With
    /// `followsymlinks:true` a symbolic link to one counts too.
    ///
    ///     is-blockdev /dev/loop0
    fn is_blockdev(path: Pathname) opt IsBlockdevOptions { followsymlinks: Bool } -> Bool;

    /// Test whether a path is a named pipe.
    ///
    /// With `followsymlinks:true` a symbolic link to one counts too.
    ///
    ///     is-fifo /run/initctl
    fn is_fifo(path: Pathname) opt IsFifoOptions { followsymlinks: Bool } -> Bool;

    /// Test whether a path is a socket.
    ///
    /// With `followsymlinks:true` a symbolic link to one counts too.
    ///
    ///     is-socket /run/log
    fn is_socket(path: Pathname) opt IsSocketOptions { followsymlinks: Bool } -> Bool;

    /// Test whether a path is a symbolic link.
    ///
    /// Where it points to does not matter.
    ///
    ///     is-symlink /bin
    fn is_symlink(path: Pathname) -> Bool;

    /// Remove a file.
    ///
    /// A directory is refused, see `rmdir` and `rm-rf`.
    ///
    ///     rm /etc/nologin
    fn rm(path: Pathname) -> Void;

    /// Remove a file, which need not exist.
    ///
    /// Like `rm`, but a missing file is no error. A directory still is.
    ///
    ///     rm-f /etc/machine-id
    fn rm_f(path: Pathname) -> Void;

    /// Remove a file or a directory with all that is in it.
    ///
    /// A path that does not exist is no error. Symbolic links are removed, not followed.
    ///
    ///     rm-rf /var/cache/apt
    fn rm_rf(path: Pathname) -> Void;

    /// Set the times of a file.
    ///
    /// Access and modification time in seconds since 1970 and nanoseconds. -1 as the nanoseconds means now,
    /// -2 leaves the time as it is.
    ///
    ///     utimens /etc/motd 0 0 1700000000 0
    fn utimens(path: Pathname, atsecs: Int64, atnsecs: Int64, mtsecs: Int64, mtnsecs: Int64) -> Void;

    /// Show the path without symbolic links, `.` and `..`.
    ///
    ///     realpath /bin/sh
    fn realpath(path: Pathname) -> String;

    /// Make a named pipe.
    ///
    /// `mode` holds permissions only, of which the umask is taken off. Write it in octal.
    ///
    ///     mkfifo 0600 /run/pipe
    fn mkfifo(mode: Int, path: Pathname) -> Void { feature: Some("mknod") };

    /// Make a device, a pipe, a socket or a file.
    ///
    /// `mode` is the type and the permissions in one number, as in `stat`; the umask is taken off. See
    /// `mknod-b`, `mknod-c` and `mkfifo`, which need no type.
    ///
    ///     mknod 020666 1 3 /dev/null
    fn mknod(mode: Int, devmajor: Int, devminor: Int, path: Pathname) -> Void { feature: Some("mknod") };

    /// Make a block device.
    ///
    /// `mode` holds permissions only, of which the umask is taken off.
    ///
    ///     mknod-b 0660 8 0 /dev/sda
    fn mknod_b(mode: Int, devmajor: Int, devminor: Int, path: Pathname) -> Void { feature: Some("mknod") };

    /// Make a character device.
    ///
    /// `mode` holds permissions only, of which the umask is taken off.
    ///
    ///     mknod-c 0666 1 3 /dev/null
    fn mknod_c(mode: Int, devmajor: Int, devminor: Int, path: Pathname) -> Void { feature: Some("mknod") };

    /// Make an empty file with a name of its own.
    ///
    /// The template must end in `XXXXXX`, which become random characters; `suffix` is added after them.
    /// Returns the path. The file has mode 0600 and is yours to remove.
    ///
    ///     mktemp /tmp/workXXXXXX suffix:.txt
    fn mktemp(tmpl: Pathname) opt MktempOptions { suffix: String } -> String;

    /// Find the true spelling of a path whose case is not known.
    ///
    /// For paths that Windows wrote down. The last part need not exist and is then left as it is.
    ///
    ///     case-sensitive-path /windows/system32
    fn case_sensitive_path(path: Pathname) -> String;
}
