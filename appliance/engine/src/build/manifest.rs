//! Finished appliances in the cache: what they were made from, and whether that is still so.
//!
//! An appliance appears under its final name in one rename, complete. Whoever finds it there can use it.

use std::env;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::packages::Package;
use super::root::RootReport;

/// Counts up when the build itself changes what it makes of the same packages.
const RECIPE_VERSION: u32 = 3;

const MANIFEST: &str = "manifest.json";

/// Everything that decides what an appliance contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    recipe: u32,
    guestd: String,
    packages: Vec<String>,
}

impl Inputs {
    pub(super) fn new(packages: &[Package], guestd: &Path) -> Result<Self> {
        let mut packages: Vec<String> = packages.iter().map(|p| format!("{} {}", p.file, p.hash)).collect();
        packages.sort();
        Ok(Inputs { recipe: RECIPE_VERSION, guestd: fingerprint(guestd)?, packages })
    }

    /// A short name for these inputs.
    fn key(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        let mut hash = Fnv::default();
        hash.write(text.as_bytes());
        format!("{:016x}", hash.finish())
    }
}

/// An appliance in the cache, ready to boot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Appliance {
    /// The directory with its files.
    #[serde(skip)]
    pub directory: PathBuf,
    inputs: Inputs,
    /// The state of the package lists when the inputs were last looked up.
    #[serde(default)]
    lists: String,
    /// Release of the User-Mode Linux kernel.
    pub uml_release: String,
    /// Release of the kernel for virtual machines.
    pub pc_release: String,
    /// What the root image holds.
    pub root_report: RootReport,
}

impl Appliance {
    /// The User-Mode Linux program.
    pub fn uml_kernel(&self) -> PathBuf {
        self.directory.join("linux.uml")
    }

    /// The initramfs for [`uml_kernel`](Self::uml_kernel).
    pub fn uml_initrd(&self) -> PathBuf {
        self.directory.join("initrd-uml")
    }

