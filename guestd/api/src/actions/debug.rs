//! A look behind the scenes, for whoever works on the appliance. Nothing here is promised to stay.

use crate::table::actions;

actions! {
    group "debug";

    /// Run a command inside of the appliance.
    ///
    /// `debug help ""` lists what there is; `debug sh "COMMAND"` runs a command of the appliance itself.
    ///
    ///     debug sh "cat /proc/mdstat"
    fn debug(subcmd: String, extraargs: StringList) -> String;

    /// Send a file of the host into the appliance.
    ///
    /// Not into the guest: `tmpname` lies in the appliance's /tmp.
    ///
    ///     debug-upload probe /tmp/probe 0755
    fn debug_upload(filename: FileIn, tmpname: String, mode: Int) -> Void;

    /// End the agent, as if it had crashed.
    ///
    /// The appliance is gone then.
    ///
    ///     internal-exit
    fn internal_exit() -> Void;

    /// Serve what is mounted to the host's kernel: the far end of `mount-local`.
    ///
    /// Requests come over a port of their own. Everything is shown with the given owner, and without
    /// the permissions in `umask`; the host may remember what it is told for `seconds`, or for good.
    ///
    ///     internal-mount-local uid:1000 gid:1000
    fn internal_mount_local() opt InternalMountLocalOptions {
        uid: Int, gid: Int, umask: Int, seconds: Int,
    } -> Void;
}
