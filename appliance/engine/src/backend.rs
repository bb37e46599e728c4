//! What a back-end is: something that boots a guest with disks and a channel, and can end it.
//!
//! All back-ends show the guest the same view: virtio disks, known by their serial numbers, and two
//! virtio serial ports, [`RPC_PORT`] and [`MOUNT_PORT`]. Who uses a machine does not know which back-end runs it.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use libimage::Block;

pub use crate::sandbox::Ended;

/// Name of the port that the guest's agent opens.
pub const RPC_PORT: &str = "org.diskwright.rpc";

/// Name of the port over which the guest is mounted on the host.
pub const MOUNT_PORT: &str = guestd_api::fuse::PORT;

/// Address of the guest's network device.
pub const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x64, 0x77, 0x01];

/// Receives the guest kernel's console output as it comes.
pub type LogSink = Box<dyn FnMut(&[u8]) + Send>;

/// A disk that is there from the start.
#[derive(Clone)]
pub struct Drive {
    /// Its contents.
    pub block: Arc<dyn Block>,
    /// How the guest knows it: at most 20 bytes, no two alike.
    pub serial: String,
    /// The guest may not write.
    pub read_only: bool,
    /// Logical block size: 512 or 4096.
    pub block_size: u32,
}

/// A machine to boot.
pub struct LaunchSpec {
    /// The initial root file system: a cpio archive, plain or compressed. Its first process ends the machine
    /// by switching it off, or by a restart where `diskwright.end=restart` is on the kernel's command line.
    pub initrd: PathBuf,
    /// Words for the kernel's command line, besides those that the back-end needs.
    pub cmdline: Vec<String>,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors, where the back-end can have more than one.
    pub cpus: u8,
    /// Disks, in the order in which the guest finds them.
    pub disks: Vec<Drive>,
    /// Empty writable disks of 512-byte blocks, after the others. Their serials are `slot0`, `slot1`, ...
    pub spare_slots: usize,
    /// The host's side of a network device, or none and no device: a stream of Ethernet frames, each after
    /// its length in four bytes, big endian.
    pub network: Option<UnixStream>,
    /// RAID-6 parity may be computed. Where it costs boot time, a machine without it boots faster, and
    /// panics when it touches RAID-6: set this when a disk may carry it.
    pub raid6: bool,
    /// Where the kernel's console output goes, besides [`Machine::kernel_log`].
    pub console: Option<LogSink>,
}

/// A way to run machines.
pub trait Backend {
    /// Its name: `kvm`, `uml`, `tcg`.
    fn name(&self) -> &'static str;

    /// Starts a machine and returns at once; the guest speaks through [`Machine::rpc`] when it is up.
    ///
    /// # Errors
    /// When the machine could not be started at all.
    fn launch(&self, spec: LaunchSpec) -> Result<Box<dyn Machine>, LaunchError>;
}

/// A machine that was started. Dropping it ends it and everything that belongs to it.
pub trait Machine: Send {
    /// The host's end of the port [`RPC_PORT`]; it can be taken once. It reads as ended as soon as the
    /// guest closes the port or the machine ends.
    fn rpc(&mut self) -> io::Result<UnixStream>;

    /// The same for the port [`MOUNT_PORT`].
    fn mount_port(&mut self) -> io::Result<UnixStream>;

    /// What the guest's kernel has said, the last 256 KiB of it.
    fn kernel_log(&self) -> String;

    /// Puts a disk into spare slot `index`, or takes it out. The guest sees a disk of another size.
    fn set_slot(&self, index: usize, block: Option<Arc<dyn Block>>) -> io::Result<()>;

    /// Waits until the machine has ended, at most `timeout`; zero just looks.
    fn wait(&self, timeout: Duration) -> Option<Ended>;

    /// Ends the machine at once, as if the power failed.
    fn kill(&self);

    /// The process that it runs in, when that is not this one. For messages and tests.
    fn process_id(&self) -> Option<i32>;

    /// How well it is shut in, in a few words for messages and bug reports.
    fn confinement(&self) -> &'static str;
}

/// Why a machine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A file that is needed could not be opened.
    #[error("Could not open {what} '{}'", path.display())]
    File {
        /// What it is: `the kernel`, `the initial root file system`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device could not be made as asked.
    #[error("Could not set up {what}")]
    Device {
        /// Which device.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The process could not be started.
    #[error("Could not start {program}")]
    Process {
        /// Which program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A machine that ended when it should not have.
#[derive(Debug)]
pub struct Died {
    /// Which back-end.
    pub backend: &'static str,
    /// How.
    pub ended: Ended,
    /// What its kernel said about it, or said last.
    pub last_words: String,
}

impl Died {
    /// Describes the end of `machine`, if it has ended.
    pub fn of(backend: &'static str, machine: &dyn Machine) -> Option<Died> {
        let last_words = last_words(&machine.kernel_log());
        Some(Died { backend, ended: machine.wait(Duration::ZERO)?, last_words })
    }
}

/// The lines of a log that explain an end: from a panic on, where there is one.
fn last_words(log: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<&str> = log.lines().collect();
    let panic = lines.iter().rposition(|line| line.contains("Kernel panic"));
    let start = panic.unwrap_or(lines.len().saturating_sub(LINES));
    let end = lines.len().min(start + LINES);
    lines[start..end].join("\n")
}

impl std::error::Error for Died {}

impl fmt::Display for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The appliance ({}) ", self.backend)?;
        match self.ended {
            Ended::Exited(0) => write!(f, "shut down")?,
            Ended::Exited(code) => write!(f, "ended with status {code}")?,
            // A kernel that panics aborts under UML.
            Ended::Signalled(libc::SIGABRT | libc::SIGSEGV) => write!(f, "crashed")?,
            Ended::Signalled(signal) => write!(f, "was ended by signal {signal}")?,
        }
        if self.last_words.is_empty() {
            Ok(())
        } else {
            write!(f, ". Its kernel's last words:\n{}", self.last_words)
        }
    }
}
