//! The first stage: the agent as `/init`, and the few modules that it loads before anything else.

use std::fs;
use std::path::Path;

use super::cpio::Cpio;
use super::error::{Error, Result};
use super::modules::{Module, ModuleTree};
use super::recipe;

/// Writes the initramfs for one kernel. The agent finds in it:
///
/// * `/modules/load`: names of the files in `/modules` to load at once, in this order;
/// * `/modules/late/load`: the same for what the root image needs;
/// * `/modules/network/load`: and for a network device.
pub(super) fn write(out: &Path, guestd: &Path, modules: &ModuleTree) -> Result<()> {
    let mut first = modules.closure(recipe::PCI_MODULES, false)?;
    let already: Vec<String> = first.iter().map(|m| m.name.clone()).collect();
    let rest = modules.closure(recipe::FIRST_MODULES, true)?;
    first.extend(rest.into_iter().filter(|m| !already.contains(&m.name)));
    let late = modules.closure(recipe::ROOT_MODULES, true)?;
    let network = modules.closure(recipe::NETWORK_MODULES, true)?;

    let agent = fs::read(guestd).map_err(|e| Error::io("read", guestd, e))?;
    let mut archive = Cpio::new();
    for directory in ["dev", "proc", "sys", "run", "tmp", "sysroot", "tools"] {
        archive.directory(directory);
    }
    // Without a console node the kernel cannot give the agent its standard streams.
    archive.character_device("dev/console", 0o600, 5, 1);
    archive.file("init", 0o755, &agent);
    add(&mut archive, "modules", &first);
    add(&mut archive, "modules/late", &late);
    add(&mut archive, "modules/network", &network);
    fs::write(out, archive.finish()).map_err(|e| Error::io("write", out, e))
}

fn add(archive: &mut Cpio, directory: &str, modules: &[Module]) {
    let mut list = String::new();
    for module in modules {
        archive.file(&format!("{directory}/{}.ko", module.name), 0o644, &module.bytes);
        list.push_str(&format!("{}.ko\n", module.name));
    }
    archive.file(&format!("{directory}/load"), 0o644, list.as_bytes());
}
