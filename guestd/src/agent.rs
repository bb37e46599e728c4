//! What all actions share: the way to the guest's files, the tools, the disks, the umask.

use crate::disks::Disks;
use crate::exchange::Exchange;
use crate::network::NameServers;
use crate::session::Session;
use crate::tools::Tools;
use guestd_api::Failure;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock};

/// The agent's state.
pub(crate) struct Agent {
    /// The agent's own root, to come back from the guest's.
    pub(crate) own_root: OwnedFd,
    /// Where the guest's file systems are mounted.
    pub(crate) sysroot: PathBuf,
    /// The tools and where their root is.
    pub(crate) tools: Tools,
    /// The disks and their names.
    pub(crate) disks: Disks,
    /// The mask for new files, set by the action of that name.
    pub(crate) umask: AtomicU32,
    /// The way for large pieces of streams, once it was looked for.
    pub(crate) way: OnceLock<Option<Arc<Exchange>>>,
    /// What is known of volumes that lie on disks and of those that LVM may see.
    pub(crate) volumes: crate::volumes::Volumes,
    /// The programs of the guest that run, and what was arranged for them.
    pub(crate) guest_programs: Mutex<GuestPrograms>,
    /// What actions leave open for those after them.
    pub(crate) session: Session,
    /// The mount of the guest on the host, if there is one.
    pub(crate) mount_service: crate::fuse::Service,
    /// True when whoever started the agent promises that `sysroot` is a guest although nothing is mounted
    /// on it.
    pub(crate) directory_is_guest: bool,
}

/// Programs of the guest need /dev, /proc and /sys inside it, and name servers if there is a network.
#[derive(Default)]
pub(crate) struct GuestPrograms {
    /// How many run.
    pub(crate) users: usize,
    /// Shown to them.
    pub(crate) name_servers: Option<NameServers>,
}

impl Agent {
    /// An agent over a directory for the guest.
    pub(crate) fn new(
        sysroot: PathBuf,
        tools: Tools,
        disks: Disks,
        directory_is_guest: bool,
    ) -> io::Result<Self> {
        let own_root =
            rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Agent {
            own_root,
            sysroot,
            tools,
            disks,
            umask: AtomicU32::new(0o022),
            way: OnceLock::new(),
            volumes: crate::volumes::Volumes::default(),
            guest_programs: Mutex::default(),
            session: Session::default(),
            mount_service: crate::fuse::Service::default(),
            directory_is_guest,
        })
    }

    /// The exchange, if the machine has one.
    pub(crate) fn exchange(&self) -> Option<Arc<Exchange>> {
        self.way.get_or_init(|| Exchange::of_machine().map(Arc::new)).clone()
    }

    /// The mounts at or below the guest's root, outermost first: device and path in the guest.
    pub(crate) fn guest_mounts(&self) -> Result<Vec<GuestMount>, Failure> {
        let table =
            std::fs::read("/proc/self/mountinfo").map_err(|e| Failure::io("/proc/self/mountinfo", &e))?;
        Ok(table.split(|b| *b == b'\n').filter_map(|line| self.guest_mount(line)).collect())
    }

    fn guest_mount(&self, line: &[u8]) -> Option<GuestMount> {
        let mut fields = line.split(|b| *b == b' ');
        let target = unescape(fields.nth(4)?);
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let source = unescape(rest.nth(1)?);
        let root = self.sysroot.as_os_str().as_encoded_bytes();
        let inside = target.strip_prefix(root)?;
        let path = match inside {
            [] => b"/".to_vec(),
            [b'/', ..] => inside.to_vec(),
            _ => return None,
        };
        // The agent's own mounts below the guest's root have no device: the tmpfs for mount points, /proc...
        source.starts_with(b"/dev/").then_some(GuestMount { device: source, path })
    }
}

/// A mounted file system of the guest.
pub(crate) struct GuestMount {
    /// The device as the kernel names it.
    pub(crate) device: Vec<u8>,
    /// Where, as the guest sees it.
    pub(crate) path: Vec<u8>,
}

/// Undoes the octal escapes of the kernel's mount table.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a & 3) << 6 | (b & 7) << 3 | (c & 7));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn mount_table_escapes() {
        assert_eq!(super::unescape(br"/a\040b\134\0"), br"/a b\\0");
    }
}
