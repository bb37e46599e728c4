//! A machine that is another process: what the `uml` and `tcg` back-ends have in common.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libimage::Block;
use vmm_mini::virtio::transport::vhost_user::{Fault, Server};

use crate::backend::{Ended, LaunchError, Machine};
use crate::devices::Disks;
use crate::log::{KernelLog, LogReader};
use crate::ports::Ports;
use crate::sandbox::Child;

/// A running machine. Its device servers live as long as its process, and end with it.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) ports: Ports,
    pub(crate) disks: Disks,
    pub(crate) log: KernelLog,
}

impl Machine for Process {
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
        self.child.wait(timeout)
    }

    fn kill(&self) {
        self.child.kill();
    }

    fn process_id(&self) -> Option<i32> {
        Some(self.child.id())
    }

    fn confinement(&self) -> &'static str {
        self.child.confinement()
    }
}

/// What is to be done when a machine's process has ended: its devices end too, which closes the port for
/// a reader that waits for a guest that is gone, and a front-end that was cut off is named in the log.
pub(crate) fn at_end(servers: Vec<Server>, reader: LogReader, log: KernelLog) -> impl FnOnce() + Send {
    move || {
        drop(reader);
        for server in &servers {
            // A socket that fails is only how the end looks from here.
            if let Some(fault @ (Fault::Protocol(_) | Fault::Refused(..))) = server.take_fault() {
                log.add(format!("{fault}\n").as_bytes());
            }
        }
    }
}

/// Opens a file that a machine is given.
pub(crate) fn open(what: &'static str, path: &Path) -> Result<OwnedFd, LaunchError> {
    File::open(path).map(OwnedFd::from).map_err(|source| LaunchError::File {
        what,
        path: path.to_owned(),
        source,
    })
}

/// How a process that inherits `fd` under its number names it.
pub(crate) fn inherited(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
