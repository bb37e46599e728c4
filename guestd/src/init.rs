//! The agent as the first process of its machine.
//!
//! It mounts what every program expects, loads the modules for its disks, opens the port and serves. All
//! that can wait is left for later, so that the host has its first answer within milliseconds. The machine
//! goes off when the host says so or goes away.

use crate::agent::Agent;
use crate::disks::Disks;
use crate::tools::{self, Tools};
use crate::{modules, network, run, serve};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The port's name, given by the host.
const PORT: &str = "org.diskwright.rpc";
/// The host's word on the kernel's command line for a machine that ends when it restarts.
const BY_RESTART: &str = "diskwright.end=restart";
/// How long the port may take to appear and the host to open it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the machine until it is off.
pub(crate) fn run() -> ! {
    if let Err(error) = boot_and_serve() {
        let _ = writeln!(io::stderr(), "guestd: {error}");
    }
    power_off()
}

fn boot_and_serve() -> io::Result<()> {
    let nodev = MountFlags::NOSUID | MountFlags::NOEXEC;
    for (kind, place, flags) in [
        ("proc", "/proc", nodev),
        ("sysfs", "/sys", nodev),
        ("devtmpfs", "/dev", MountFlags::NOSUID),
        ("tmpfs", "/run", MountFlags::NOSUID),
        ("tmpfs", "/tmp", MountFlags::NOSUID),
    ] {
        let _ = std::fs::create_dir(place);
        match mount(kind, place, kind, flags, None::<&CStr>) {
            // The kernel mounts /dev by itself where it was built to.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => {
                return Err(io::Error::new(io::Error::from(error).kind(), format!("{place}: {error}")));
            }
        }
    }
    modules::load_listed(Path::new("/modules"))?;
    // The kernel runs this program when it wants a module. It may have been built never to ask.
    let _ = std::fs::write("/proc/sys/kernel/modprobe", "/init");
    for place in ["/sysroot", "/tools", "/dev/pts"] {
        let _ = std::fs::create_dir(place);
    }
    // Names that scripts use for what they have open.
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        let _ = std::os::unix::fs::symlink(target, Path::new("/dev").join(name));
    }
    // Terminals are for programs of the guest; without them all else works.
    let _ = mount("devpts", "/dev/pts", "devpts", MountFlags::NOSUID, None::<&CStr>);
    let sysroot = tools::prepare_sysroot()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));

    if let Err(error) = network::set_up() {
        let _ = writeln!(io::stderr(), "guestd: the network: {error}");
    }

    let port = open_port(PORT)?;
    let tools = Tools::Disk { ready: Mutex::new(false), sysroot };
    let agent = Arc::new(Agent::new(PathBuf::from("/sysroot"), tools, Disks::Serials, false)?);
    std::thread::Builder::new().name("reaper".into()).stack_size(128 << 10).spawn(reap_orphans)?;
    let linker = Arc::clone(&agent);
    std::thread::Builder::new()
        .name("names".into())
        .stack_size(256 << 10)
        .spawn(move || linker.disks.link_names())?;
    let writer = port.try_clone()?;
    let served = serve::serve(&agent, port, writer);
    // What is open in the guest would keep its file systems from being unmounted.
    agent.session.close();
    agent.mount_service.wait();
    served.map(|_| ())
}

/// Waits for a port and for the host at its other end.
pub(crate) fn open_port(name: &str) -> io::Result<File> {
    let deadline = Instant::now() + PATIENCE;
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no host at a port named '{name}'"));
    let node = loop {
        match find_port(name) {
            Some(node) => break node,
            None if Instant::now() > deadline => return Err(late()),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let port = OpenOptions::new().read(true).write(true).open(node)?;
    // Reading a port that no host has opened looks like the end of the stream.
    loop {
        let mut poll = [rustix::event::PollFd::new(&port, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut poll, Some(&now))?;
        if poll.iter().all(|state| !state.revents().contains(rustix::event::PollFlags::HUP)) {
            return Ok(port);
        }
        if Instant::now() > deadline {
            return Err(late());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn find_port(wanted: &str) -> Option<PathBuf> {
    let ports = std::fs::read_dir("/sys/class/virtio-ports").ok()?;
    let named = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim_end() == wanted)
    };
    ports.flatten().find(named).map(|entry| Path::new("/dev").join(entry.file_name()))
}

/// Collects processes whose parents are gone. Those that an action has started are waited for there.
fn reap_orphans() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let ours = run::started();
        for pid in zombies().into_iter().filter(|pid| !ours.contains(pid)) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
            }
        }
    }
}

/// Ended children of this process that nobody has waited for.
fn zombies() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let zombie = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may hold anything: the last one closes it.
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        (fields.next()? == "Z" && fields.next()? == "1").then_some(pid)
    };
    entries.flatten().filter_map(zombie).collect()
}

/// Writes everything and switches the machine off.
fn power_off() -> ! {
    rustix::fs::sync();
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let inside = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|path| path.starts_with("/sysroot/") || *path == "/sysroot");
    // Innermost last in the table, so first here; what is busy is detached and was synced above.
    for path in inside.collect::<Vec<_>>().into_iter().rev() {
        let path = path.replace("\\040", " ");
        if unmount(&path, UnmountFlags::empty()).is_err() {
            let _ = unmount(&path, UnmountFlags::DETACH);
        }
    }
    rustix::fs::sync();
    switch_off();
    // A machine without power-off is the host's to end.
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Switches the machine off as it is. Where it has no such switch, the host says that a restart ends it.
pub(crate) fn switch_off() {
    use rustix::system::{RebootCommand, reboot};
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let by_restart = line.split_whitespace().any(|word| word == BY_RESTART);
    let _ = reboot(if by_restart { RebootCommand::Restart } else { RebootCommand::PowerOff });
}
