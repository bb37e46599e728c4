//! virt-log and virt-get-kernel: parts of a system.

use std::path::Path;

use system_tests::images::Table;
use system_tests::programs::{output_of, peer, run};

use super::{Guest, fails};

/// Entries in journald's format for exports.
const ENTRIES: &str = "\
__REALTIME_TIMESTAMP=1700000000123456
__MONOTONIC_TIMESTAMP=1000000
_BOOT_ID=a1b2c3d4e5f60718293a4b5c6d7e8f90
_HOSTNAME=web1
SYSLOG_IDENTIFIER=sshd
SYSLOG_PID=77
_PID=78
_COMM=sshd
PRIORITY=6
MESSAGE=Accepted key for root

__REALTIME_TIMESTAMP=1700000001000001
__MONOTONIC_TIMESTAMP=2000000
_BOOT_ID=a1b2c3d4e5f60718293a4b5c6d7e8f90
_COMM=cron
_PID=5
PRIORITY=4
MESSAGE=second ü

__REALTIME_TIMESTAMP=1700000002000001
__MONOTONIC_TIMESTAMP=3000000
_BOOT_ID=a1b2c3d4e5f60718293a4b5c6d7e8f90
PRIORITY=6
MESSAGE=kernel speaks without names

";

fn add_journal(tree: &Path) {
    let directory = tree.join("var/log/journal/0123456789abcdef0123456789abcdef");
    std::fs::create_dir_all(&directory).unwrap();
    let export = tree.with_extension("export");
    std::fs::write(&export, ENTRIES).unwrap();
    let journal = directory.join("system.journal");
    let words = ["-o", journal.to_str().unwrap(), export.to_str().unwrap()];
    peer("/lib/systemd/systemd-journal-remote", &words);
}

#[test]
fn the_log_is_the_journal_or_a_text() {
    let guest = Guest::with(Table::Gpt, |tree, _| add_journal(tree));
    let mut command = std::process::Command::new(system_tests::programs::program("virt-log"));
    command.args(["--direct=only", "--format=raw", "-a", &guest.disk()]);
    let output = command.env("TZ", "UTC").output().unwrap();
    // Taken down from virt-log 1.48.
    let expected = "\
Nov 14 22:13:20 sshd[78] info: Accepted key for root
Nov 14 22:13:21 cron[5] warning: second ü
Nov 14 22:13:22 info: kernel speaks without names
";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert_eq!(output.status.code(), Some(0));
    let guest = Guest::new(Table::Gpt);
    let text = output_of("virt-log", &["--direct=only", "--format=raw", "-a", &guest.disk()]);
    assert_eq!(text, "line 1\nline 2\nno newline at the end");
}

#[test]
fn the_newest_kernel_is_copied() {
    let guest = Guest::with(Table::Gpt, |_, boot| {
        for (name, text) in [
            ("vmlinuz-6.12.9-amd64", "old"),
            ("vmlinuz-6.12.10-amd64", "new"),
            ("initrd.img-6.12.10-amd64", "ram"),
            ("vmlinuz-0-rescue-abc", "rescue"),
        ] {
            std::fs::write(boot.join(name), text).unwrap();
        }
    });
    let (disk, directory) = (guest.disk(), guest.path("out"));
    std::fs::create_dir(&directory).unwrap();
    let out = directory.to_str().unwrap();
    let text = output_of("virt-get-kernel", &["--direct=only", "--format", "raw", "-a", &disk, "-o", out]);
    assert_eq!(
        text,
        format!(
            "download: /boot/vmlinuz-6.12.10-amd64 -> {out}/vmlinuz-6.12.10-amd64\n\
             download: /boot/initrd.img-6.12.10-amd64 -> {out}/initrd.img-6.12.10-amd64\n"
        )
    );
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    assert_eq!(
        (read("vmlinuz-6.12.10-amd64"), read("initrd.img-6.12.10-amd64")),
        ("new".into(), "ram".into())
    );
    let words = ["-q", "--unversioned-names", "--prefix", "my", "--format", "auto", "-a", &disk, "-o", out];
    assert_eq!(output_of("virt-get-kernel", &words), "");
    assert_eq!((read("my-vmlinuz"), read("my-initrd.img")), ("new".into(), "ram".into()));
    assert_eq!(output_of("virt-get-kernel", &["--machine-readable"]), "virt-get-kernel\n");
    let missing = guest.path("missing");
    let error = fails(&run("virt-get-kernel", &["-q", "-a", &disk, "-o", missing.to_str().unwrap()]));
    assert!(error.contains("missing/vmlinuz-6.12.10-amd64"), "{error}");
}
