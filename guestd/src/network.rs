//! The machine's network: its loopback always, and one device when the host has given it one.
//!
//! Addresses are fixed (`guestd_api::network`), so there is nothing to ask for and nothing to wait for.

use crate::modules;
use crate::sys::{self, Route};
use guestd_api::network::{ADDRESS, GATEWAY, NAME_SERVER, PREFIX};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The number of network devices among those of virtio.
const VIRTIO_NET: &str = "0x0001";
/// How long the driver may take to show the interface.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whether there is a network.
static IS_UP: AtomicBool = AtomicBool::new(false);
/// What programs of the guest read when they look a name up, and where it is in the guest.
const RESOLV_CONF: &str = "/run/resolv.conf";
const IN_ETC: &str = "resolv.conf";

/// Sets up what there is. A machine works without a network as well: that it has none is only said.
pub(crate) fn set_up() -> io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    let full = Ipv4Addr::new(255, 0, 0, 0);
    sys::set_address(&socket, "lo", Ipv4Addr::LOCALHOST, full)?;
    if !has_device() {
        return Ok(());
    }
    modules::load_listed(Path::new("/modules/network"))?;
    let name = interface()?;
    let mask = Ipv4Addr::from_bits(u32::MAX << (32 - u32::from(PREFIX)));
    sys::set_address(&socket, &name, ADDRESS, mask)?;
    sys::add_route(&socket, Route { to: Ipv4Addr::UNSPECIFIED, mask: Ipv4Addr::UNSPECIFIED, by: GATEWAY })?;
    IS_UP.store(true, Ordering::Relaxed);
    Ok(())
}

/// The machine's name servers in the place of the guest's, until this is dropped. Nothing of the guest's is
/// changed: they are mounted over its `/etc/resolv.conf`, be that a file or a link to nowhere.
pub(crate) struct NameServers {
    /// The guest's /etc, if the file in it was made for this.
    made_in: Option<OwnedFd>,
    /// What is covered.
    place: OwnedFd,
}

impl NameServers {
    /// Shows them in the guest at `root`; in a guest without /etc, or one that cannot be written to and has no
    /// such file, a program does without, as in a machine that has no network.
    pub(crate) fn show_in(root: &Path) -> Option<Self> {
        IS_UP.load(Ordering::Relaxed).then(|| Self::cover(root).ok()).flatten()
    }

    fn cover(root: &Path) -> io::Result<Self> {
        // Anew, since a program may have written into the last one.
        std::fs::write(RESOLV_CONF, format!("nameserver {NAME_SERVER}\n"))?;
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, directory, Mode::empty())?;
        let etc = rustix::fs::openat2(root, "etc", directory, Mode::empty(), ResolveFlags::IN_ROOT)?;
        let look = || {
            rustix::fs::openat(&etc, IN_ETC, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        };
        let (place, made_in) = match look() {
            Ok(place) => (place, None),
            Err(Errno::NOENT) => {
                let new = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                drop(rustix::fs::openat(&etc, IN_ETC, new, Mode::from_raw_mode(0o644))?);
                (look()?, Some(etc))
            }
            Err(error) => return Err(error.into()),
        };
        // Where it is put is what the descriptor stands for: a link there is covered, not followed.
        let shown = NameServers { made_in, place };
        mount_bind(RESOLV_CONF, own_path(&shown.place))?;
        Ok(shown)
    }
}

impl Drop for NameServers {
    fn drop(&mut self) {
        let _ = unmount(own_path(&self.place), UnmountFlags::DETACH);
        if let Some(etc) = &self.made_in {
            let _ = rustix::fs::unlinkat(etc, IN_ETC, AtFlags::empty());
        }
    }
}

fn own_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Whether the host has given the machine a device. Nothing but the bus need know it yet.
fn has_device() -> bool {
    let Ok(devices) = std::fs::read_dir("/sys/bus/virtio/devices") else { return false };
    devices.flatten().any(|device| {
        std::fs::read_to_string(device.path().join("device")).is_ok_and(|number| number.trim() == VIRTIO_NET)
    })
}

/// The name of the interface that is not the loopback.
fn interface() -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = std::fs::read_dir("/sys/class/net")?.flatten().find_map(|entry| {
            let is_device = entry.path().join("device").exists();
            is_device.then(|| entry.file_name().into_string().ok()).flatten()
        });
        match found {
            Some(name) => return Ok(name),
            None if Instant::now() > deadline => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the network device does not appear"));
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
