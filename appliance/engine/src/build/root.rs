//! The second stage: a read-only squashfs with the distribution's tools and the kernels' modules.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use libimage::job::Progress;
use serde::{Deserialize, Serialize};

use super::elf;
use super::error::{Error, Result, run};
use super::modules::ModuleTree;
use super::packages::{Apt, Package};
use super::recipe;

/// What is in a root image, and what had to be left out of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RootReport {
    /// Programs and libraries.
    pub files: usize,
    /// Programs that were dropped, with the library that each lacks.
    pub dropped: Vec<String>,
}

/// Assembles the tree of tools in `work` and packs it into `out`.
pub(super) fn write(
    apt: &Apt,
    packages: &[&Package],
    kernels: &[&ModuleTree],
    work: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<RootReport> {
    let tree = work.join("root");
    fs::create_dir(&tree).map_err(|e| Error::io("create", &tree, e))?;
    skeleton(&tree)?;
    progress.step("Unpacking tools", packages.len() as u64);
    for package in packages {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        apt.unpack(package, &tree)?;
        progress.advance(1);
    }
    for path in recipe::LEFT_OUT_PATHS {
        remove(&tree.join(path))?;
    }
    fs::create_dir_all(tree.join("var/tmp")).map_err(|e| Error::io("create", &tree, e))?;
    configure(&tree)?;
    let report = drop_what_cannot_run(&tree)?;
    for kernel in kernels {
        add_modules(&tree, kernel)?;
    }
    progress.step("Packing the root image", 0);
    run(Command::new("mksquashfs").arg(&tree).arg(out).args([
        "-all-root",
        "-noappend",
        "-no-progress",
        "-quiet",
        "-no-xattrs",
        "-comp",
        "zstd",
        "-Xcompression-level",
        "3",
    ]))?;
    Ok(report)
}

fn skeleton(tree: &Path) -> Result<()> {
    for directory in recipe::MOUNT_POINTS {
        let path = tree.join(directory);
        fs::create_dir_all(&path).map_err(|e| Error::io("create", &path, e))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        let path = tree.join(name);
        symlink(format!("usr/{name}"), &path).map_err(|e| Error::io("link", &path, e))?;
    }
    Ok(())
}

/// The few files that tools look for and no package brings in a form that fits an appliance.
fn configure(tree: &Path) -> Result<()> {
    let files = [
        ("etc/passwd", guestd_api::forms::tar::PASSWD),
        ("etc/group", guestd_api::forms::tar::GROUP),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ];
    for (name, text) in files {
        let path = tree.join(name);
        fs::write(&path, text).map_err(|e| Error::io("write", &path, e))?;
    }
    let mtab = tree.join("etc/mtab");
    remove(&mtab)?;
    symlink("../proc/self/mounts", &mtab).map_err(|e| Error::io("link", &mtab, e))?;
    let sh = tree.join("usr/bin/sh");
    remove(&sh)?;
    symlink("bash", &sh).map_err(|e| Error::io("link", &sh, e))
}

/// Removes programs whose libraries were left out on purpose, so that what is there can run. A library
/// that lacks another one is dropped as well, and so on.
fn drop_what_cannot_run(tree: &Path) -> Result<RootReport> {
    let mut files = Vec::new();
    collect(&tree.join("usr"), &mut files)?;
    let mut report = RootReport::default();
    let mut wants: Vec<(PathBuf, Vec<String>)> = Vec::new();
    let mut libraries = BTreeSet::new();
    for path in files {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.contains(".so") {
            libraries.insert(name);
        }
        let regular = path.symlink_metadata().is_ok_and(|m| m.is_file());
        if !regular {
            continue;
        }
        let bytes = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        if let Some(needed) = elf::needed(&bytes) {
            wants.push((path, needed));
        }
    }
    loop {
        let before = wants.len();
        let mut gone = Vec::new();
        wants.retain(|(path, needed)| match needed.iter().find(|n| !libraries.contains(*n)) {
            None => true,
            Some(lacking) => {
                gone.push((path.clone(), lacking.clone()));
                false
            }
        });
        for (path, lacking) in gone {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            libraries.remove(&name);
            remove(&path)?;
            report.dropped.push(format!("{name} (needs {lacking})"));
        }
        if wants.len() == before {
            break;
        }
    }
    report.files = wants.len();
    report.dropped.sort();
    Ok(report)
}

/// Adds a kernel's modules, uncompressed, with a `modules.dep` in depmod's form.
fn add_modules(tree: &Path, kernel: &ModuleTree) -> Result<()> {
    let directory = tree.join("usr/lib/modules").join(&kernel.release);
    fs::create_dir_all(&directory).map_err(|e| Error::io("create", &directory, e))?;
    let mut dep = String::new();
    for module in kernel.closure(recipe::TOOL_MODULES, false)? {
        let path = directory.join(format!("{}.ko", module.name));
        fs::write(&path, &module.bytes).map_err(|e| Error::io("write", &path, e))?;
        let needed: Vec<String> = module.depends.iter().map(|d| format!("{d}.ko")).collect();
        dep.push_str(&format!("{}.ko: {}\n", module.name, needed.join(" ")));
    }
    let path = directory.join("modules.dep");
    fs::write(&path, dep).map_err(|e| Error::io("write", &path, e))
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(|e| Error::io("list", directory, e))?.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), into)?,
            _ => into.push(entry.path()),
        }
    }
    Ok(())
}

/// Removes a file, a link or a directory with all that is in it, if it is there.
fn remove(path: &Path) -> Result<()> {
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    if metadata.is_dir() {
        // A directory that a package made unwritable could not be emptied by an ordinary user.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
    .map_err(|e| Error::io("remove", path, e))
}
