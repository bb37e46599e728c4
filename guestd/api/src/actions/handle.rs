//! How a guest is served: what can be set before its launch, and asked at any time.

use crate::table::actions;

actions! {
    group "handle";

    /// Set the memory of the appliance in MiB.
    ///
    /// At least 256. Holds for the next launch; `LIBGUESTFS_MEMSIZE` sets it from outside.
    ///
    ///     set-memsize 1024
    fn set_memsize(memsize: Int) -> Void { aliases: &["memsize"] };

    /// Get the memory of the appliance in MiB.
    ///
    ///     get-memsize
    fn get_memsize() -> Int;

    /// Set the number of processors of the appliance.
    ///
    /// From 1 to 255. Holds for the next launch. User-Mode Linux has one in any case, and says so with `-v`.
    ///
    ///     set-smp 2
    fn set_smp(smp: Int) -> Void { aliases: &["smp"] };

    /// Get the number of processors of the appliance.
    ///
    ///     get-smp
    fn get_smp() -> Int;

    /// Set whether the appliance is to have a network.
    ///
    /// Holds for the next launch, and needs the package passt. Programs of the guest then reach what you can
    /// reach, this host under 169.254.2.2; nobody reaches the guest. Their `/etc/resolv.conf` is the appliance's
    /// while they run.
    ///
    ///     set-network true
    fn set_network(network: Bool) -> Void { aliases: &["network"] };

    /// Get whether the appliance is to have a network.
    ///
    ///     get-network
    fn get_network() -> Bool;

    /// Set whether everything is written out at the end.
    ///
    /// It always is, whatever is set.
    ///
    ///     set-autosync true
    fn set_autosync(autosync: Bool) -> Void { aliases: &["autosync"] };

    /// Get whether everything is written out at the end.
    ///
    ///     get-autosync
    fn get_autosync() -> Bool;

    /// Set whether to tell who answers and what the appliance's kernel says.
    ///
    ///     set-verbose true
    fn set_verbose(verbose: Bool) -> Void { aliases: &["verbose"] };

    /// Get whether to tell who answers and what the appliance's kernel says.
    ///
    ///     get-verbose
    fn get_verbose() -> Bool;

    /// Set whether every action is shown before and after it runs.
    ///
    ///     set-trace true
    fn set_trace(trace: Bool) -> Void { aliases: &["trace"] };

    /// Get whether every action is shown before and after it runs.
    ///
    ///     get-trace
    fn get_trace() -> Bool;

    /// Set where an appliance is searched.
    ///
    /// Has no effect, and is kept for scripts: an appliance is found in its cache, or where
    /// `DISKWRIGHT_APPLIANCE` says.
    ///
    ///     set-path /usr/lib/guestfs
    fn set_path(searchpath: OptString) -> Void { aliases: &["path"] };

    /// Get where an appliance is searched.
    ///
    ///     get-path
    fn get_path() -> String;

    /// Set words for the command line of the appliance's kernel.
    ///
    /// Holds for the next launch; an empty word takes them back.
    ///
    ///     set-append loglevel=7
    fn set_append(append: OptString) -> Void { aliases: &["append"] };

    /// Get words for the command line of the appliance's kernel.
    ///
    ///     get-append
    fn get_append() -> OptString;

    /// Set the hypervisor.
    ///
    /// The program that emulates a machine for the back-end `tcg`; others have none. It is shut in with the
    /// system's programs, so that what it needs must lie below `/usr`.
    ///
    ///     set-hv /usr/bin/qemu-system-x86_64
    fn set_hv(hv: String) -> Void { aliases: &["hv"] };

    /// Get the hypervisor.
    ///
    ///     get-hv
    fn get_hv() -> String;

    /// Set the hypervisor.
    ///
    ///     set-qemu /usr/bin/qemu-system-x86_64
    fn set_qemu(hv: OptString) -> Void { aliases: &["qemu"], deprecated_by: Some("set_hv") };

    /// Get the hypervisor.
    ///
    ///     get-qemu
    fn get_qemu() -> String { deprecated_by: Some("get_hv") };

    /// Set what runs the appliance.
    ///
    /// `kvm`, `uml`, `tcg` or `auto`; `direct` and `libvirt` from scripts for libguestfs mean `auto`.
    ///
    ///     set-backend auto
    fn set_backend(backend: String) -> Void { aliases: &["backend"] };

    /// Get what runs the appliance.
    ///
    ///     get-backend
    fn get_backend() -> String;

    /// Set what runs the appliance.
    ///
    ///     set-attach-method appliance
    fn set_attach_method(backend: String) -> Void
        { aliases: &["attach_method"], deprecated_by: Some("set_backend") };

    /// Get what runs the appliance.
    ///
    ///     get-attach-method
    fn get_attach_method() -> String { deprecated_by: Some("get_backend") };

    /// Set the settings for what runs the appliance.
    ///
    /// Words or `name=value`. `force_kvm` insists on KVM; others are kept and have no effect.
    ///
    ///     set-backend-settings "force_tcg"
    fn set_backend_settings(settings: StringList) -> Void;

    /// Get the settings for what runs the appliance.
    ///
    ///     get-backend-settings
    fn get_backend_settings() -> StringList;

    /// Get one setting for what runs the appliance.
    ///
    /// A word without a value counts as `1`. It is an error if there is no such setting.
    ///
    ///     get-backend-setting force_tcg
    fn get_backend_setting(name: String) -> String;

    /// Set one setting for what runs the appliance.
    ///
    ///     set-backend-setting force_tcg 1
    fn set_backend_setting(name: String, val: String) -> Void;

    /// Take settings for what runs the appliance back; returns how many there were.
    ///
    ///     clear-backend-setting force_tcg
    fn clear_backend_setting(name: String) -> Int;

    /// Set the name of the program that uses the guest.
    ///
    ///     set-program mytool
    fn set_program(program: String) -> Void { aliases: &["program"] };

    /// Get the name of the program that uses the guest.
    ///
    ///     get-program
    fn get_program() -> String;

    /// Set a name for this guest, which stands in the lines of its trace.
    ///
    ///     set-identifier disk1
    fn set_identifier(identifier: String) -> Void { aliases: &["identifier"] };

    /// Get a name for this guest, which stands in the lines of its trace.
    ///
    ///     get-identifier
    fn get_identifier() -> String;

    /// Set whether the appliance is in a process group of its own.
    ///
    /// Has no effect, and is kept for scripts: the appliance always is, and signals for a terminal never reach it.
    ///
    ///     set-pgroup true
    fn set_pgroup(pgroup: Bool) -> Void { aliases: &["pgroup"] };

    /// Get whether the appliance is in a process group of its own.
    ///
    ///     get-pgroup
    fn get_pgroup() -> Bool;

    /// Set whether a process watches over the appliance.
    ///
    /// Has no effect, and is kept for scripts: the appliance always ends with its parent.
    ///
    ///     set-recovery-proc true
    fn set_recovery_proc(recoveryproc: Bool) -> Void { aliases: &["recovery_proc"] };

    /// Get whether a process watches over the appliance.
    ///
    ///     get-recovery-proc
    fn get_recovery_proc() -> Bool;

    /// Set whether SELinux is on in the appliance.
    ///
    /// Has no effect, and is kept for scripts: it is not.
    ///
    ///     set-selinux true
    fn set_selinux(selinux: Bool) -> Void { aliases: &["selinux"], deprecated_by: Some("selinux_relabel") };

    /// Get whether SELinux is on in the appliance.
    ///
    ///     get-selinux
    fn get_selinux() -> Bool { deprecated_by: Some("selinux_relabel") };

    /// Set whether the appliance's console is the terminal.
    ///
    /// Has no effect, and is kept for scripts: the console is shown with `-v`.
    ///
    ///     set-direct false
    fn set_direct(direct: Bool) -> Void { aliases: &["direct"], deprecated_by: Some("set_verbose") };

    /// Get whether the appliance's console is the terminal.
    ///
    ///     get-direct
    fn get_direct() -> Bool { deprecated_by: Some("get_verbose") };

    /// Set the directory for temporary files.
    ///
    /// An empty word stands for `TMPDIR`, or `/tmp`. The appliance itself keeps nothing in files: writes to
    /// read-only disks stay in memory.
    ///
    ///     set-tmpdir /tmp
    fn set_tmpdir(tmpdir: OptString) -> Void { aliases: &["tmpdir"] };

    /// Get the directory for temporary files.
    ///
    ///     get-tmpdir
    fn get_tmpdir() -> String;

    /// Set the directory for cached files.
    ///
    /// An empty word stands for `TMPDIR`, or `/var/tmp`. The appliance's own cache is where `DISKWRIGHT_CACHE` says.
    ///
    ///     set-cachedir /var/tmp
    fn set_cachedir(cachedir: OptString) -> Void { aliases: &["cachedir"] };

    /// Get the directory for cached files.
    ///
    ///     get-cachedir
    fn get_cachedir() -> String;

    /// Get the directory for sockets.
    ///
    ///     get-sockdir
    fn get_sockdir() -> String;

    /// Get the process that the appliance runs in.
    ///
    /// An appliance on KVM runs in the process that uses it.
    ///
    ///     get-pid
    fn get_pid() -> Int { aliases: &["pid"] };

    /// Get a number for the state: 0 before the launch, 2 after it.
    ///
    ///     get-state
    fn get_state() -> Int;

    /// Get a number that tells this guest from others in the same process.
    ///
    ///     c-pointer
    fn c_pointer() -> Int64 { style: crate::IntStyle::Hexadecimal };

    /// Cancel the action in progress.
    ///
    /// Another thread calls it while an action runs. Without one there is nothing to do.
    ///
    ///     user-cancel
    fn user_cancel() -> Void;

    /// Take the settings over from the environment.
    ///
    /// The variables are `LIBGUESTFS_MEMSIZE`, `_BACKEND`, `_BACKEND_SETTINGS`, `_TRACE`, `_DEBUG`, `_APPEND`,
    /// `_PATH`, `_HV`, `_TMPDIR` and `_CACHEDIR`. It is done for every new guest.
    ///
    ///     parse-environment
    fn parse_environment() -> Void;

    /// Take the settings over from a list of `NAME=value`.
    ///
    /// It is as if these were the environment.
    ///
    ///     parse-environment-list "LIBGUESTFS_MEMSIZE=1024"
    fn parse_environment_list(environment: StringList) -> Void;

    /// Name the credentials that can be asked for.
    ///
    ///     set-libvirt-supported-credentials "username passphrase"
    fn set_libvirt_supported_credentials(creds: StringList) -> Void;

    /// List the credentials that libvirt asks for.
    ///
    /// Only while it asks. Domains are read from their files here, so it never does.
    ///
    ///     get-libvirt-requested-credentials
    fn get_libvirt_requested_credentials() -> StringList;

    /// Tell how libvirt asks for a credential.
    ///
    /// Only while it asks.
    ///
    ///     get-libvirt-requested-credential-prompt 0
    fn get_libvirt_requested_credential_prompt(index: Int) -> String;

    /// Tell with which challenge libvirt asks for a credential.
    ///
    /// Only while it asks.
    ///
    ///     get-libvirt-requested-credential-challenge 0
    fn get_libvirt_requested_credential_challenge(index: Int) -> String;

    /// Tell with which default libvirt asks for a credential.
    ///
    /// Only while it asks.
    ///
    ///     get-libvirt-requested-credential-defresult 0
    fn get_libvirt_requested_credential_defresult(index: Int) -> String;

    /// Answer libvirt with a credential.
    ///
    /// Only while it asks.
    ///
    ///     set-libvirt-requested-credential 0 secret
    fn set_libvirt_requested_credential(index: Int, cred: BufferIn) -> Void;
}
