//! Labels of SELinux.

use crate::table::actions;

actions! {
    group "selinux";

    /// Give files the labels that a policy has for them.
    ///
    /// `specfile` is the policy's file of contexts, `path` where to start. `force:true` also resets labels that
    /// an administrator chose.
    ///
    ///     selinux-relabel /etc/selinux/targeted/contexts/files/file_contexts /
    fn selinux_relabel(specfile: String, path: Pathname) opt SelinuxRelabelOptions { force: Bool } -> Void
        { feature: Some("selinuxrelabel") };

    /// Give files in several places the labels that a policy has for them.
    ///
    /// Like `selinux-relabel` for each of `paths`.
    ///
    ///     setfiles /etc/selinux/targeted/contexts/files/file_contexts "/etc /var"
    fn setfiles(specfile: String, paths: StringList) opt SetfilesOptions { force: Bool } -> Void
        { feature: Some("selinuxrelabel") };

    /// Show the context of the agent.
    ///
    /// The appliance does not enforce SELinux, so this only fails or shows the kernel's own context.
    ///
    ///     getcon
    fn getcon() -> String { feature: Some("selinux"), deprecated_by: Some("selinux_relabel") };

    /// Set the context of the agent.
    ///
    /// The appliance does not enforce SELinux, so this fails.
    ///
    ///     setcon system_u:system_r:init_t:s0
    fn setcon(context: String) -> Void { feature: Some("selinux"), deprecated_by: Some("selinux_relabel") };
}
