//! Making, removing and listing directories.

use crate::table::actions;

actions! {
    group "dirs";

    /// List the names in a directory.
    ///
    /// One per line, sorted, without `.` and `..`; names that start with a dot are shown.
    ///
    ///     ls /etc
    fn ls(directory: Pathname) -> StringList;

    /// List a directory with all details.
    ///
    /// The output is that of `ls -lan`, owners and groups as numbers, and meant for people. Programs use `readdir` and `lstatns`.
    ///
    ///     ll /etc
    fn ll(directory: Pathname) -> String;

    /// List a directory with types and inode numbers.
    ///
    /// Includes `.` and `..`, sorted by name. The type is one letter: `b` block device, `c` character device,
    /// `d` directory, `f` named pipe, `l` symbolic link, `r` regular file, `s` socket, `u` not known.
    ///
    ///     readdir /etc
    fn readdir(dir: Pathname) -> StructList<Dirent> { progress: true };

    /// Make a directory.
    ///
    /// Its parent must exist and nothing of its name. Mode 0777 less the umask.
    ///
    ///     mkdir /data
    fn mkdir(path: Pathname) -> Void;

    /// Make a directory and all its parents.
    ///
    /// Directories that exist are left as they are.
    ///
    ///     mkdir-p /srv/www/html
    fn mkdir_p(path: Pathname) -> Void;

    /// Make a directory with a mode.
    ///
    /// The umask is taken off the mode. Write the mode in octal.
    ///
    ///     mkdir-mode /root/.ssh 0700
    fn mkdir_mode(path: Pathname, mode: Int) -> Void;

    /// Make a directory with a name of its own.
    ///
    /// The template must end in `XXXXXX`, which become random characters. Returns the path; the directory has
    /// mode 0700 and is yours to remove.
    ///
    ///     mkdtemp /tmp/workXXXXXX
    fn mkdtemp(tmpl: Pathname) -> String;

    /// Remove an empty directory.
    ///
    ///     rmdir /data
    fn rmdir(path: Pathname) -> Void;

    /// List a directory with all details and labels of SELinux.
    ///
    /// The output is that of `ls -lanZ` and meant for people.
    ///
    ///     llz /etc
    fn llz(directory: Pathname) -> String { deprecated_by: Some("lgetxattrs") };
}
