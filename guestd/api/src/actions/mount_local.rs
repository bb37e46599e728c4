//! Mounting the guest on a directory of the host.

use crate::table::actions;

actions! {
    group "mount_local";

    /// Mount what is mounted in the guest on a directory of the host.
    ///
    /// It can be used at once, with programs of the host, and behaves as the guest's own file systems do.
    /// `readonly:true` forbids writing. `options` are those of `guestmount -o`, with commas between them.
    /// `cachetimeout` is for how many seconds the host may remember what it was told; for good if not said,
    /// which is right as long as nothing else changes the guest. `debugcalls` has no effect.
    ///
    ///     mount-local /tmp/guest readonly:true
    fn mount_local(localmountpoint: String) opt MountLocalOptions {
        readonly: Bool, options: String, cachetimeout: Int, debugcalls: Bool,
    } -> Void;

    /// Wait until the directory is unmounted.
    ///
    /// `umount-local` from another thread, `guestunmount` and `fusermount3 -u` do that.
    ///
    ///     mount-local-run
    fn mount_local_run() -> Void;

    /// Unmount the guest from the directory of the host.
    ///
    /// Everything that was written through it is in the guest then. With `retry:true` it is tried again for a while if
    /// the directory is in use.
    ///
    ///     umount-local retry:true
    fn umount_local() opt UmountLocalOptions { retry: Bool } -> Void;
}
