//! Which operating systems a guest contains.

use crate::table::actions;

actions! {
    group "inspect";

    /// Tell the architecture of a program, a library, a kernel module or an initial RAM disk.
    ///
    /// `x86_64`, `i386`, `aarch64` and so on. Compressed modules and RAM disks are looked into.
    ///
    ///     file-architecture /bin/ls
    fn file_architecture(filename: Pathname) -> String;

    /// Look for operating systems; returns the root file system of each.
    ///
    /// What is mounted is unmounted first. The other `inspect-` actions tell about the systems that were found.
    ///
    ///     inspect-os
    fn inspect_os() -> MountableList;

    /// List the operating systems that `inspect-os` found.
    ///
    ///     inspect-get-roots
    fn inspect_get_roots() -> MountableList;

    /// Tell the type of an operating system.
    ///
    /// `linux`, `windows`, `freebsd`, `netbsd`, `openbsd`, `hurd`, `minix`, `dos` or `unknown`.
    ///
    ///     inspect-get-type /dev/sda1
    fn inspect_get_type(root: Mountable) -> String;

    /// Tell the distribution of an operating system.
    ///
    /// `debian`, `ubuntu`, `fedora`, `rhel`, `opensuse`, `archlinux`, `windows` and so on, or `unknown`.
    ///
    ///     inspect-get-distro /dev/sda1
    fn inspect_get_distro(root: Mountable) -> String;

    /// Tell the architecture of an operating system.
    ///
    /// As `file-architecture` does, or `unknown`.
    ///
    ///     inspect-get-arch /dev/sda1
    fn inspect_get_arch(root: Mountable) -> String;

    /// Tell the major version of an operating system.
    ///
    /// 0 if it has none, or is not known.
    ///
    ///     inspect-get-major-version /dev/sda1
    fn inspect_get_major_version(root: Mountable) -> Int;

    /// Tell the minor version of an operating system.
    ///
    /// 0 if it has none, or is not known.
    ///
    ///     inspect-get-minor-version /dev/sda1
    fn inspect_get_minor_version(root: Mountable) -> Int;

    /// Tell the name of an operating system for people.
    ///
    ///     inspect-get-product-name /dev/sda1
    fn inspect_get_product_name(root: Mountable) -> String;

    /// Tell the variant of an operating system.
    ///
    /// For Windows `Client` or `Server`, else `unknown`.
    ///
    ///     inspect-get-product-variant /dev/sda1
    fn inspect_get_product_variant(root: Mountable) -> String;

    /// Tell the build of an operating system.
    ///
    /// For Windows its build number; others have it in their release file, or it is `unknown`.
    ///
    ///     inspect-get-build-id /dev/sda1
    fn inspect_get_build_id(root: Mountable) -> String;

    /// Tell the host name of an operating system.
    ///
    ///     inspect-get-hostname /dev/sda1
    fn inspect_get_hostname(root: Mountable) -> String;

    /// Tell a guess of the name that libosinfo has for an operating system.
    ///
    ///     inspect-get-osinfo /dev/sda1
    fn inspect_get_osinfo(root: Mountable) -> String;

    /// Tell the format of the packages of an operating system.
    ///
    /// `deb`, `rpm`, `apk`, `pacman`, `ebuild`, `xbps` and so on, or `unknown`.
    ///
    ///     inspect-get-package-format /dev/sda1
    fn inspect_get_package_format(root: Mountable) -> String;

    /// Tell the program that manages packages.
    ///
    /// `apt`, `dnf`, `yum`, `zypper`, `apk`, `pacman` and so on, or `unknown`.
    ///
    ///     inspect-get-package-management /dev/sda1
    fn inspect_get_package_management(root: Mountable) -> String;

    /// List where the file systems of an operating system belong.
    ///
    ///     inspect-get-mountpoints /dev/sda1
    fn inspect_get_mountpoints(root: Mountable) -> Hash;

    /// List the file systems that belong to an operating system.
    ///
    ///     inspect-get-filesystems /dev/sda1
    fn inspect_get_filesystems(root: Mountable) -> MountableList;

    /// List the drive letters of a Windows and the devices that they stand for.
    ///
    ///     inspect-get-drive-mappings /dev/sda1
    fn inspect_get_drive_mappings(root: Mountable) -> Hash;

    /// Get an icon for an operating system, as PNG.
    ///
    /// Nothing is returned if there is none. `favicon` and `highquality` choose among several.
    ///
    ///     inspect-get-icon /dev/sda1
    fn inspect_get_icon(root: Mountable) opt InspectGetIconOptions { favicon: Bool, highquality: Bool } -> Buffer;

    /// List the applications that are installed in an operating system.
    ///
    /// The system must be mounted.
    ///
    ///     inspect-list-applications /dev/sda1
    fn inspect_list_applications(root: Mountable) -> StructList<Application>
        { deprecated_by: Some("inspect_list_applications2") };

    /// List the applications that are installed in an operating system.
    ///
    /// The system must be mounted. The databases of dpkg, apk, pacman and rpm are read, and the registry of
    /// Windows.
    ///
    ///     inspect-list-applications2 /dev/sda1
    fn inspect_list_applications2(root: Mountable) -> StructList<Application2>;

    /// Tell whether a disk is installed; this is always so.
    ///
    ///     inspect-get-format /dev/sda1
    fn inspect_get_format(root: Mountable) -> String { deprecated_by: Some("inspect_get_type") };

    /// Test whether a disk is a live disk; installers are not recognised.
    ///
    ///     inspect-is-live /dev/sda1
    fn inspect_is_live(root: Mountable) -> Bool { deprecated_by: Some("inspect_get_type") };

    /// Test whether a disk is a network installer; installers are not recognised.
    ///
    ///     inspect-is-netinst /dev/sda1
    fn inspect_is_netinst(root: Mountable) -> Bool { deprecated_by: Some("inspect_get_type") };

    /// Test whether a disk is one disk of an installation set; installers are not recognised.
    ///
    ///     inspect-is-multipart /dev/sda1
    fn inspect_is_multipart(root: Mountable) -> Bool { deprecated_by: Some("inspect_get_type") };

    /// Tell the directory of a Windows.
    ///
    ///     inspect-get-windows-systemroot /dev/sda1
    fn inspect_get_windows_systemroot(root: Mountable) -> String;

    /// Tell the path of the registry hive SOFTWARE.
    ///
    ///     inspect-get-windows-software-hive /dev/sda1
    fn inspect_get_windows_software_hive(root: Mountable) -> String;

    /// Tell the path of the registry hive SYSTEM.
    ///
    ///     inspect-get-windows-system-hive /dev/sda1
    fn inspect_get_windows_system_hive(root: Mountable) -> String;

    /// Tell which control set of a Windows is the current one.
    ///
    ///     inspect-get-windows-current-control-set /dev/sda1
    fn inspect_get_windows_current_control_set(root: Mountable) -> String;

    /// Test whether group policies were applied to a Windows.
    ///
    ///     inspect-get-windows-group-policy /dev/sda1
    fn inspect_get_windows_group_policy(root: Mountable) -> Bool;
}
