//! The distribution's cloud kernel: fetched once with apt, unpacked and kept in the user's cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use appliance_engine::build::cache_dir;
use appliance_engine::build::modules::ModuleTree;
use appliance_engine::build::packages::Apt;
use libimage::job::Progress;

const PACKAGE: &str = "linux-image-cloud-amd64";

/// An unpacked kernel package.
pub struct Kernel {
    root: PathBuf,
    modules: ModuleTree,
}

struct Silent;

impl Progress for Silent {
    fn step(&self, _what: &str, _units: u64) {}
    fn advance(&self, _units: u64) {}
}

impl Kernel {
    /// Takes the kernel from the cache, or fetches it.
    ///
    /// # Errors
    /// When it is not in the cache and apt cannot fetch it.
    pub fn get() -> Result<Kernel> {
        let cache = cache_dir()?;
        let kept = cache.join("nested");
        fs::create_dir_all(&kept).with_context(|| format!("Cannot create '{}'", kept.display()))?;
        let apt = Apt::new(cache.join("packages"))?;
        let name = apt.real_package(PACKAGE)?;
        let root = kept.join(&name);
        if !root.is_dir() {
            let packages = apt.locate(&[name])?;
            apt.fetch(&packages, &Silent)?;
            // Unpacked beside its place and then moved there: several tests may do this at once.
            let making = tempfile::tempdir_in(&kept).context("Cannot make a directory")?;
            for package in &packages {
                apt.unpack(package, making.path())?;
            }
            let bzimage = bzimage(making.path())?;
            let image = fs::read(&bzimage).with_context(|| format!("Cannot read '{}'", bzimage.display()))?;
            let vmlinux = vmm_mini::boot::bzimage::vmlinux(&image)?;
            fs::write(making.path().join("vmlinux"), vmlinux).context("Cannot write the kernel")?;
            let moved = fs::rename(making.path(), &root);
            if moved.is_err() && !root.is_dir() {
                moved.with_context(|| format!("Cannot create '{}'", root.display()))?;
            }
        }
        let modules = ModuleTree::find(&root)?;
        Ok(Kernel { root, modules })
    }

    /// The ELF kernel.
    #[must_use]
    pub fn vmlinux(&self) -> PathBuf {
        self.root.join("vmlinux")
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
