//! The agent itself.

use crate::table::actions;

actions! {
    group "system";

    /// Check that the agent answers.
    ///
    /// Returns at once and does nothing. A failure means that the appliance is gone.
    ///
    ///     ping-daemon
    fn ping_daemon() -> Void;

    /// Show the version of the agent.
    ///
    /// The agent and the programs that use it are built together and carry the same version.
    ///
    ///     version
    fn version() -> Struct<Version>;

    /// Write everything cached to the disks.
    ///
    /// When it returns, all data written so far is on the disks of the guest, as far as they can promise.
    /// A shutdown of the appliance does the same by itself.
    ///
    ///     sync
    fn sync() -> Void;

    /// Do nothing for a number of seconds.
    ///
    ///     sleep 5
    fn sleep(secs: Int) -> Void;
}
