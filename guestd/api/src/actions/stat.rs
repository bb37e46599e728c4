//! Sizes, times and space.

use crate::table::actions;

actions! {
    group "stat";

    /// Show what is known about a file, times in whole seconds.
    ///
    /// A symbolic link is followed. `statns` has the nanoseconds as well.
    ///
    ///     stat /etc/fstab
    fn stat(path: Pathname) -> Struct<Stat> { deprecated_by: Some("statns") };

    /// Show what is known about a file or a symbolic link itself, times in whole seconds.
    ///
    ///     lstat /bin
    fn lstat(path: Pathname) -> Struct<Stat> { deprecated_by: Some("lstatns") };

    /// Show what is known about a file.
    ///
    /// A symbolic link is followed.
    ///
    ///     statns /etc/fstab
    fn statns(path: Pathname) -> Struct<Statns>;

    /// Show what is known about a file or a symbolic link itself.
    ///
    ///     lstatns /bin
    fn lstatns(path: Pathname) -> Struct<Statns>;

    /// Show what is known about many files of one directory.
    ///
    /// The list has one answer per name, in order. For a name that does not exist, `st_ino` is -1.
    ///
    ///     lstatnslist /etc "passwd shadow"
    fn lstatnslist(path: Pathname, names: FilenameList) -> StructList<Statns>;

    /// Show the space of a mounted file system.
    ///
    /// `path` is anything on it. Counts are in blocks of `frsize` bytes.
    ///
    ///     statvfs /
    fn statvfs(path: Pathname) -> Struct<Statvfs>;

    /// Show the size of a file in bytes.
    ///
    /// A symbolic link is followed. For a device see `blockdev-getsize64`.
    ///
    ///     filesize /swapfile
    fn filesize(file: Pathname) -> Int64;

    /// Show the space of all mounted file systems.
    ///
    /// The output is that of `df` and meant for people. Programs use `statvfs`.
    ///
    ///     df
    fn df() -> String;

    /// Show the space of all mounted file systems in handy units.
    ///
    /// The output is that of `df -h` and meant for people.
    ///
    ///     df-h
    fn df_h() -> String;

    /// Add up the space that a file or directory takes.
    ///
    /// In units of 1024 bytes; files with several names count once.
    ///
    ///     du /var/log
    fn du(path: Pathname) -> Int64 { progress: true };

    /// Show what is known about many files of one directory, times in whole seconds.
    ///
    /// The list has one answer per name, in order. For a name that does not exist, `ino` is -1.
    ///
    ///     lstatlist /etc "passwd shadow"
    fn lstatlist(path: Pathname, names: FilenameList) -> StructList<Stat> { deprecated_by: Some("lstatnslist") };
}