    /// The ELF kernel for virtual machines.
    pub fn pc_kernel(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// The initramfs for [`pc_kernel`](Self::pc_kernel).
    pub fn pc_initrd(&self) -> PathBuf {
        self.directory.join("initrd-pc")
    }

    /// The squashfs with the tools, for a disk of serial `dw-root`.
    pub fn root_image(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Bytes on disk of all its files together.
    pub fn size(&self) -> u64 {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
    }

    /// The newest appliance in the cache made with the agent that is installed now. This asks no
    /// package manager, so it is what a launch uses; [`super::build`] looks at package versions too.
    ///
    /// # Errors
    /// When there is none: the message says how to make one.
    pub fn installed() -> Result<Self> {
        if let Some(fixed) = env::var_os("DISKWRIGHT_APPLIANCE") {
            return Self::read(Path::new(&fixed));
        }
        let guestd = fingerprint(&find_guestd()?)?;
        let cache = cache_dir()?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&cache).into_iter().flatten().flatten() {
            let made = entry.metadata().and_then(|m| m.modified()).ok();
            if entry.file_name().to_string_lossy().starts_with("appliance-")
                && let Ok(appliance) = Self::read(&entry.path())
                && appliance.inputs.guestd == guestd
                && appliance.inputs.recipe == RECIPE_VERSION
            {
                found.push((made, appliance));
            }
        }
        found.into_iter().max_by_key(|(made, _)| *made).map(|(_, appliance)| appliance).ok_or_else(|| {
            Error::Missing(format!(
                "There is no appliance in '{}' for this version: run 'appliance build'",
                cache.display()
            ))
        })
    }

    /// The installed appliance, if the package lists are those that its packages were chosen from: then
    /// nothing needs to be looked up.
    pub(super) fn up_to_date() -> Option<Self> {
        Self::installed()
            .ok()
            .filter(|appliance| !appliance.lists.is_empty() && appliance.lists == package_lists())
    }

    /// Notes that the package lists as they are now lead to the same inputs.
    pub(super) fn confirm(mut self) -> Result<Self> {
        self.lists = package_lists();
        self.write_manifest(&self.directory)?;
        Ok(self)
    }

    fn write_manifest(&self, directory: &Path) -> Result<()> {
        let manifest = directory.join(MANIFEST);
        let new = directory.join(format!("{MANIFEST}.{}", std::process::id()));
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        fs::write(&new, text).map_err(|e| Error::io("write", &new, e))?;
        fs::rename(&new, &manifest).map_err(|e| Error::io("write", &manifest, e))
    }

    pub(super) fn find(inputs: &Inputs) -> Result<Option<Self>> {
        let directory = cache_dir()?.join(format!("appliance-{}", inputs.key()));
        match Self::read(&directory) {
            Ok(appliance) if appliance.inputs == *inputs => Ok(Some(appliance)),
            _ => Ok(None),
        }
    }

    pub(super) fn publish(
        inputs: &Inputs,
        made: &Path,
        uml_release: &str,
        pc_release: &str,
        root_report: RootReport,
    ) -> Result<Self> {
        let directory = cache_dir()?.join(format!("appliance-{}", inputs.key()));
        let appliance = Appliance {
            directory: directory.clone(),
            inputs: inputs.clone(),
            lists: package_lists(),
            uml_release: uml_release.to_owned(),
            pc_release: pc_release.to_owned(),
            root_report,
        };
        appliance.write_manifest(made)?;
        if directory.exists() {
            // A damaged or an unwanted earlier one. Running appliances hold its files open.
            let old = directory.with_extension(format!("old-{}", std::process::id()));
            fs::rename(&directory, &old).map_err(|e| Error::io("replace", &directory, e))?;
            let _ = fs::remove_dir_all(&old);
        }
        fs::rename(made, &directory).map_err(|e| Error::io("create", &directory, e))?;
        Ok(appliance)
    }

    fn read(directory: &Path) -> Result<Self> {
        let manifest = directory.join(MANIFEST);
        let text = fs::read_to_string(&manifest).map_err(|e| Error::io("read", &manifest, e))?;
        let mut appliance: Appliance = serde_json::from_str(&text).map_err(|e| {
            Error::Missing(format!("'{}' is damaged ({e}): run 'appliance build'", manifest.display()))
        })?;
        appliance.directory = directory.to_owned();
        Ok(appliance)
    }
}

/// Where appliances and downloads are kept: `$DISKWRIGHT_CACHE`, or `diskwright` in the user's cache
/// directory.
///
/// # Errors
/// When neither variable nor home directory is set.
pub fn cache_dir() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("DISKWRIGHT_CACHE")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|p| p.join("diskwright")))
        .or_else(|| absolute("HOME").map(|p| p.join(".cache/diskwright")))
        .ok_or_else(|| {
            Error::Missing("There is no place for the appliance: set DISKWRIGHT_CACHE or HOME".to_owned())
        })
}

/// The agent's program: `$DISKWRIGHT_GUESTD`, or beside the running program.
///
/// # Errors
/// When it is in none of the places where an installation puts it.
pub fn find_guestd() -> Result<PathBuf> {
    if let Some(path) = env::var_os("DISKWRIGHT_GUESTD") {
        return Ok(PathBuf::from(path));
    }
    let program = env::current_exe().map_err(|e| Error::io("find", Path::new("/proc/self/exe"), e))?;
    let here = program.parent().unwrap_or(Path::new("/"));
    let places = [
        here.join("libexec/guestd"),
        here.join("../libexec/diskwright/guestd"),
        here.join("../libexec/guestd"),
    ];
    places.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
        Error::Missing(format!(
            "The agent is not installed: no '{}'; run 'make' or set DISKWRIGHT_GUESTD",
            places[0].display()
        ))
    })
}

/// Names, sizes and times of the package lists: they change when `apt-get update` brings news.
fn package_lists() -> String {
    let entries = fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    let describe = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let time = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(format!("{:?} {} {}", entry.file_name(), metadata.len(), time.as_nanos()))
    };
    let mut lists: Vec<String> = entries.filter_map(describe).collect();
    lists.sort();
    let mut hash = Fnv::default();
    hash.write(lists.join("\n").as_bytes());
    format!("{:016x}", hash.finish())
}

/// A hash of a file's contents.
fn fingerprint(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let mut hash = Fnv::default();
    hash.write(&bytes);
    Ok(format!("{:016x}-{}", hash.finish(), bytes.len()))
}

/// FNV-1a, 64 bits: the standard library's hash may change between compilers, this one does not.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
