//! Finding files.

use crate::table::actions;

actions! {
    group "search";

    /// List everything below a directory.
    ///
    /// Paths are relative to the directory, sorted, and it is not in the list itself. Symbolic links are not
    /// followed.
    ///
    ///     find /etc/apt
    fn find(directory: Pathname) -> StringList;

    /// Write everything below a directory to a file.
    ///
    /// Like `find` but unsorted, each path ended by a NUL byte, and for any number of them.
    ///
    ///     find0 / files.list
    fn find0(directory: Pathname, files: FileOut) -> Void;

    /// Write the names in a directory to a file.
    ///
    /// Like `ls` but unsorted, each name ended by a NUL byte, and for any number of them.
    ///
    ///     ls0 /var/spool names.list
    fn ls0(dir: Pathname, filenames: FileOut) -> Void;

    /// List the paths that match a pattern.
    ///
    /// `*`, `?` and `[...]` have their usual meaning and do not match a dot at the start of a name. No match
    /// gives an empty list. Directories get a slash at their end unless `directoryslash:false`.
    ///
    ///     glob-expand /boot/vmlinuz-*
    fn glob_expand(pattern: Pathname) opt GlobExpandOptions { directoryslash: Bool } -> StringList;

    /// Show the lines of a file that match a regular expression.
    ///
    /// `extended:true` for extended expressions, `fixed:true` for a plain string, `insensitive:true` to ignore
    /// case, `compressed:true` for a file compressed with gzip. No match gives an empty list.
    ///
    ///     grep ^root: /etc/passwd
    fn grep(regex: String, path: Pathname)
        opt GrepOptions { extended: Bool, fixed: Bool, insensitive: Bool, compressed: Bool } -> StringList;

    /// Show the lines of a file that match an extended regular expression.
    ///
    /// `grep` does this with options.
    ///
    ///     egrep root /etc/passwd
    fn egrep(regex: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file compressed with gzip that match an extended regular expression.
    ///
    /// `grep` does this with options.
    ///
    ///     zegrep root /usr/share/doc/bash/changelog.gz
    fn zegrep(regex: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file that match an extended regular expression in any case.
    ///
    /// `grep` does this with options.
    ///
    ///     egrepi root /etc/passwd
    fn egrepi(regex: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file compressed with gzip that match an extended regular expression in any case.
    ///
    /// `grep` does this with options.
    ///
    ///     zegrepi root /usr/share/doc/bash/changelog.gz
    fn zegrepi(regex: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file that match a plain string.
    ///
    /// `grep` does this with options.
    ///
    ///     fgrep root /etc/passwd
    fn fgrep(pattern: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file compressed with gzip that match a plain string.
    ///
    /// `grep` does this with options.
    ///
    ///     zfgrep root /usr/share/doc/bash/changelog.gz
    fn zfgrep(pattern: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file that match a plain string in any case.
    ///
    /// `grep` does this with options.
    ///
    ///     fgrepi root /etc/passwd
    fn fgrepi(pattern: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file compressed with gzip that match a plain string in any case.
    ///
    /// `grep` does this with options.
    ///
    ///     zfgrepi root /usr/share/doc/bash/changelog.gz
    fn zfgrepi(pattern: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file that match a regular expression in any case.
    ///
    /// `grep` does this with options.
    ///
    ///     grepi root /etc/passwd
    fn grepi(regex: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file compressed with gzip that match a regular expression in any case.
    ///
    /// `grep` does this with options.
    ///
    ///     zgrepi root /usr/share/doc/bash/changelog.gz
    fn zgrepi(regex: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };

    /// Show the lines of a file compressed with gzip that match a regular expression.
    ///
    /// `grep` does this with options.
    ///
    ///     zgrep root /usr/share/doc/bash/changelog.gz
    fn zgrep(regex: String, path: Pathname) -> StringList { deprecated_by: Some("grep") };
}
