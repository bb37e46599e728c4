//! What a machine consists of.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use crate::boot::acpi;
use crate::error::{Error, Result};
use crate::virtio::device::VirtioDevice;

/// Smallest machine: room for a kernel and a small initrd.
const MIN_MEMORY_MIB: u64 = 32;
/// Largest machine: what 40 address bits reach, less the hole below four gigabytes.
const MAX_MEMORY_MIB: u64 = (1 << 20) - 1024;

/// A machine to be built.
pub struct Config {
    /// Guest memory in MiB, from 32 up.
    pub memory_mib: u64,
    /// Processors, from 1 to 254 or what the host allows.
    pub vcpus: u8,
    /// Kernel: an ELF `vmlinux` with a PVH entry point, or a `bzImage`.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub cmdline: String,
    /// Devices, in the order in which the guest finds them.
    pub devices: Vec<Arc<dyn VirtioDevice>>,
    /// Where the serial port's output goes, byte by byte; its end is always kept as well.
    pub serial: Option<Box<dyn Write + Send>>,
}

impl Config {
    /// A machine of one processor and 256 MiB without devices.
    #[must_use]
    pub fn new(kernel: impl Into<PathBuf>) -> Config {
        Config {
            memory_mib: 256,
            vcpus: 1,
            kernel: kernel.into(),
            initrd: None,
            cmdline: String::new(),
            devices: Vec::new(),
            serial: None,
        }
    }

    /// Bytes of guest memory.
    ///
    /// # Errors
    /// When the sizes are out of range.
    pub(crate) fn check(&self, max_vcpus: usize) -> Result<u64> {
        if !(MIN_MEMORY_MIB..=MAX_MEMORY_MIB).contains(&self.memory_mib) {
            return Err(Error::Config(format!(
                "{} MiB of memory; from {MIN_MEMORY_MIB} to {MAX_MEMORY_MIB} are possible",
                self.memory_mib
            )));
        }
        let most = max_vcpus.min(acpi::MAX_PROCESSORS.into());
        if self.vcpus == 0 || usize::from(self.vcpus) > most {
            return Err(Error::Config(format!("{} processors; from 1 to {most} are possible", self.vcpus)));
        }
        Ok(self.memory_mib << 20)
    }
}
