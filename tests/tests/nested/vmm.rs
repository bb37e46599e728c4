//! `vmm-mini` boots real kernels: inside a guest with nested KVM, or directly where the host's KVM works.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use system_tests::nested::{Kernel, Nested};
use system_tests::programs::program;
use system_tests::vmm;

const CHECKS: &str = env!("CARGO_BIN_EXE_vmm_checks");

fn tool(program: &str, arguments: &[&str], file: &Path) {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Fills `directory` with all that the checks need.
fn prepare(directory: &Path, kernel: &Kernel) {
    let raw = directory.join("raw.img");
    for name in ["raw", "qcow2"] {
        std::fs::write(&raw, format!("{}\n", vmm::pattern_text(name))).unwrap();
        std::fs::File::options().write(true).open(&raw).unwrap().set_len(vmm::DISK_SIZE).unwrap();
        if name == "raw" {
            std::fs::rename(&raw, directory.join("kept")).unwrap();
        }
    }
    let qcow2 = directory.join("disk.qcow2");
    tool("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", raw.to_str().unwrap()], &qcow2);
    std::fs::rename(directory.join("kept"), &raw).unwrap();
    std::fs::write(directory.join("initrd"), vmm::initrd(kernel).unwrap()).unwrap();
    std::fs::copy(kernel.bzimage().unwrap(), directory.join("bzImage")).unwrap();
    std::fs::copy(kernel.vmlinux(), directory.join("vmlinux")).unwrap();
    std::fs::copy(program("vmm-mini"), directory.join("vmm-mini")).unwrap();
}

/// Reads what the guest wrote with QEMU's tools.
fn inspect(qcow2: &Path) {
    tool("qemu-img", &["check", "-q", "-f", "qcow2"], qcow2);
    let read = format!("read -v {} 32", vmm::WRITTEN_AT);
    let output =
        Command::new("qemu-io").args(["-r", "-f", "qcow2", "-c", &read]).arg(qcow2).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // The dump shows all but letters and digits as dots, and sixteen bytes a line.
    assert!(text.contains("written.to.disk.") && text.contains("qcow2"), "{text}");
}

#[test]
fn vmm_mini_runs_guests() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = Kernel::get().unwrap();
    prepare(directory.path(), &kernel);
    if vmm_mini::kvm::probe().is_ok() {
        let status = Command::new(CHECKS).arg(directory.path()).status().unwrap();
        assert!(status.success());
        inspect(&directory.path().join("disk.qcow2"));
        return;
    }
    let outcome = Nested::new()
        .unwrap()
        .memory(2048)
        .file(CHECKS, "/bin/vmm_checks")
        .unwrap()
        .dir(directory.path(), "/checks")
        .unwrap()
        .fetch("/checks/disk.qcow2")
        .timeout(Duration::from_secs(240))
        .run("vmm_checks /checks")
        .unwrap();
    assert_eq!(outcome.status, 0, "{}", outcome.output);
    inspect(&outcome.file("/checks/disk.qcow2"));
}
