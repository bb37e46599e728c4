//! Boots a distribution's kernel under QEMU's emulator.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};

use appliance_engine::backend::{Backend, Died};
use appliance_engine::tcg::Tcg;
use common::{Guest, PATIENCE, disks_and_port, find, initrd, processes, spec, wait_for_no_process};

/// The kernel of a package unpacked where `DISKWRIGHT_TEST_PC_ROOT` says.
fn kernel(directory: &Path) -> Option<(Tcg, PathBuf)> {
    let Some(root) = std::env::var_os("DISKWRIGHT_TEST_PC_ROOT").map(PathBuf::from) else {
        eprintln!("SKIPPED: DISKWRIGHT_TEST_PC_ROOT does not name an unpacked linux-image package");
        return None;
    };
    let qemu = find("QEMU", &["/usr/bin/qemu-system-x86_64".into()])?;
    let kernel = std::fs::read_dir(root.join("boot"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinu")))
        .unwrap();
    let initrd = initrd(directory, &root, &["virtio_pci", "virtio_blk", "virtio_console"])?;
    Some((Tcg::new(qemu, kernel), initrd))
}

#[test]
fn disks_slots_and_the_port() {
    let directory = tempfile::tempdir().unwrap();
    let Some((tcg, initrd)) = kernel(directory.path()) else { return };
    disks_and_port(&tcg, spec(&initrd));
}

#[test]
fn the_end_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let Some((tcg, initrd)) = kernel(directory.path()) else { return };
    let mark = format!("mark-{}", std::process::id());
    let mut spec = spec(&initrd);
    spec.cmdline.push(mark.clone());
    let mut guest = Guest::boot(&tcg, spec);
    assert!(!processes(&mark).is_empty());
    guest.start("exit 3");
    let mut rest = Vec::new();
    guest.stream.read_to_end(&mut rest).unwrap();
    assert!(guest.machine.wait(PATIENCE).is_some());
    let died = Died::of(tcg.name(), &*guest.machine).unwrap().to_string();
    assert!(died.contains("Attempted to kill init"), "{died}");
    drop(guest);
    wait_for_no_process(&mark);
}
