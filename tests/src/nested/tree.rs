//! The files of a guest: an initramfs in the making.
//!
//! Programs bring their shared libraries, found where the host's loader would find them. A path is added
//! once; who asks for it again changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use appliance_engine::build::cpio::Cpio;
use appliance_engine::build::elf;

use super::Kernel;

const LIBRARY_DIRECTORIES: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// An initramfs in the making.
pub struct Tree {
    cpio: Cpio,
    present: BTreeSet<String>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// The directories and devices of every guest.
    #[must_use]
    pub fn new() -> Tree {
        let mut cpio = Cpio::new();
        for directory in
            ["bin", "dev", "etc", "lib", "lib64", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin"]
        {
            cpio.directory(directory);
        }
        cpio.character_device("dev/console", 0o600, 5, 1);
        cpio.character_device("dev/null", 0o666, 1, 3);
        Tree { cpio, present: BTreeSet::new() }
    }

    /// A file with these contents.
    pub fn bytes(&mut self, guest: &str, contents: &[u8], mode: u32) {
        let path = guest.trim_matches('/');
        if self.present.insert(path.to_owned()) {
            self.cpio.file(path, mode, contents);
        }
    }

    /// A file of the host, with the libraries that it needs.
    ///
    /// # Errors
    /// When it or a library cannot be read.
    pub fn file(&mut self, host: &Path, guest: &str) -> Result<()> {
        if self.present.contains(guest.trim_matches('/')) {
            return Ok(());
        }
        let contents = fs::read(host).with_context(|| format!("Cannot read '{}'", host.display()))?;
        let mode = fs::metadata(host).map_or(0o644, |meta| meta.permissions().mode() & 0o777);
        self.bytes(guest, &contents, mode);
        if let Some(needed) = elf::needed(&contents).filter(|needed| !needed.is_empty()) {
            self.file(Path::new(LOADER), LOADER)?;
            for library in needed.iter().filter(|name| !LOADER.ends_with(name.as_str())) {
                let found = LIBRARY_DIRECTORIES
                    .iter()
                    .map(|dir| Path::new(dir).join(library))
                    .find(|path| path.exists());
                let Some(found) = found else {
                    bail!("'{}' needs the library {library}, which is not on this host", host.display());
                };
                self.file(&found, &format!("/lib/{library}"))?;
            }
        }
        Ok(())
    }

    /// A directory of the host with all that is in it.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn dir(&mut self, host: &Path, guest: &str) -> Result<()> {
        self.cpio.directory(guest);
        let entries = fs::read_dir(host).with_context(|| format!("Cannot list '{}'", host.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("Cannot list '{}'", host.display()))?;
            let (from, to) = (entry.path(), format!("{guest}/{}", entry.file_name().to_string_lossy()));
            let kind = entry.file_type().with_context(|| format!("Cannot look at '{}'", from.display()))?;
            if kind.is_dir() {
                self.dir(&from, &to)?;
            } else if kind.is_symlink() {
                let target =
                    fs::read_link(&from).with_context(|| format!("Cannot read '{}'", from.display()))?;
                if self.present.insert(to.trim_matches('/').to_owned()) {
                    self.cpio.symlink(&to, &target.to_string_lossy());
                }
            } else if kind.is_file() {
                self.file(&from, &to)?;
            }
        }
        Ok(())
    }

    /// A static busybox as `/bin/busybox` and `/bin/sh`.
    ///
    /// # Errors
    /// When the host has none.
    pub fn busybox(&mut self) -> Result<()> {
        let is_static =
            |path: &PathBuf| fs::read(path).ok().and_then(|b| elf::needed(&b)).is_some_and(|n| n.is_empty());
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(is_static);
        let busybox = busybox.context("There is no static busybox: install the package busybox-static")?;
        self.file(&busybox, "/bin/busybox")?;
        if self.present.insert("bin/sh".to_owned()) {
            self.cpio.symlink("bin/sh", "busybox");
        }
        Ok(())
    }

    /// Kernel modules with those that they need, and the order in which [`super::PRELUDE`] loads them.
    ///
    /// # Errors
    /// When the kernel lacks one.
    pub fn modules(&mut self, kernel: &Kernel, names: &[&str]) -> Result<()> {
        let mut order = String::new();
        for module in kernel.modules().closure(names, true)? {
            self.bytes(&format!("/.modules.d/{}.ko", module.name), &module.bytes, 0o644);
            order.push_str(&module.name);
            order.push('\n');
        }
        self.bytes("/.modules", order.as_bytes(), 0o644);
        Ok(())
    }

    /// The archive.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.cpio.finish()
    }
}
