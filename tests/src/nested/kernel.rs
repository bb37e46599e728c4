//! The distribution's cloud kernel: fetched once with apt, unpacked and kept in the user's cache.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use appliance_engine::build::cache_dir;
use appliance_engine::build::modules::ModuleTree;
use appliance_engine::build::packages::Apt;

const PACKAGE: &str = "linux-image-cloud-amd64";
/// A newer one that the distribution may have besides; where it does not, the usual one is as new.
const NEWER_PACKAGE: &str = "linux-image-6.12-cloud-amd64";
const VMLINUX: &str = "vmlinux";

/// An unpacked kernel package.
pub struct Kernel {
    root: PathBuf,
    modules: ModuleTree,
}

impl Kernel {
    /// Takes the kernel from the cache, or fetches it.
    ///
    /// # Errors
    /// When it is not in the cache and apt cannot fetch it.
    pub fn get() -> Result<Kernel> {
        let apt = Apt::new(cache_dir()?.join("packages"))?;
        Self::unpacked(&apt, &apt.real_package(PACKAGE)?)
    }

    /// The same with a kernel of the distribution that has the newer drivers.
    ///
    /// # Errors
    /// When it is not in the cache and apt cannot fetch it.
    pub fn newer() -> Result<Kernel> {
        let apt = Apt::new(cache_dir()?.join("packages"))?;
        let package = apt.real_package(NEWER_PACKAGE).or_else(|_| apt.real_package(PACKAGE))?;
        Self::unpacked(&apt, &package)
    }

    fn unpacked(apt: &Apt, package: &str) -> Result<Kernel> {
        let root = apt.unpacked(package, &cache_dir()?.join("unpacked"))?;
        let vmlinux = root.join(VMLINUX);
        if !vmlinux.exists() {
            let bzimage = bzimage(&root)?;
            let image = fs::read(&bzimage).with_context(|| format!("Cannot read '{}'", bzimage.display()))?;
            let elf = vmm_mini::boot::bzimage::vmlinux(&image)?;
            // Several tests may do this at once.
            let mut making = tempfile::NamedTempFile::new_in(&root).context("Cannot write the kernel")?;
            making.write_all(&elf).context("Cannot write the kernel")?;
            making.persist(&vmlinux).context("Cannot write the kernel")?;
        }
        let modules = ModuleTree::find(&root)?;
        Ok(Kernel { root, modules })
    }

    /// The ELF kernel.
    #[must_use]
    pub fn vmlinux(&self) -> PathBuf {
        self.root.join(VMLINUX)
    }

    /// The compressed kernel as the package has it.
    ///
    /// # Errors
    /// When the package has none.
    pub fn bzimage(&self) -> Result<PathBuf> {
        bzimage(&self.root)
    }

    /// Its modules.
    #[must_use]
    pub fn modules(&self) -> &ModuleTree {
        &self.modules
    }
}

fn bzimage(root: &Path) -> Result<PathBuf> {
    let boot = root.join("boot");
    let entries = fs::read_dir(&boot).with_context(|| format!("Cannot list '{}'", boot.display()))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let is_kernel =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    paths.find(is_kernel).with_context(|| format!("No kernel in '{}'", boot.display()))
}
