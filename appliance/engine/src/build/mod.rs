//! Makes the appliance from the distribution's own packages, without root privileges.
//!
//! What comes out is a directory in the user's cache: a kernel for each back-end, an initramfs for each
//! kernel, and one root image with the tools. Its name is a hash of everything that went in, so it is
//! made anew exactly when an input changes, and several versions can be in use side by side.

pub mod cpio;
pub mod elf;
mod error;
mod initrd;
mod manifest;
pub mod modules;
pub mod packages;
mod recipe;
mod root;

use std::fs;
use std::path::{Path, PathBuf};

use libimage::job::Progress;

pub use error::{Error, Result};
pub use manifest::{Appliance, Inputs, cache_dir, find_guestd};

use modules::ModuleTree;
use packages::{Apt, Package};

/// Builds the appliance if none for the present inputs is in the cache, and returns it.
///
/// # Errors
/// When packages cannot be had, a tool is missing, or the agent's program is not found.
pub fn build(force: bool, progress: &dyn Progress) -> Result<Appliance> {
    if !force && let Some(appliance) = Appliance::up_to_date() {
        return Ok(appliance);
    }
    let guestd = find_guestd()?;
    let apt = Apt::new(cache_dir()?.join("packages"))?;
    progress.step("Resolving packages", 0);
    let kernel_package = apt.real_package("linux-image-cloud-amd64")?;
    let tools = apt.closure(recipe::TOOL_PACKAGES, recipe::LEFT_OUT_PACKAGES)?;
    let mut wanted = tools.clone();
    wanted.extend(["user-mode-linux".to_owned(), kernel_package.clone()]);
    let packages = apt.locate(&wanted)?;

    let inputs = Inputs::new(&packages, &guestd)?;
    if !force && let Some(appliance) = Appliance::find(&inputs)? {
        return appliance.confirm();
    }
    apt.fetch(&packages, progress)?;
    let by_name = |name: &str| {
        packages.iter().find(|p| p.name == name).ok_or_else(|| Error::Package {
            package: name.to_owned(),
            what: "it was resolved but is not among the downloads".to_owned(),
        })
    };

    let staging = Staging::new()?;
    progress.step("Unpacking kernels", 2);
    let uml = staging.unpack(&apt, by_name("user-mode-linux")?, "uml")?;
    progress.advance(1);
    let pc = staging.unpack(&apt, by_name(&kernel_package)?, "pc")?;
    progress.advance(1);

    let out = staging.path.join("out");
    fs::create_dir(&out).map_err(|e| Error::io("create", &out, e))?;
    progress.step("Preparing kernels", 0);
    let uml_modules = ModuleTree::find(&uml)?;
    let pc_modules = ModuleTree::find(&pc)?;
    copy(&uml.join("usr/bin/linux.uml"), &out.join("linux.uml"))?;
    extract_kernel(&pc, &out.join("vmlinux"))?;
    initrd::write(&out.join("initrd-uml"), &guestd, &uml_modules)?;
    initrd::write(&out.join("initrd-pc"), &guestd, &pc_modules)?;

    let tool_packages: Vec<&Package> = packages.iter().filter(|p| tools.contains(&p.name)).collect();
    let report = root::write(
        &apt,
        &tool_packages,
        &[&uml_modules, &pc_modules],
        &staging.path,
        &out.join("root"),
        progress,
    )?;
    Appliance::publish(&inputs, &out, &uml_modules.release, &pc_modules.release, report)
}

/// A private directory in the cache that disappears with its value.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn new() -> Result<Self> {
        let parent = cache_dir()?;
        fs::create_dir_all(&parent).map_err(|e| Error::io("create", &parent, e))?;
        let path = parent.join(format!("building-{}", std::process::id()));
        fs::create_dir(&path).map_err(|e| Error::io("create", &path, e))?;
        Ok(Staging { path })
    }

    fn unpack(&self, apt: &Apt, package: &Package, name: &str) -> Result<PathBuf> {
        let into = self.path.join(name);
        fs::create_dir(&into).map_err(|e| Error::io("create", &into, e))?;
        apt.unpack(package, &into)?;
        Ok(into)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing depends on it being gone: a later build ignores leftovers of dead processes.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(|e| Error::io("copy", from, e))
}

/// Takes the ELF kernel out of the package's compressed one: it boots faster and by one protocol.
fn extract_kernel(package: &Path, out: &Path) -> Result<()> {
    let boot = package.join("boot");
    let names = fs::read_dir(&boot).map_err(|e| Error::io("list", &boot, e))?;
    let image = names
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz-")))
        .ok_or_else(|| Error::Package {
            package: "linux-image".to_owned(),
            what: "it holds no /boot/vmlinuz-*".to_owned(),
        })?;
    let bytes = fs::read(&image).map_err(|e| Error::io("read", &image, e))?;
    let elf = vmm_mini::boot::bzimage::vmlinux(&bytes)
        .map_err(|e| Error::Package { package: "linux-image".to_owned(), what: e.to_string() })?;
    fs::write(out, elf).map_err(|e| Error::io("write", out, e))
}
