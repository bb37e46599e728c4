//! Boots a real User-Mode Linux.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::path::{Path, PathBuf};

use appliance_engine::uml::Uml;
use common::{disks_and_port, find, initrd, spec};

fn kernel(directory: &Path) -> Option<(Uml, PathBuf)> {
    let kernel = find("User-Mode Linux", &["/usr/bin/linux.uml".into()])?;
    let modules = find("the modules of User-Mode Linux", &["/usr/lib/uml/modules".into()])?;
    let initrd = initrd(directory, &modules, &["virtio_blk", "virtio_console"])?;
    Some((Uml::new(kernel), initrd))
}

#[test]
fn disks_slots_and_the_port() {
    let directory = tempfile::tempdir().unwrap();
    let Some((uml, initrd)) = kernel(directory.path()) else { return };
    disks_and_port(&uml, spec(&initrd));
}
