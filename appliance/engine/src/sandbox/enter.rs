//! What a new process does between its birth and `execve`: it shuts itself in.
//!
//! The process is a copy of one thread of a program with many. Locks of the others may be held for ever,
//! so nothing here allocates, locks or panics: it makes system calls with what [`Plan`] has prepared.
//! The first call that fails is reported through the status pipe.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::RawFd;
use std::ptr::{null, null_mut};

use super::limits::Limits;

/// Everything the new process needs, prepared before it is born.
pub(super) struct Plan {
    /// A world of its own is made: namespaces, and a file system with nothing but what is listed.
    pub(super) world: Option<World>,
    /// Otherwise these hold it.
    pub(super) limits: Option<Limits>,
    pub(super) program: CString,
    pub(super) arguments: Pointers,
    pub(super) environment: Pointers,
    /// Standard input, output and error.
    pub(super) stdio: [RawFd; 3],
    /// Descriptors that survive, under the same numbers.
    pub(super) keep: Vec<RawFd>,
    /// Read before anything else: a byte, or nothing if the parent is dead.
    pub(super) go: RawFd,
    /// The other end of it, which a copy of the parent has open too.
    pub(super) go_writer: RawFd,
    /// Takes four bytes of step and four of error number.
    pub(super) status: RawFd,
}

/// The file system that the new process will see.
pub(super) struct World {
    /// An existing directory on which the new root is mounted.
    pub(super) anchor: CString,
    /// Mount options of the new root, a tmpfs.
    pub(super) options: CString,
    /// Lines for `/proc/self/uid_map` and `gid_map`.
    pub(super) uid_map: Vec<u8>,
    pub(super) gid_map: Vec<u8>,
    /// Directories to make, relative to the root, parents first.
    pub(super) directories: Vec<CString>,
    /// Files to make so that something can be mounted there.
    pub(super) files: Vec<CString>,
    /// Host paths and where they appear.
    pub(super) binds: Vec<(CString, CString)>,
    /// Symbolic links: target, name.
    pub(super) links: Vec<(CString, CString)>,
}

/// A null-terminated array of C strings, with the strings.
pub(super) struct Pointers {
    _strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Pointers {
    pub(super) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([null()]).collect();
        Pointers { _strings: strings, pointers }
    }
}

/// What failed, as the parent reports it.
pub(super) const STEPS: [&str; 9] = [
    "follow its parent",
    "map its user",
    "mount its own root",
    "furnish its root",
    "change to its root",
    "give up privileges",
    "arrange its descriptors",
    "limit itself",
    "run the program",
];

type Step = Result<(), u32>;

/// Turns the calling process, a fresh copy, into the program. Never returns.
pub(super) fn enter(plan: &Plan) -> ! {
    let step = match steps(plan) {
        Err(step) => step,
        Ok(()) => 8,
    };
    // SAFETY: plain system calls on descriptors and memory that the plan owns; the buffer outlives them.
    unsafe {
        let report = (u64::from(*libc::__errno_location() as u32) << 32) | u64::from(step);
        let bytes = report.to_ne_bytes();
        libc::write(plan.status, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(127)
    }
}

fn steps(plan: &Plan) -> Step {
    follow(plan)?;
    if let Some(world) = &plan.world {
        map_user(world)?;
        mount_root(world)?;
        furnish(world)?;
        change_root()?;
    }
    give_up(plan)?;
    arrange(plan)?;
    if let Some(limits) = &plan.limits
        && !limits.take_on()
    {
        return Err(7);
    }
    // SAFETY: the strings and the null-terminated arrays live in the plan.
    unsafe {
        libc::execve(
            plan.program.as_ptr(),
            plan.arguments.pointers.as_ptr(),
            plan.environment.pointers.as_ptr(),
        );
    }
    Err(8)
}

/// Dies with the thread that made it, and finds out whether that has ended already.
fn follow(plan: &Plan) -> Step {
    let mut byte = 0u8;
    // SAFETY: plain system calls; `byte` is one byte large.
    unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0), 0)?;
        libc::close(plan.go_writer);
        if libc::read(plan.go, (&raw mut byte).cast(), 1) != 1 {
            libc::_exit(127);
        }
        // A session of its own: out of reach of the terminal, and one group to kill.
        check(libc::setsid(), 0)
    }
}

fn map_user(world: &World) -> Step {
    write_file(c"/proc/self/setgroups", b"deny", 1)?;
    write_file(c"/proc/self/uid_map", &world.uid_map, 1)?;
    write_file(c"/proc/self/gid_map", &world.gid_map, 1)
}

fn write_file(path: &CStr, bytes: &[u8], step: u32) -> Step {
    // SAFETY: `path` is a C string and `bytes` a live slice of the length given.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        check(fd, step)?;
        let written = libc::write(fd, bytes.as_ptr().cast(), bytes.len());
        if written != bytes.len() as isize {
            return Err(step);
        }
        libc::close(fd);
    }
    Ok(())
}

