//! What this appliance can do.

use crate::table::actions;

actions! {
    group "available";

    /// Fail unless all the named features are there.
    ///
    /// A feature is a group of actions that needs a program or a driver the appliance may lack: `lvm2`,
    /// `btrfs`, `xfs`, `ntfs3g`, ... `feature-available` asks without failing.
    ///
    ///     available "lvm2 xfs"
    fn available(groups: StringList) -> Void;

    /// Test whether all the named features are there.
    ///
    /// Fails for a name that nobody knows.
    ///
    ///     feature-available "lvm2 xfs"
    fn feature_available(groups: StringList) -> Bool;

    /// List the names of all features that can be asked for.
    ///
    ///     available-all-groups
    fn available_all_groups() -> StringList;

    /// Test whether the appliance's kernel can mount a type of file system.
    ///
    ///     filesystem-available xfs
    fn filesystem_available(filesystem: String) -> Bool;
}
