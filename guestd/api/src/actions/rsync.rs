//! Synchronising directories by rsync.

use crate::table::actions;

actions! {
    group "rsync";

    /// Copy what differs from one directory of the guest to another.
    ///
    /// A slash at the end of `src` means what is in the directory. `archive:true` keeps all attributes and goes
    /// into directories, `deletedest:true` removes from `dest` what `src` does not have.
    ///
    ///     rsync /home/ /srv/home archive:true
    fn rsync(src: Pathname, dest: Pathname) opt RsyncOptions { archive: Bool, deletedest: Bool } -> Void
        { feature: Some("rsync") };

    /// Copy what differs from another machine to a directory of the guest.
    ///
    /// `remote` is what rsync takes as a source. Needs a network. Options as for `rsync`.
    ///
    ///     rsync-in rsync://169.254.2.2/files/ /srv archive:true
    fn rsync_in(remote: String, dest: Pathname) opt RsyncInOptions { archive: Bool, deletedest: Bool } -> Void
        { feature: Some("rsync") };

    /// Copy what differs from a directory of the guest to another machine.
    ///
    /// `src` may have wildcards, `remote` is what rsync takes as a destination. Needs a network. Options as for
    /// `rsync`.
    ///
    ///     rsync-out /srv/ rsync://169.254.2.2/files archive:true
    fn rsync_out(src: Pathname, remote: String) opt RsyncOutOptions { archive: Bool, deletedest: Bool } -> Void
        { feature: Some("rsync") };
}