fn mount_root(world: &World) -> Step {
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    // SAFETY: all pointers are C strings, or null where mount(2) ignores them.
    unsafe {
        // Nothing mounted here shall reach the host.
        check(libc::mount(null(), c"/".as_ptr(), null(), libc::MS_REC | libc::MS_PRIVATE, null()), 2)?;
        let anchor = world.anchor.as_ptr();
        check(
            libc::mount(c"tmpfs".as_ptr(), anchor, c"tmpfs".as_ptr(), flags, world.options.as_ptr().cast()),
            2,
        )?;
        check(libc::chdir(anchor), 2)
    }
}

fn furnish(world: &World) -> Step {
    for directory in &world.directories {
        // SAFETY: a C string.
        check(unsafe { libc::mkdir(directory.as_ptr(), 0o700) }, 3)?;
    }
    for file in &world.files {
        // SAFETY: a C string.
        check(unsafe { libc::mknod(file.as_ptr(), libc::S_IFREG | 0o600, 0) }, 3)?;
    }
    for (from, to) in &world.binds {
        let flags = libc::MS_BIND | libc::MS_REC;
        // SAFETY: C strings, and null where mount(2) ignores the argument.
        check(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), null(), flags, null()) }, 3)?;
    }
    for (_, to) in &world.binds {
        read_only(to)?;
    }
    for (target, name) in &world.links {
        // SAFETY: C strings.
        check(unsafe { libc::symlink(target.as_ptr(), name.as_ptr()) }, 3)?;
    }
    // SAFETY: C strings, and null where mount(2) ignores the argument.
    unsafe {
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        if libc::mount(c"proc".as_ptr(), c"proc".as_ptr(), c"proc".as_ptr(), flags, null()) == 0 {
            return Ok(());
        }
        // Where parts of /proc are hidden, as in containers, a fresh one is not allowed.
        let bind = libc::MS_BIND | libc::MS_REC;
        check(libc::mount(c"/proc".as_ptr(), c"proc".as_ptr(), null(), bind, null()), 3)
    }
}

/// What the host lends can be looked at, not changed, whoever owns it.
fn read_only(path: &CStr) -> Step {
    /// `struct mount_attr`: set, clear, propagation, user namespace.
    const READ_ONLY: [u64; 4] = [1, 0, 0, 0];
    let (flags, size) = (libc::AT_RECURSIVE, size_of_val(&READ_ONLY));
    // SAFETY: a C string, and an array with its size.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, path.as_ptr(), flags, READ_ONLY.as_ptr(), size)
    };
    if result == 0 { Ok(()) } else { Err(3) }
}

/// Makes the current directory the root and lets the old one go.
fn change_root() -> Step {
    let here = c".".as_ptr();
    // SAFETY: C strings.
    unsafe {
        if libc::syscall(libc::SYS_pivot_root, here, here) != 0 {
            return Err(4);
        }
        check(libc::umount2(here, libc::MNT_DETACH), 4)?;
        check(libc::chdir(c"/".as_ptr()), 4)
    }
}

fn give_up(plan: &Plan) -> Step {
    if plan.limits.is_some() {
        // In a namespace of its own it is nobody; here it may be root, which is to mean nothing after `execve`.
        // Who may not do this has no privileges to give up.
        for capability in 0..64 {
            // SAFETY: a plain system call.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
    }
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls with a live struct.
    unsafe {
        check(libc::setrlimit(libc::RLIMIT_CORE, &none), 5)?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 5)
    }
}

/// Leaves only what the program shall have: its three streams, the kept descriptors, default signals.
fn arrange(plan: &Plan) -> Step {
    // SAFETY: plain system calls; the signal set is initialised before it is used.
    unsafe {
        for (number, fd) in plan.stdio.iter().enumerate() {
            check(libc::dup2(*fd, number as RawFd), 6)?;
        }
        if libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
            return Err(6);
        }
        for fd in &plan.keep {
            check(libc::fcntl(*fd, libc::F_SETFD, 0), 6)?;
        }
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        check(libc::sigprocmask(libc::SIG_SETMASK, &signals, null_mut()), 6)?;
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    Ok(())
}

fn check(result: libc::c_int, step: u32) -> Step {
    if result < 0 { Err(step) } else { Ok(()) }
}

/// Makes a new process that runs `plan`, in new namespaces when the plan has a world. Answers its
/// process id and a descriptor for it.
pub(super) fn born(plan: &Plan) -> io::Result<(libc::pid_t, RawFd)> {
    let mut flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    if plan.world.is_some() {
        flags |= libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS;
    }
    let mut pidfd: RawFd = -1;
    // SAFETY: without a stack of its own the child goes on with a copy of this one, as after fork(2). It
    // only runs `enter`, which keeps to what is allowed there and never returns. `pidfd` is where the
    // kernel puts the descriptor.
    unsafe {
        let pid =
            libc::syscall(libc::SYS_clone, flags as libc::c_ulong, 0usize, &raw mut pidfd, 0usize, 0usize);
        match pid {
            0 => enter(plan),
            -1 => Err(io::Error::last_os_error()),
            pid => Ok((pid as libc::pid_t, pidfd)),
        }
    }
}
