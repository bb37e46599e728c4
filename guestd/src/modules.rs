//! Kernel modules: the few that come with the agent, and those of the tools' root by name.

use crate::agent::Agent;
use guestd_api::Failure;
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Loads the modules that the file `load` of a directory names, one per line, in that order. No such file
/// means that everything is built in.
pub(crate) fn load_listed(directory: &Path) -> io::Result<()> {
    let list = match std::fs::read_to_string(directory.join("load")) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    list.lines()
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .try_for_each(|name| insert(&directory.join(name)))
}

/// Loads one module file; one that is loaded already is fine.
fn insert(path: &Path) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(named)?;
    // Under emulation a good signature was once in hundreds of boots found to be bad; the same file, tried again,
    // is judged anew.
    let mut tries = 0;
    loop {
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => return Ok(()),
            Err(Errno::KEYREJECTED) if tries < 3 => tries += 1,
            Err(error) => return Err(named(error.into())),
        }
    }
}

/// Loads a module of the tools' root with what it needs. False if there is no such module: it may be built
/// into the kernel.
pub(crate) fn modprobe(agent: &Agent, name: &str) -> Result<bool, Failure> {
    if loaded(&underscores(name)) {
        return Ok(true);
    }
    modprobe_in(&agent.tools.root()?, name)
        .map_err(|e| Failure::io(format!("Could not load the module '{name}'"), &e))
}

/// True if a module is part of the kernel itself.
pub(crate) fn is_built_in(agent: &Agent, name: &str) -> Result<bool, Failure> {
    if registered(name)? {
        return Ok(true);
    }
    let release = rustix::system::uname();
    let directory =
        agent.tools.root()?.join("usr/lib/modules").join(release.release().to_string_lossy().as_ref());
    let table = std::fs::read_to_string(directory.join("modules.builtin")).unwrap_or_default();
    Ok(table.lines().any(|file| module_name(file) == underscores(name)))
}

/// The same when the kernel itself asks, by running the agent in the place of modprobe: for a character set
/// of a file system, a target of device-mapper, a level of RAID.
pub(crate) fn modprobe_for_kernel(name: &str) -> io::Result<bool> {
    let name = match name {
        "md-level-0" => "raid0",
        "md-level-1" => "raid1",
        "md-level-10" => "raid10",
        // A checksum that f2fs asks for.
        "crypto-crc32" => "crc32_generic",
        "md-level-4" | "md-level-5" | "md-level-6" => "raid456",
        other => ["fs-", "md-", "crypto-"].iter().find_map(|kind| other.strip_prefix(kind)).unwrap_or(other),
    };
    let tools = Path::new("/tools");
    // A cipher's module is often called after its plainest implementation.
    Ok(modprobe_in(tools, name)? || modprobe_in(tools, &format!("{name}_generic"))?)
}

fn loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

fn modprobe_in(root: &Path, name: &str) -> io::Result<bool> {
    let release = rustix::system::uname();
    let directory = root.join("usr/lib/modules").join(release.release().to_string_lossy().as_ref());
    let Ok(table) = std::fs::read_to_string(directory.join("modules.dep")) else { return Ok(false) };
    let order = Dependencies::parse(&table).order(&underscores(name));
    order.iter().try_for_each(|file| insert(&directory.join(file)))?;
    Ok(!order.is_empty())
}

/// True if the kernel knows a type of file system, after loading its module if there is one.
pub(crate) fn filesystem_known(agent: &Agent, kind: &str) -> Result<bool, Failure> {
    if registered(kind)? {
        return Ok(true);
    }
    if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Ok(false);
    }
    let module = match kind {
        "iso9660" => "isofs",
        "ext2" | "ext3" => "ext4",
        other => other,
    };
    modprobe(agent, module)?;
    registered(kind)
}

fn registered(kind: &str) -> Result<bool, Failure> {
    let table =
        std::fs::read_to_string("/proc/filesystems").map_err(|e| Failure::io("/proc/filesystems", &e))?;
    Ok(table.lines().any(|line| line.split_whitespace().next_back() == Some(kind)))
}

/// The table that `depmod` makes: a file, and the files that it needs.
struct Dependencies<'t>(Vec<(&'t str, Vec<&'t str>)>);

impl<'t> Dependencies<'t> {
    fn parse(text: &'t str) -> Self {
        let line = |line: &'t str| {
            let (file, needs) = line.split_once(':')?;
            Some((file.trim(), needs.split_whitespace().collect()))
        };
        Dependencies(text.lines().filter_map(line).collect())
    }

    /// The files to load for a module, each after what it needs.
    fn order(&self, module: &str) -> Vec<PathBuf> {
        let mut order = Vec::new();
        if let Some((file, _)) = self.0.iter().find(|(file, _)| module_name(file) == module) {
            self.visit(file, &mut HashSet::new(), &mut order);
        }
        order
    }

    fn visit(&self, file: &'t str, seen: &mut HashSet<&'t str>, order: &mut Vec<PathBuf>) {
        if !seen.insert(file) {
            return;
        }
        for need in self.0.iter().filter(|(name, _)| *name == file).flat_map(|(_, needs)| needs) {
            self.visit(need, seen, order);
        }
        order.push(PathBuf::from(file));
    }
}

fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    underscores(name.split('.').next().unwrap_or(name))
}

fn underscores(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first() {
        let table = Dependencies::parse(
            "a.ko: kernel/b-c.ko d.ko\nkernel/b-c.ko: d.ko\nd.ko:\nx.ko: y.ko\ny.ko: x.ko\n",
        );
        let order = |name| table.order(name).iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        assert_eq!(order("a"), ["d.ko", "kernel/b-c.ko", "a.ko"]);
        assert_eq!(order("b_c"), ["d.ko", "kernel/b-c.ko"]);
        assert_eq!(order("x"), ["y.ko", "x.ko"]);
        assert!(order("none").is_empty());
    }
}
