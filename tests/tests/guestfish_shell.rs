//! What the shell itself does with commands: wants them to fail, tells of events, works before a launch.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::PathBuf;

use system_tests::fish::{Ran, command, feed, output_of, script};
use tempfile::TempDir;

fn empty_disk() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    std::fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
    (directory, disk)
}

fn on_command_line(words: &[&str]) -> Ran {
    feed(&mut command(words), b"")
}

#[test]
fn commands_that_must_fail() {
    let ran = on_command_line(&["not", "unknown-command", ":", "echo", "after"]);
    assert_eq!((ran.code, ran.text()), (Some(0), "after\n"), "{ran:?}");
    assert!(ran.err.starts_with("unknown-command: unknown command\n"), "{}", ran.err);
    let ran = on_command_line(&["not", "add", "/dev/null", ":", "echo", "after"]);
    assert_eq!((ran.code, ran.text(), ran.err.as_str()), (Some(1), "", ""));
    assert_eq!(on_command_line(&["not", "not", "echo", "x"]).code, Some(0));
    // It was not even tried.
    assert_eq!(on_command_line(&["not", "mount"]).code, Some(1));
    assert_eq!(on_command_line(&["not"]).err, "use 'not command [args...]'\n");
}

#[test]
fn events_of_warnings_and_of_the_end() {
    let (_directory, disk) = empty_disk();
    let lines = format!(
        "event w warning,subprocess_quit,close \"echo \\\"<$EVENT>\\\" \\\"$1\\\" | cut -c1-30\"\nadd {}\nrun\n-internal-exit\n\
         -list-devices\n!echo told\nreopen\nlist-events\n",
        disk.display()
    );
    let ran = script(&[], &lines);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.text(), "<warning> the format of '/tmp/\n<subprocess_quit> \ntold\n<close> \n");
    assert!(!ran.err.contains("warning"), "who listens is told and nobody else: {}", ran.err);
}

#[test]
fn events_of_the_appliance_need_no_other_setting() {
    let (_directory, disk) = empty_disk();
    let lines = format!(
        "event a appliance \"echo \\\"<$EVENT>\\\"\"\nadd {} format:raw\nrun\nping-daemon\ndebug print \"said by nobody\"\n",
        disk.display()
    );
    let ran = script(&[], &lines);
    assert!(ran.text().contains("<appliance>\n") && !ran.err.contains("said by nobody"), "{ran:?}");
}

#[test]
fn what_needs_no_guest() {
    let out = output_of(&[], "version\n");
    let expected = env!("CARGO_PKG_VERSION").split('.').map(str::to_owned).collect::<Vec<_>>();
    let numbers = ["major", "minor", "release"]
        .iter()
        .zip(expected)
        .map(|(name, number)| format!("{name}: {number}\n"));
    assert_eq!(out, numbers.collect::<String>() + "extra: \n");
    let ran = on_command_line(&["copy-in", "/no/such/file", "/"]);
    assert_eq!(
        ran.err,
        "*stdin*:0: libguestfs: error: source ‘/no/such/file’ does not exist (or cannot be read)\n"
    );
    let ran = on_command_line(&["echo", "a", ":", ":"]);
    assert_eq!(
        (ran.code, ran.text(), ran.err.as_str()),
        (Some(1), "a\n", "guestfish: empty command on command line\n")
    );
}

#[test]
fn a_device_that_cannot_be_mounted_brings_those_that_could() {
    let (_directory, disk) = empty_disk();
    let disk = disk.to_str().unwrap();
    output_of(&["--format=raw", "-a", disk], "run\npart-disk /dev/sda mbr\nmkfs ext2 /dev/sda1\n");
    let ran = on_command_line(&["--format=raw", "-a", disk, "-m", "/dev/sda7", "ls", "/"]);
    assert_eq!((ran.code, ran.text()), (Some(1), ""));
    let mut lines = ran.err.lines();
    assert!(lines.next().unwrap().starts_with("libguestfs: error: "), "{}", ran.err);
    let rest: Vec<&str> = lines.collect();
    assert_eq!(
        rest,
        [
            "guestfish: ‘/dev/sda7’ could not be mounted.",
            "guestfish: Did you mean to mount one of these filesystems?",
            "guestfish: \t/dev/sda1 (ext2)"
        ]
    );
}

#[test]
fn editors_have_names() {
    let (directory, disk) = empty_disk();
    let disk = disk.to_str().unwrap();
    let bin = directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["vi", "less"] {
        let place = bin.join(name);
        let text = format!("#!/bin/sh\n[ $# = 0 ] && sed s/^/{name}:/ && exit\necho {name} >>\"$1\"\n");
        std::fs::write(&place, text).unwrap();
        std::fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut guestfish = command(&["--format=raw", "-a", disk]);
    guestfish.env("PATH", path).env("EDITOR", "false").env("PAGER", "false");
    let ran = feed(
        &mut guestfish,
        b"run\nmkfs ext2 /dev/sda\nmount /dev/sda /\nwrite /f \"one\\n\"\nvi /f\ncat /f\nless /f\n-edit /f\n",
    );
    assert_eq!((ran.code, ran.text()), (Some(0), "one\nvi\n\nless:one\nless:vi\n"), "{ran:?}");
    assert!(ran.err.contains("'false' failed"), "{ran:?}");
}
