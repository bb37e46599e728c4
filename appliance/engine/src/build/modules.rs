//! The modules of one kernel: where they are, and in which order they must be loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::elf;
use super::error::{Error, Result, run};

/// The module directory of an unpacked kernel package.
#[derive(Debug)]
pub struct ModuleTree {
    /// The kernel's release, as `uname -r` says it.
    pub release: String,
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

/// A module, ready to be loaded.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The uncompressed ELF file.
    pub bytes: Vec<u8>,
    /// The modules that it needs directly.
    pub depends: Vec<String>,
}

impl ModuleTree {
    /// Finds the one module directory in an unpacked kernel package.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn find(package: &Path) -> Result<Self> {
        let places = ["usr/lib/uml/modules", "usr/lib/modules", "lib/modules"];
        let root = places
            .iter()
            .filter_map(|place| fs::read_dir(package.join(place)).ok())
            .flat_map(|entries| entries.flatten())
            .map(|entry| entry.path())
            .find(|path| path.join("kernel").is_dir())
            .ok_or_else(|| Error::Missing(format!("'{}' holds no kernel modules", package.display())))?;
        let release = root.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let mut files = BTreeMap::new();
        walk(&root.join("kernel"), &mut |path| {
            if let Some(name) = module_name(path) {
                files.insert(name, path.to_owned());
            }
        })?;
        let list = root.join("modules.builtin");
        let list = fs::read_to_string(&list).map_err(|e| Error::io("read", &list, e))?;
        let built_in = list.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(ModuleTree { release, files, built_in })
    }

    /// True when the kernel has `name`, built in or as a module.
    pub fn has(&self, name: &str) -> bool {
        self.built_in.contains(name) || self.files.contains_key(name)
    }

    /// The named modules and all that they need, each after what it needs. What is built in is left
    /// out; what the kernel does not have at all is left out too, or an error if `required`.
    ///
    /// # Errors
    /// When a required module is missing, or a module file cannot be read.
    pub fn closure(&self, names: &[&str], required: bool) -> Result<Vec<Module>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            if !self.has(name) && required {
                return Err(self.missing(name));
            }
            self.visit(name, &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit(&self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<Module>) -> Result<()> {
        if self.built_in.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.files.get(name) else {
            return Ok(());
        };
        let bytes = read_module(path)?;
        let depends = elf::module_depends(&bytes)
            .ok_or_else(|| Error::Missing(format!("'{}' is not a kernel module", path.display())))?;
        for needed in &depends {
            if !self.has(needed) {
                return Err(self.missing(needed));
            }
            self.visit(needed, seen, order)?;
        }
        order.push(Module { name: name.to_owned(), bytes, depends });
        Ok(())
    }

    fn missing(&self, module: &str) -> Error {
        Error::Module { release: self.release.clone(), module: module.to_owned() }
    }
}

/// `kernel/fs/nls/nls_iso8859-1.ko.xz` is `nls_iso8859_1`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (stem, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| stem.replace('-', "_"))
}

/// Reads a module file, through the system's decompressor where it is compressed; without its signature, which
/// no kernel here insists on and every kernel takes long to verify.
fn read_module(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = read_signed_module(path)?;
    let length = unsigned_length(&bytes);
    bytes.truncate(length);
    Ok(bytes)
}

/// Where the signature begins. At the very end there is a mark, before it twelve bytes whose last four are
/// the length of the signature before those (linux/module_signature.h).
fn unsigned_length(module: &[u8]) -> usize {
    const MARK: &[u8] = b"~Module signature appended~\n";
    const TRAILER: usize = 12;
    let signed = || {
        let rest = module.strip_suffix(MARK)?;
        let length = usize::try_from(u32::from_be_bytes(*rest.last_chunk()?)).ok()?;
        rest.len().checked_sub(TRAILER)?.checked_sub(length)
    };
    signed().unwrap_or(module.len())
}

fn read_signed_module(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|e| e.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(path).map_err(|e| Error::io("read", path, e)),
    };
    run(Command::new(program).arg("-dc").arg(path))
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(|e| Error::io("list", dir, e))?;
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, visit)?,
            _ => visit(&path),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::unsigned_length;

    #[test]
    fn signatures_are_found_and_nothing_else() {
        let signed = |length: u32| {
            let trailer = [&[0; 8][..], &length.to_be_bytes(), b"~Module signature appended~\n"].concat();
            [&b"module"[..], &b"signature"[..], &trailer].concat()
        };
        assert_eq!(unsigned_length(&signed(9)), 6);
        assert_eq!(unsigned_length(b"module"), 6);
        // A length that cannot be is no signature.
        assert_eq!(unsigned_length(&signed(1000)), signed(1000).len());
        assert_eq!(unsigned_length(b"~Module signature appended~\n"), 28);
    }
}
