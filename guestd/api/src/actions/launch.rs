//! The disks of a guest, its start and its end.

use crate::table::actions;

actions! {
    group "launch";

    /// Add a disk image to the guest, or a device of the host.
    ///
    /// Only before the launch. The first disk is `/dev/sda`, the next `/dev/sdb`. `readonly:true` never writes to
    /// the file; `format:raw` keeps a guest from choosing the format by what it writes. `label:NAME` lets the disk
    /// be named `/dev/disk/guestfs/NAME` as well. `discard:enable` fails where the image cannot give space
    /// back, `discard:besteffort` does not. `blocksize` is 512 or 4096. With `cachemode:unsafe` nobody waits until
    /// data is safe from a power cut; `writeback` is usual. `iface` and `name` have no effect, and are kept for scripts.
    ///
    ///     add-drive disk.qcow2 format:qcow2 readonly:true
    fn add_drive(filename: String) opt AddDriveOptions {
        readonly: Bool, format: String, iface: String, name: String, label: String, protocol: String,
        server: StringList, username: String, secret: String, cachemode: String, discard: String,
        copyonread: Bool, blocksize: Int,
    } -> Void { aliases: &["add"] };

    /// Add a disk image that is never written.
    ///
    /// Writes of the guest go to memory and are forgotten.
    ///
    ///     add-drive-ro disk.qcow2
    fn add_drive_ro(filename: String) -> Void { aliases: &["add_ro"] };

    /// Add a disk image as a CD-ROM, which is never written.
    ///
    ///     add-cdrom install.iso
    fn add_cdrom(filename: String) -> Void { deprecated_by: Some("add_drive_ro") };

    /// Add a disk image on a named kind of bus.
    ///
    /// All disks are virtio disks here.
    ///
    ///     add-drive-with-if disk.img virtio
    fn add_drive_with_if(filename: String, iface: String) -> Void { deprecated_by: Some("add_drive") };

    /// Add a disk image that is never written, on a named kind of bus.
    ///
    ///     add-drive-ro-with-if disk.img virtio
    fn add_drive_ro_with_if(filename: String, iface: String) -> Void { deprecated_by: Some("add_drive") };

    /// Add a disk that is empty and goes away with the guest.
    ///
    ///     add-drive-scratch 1G
    fn add_drive_scratch(size: Int64) opt AddDriveScratchOptions { name: String, label: String, blocksize: Int } -> Void
        { aliases: &["scratch"] };

    /// Add the disks of a libvirt domain; returns how many there are.
    ///
    /// `dom` is the name of a domain whose description lies in libvirt's configuration, its UUID with
    /// `allowuuid:true`, or the file with its description. `readonlydisk` says what becomes of disks that the
    /// description marks read-only: `error`, `read`, `write` or `ignore`.
    ///
    ///     add-domain web1 readonly:true
    fn add_domain(dom: String) opt AddDomainOptions {
        libvirturi: String, readonly: Bool, iface: String, live: Bool, allowuuid: Bool, readonlydisk: String,
        cachemode: String, discard: String, copyonread: Bool,
    } -> Int { aliases: &["domain"] };

    /// Take a disk away from a running guest.
    ///
    /// This is not possible any more; the action is kept so that old scripts hear why.
    ///
    ///     remove-drive data
    fn remove_drive(label: String) -> Void { deprecated_by: Some("shutdown") };

    /// List the disks that were added, one line each.
    ///
    ///     debug-drives
    fn debug_drives() -> StringList;

    /// Pass a word to the hypervisor.
    ///
    /// There is none with a command line of its own here: what is passed is kept and has no effect.
    ///
    ///     config -device usb-tablet
    fn config(hvparam: String, hvvalue: OptString) -> Void;

    /// Start the guest: from here on its disks can be worked on.
    ///
    /// A guest whose disks are all read-only may be read without any machine; one is started as soon as
    /// something is asked that needs it.
    ///
    ///     launch
    fn launch() -> Void { aliases: &["run"], progress: true };

    /// Do nothing; once this waited for the launch to finish.
    ///
    ///     wait-ready
    fn wait_ready() -> Void { deprecated_by: Some("launch") };

    /// Test whether the guest is not launched yet.
    ///
    ///     is-config
    fn is_config() -> Bool;

    /// Test whether the guest is being launched; this is never seen, because the launch waits.
    ///
    ///     is-launching
    fn is_launching() -> Bool;

    /// Test whether the guest was launched and waits for actions.
    ///
    ///     is-ready
    fn is_ready() -> Bool;

    /// Test whether the guest carries an action out; this is never seen, because actions are waited for.
    ///
    ///     is-busy
    fn is_busy() -> Bool;

    /// End the guest; everything is on its disks then.
    ///
    /// After it disks can be added and the guest launched again.
    ///
    ///     shutdown
    fn shutdown() -> Void;

    /// End the guest; everything is on its disks then.
    ///
    ///     kill-subprocess
    fn kill_subprocess() -> Void { deprecated_by: Some("shutdown") };
}
