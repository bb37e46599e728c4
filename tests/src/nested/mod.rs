//! Runs commands as root in a throw-away guest that has a working `/dev/kvm`, on hosts that have none.
//!
//! QEMU interprets a processor with AMD's virtualization extension; the guest loads the ordinary `kvm-amd`
//! module, so what runs inside exercises the real KVM. Nothing needs privileges on the host. The guest is an
//! initramfs made for the run, on the distribution's cloud kernel, which is fetched once and kept.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let outcome = system_tests::nested::Nested::new()?.run("ls -l /dev/kvm")?;
//! assert_eq!(outcome.status, 0);
//! # Ok(())
//! # }
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

mod kernel;
mod machine;
mod tree;

pub use kernel::Kernel;
pub use tree::Tree;

/// What every guest script begins with: the usual file systems, busybox's tools, the listed modules.
pub const PRELUDE: &str = r#"#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
$B mount -t tmpfs tmp /tmp; $B mount -t tmpfs run /run; $B mkdir -p /dev/shm; $B mount -t tmpfs shm /dev/shm
$B ln -sf /proc/self/fd /dev/fd
$B --install -s /bin
export PATH=/bin:/usr/bin HOME=/root TERM=dumb
for m in $(cat /.modules); do insmod /.modules.d/$m.ko || echo "cannot load module $m"; done
"#;

/// A guest to be run.
pub struct Nested {
    kernel: Kernel,
    tree: Tree,
    memory_mib: u32,
    cpus: u32,
    timeout: Duration,
    modules: Vec<String>,
    fetched: Vec<String>,
}

/// What came of it.
pub struct Outcome {
    /// Exit status of the script.
    pub status: i32,
    /// All that it printed.
    pub output: String,
    files: TempDir,
}

impl Outcome {
    /// Where a file that was asked for by [`Nested::fetch`] lies now; as long as the outcome lives.
    #[must_use]
    pub fn file(&self, guest: &str) -> PathBuf {
        self.files.path().join(machine::OUT).join(guest.trim_start_matches('/'))
    }
}

impl Nested {
    /// A guest of one processor and 1 GiB of memory that is given five minutes.
    ///
    /// # Errors
    /// When there is no kernel to be had, or no static busybox.
    pub fn new() -> Result<Nested> {
        Ok(Nested::with(Kernel::get()?)?.module("kvm_amd"))
    }

    /// The same with a kernel of one's choice, and without KVM.
    ///
    /// # Errors
    /// When there is no static busybox.
    pub fn with(kernel: Kernel) -> Result<Nested> {
        let mut tree = Tree::new();
        tree.busybox()?;
        Ok(Nested {
            kernel,
            tree,
            memory_mib: 1024,
            cpus: 1,
            timeout: Duration::from_secs(300),
            modules: ["virtio_pci", "virtio_console"].map(str::to_owned).to_vec(),
            fetched: Vec::new(),
        })
    }

    /// The kernel that runs, for those who want to run it once more inside.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Memory in MiB, the files included.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Number of processors.
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// Longest time that the guest may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Loads a kernel module, with those that it needs, before the script runs.
    #[must_use]
    pub fn module(mut self, name: &str) -> Self {
        self.modules.push(name.to_owned());
        self
    }

    /// Puts a file of the host into the guest; programs bring their shared libraries.
    ///
    /// # Errors
    /// When it, or a library that it needs, cannot be read.
    pub fn file(mut self, host: impl AsRef<Path>, guest: &str) -> Result<Self> {
        self.tree.file(host.as_ref(), guest)?;
        Ok(self)
    }

    /// Puts a directory of the host into the guest, as [`Nested::file`] does with what is in it.
    ///
    /// # Errors
    /// When something in it cannot be read.
    pub fn dir(mut self, host: impl AsRef<Path>, guest: &str) -> Result<Self> {
        self.tree.dir(host.as_ref(), guest)?;
        Ok(self)
    }

    /// Puts a file with these contents into the guest.
    #[must_use]
    pub fn bytes(mut self, guest: &str, contents: &[u8]) -> Self {
        self.tree.bytes(guest, contents, 0o644);
        self
    }

    /// Asks for a file of the guest after the script, whether that succeeded or not; see [`Outcome::file`].
    #[must_use]
    pub fn fetch(mut self, guest: &str) -> Self {
        self.fetched.push(guest.to_owned());
        self
    }

    /// Boots the guest and runs a shell script in it. What it prints appears on standard output as well.
    ///
    /// # Errors
    /// When the guest does not boot, does not finish in time or dies; with the end of its console.
    pub fn run(mut self, script: &str) -> Result<Outcome> {
        self.tree.bytes("/.script", script.as_bytes(), 0o755);
        let fetch: String = self.fetched.iter().map(|file| format!("{}\n", file.trim_matches('/'))).collect();
        self.tree.bytes("/.fetch", fetch.as_bytes(), 0o644);
        self.tree.bytes("/init", format!("{PRELUDE}{}", machine::INIT).as_bytes(), 0o755);
        let names: Vec<&str> = self.modules.iter().map(String::as_str).collect();
        self.tree.modules(&self.kernel, &names)?;
        let scratch =
            tempfile::Builder::new().prefix("nested.").tempdir().context("Cannot make a directory")?;
        let initrd = scratch.path().join("initrd");
        std::fs::write(&initrd, self.tree.finish()).context("Cannot write the initramfs")?;
        machine::run(machine::Machine {
            kernel: self.kernel.vmlinux(),
            initrd: &initrd,
            memory_mib: self.memory_mib,
            cpus: self.cpus,
            timeout: self.timeout,
            scratch,
        })
    }
}
