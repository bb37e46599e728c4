//! A mount point of the kernel: how it is made, found and taken off.
//!
//! Who is root mounts by a system call. Anybody else asks `fusermount3`, which checks that the directory is
//! theirs and passes the connection to the kernel back over a socket.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::options::MountOptions;

/// What the list of mounts shows where nothing else was asked for.
const SOURCE: &str = "/dev/fuse";
/// The program for those who are not root, under both its names.
const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];

/// What is mounted, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// Mounts on a directory or a file, and returns the connection to the kernel.
///
/// # Errors
/// When the kernel does not mount, or this user may not.
pub fn mount(point: &Path, kind: Kind, options: &MountOptions) -> io::Result<OwnedFd> {
    if rustix::process::geteuid().is_root() {
        by_kernel(point, kind, options)
    } else {
        by_helper(point, options)
    }
}

fn by_kernel(point: &Path, kind: Kind, options: &MountOptions) -> io::Result<OwnedFd> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let flag = |wanted: bool, flag| if wanted { flag } else { MountFlags::empty() };
    let flags = flag(options.read_only, MountFlags::RDONLY)
        | flag(!options.suid, MountFlags::NOSUID)
        | flag(!options.dev, MountFlags::NODEV)
        | flag(options.noexec, MountFlags::NOEXEC);
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let top = match kind {
        Kind::Directory => "40000",
        Kind::File => "100000",
    };
    let mut data =
        format!("fd={},rootmode={top},user_id={uid},group_id={gid},default_permissions", device.as_raw_fd());
    if options.allow_other || options.allow_root {
        data.push_str(",allow_other");
    }
    let kind = options.subtype.as_ref().map_or("fuse".to_owned(), |subtype| format!("fuse.{subtype}"));
    let source = options.fsname.as_deref().unwrap_or(SOURCE);
    rustix::mount::mount(source, point, kind, flags, Some(CString::new(data)?.as_c_str()))?;
    Ok(device.into())
}

fn by_helper(point: &Path, options: &MountOptions) -> io::Result<OwnedFd> {
    let mut words =
        vec![if options.read_only { "ro" } else { "rw" }.to_owned(), "default_permissions".to_owned()];
    let given = [
        ("allow_other", options.allow_other || options.allow_root),
        ("suid", options.suid),
        ("dev", options.dev),
        ("noexec", options.noexec),
    ];
    words.extend(given.iter().filter(|(_, given)| *given).map(|(word, _)| (*word).to_owned()));
    words.push(format!("fsname={}", options.fsname.as_deref().unwrap_or(SOURCE)));
    words.extend(options.subtype.as_ref().map(|subtype| format!("subtype={subtype}")));
    let (ours, theirs) = UnixStream::pair()?;
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty())?;
    let words = words.join(",");
    let arguments = ["-o".as_ref(), words.as_ref(), "--".as_ref(), point.as_os_str()];
    let number = theirs.as_raw_fd().to_string();
    let ran = helper(|command| command.args(arguments).env("_FUSE_COMMFD", &number))?;
    drop(theirs);
    ran?;
    receive(&ours)
}

/// Runs the helper; the inner error is what it said.
fn helper(arrange: impl Fn(&mut Command) -> &mut Command) -> io::Result<io::Result<()>> {
    for name in HELPERS {
        let mut command = Command::new(name);
        let output = match arrange(&mut command).stdin(Stdio::null()).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            output => output?,
        };
        if output.status.success() {
            return Ok(Ok(()));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(io::Error::other(said.trim().to_owned())));
    }
    let text = "fusermount3 is not installed (package fuse3); only root can do without";
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

/// The descriptor that comes over a socket.
fn receive(from: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let mut parts = [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let found = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    found.ok_or_else(|| io::Error::other("fusermount3 has mounted and given nothing back"))
}

/// Takes a mount off; a busy one goes out of sight at once if `lazy`, and off when nobody uses it any more.
///
/// # Errors
/// When it is busy, or nothing is mounted there.
pub fn unmount(point: &Path, lazy: bool) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let detach = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
        return Ok(rustix::mount::unmount(point, detach | UnmountFlags::NOFOLLOW)?);
    }
    let words: &[&str] = if lazy { &["-u", "-q", "-z", "--"] } else { &["-u", "-q", "--"] };
    match helper(|command| command.args(words).arg(point))? {
        Err(error) if error.to_string().is_empty() => Err(io::Error::from(io::ErrorKind::ResourceBusy)),
        ended => ended,
    }
}

/// Takes a mount off that nobody uses.
///
/// # Errors
/// When somebody uses it, or nothing is mounted there.
pub fn unmount_now(point: &Path) -> io::Result<()> {
    unmount(point, false)
}

/// A mount as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where, without symbolic links.
    pub point: PathBuf,
    /// The number of its device, `major:minor`.
    pub device: String,
    /// Its type: `fuse`, `fuse.NAME`...
    pub kind: String,
}

/// What is mounted on a directory, on top. Its file system is not touched: it may be dead.
///
/// # Errors
/// When the directory above cannot be found, or the list not read.
pub fn find(point: &Path) -> io::Result<Option<Listed>> {
    let absolute = std::path::absolute(point)?;
    let real = match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize()?.join(name),
        _ => absolute,
    };
    let table = std::fs::read("/proc/self/mountinfo")?;
    let on = |point: &Path| {
        let mut listed = table.split(|byte| *byte == b'\n').filter_map(parse);
        listed.rfind(|mount| mount.point == point)
    };
    // The name may be a symbolic link to a mount.
    Ok(on(&real).or_else(|| on(&real.canonicalize().ok()?)))
}

/// A line of the kernel's list.
fn parse(line: &[u8]) -> Option<Listed> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let point = PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.nth(1)?)));
    let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?);
    Some(Listed { point, device, kind })
}

/// Undoes the octal escapes of the list.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        (out, rest) = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a & 3) << 6 | (b & 7) << 3 | (c & 7));
                (out, after)
            }
            _ => {
                out.push(*first);
                (out, tail)
            }
        };
    }
    out
}

/// Lets the kernel read further ahead than it does by itself, where this user may say so.
pub fn read_ahead(point: &Path) {
    if let Ok(Some(mount)) = find(point) {
        // Reading is slower without, and nothing else.
        let _ = std::fs::write(format!("/sys/class/bdi/{}/read_ahead_kb", mount.device), "1024");
    }
}

/// The top of a mount, open for what concerns the whole of it.
///
/// # Errors
/// When it cannot be opened.
pub fn open(point: &Path) -> io::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open(point, flags, rustix::fs::Mode::empty())?)
}

/// Writes everything of a mount.
///
/// # Errors
/// When that fails.
pub fn sync(mount: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(mount)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_list_is_understood() {
        let line = br"94 29 0:57 / /mnt/a\040b rw,nosuid shared:1 - fuse.x /dev/fuse rw,user_id=0";
        let expected = Listed { point: "/mnt/a b".into(), device: "0:57".into(), kind: "fuse.x".into() };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(b"94 29 0:57"), None);
        assert_eq!(find(Path::new("/proc")).unwrap().unwrap().kind, "proc");
        assert_eq!(find(Path::new("/nowhere-at-all")).unwrap(), None);
    }
}
