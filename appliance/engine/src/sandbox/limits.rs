//! What a process without namespaces of its own may still do: the rules that it puts on itself.
//!
//! Landlock keeps it to the files that it needs, where the kernel has Landlock; a filter of system calls
//! keeps it from making any socket but those between processes, and from io_uring, which would go round the
//! filter. Neither needs a privilege. Rules are made before the process is born, and taken on in it by
//! system calls alone.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Programs and libraries, and what they ask the system.
const READ: [&str; 11] = [
    "/usr",
    "/lib",
    "/lib64",
    "/lib32",
    "/bin",
    "/sbin",
    "/nix",
    "/gnu",
    "/proc",
    "/sys",
    "/etc/ld.so.cache",
];
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// Rights of Landlock's first version (linux/landlock.h).
const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// All thirteen of them; later versions add to those.
const FIRST_VERSION: u64 = (1 << 13) - 1;
/// Moving and linking between directories; truncating; requests to devices.
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// What can be said of a file that is no directory.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
/// Binding and connecting TCP; connecting to abstract sockets and sending signals to the outside.
const NO_TCP: u64 = 0b11;
const NO_SCOPES: u64 = 0b11;
const RULE_PATH_BENEATH: libc::c_int = 1;
const VERSION: u32 = 1;

/// `struct landlock_ruleset_attr`: files, network, scopes.
type Handled = [u64; 3];

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

/// Rules for one process.
pub(super) struct Limits {
    /// None where the kernel has no Landlock.
    ruleset: Option<OwnedFd>,
    filter: Vec<libc::sock_filter>,
}

impl Limits {
    /// Rules that allow to read `files`, to run the first of them, and anything below `own`.
    pub(super) fn new(files: &[BorrowedFd<'_>], own: &[&Path]) -> io::Result<Self> {
        Ok(Limits { ruleset: ruleset(files, own)?, filter: filter() })
    }

    /// Whether files are out of reach.
    pub(super) fn guards_files(&self) -> bool {
        self.ruleset.is_some()
    }

    /// Takes the rules on, for this process and those that it makes. False if the kernel refuses. Only system
    /// calls; `no_new_privs` must be set.
    pub(super) fn take_on(&self) -> bool {
        let program = libc::sock_fprog {
            len: self.filter.len() as libc::c_ushort,
            filter: self.filter.as_ptr().cast_mut(),
        };
        // SAFETY: plain system calls, with a program that lives as long as `self` and is not written to.
        unsafe {
            if let Some(ruleset) = &self.ruleset
                && libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) != 0
            {
                return false;
            }
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        }
    }
}

fn ruleset(files: &[BorrowedFd<'_>], own: &[&Path]) -> io::Result<Option<OwnedFd>> {
    let Ok(version @ 1..) = create(&[0; 3], 0, VERSION) else { return Ok(None) };
    let mut all = FIRST_VERSION;
    for (since, right) in [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)] {
        all |= if version >= since { right } else { 0 };
    }
    let handled: Handled =
        [all, if version >= 4 { NO_TCP } else { 0 }, if version >= 6 { NO_SCOPES } else { 0 }];
    let known = match version {
        ..4 => 8,
        4..6 => 16,
        6.. => 24,
    };
    let ruleset = create(&handled, known, 0)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    let read = EXECUTE | READ_FILE | READ_DIR;
    for path in READ {
        allow_path(&ruleset, Path::new(path), read & all)?;
    }
    for path in DEVICES {
        allow_path(&ruleset, Path::new(path), (READ_FILE | WRITE_FILE) & all)?;
    }
    for path in own {
        allow_path(&ruleset, path, all)?;
    }
    for (number, file) in files.iter().enumerate() {
        let run = if number == 0 { EXECUTE } else { 0 };
        // A socket is not reached by a path, and needs no rule.
        let _ = allow(&ruleset, file.as_raw_fd(), READ_FILE | run);
    }
    Ok(Some(ruleset))
}

