//! Extended attributes, access control lists and capabilities of files.

use crate::table::actions;

actions! {
    group "xattr";

    /// Show the value of an extended attribute.
    ///
    /// The bytes are shown as they are. A symbolic link is followed, see `lgetxattr`.
    ///
    ///     getxattr /etc/shadow security.selinux
    fn getxattr(path: Pathname, name: String) -> Buffer { feature: Some("linuxxattrs") };

    /// Show the value of an extended attribute of a file or of a symbolic link itself.
    ///
    ///     lgetxattr /bin security.selinux
    fn lgetxattr(path: Pathname, name: String) -> Buffer { feature: Some("linuxxattrs") };

    /// List the extended attributes of a file with their values.
    ///
    /// A symbolic link is followed, see `lgetxattrs`.
    ///
    ///     getxattrs /etc/shadow
    fn getxattrs(path: Pathname) -> StructList<Xattr> { feature: Some("linuxxattrs") };

    /// List the extended attributes of a file or of a symbolic link itself.
    ///
    ///     lgetxattrs /bin
    fn lgetxattrs(path: Pathname) -> StructList<Xattr> { feature: Some("linuxxattrs") };

    /// Set an extended attribute.
    ///
    /// `vallen` bytes of `val` become its value. A symbolic link is followed, see `lsetxattr`.
    ///
    ///     setxattr user.origin backup 6 /data/file
    fn setxattr(xattr: String, val: String, vallen: Int, path: Pathname) -> Void { feature: Some("linuxxattrs") };

    /// Set an extended attribute of a file or of a symbolic link itself.
    ///
    ///     lsetxattr trusted.origin backup 6 /data/link
    fn lsetxattr(xattr: String, val: String, vallen: Int, path: Pathname) -> Void { feature: Some("linuxxattrs") };

    /// Remove an extended attribute.
    ///
    ///     removexattr user.origin /data/file
    fn removexattr(xattr: String, path: Pathname) -> Void { feature: Some("linuxxattrs") };

    /// Remove an extended attribute of a file or of a symbolic link itself.
    ///
    ///     lremovexattr trusted.origin /data/link
    fn lremovexattr(xattr: String, path: Pathname) -> Void { feature: Some("linuxxattrs") };

    /// List the extended attributes of many files of one directory.
    ///
    /// Each file starts with an entry without a name. Its value is the number of attributes that follow for
    /// this file, or empty if the file could not be asked. Symbolic links are not followed.
    ///
    ///     lxattrlist /etc "passwd shadow"
    fn lxattrlist(path: Pathname, names: FilenameList) -> StructList<Xattr> { feature: Some("linuxxattrs") };

    /// Copy the attributes of a file to another.
    ///
    /// `mode:true` copies the permissions, `ownership:true` owner and group, `xattributes:true` the extended
    /// attributes, `all:true` whatever was not set otherwise. Without any of them nothing happens.
    ///
    ///     copy-attributes /etc/shadow /etc/shadow.new all:true
    fn copy_attributes(src: Pathname, dest: Pathname)
        opt CopyAttributesOptions { all: Bool, mode: Bool, xattributes: Bool, ownership: Bool } -> Void;

    /// Show an access control list.
    ///
    /// `acltype` is `access`, or `default` for what new files in a directory get. The result has one line per
    /// entry. A file that has no list of its own shows its permissions.
    ///
    ///     acl-get-file /srv/share access
    fn acl_get_file(path: Pathname, acltype: String) -> String { feature: Some("acl") };

    /// Set an access control list.
    ///
    /// `acltype` is `access` or `default`. Entries are separated by commas or newlines, in the long form
    /// (`user:500:rwx`) or the short one (`u:500:rwx`). Owner, group and others must be there, and a mask where
    /// single users or groups are. Users and groups are given by number.
    ///
    ///     acl-set-file /srv/share access u::rwx,g::r-x,o::---,m::rwx,u:500:rwx
    fn acl_set_file(path: Pathname, acltype: String, acl: String) -> Void { feature: Some("acl") };

    /// Remove the default access control list of a directory.
    ///
    /// A directory that has none is left as it is.
    ///
    ///     acl-delete-def-file /srv/share
    fn acl_delete_def_file(dir: Pathname) -> Void { feature: Some("acl") };

    /// Show the capabilities of a file.
    ///
    /// In the form that `getcap` shows; empty for a file without any.
    ///
    ///     cap-get-file /usr/bin/ping
    fn cap_get_file(path: Pathname) -> String { feature: Some("linuxcaps") };

    /// Set the capabilities of a file.
    ///
    /// In the form that `setcap` reads.
    ///
    ///     cap-set-file /usr/bin/ping cap_net_raw=ep
    fn cap_set_file(path: Pathname, cap: String) -> Void { feature: Some("linuxcaps") };
}
