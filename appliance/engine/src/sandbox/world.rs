//! What a shut-in process gets to see: programs, libraries, a few devices, and room of its own.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::process::{getegid, geteuid};

use super::Place;
use super::enter::World;

/// Host directories that programs and their libraries come from. Where one is a link, the link is copied.
const SHOWN: [&str; 8] = ["usr", "lib", "lib64", "lib32", "bin", "sbin", "nix", "gnu"];
const SHOWN_FILES: [&str; 2] = ["etc/ld.so.cache", "dev/null"];
const DEVICES: [&str; 3] = ["dev/zero", "dev/random", "dev/urandom"];
/// Who the process is inside, when it is root outside: nobody who could do anything.
const NOBODY: u32 = 65534;
/// Room for everything that is not the guest's memory.
const SLACK: u64 = 16 << 20;

/// Plans a private world with `memory` bytes of room.
pub(super) fn create(memory: u64) -> io::Result<(World, Place)> {
    let anchor = ["/dev/shm", "/tmp", "/mnt", "/var"]
        .into_iter()
        .find(|path| Path::new(path).is_dir())
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let (uid, gid) = (geteuid(), getegid());
    let inner = if uid.is_root() { NOBODY } else { uid.as_raw() };
    let mut world = World {
        anchor: c_string(anchor)?,
        options: c_string(format!("mode=0700,size={}", memory.saturating_add(SLACK)))?,
        uid_map: format!("{inner} {} 1", uid.as_raw()).into_bytes(),
        gid_map: format!("{inner} {} 1", gid.as_raw()).into_bytes(),
        directories: Vec::new(),
        files: Vec::new(),
        binds: Vec::new(),
        links: Vec::new(),
    };
    for name in ["proc", "dev", "dev/shm", "etc", "tmp", "run", "empty"] {
        world.directories.push(c_string(name)?);
    }
    for name in SHOWN {
        let host = Path::new("/").join(name);
        if let Ok(target) = std::fs::read_link(&host) {
            world.links.push((c_string(target)?, c_string(name)?));
        } else if host.is_dir() {
            world.directories.push(c_string(name)?);
            world.binds.push((c_string(host)?, c_string(name)?));
        }
    }
    for name in SHOWN_FILES.into_iter().chain(DEVICES) {
        let host = Path::new("/").join(name);
        if host.exists() {
            world.files.push(c_string(name)?);
            world.binds.push((c_string(host)?, c_string(name)?));
        }
    }
    let place = Place { directory: "/run".into(), empty: "/empty".into(), temporary: None };
    Ok((world, place))
}

/// Makes a private directory on the host, in a file system that can hold `memory` bytes of guest. Answers it
/// a second time: whoever has it removes it.
pub(super) fn shared_place(memory: u64) -> io::Result<(Place, PathBuf)> {
    let directory = private_directory_in(&roomy_directory(memory)?)?;
    let empty = directory.join("empty");
    if let Err(error) = std::fs::create_dir(&empty) {
        let _ = std::fs::remove_dir_all(&directory);
        return Err(error);
    }
    Ok((Place { directory: directory.clone(), empty, temporary: Some(directory.clone()) }, directory))
}

/// Makes a directory that only we can enter, in the place for temporary files.
pub(crate) fn private_directory() -> io::Result<PathBuf> {
    private_directory_in(&std::env::temp_dir())
}

fn private_directory_in(base: &Path) -> io::Result<PathBuf> {
    for attempt in 0..100u32 {
        let path = base.join(format!("diskwright-{}-{attempt}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(path),
        }
    }
    let text = format!("Could not make a private directory in '{}'", base.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
}

/// Guest memory is an executable mapping of a file, which is best in `/dev/shm`.
fn roomy_directory(memory: u64) -> io::Result<PathBuf> {
    for path in ["/dev/shm", "/tmp", "/var/tmp"] {
        let Ok(stat) = statvfs(path) else { continue };
        let room = stat.f_bavail.saturating_mul(stat.f_frsize);
        if room >= memory && !stat.f_flag.contains(StatVfsMountFlags::NOEXEC) {
            return Ok(PathBuf::from(path));
        }
    }
    let mebibytes = memory >> 20;
    let text = format!(
        "None of /dev/shm, /tmp and /var/tmp has {mebibytes} MiB of room and allows execution, as guest \
         memory needs: enlarge /dev/shm (mount -o remount,size=...) or give the appliance less memory"
    );
    Err(io::Error::new(io::ErrorKind::StorageFull, text))
}

fn c_string(text: impl AsRef<std::ffi::OsStr>) -> io::Result<CString> {
    CString::new(text.as_ref().as_bytes()).map_err(io::Error::other)
}