fn create(handled: &Handled, size: usize, flags: u32) -> io::Result<i32> {
    let attribute = if size == 0 { std::ptr::null() } else { handled.as_ptr() };
    // SAFETY: `size` bytes of `handled` are read, which has no fewer.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attribute, size, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}

/// What is not there need not be allowed.
fn allow_path(ruleset: &OwnedFd, path: &Path, rights: u64) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: a C string.
    let fd = unsafe { libc::open(name.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    if fd < 0 {
        return Ok(());
    }
    // SAFETY: it was opened just now, for nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let rights = if path.is_dir() { rights } else { rights & OF_FILES };
    allow(ruleset, fd.as_raw_fd(), rights)
}

fn allow(ruleset: &OwnedFd, parent: i32, allowed: u64) -> io::Result<()> {
    let rule = Beneath { allowed, parent };
    let pointer = &raw const rule;
    // SAFETY: the rule is of the type that its number stands for, and lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, pointer, 0u32)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Refuses sockets of any family but `AF_UNIX`, and io_uring; calls in the manner of other processors end it.
fn filter() -> Vec<libc::sock_filter> {
    /// Offsets in `struct seccomp_data`: the call's number, the architecture, the first argument's lower half.
    const NUMBER: u32 = 0;
    const ARCHITECTURE: u32 = 4;
    const FIRST: u32 = 16;
    const X86_64: u32 = 0xc000_003e;
    /// Numbers from here on are the calls of a 64-bit system with 32-bit pointers.
    const X32: u32 = 0x4000_0000;
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let equal = |value, yes, no| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value);
    let answer = |value| step(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    vec![
        load(ARCHITECTURE),
        equal(X86_64, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 5, 0, X32),
        equal(libc::SYS_io_uring_setup as u32, 4, 0),
        equal(libc::SYS_socket as u32, 1, 0),
        answer(libc::SECCOMP_RET_ALLOW),
        load(FIRST),
        equal(libc::AF_UNIX as u32, 1, 0),
        answer(refuse),
        answer(libc::SECCOMP_RET_ALLOW),
    ]
}

fn step(code: u32, yes: u8, no: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: yes, jf: no, k }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    /// What a shell can still do under the rules, and what it can do without them.
    fn outcomes(limits: Option<Limits>, script: &str) -> String {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        // SAFETY: system calls alone, as `take_on` promises.
        unsafe {
            command.pre_exec(move || {
                let Some(limits) = &limits else { return Ok(()) };
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                if limits.take_on() { Ok(()) } else { Err(io::Error::last_os_error()) }
            });
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn files_and_networks_are_out_of_reach() {
        let (mine, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (given, secret) = (others.path().join("given"), others.path().join("secret"));
        std::fs::write(&given, "given").unwrap();
        std::fs::write(&secret, "secret").unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        // Hangs up at once, until the test ends.
        std::thread::spawn(move || listener.incoming().for_each(drop));
        let script = format!(
            "try() {{ if \"$@\" >/dev/null 2>&1; then echo yes; else echo no; fi; }}
             try cat {given}; try cp {given} {mine}/copy; try ls /usr/bin
             try cat {secret}; try ls {others}; try cat /etc/passwd; try rm {secret}; try cp {given} {others}/new
             try timeout 10 busybox nc 127.0.0.1 {port} </dev/null",
            given = given.display(),
            secret = secret.display(),
            mine = mine.path().display(),
            others = others.path().display(),
        );
        assert_eq!(outcomes(None, &script), "yes\n".repeat(9), "without rules everything works");
        std::fs::write(&secret, "secret").unwrap();
        let file = std::fs::File::open(&given).unwrap();
        let limits = Limits::new(&[file.as_fd()], &[mine.path()]).unwrap();
        let guarded = if limits.guards_files() { "no\n" } else { "yes\n" };
        let expected = format!("{}{}no\n", "yes\n".repeat(3), guarded.repeat(5));
        assert_eq!(outcomes(Some(limits), &script), expected);
    }
}
