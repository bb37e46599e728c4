//! The `kvm` back-end: our own machine monitor, inside this process.
//!
//! Disks and the port are the same device models as for the other back-ends, reached over virtio-pci.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use libimage::Block;
use vmm_mini::virtio::console::Console;
use vmm_mini::virtio::device::VirtioDevice;
use vmm_mini::{Config, Exit, Vm};

use crate::backend::{Backend, Ended, LaunchError, LaunchSpec, Machine};
use crate::devices::{Disks, network};
use crate::log::{KernelLog, LogReader};
use crate::ports::{Ports, named};

/// Console output is dear (each byte leaves the guest), and so is what times or probes hardware that is
/// not there.
const CMDLINE: &str = "console=ttyS0 panic=-1 quiet loglevel=1 mitigations=off nokaslr random.trust_cpu=1 \
                       no_timer_check tsc=reliable audit=0 nowatchdog cryptomgr.notests 8250.nr_uarts=1 \
                       i8042.nokbd i8042.noaux reboot=t ipv6.disable=1 rdinit=/init";

/// A machine of our own with one kernel.
#[derive(Debug, Clone)]
pub struct Kvm {
    kernel: PathBuf,
}

impl Kvm {
    /// Uses `kernel`: an ELF vmlinux with a PVH note, which boots soonest, or a bzImage.
    pub fn new(kernel: impl Into<PathBuf>) -> Self {
        Kvm { kernel: kernel.into() }
    }
}

impl Backend for Kvm {
    fn name(&self) -> &'static str {
        "kvm"
    }

    fn launch(&self, spec: LaunchSpec) -> Result<Box<dyn Machine>, LaunchError> {
        let disks = Disks::new(spec.disks, spec.spare_slots)?;
        let port = |source| LaunchError::Device { what: "the agent's port".into(), source };
        let (ports, theirs) = Ports::new().map_err(port)?;
        let console = Console::new(None, named(theirs)).map_err(port)?;
        let (output, serial) = io::pipe().map_err(port)?;
        let (log, reader) = KernelLog::collect(output, spec.console).map_err(port)?;

        let mut devices: Vec<Arc<dyn VirtioDevice>> = Vec::new();
        devices.extend(disks.devices.iter().map(|disk| Arc::clone(disk) as Arc<dyn VirtioDevice>));
        devices.push(Arc::new(console));
        devices.extend(network(spec.network)?);
        let extra: String = spec.cmdline.iter().map(|word| format!(" {word}")).collect();
        let config = Config {
            memory_mib: u64::from(spec.memory_mib),
            vcpus: spec.cpus.max(1),
            initrd: Some(spec.initrd),
            cmdline: format!("{CMDLINE}{extra}"),
            devices,
            serial: Some(Box::new(serial)),
            ..Config::new(&self.kernel)
        };
        let failed =
            |source| LaunchError::Process { program: "a virtual machine", source: io::Error::other(source) };
        let port_ends = ports.try_clone().map_err(port)?;
        let vm = Arc::new(Vm::new(config).map_err(failed)?);
        let theirs = Arc::clone(&vm);
        let watcher = std::thread::Builder::new().name("machine-end".into()).spawn(move || {
            // A machine may switch off before its port's last message was looked at: whoever listens to
            // a port learns of the end in any case.
            let _ = theirs.wait();
            drop(theirs);
            for end in port_ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        });
        let watcher = watcher.map_err(|source| LaunchError::Process { program: "a thread", source })?;
        vm.run();
        Ok(Box::new(Running { vm, watcher: Some(watcher), ports, disks, log, _reader: reader }))
    }
}

/// A running machine. Fields are dropped in order: the machine before what it uses.
struct Running {
    vm: Arc<Vm>,
    watcher: Option<JoinHandle<()>>,
    ports: Ports,
    disks: Disks,
    log: KernelLog,
    _reader: LogReader,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.vm.stop();
        if let Some(watcher) = self.watcher.take() {
            // It has nothing to tell.
            let _ = watcher.join();
        }
    }
}

impl Machine for Running {
    fn rpc(&mut self) -> io::Result<UnixStream> {
        self.ports.rpc()
    }

    fn mount_port(&mut self) -> io::Result<UnixStream> {
        self.ports.mount()
    }

    fn kernel_log(&self) -> String {
        self.log.text()
    }

    fn set_slot(&self, index: usize, block: Option<Arc<dyn Block>>) -> io::Result<()> {
        self.disks.set_slot(index, block)
    }

    fn wait(&self, timeout: Duration) -> Option<Ended> {
        Some(match self.vm.wait_timeout(timeout)? {
            Exit::PowerOff | Exit::Reset | Exit::Stopped => Ended::Exited(0),
            Exit::Panic(_) | Exit::TripleFault => Ended::Signalled(libc::SIGABRT),
            _ => Ended::Exited(1),
        })
    }

    fn kill(&self) {
        self.vm.stop();
    }

    fn process_id(&self) -> Option<i32> {
        None
    }

    fn confinement(&self) -> &'static str {
        "a virtual machine in this process"
    }
}
