//! Boots a distribution's kernel under QEMU's emulator.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};

use appliance_engine::backend::{Backend, Died};
use appliance_engine::tcg::Tcg;
use common::{Guest, PATIENCE, disks_and_port, initrd, package, processes, spec, wait_for_no_process};

fn kernel(directory: &Path) -> (Tcg, PathBuf) {
    let package = package("linux-image-cloud-amd64");
    let kernel = std::fs::read_dir(package.join("boot"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinu")))
        .unwrap();
    let initrd = initrd(directory, &package, &["virtio_pci", "virtio_blk", "virtio_console"]);
    (Tcg::new("/usr/bin/qemu-system-x86_64", kernel), initrd)
}

#[test]
fn disks_slots_and_the_port() {
    let directory = tempfile::tempdir().unwrap();
    let (tcg, initrd) = kernel(directory.path());
    disks_and_port(&tcg, spec(&initrd));
}

#[test]
fn the_end_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (tcg, initrd) = kernel(directory.path());
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
