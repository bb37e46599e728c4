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

    /// Show the messages of the appliance's kernel.
    ///
    ///     dmesg
    fn dmesg() -> String;

    /// Have the appliance's kernel forget what it keeps of files.
    ///
    /// 1 drops cached data, 2 names and inodes, 3 both. What is not yet on the disks is written first.
    ///
    ///     drop-caches 3
    fn drop_caches(whattodrop: Int) -> Void;

    /// Return the words, joined by blanks.
    ///
    /// A test of the connection.
    ///
    ///     echo-daemon "a b c"
    fn echo_daemon(words: StringList) -> String;

    /// Load a kernel module in the appliance.
    ///
    /// With the modules that it needs. One that is loaded or built in is fine.
    ///
    ///     modprobe ext4
    fn modprobe(modulename: String) -> Void { feature: Some("linuxmodules") };

    /// Show name and version of the appliance's kernel.
    ///
    ///     utsname
    fn utsname() -> Struct<Utsname>;
}
