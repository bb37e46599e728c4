//! The `uml` back-end: User-Mode Linux, a kernel that runs as an ordinary process.
//!
//! Its disks and its ports are ours, served over vhost-user. It is ready in a tenth of a second, needs no
//! privileges and no hardware, and has one processor.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use vmm_mini::virtio::console::Console;
use vmm_mini::virtio::device::VirtioDevice;
use vmm_mini::virtio::transport::vhost_user::Server;

use crate::backend::{Backend, LaunchError, LaunchSpec, Machine};
use crate::devices::{Disks, network};
use crate::log::KernelLog;
use crate::ports::{Ports, named};
use crate::process::{Process, at_end, inherited, open};
use crate::sandbox::{Child, Place, Program, private_directory};

/// Without these a boot spends a second timing things that the appliance hardly uses. The first makes
/// any RAID-6 parity computation panic.
const SKIP_RAID6_BENCHMARK: &str = "initcall_blacklist=raid6_select_algo,calibrate_xor_blocks";
const QUICK_BOOT: [&str; 3] = ["quiet", "lpj=40000000", "pty.legacy_count=0"];

/// User-Mode Linux of one kernel.
#[derive(Debug, Clone)]
pub struct Uml {
    kernel: PathBuf,
}

impl Uml {
    /// Uses the given kernel: a `linux.uml`, as in Debian's package user-mode-linux.
    pub fn new(kernel: impl Into<PathBuf>) -> Self {
        Uml { kernel: kernel.into() }
    }
}

impl Backend for Uml {
    fn name(&self) -> &'static str {
        "uml"
    }

    fn launch(&self, spec: LaunchSpec) -> Result<Box<dyn Machine>, LaunchError> {
        let file = open("the kernel", &self.kernel)?;
        let initrd = open("the initial root file system", &spec.initrd)?;
        let disks = Disks::new(spec.disks, spec.spare_slots)?;
        let port = |source| LaunchError::Device { what: "the agent's port".into(), source };
        let (ports, theirs) = Ports::new().map_err(port)?;
        let console: Arc<dyn VirtioDevice> = Arc::new(Console::new(None, named(theirs)).map_err(port)?);

        let mut arguments = arguments(spec.memory_mib, spec.raid6, &spec.cmdline);
        arguments.push(format!("initrd={}", inherited(&initrd)));
        let mut keep = vec![initrd];
        let mut servers = Vec::new();
        let disk = |disk| Arc::clone(disk) as Arc<dyn VirtioDevice>;
        let mut all: Vec<_> = disks.devices.iter().map(disk).chain([console]).collect();
        all.extend(network(spec.network)?);
        let sockets =
            sockets(all.len()).map_err(|source| LaunchError::Device { what: "sockets".into(), source })?;
        for (number, (device, (listener, socket))) in all.into_iter().zip(sockets).enumerate() {
            arguments.push(format!("virtio_uml.device={}:{}", inherited(&socket), device.device_id()));
            keep.push(socket);
            let server = Server::listen(format!("vhost-{number}"), listener, device);
            let what = || format!("virtio device {number}");
            servers.push(server.map_err(|source| LaunchError::Device { what: what(), source })?);
        }

        let failed = |source| LaunchError::Process { program: "User-Mode Linux", source };
        let (log, output) = io::pipe().map_err(failed)?;
        let (log, reader) = KernelLog::collect(log, spec.console).map_err(failed)?;
        let program = Program {
            file,
            name: "linux.uml".into(),
            keep,
            output: output.into(),
            memory: u64::from(spec.memory_mib) << 20,
            one_processor: true,
        };
        let at_end = at_end(servers, reader, log.clone());
        let child =
            Child::spawn(program, move |place| in_place(&arguments, place), at_end).map_err(failed)?;
        Ok(Box::new(Process { child, ports, disks, log }))
    }
}

/// Listening sockets that have no names any more, with handles by which they can still be connected to.
///
/// UML insists on a path. A path through `/proc/self/fd` leads to a socket although its file is gone:
/// nobody else can find it, and nothing is left behind.
fn sockets(count: usize) -> io::Result<Vec<(UnixListener, OwnedFd)>> {
    let path = private_directory()?;
    let bound = bind_all(&path, count);
    let removed = std::fs::remove_dir_all(&path);
    let bound = bound?;
    removed.map(|()| bound)
}

fn bind_all(path: &Path, count: usize) -> io::Result<Vec<(UnixListener, OwnedFd)>> {
    let directory = OwnedFd::from(File::open(path)?);
    let bind = |number| {
        // Short, wherever the directory is: the path of a socket has at most 107 bytes.
        let path = format!("{}/{number}", inherited(&directory));
        let listener = UnixListener::bind(&path)?;
        let handle = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok((listener, handle))
    };
    (0..count).map(bind).collect()
}

fn arguments(memory_mib: u32, raid6: bool, extra: &[String]) -> Vec<String> {
    let mut arguments = vec![format!("mem={memory_mib}M"), "rdinit=/init".into()];
    // Without this UML opens terminal windows; so its console is our log.
    arguments.extend(["con=null".into(), "con0=null,fd:1".into()]);
    arguments.extend(QUICK_BOOT.map(String::from));
    if !raid6 {
        arguments.push(SKIP_RAID6_BENCHMARK.into());
    }
    arguments.extend_from_slice(extra);
    arguments
}

/// Adds what depends on where the process may write. A guest could mount any host directory as hostfs:
/// it gets an empty one.
fn in_place(arguments: &[String], place: &Place) -> Vec<OsString> {
    let mut all: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let mut directory = OsString::from("uml_dir=");
    directory.push(&place.directory);
    directory.push("/");
    let mut empty = OsString::from("hostfs=");
    empty.push(&place.empty);
    all.extend([directory, "umid=a".into(), empty]);
    all
}
