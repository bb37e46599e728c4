//! Journals, rules, labels, copies and deleted files: actions that stand on programs, or on files that other
//! programs wrote.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::Error;
use guestd_api::actions::rsync::RsyncOptions;
use guestd_api::actions::sleuthkit::DownloadBlocksOptions;
use guestd_api::prelude::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use support::Agent;

fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.unwrap_err().to_string()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Has systemd write a journal of entries numbered from `first`.
fn write_journal(directory: &Path, name: &str, first: u32, count: u32, options: &[&str]) {
    let mut export = String::new();
    for number in first..first + count {
        let long = if number % 3 == 0 { "long ".repeat(2000) } else { String::new() };
        export += &format!(
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID=0123456789abcdef0123456789abcdef\n\
             PRIORITY=6\nMESSAGE=entry {number} {long}\nNUMBER={number}\n\n",
            1_700_000_000_000_000 + u64::from(number),
            1000 + number
        );
    }
    let source = directory.join("export");
    std::fs::write(&source, export).unwrap();
    let mut command = Command::new("/lib/systemd/systemd-journal-remote");
    command.arg("-o").arg(directory.join(name)).args(options).arg(&source);
    for (name, value) in options.iter().filter_map(|option| option.split_once('=')) {
        command.env(name, value);
    }
    run(&mut command);
    std::fs::remove_file(source).unwrap();
}

#[test]
fn journals_of_systemd_are_read_as_journalctl_reads_them() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    let directory = agent.host("j");
    std::fs::create_dir(&directory).unwrap();
    write_journal(&directory, "one.journal", 0, 700, &["--split-mode=none"]);
    write_journal(&directory, "two.journal", 700, 100, &["--split-mode=none", "--compress=no"]);
    std::fs::write(directory.join("bad.journal"), "LPKSHHRH and nothing more").unwrap();
    assert!(message(g.journal_next()).contains("do_journal_next: you must call 'journal-open' first"));
    assert!(message(g.journal_open("/none")).contains("/none: No such file or directory"));
    g.journal_open("/j").unwrap();
    assert!(message(g.journal_get()).contains("Cannot assign requested address"));
    let text = run(Command::new("journalctl").arg("-D").arg(&directory).args([
        "-o",
        "cat",
        "--output-fields=NUMBER,MESSAGE",
    ]));
    let expected: Vec<&str> = text.lines().filter(|line| line.starts_with("entry ")).collect();
    assert_eq!(expected.len(), 800);
    let field = |name: &str| {
        let fields = g.journal_get().unwrap();
        fields.into_iter().find(|field| field.attrname == *name).unwrap().attrval.to_string()
    };
    for (number, line) in expected.iter().enumerate().take(40) {
        assert!(g.journal_next().unwrap());
        assert_eq!((field("MESSAGE").trim_end(), field("NUMBER")), (line.trim_end(), number.to_string()));
        let time = g.journal_get_realtime_usec().unwrap();
        assert_eq!(time, 1_700_000_000_000_000 + i64::try_from(number).unwrap());
    }
    assert_eq!((g.journal_skip(700).unwrap(), field("NUMBER")), (700, "739".into()));
    assert_eq!((g.journal_skip(-39).unwrap(), field("NUMBER")), (39, "700".into()));
    assert_eq!((g.journal_skip(1000).unwrap(), field("NUMBER")), (99, "799".into()));
    assert!(!g.journal_next().unwrap());
    assert_eq!((g.journal_skip(-5000).unwrap(), field("NUMBER")), (799, "0".into()));
    assert_eq!(g.journal_get_data_threshold().unwrap(), 65536);
    g.journal_set_data_threshold(100).unwrap();
    assert!(field("MESSAGE").len() < 100);
    g.journal_set_data_threshold(0).unwrap();
    assert!(field("MESSAGE").len() > 9000);
    g.journal_close().unwrap();
    assert!(g.journal_close().is_err());

    // Damage anywhere ends in an error or an early end.
    let good = std::fs::read(directory.join("one.journal")).unwrap();
    std::fs::remove_file(directory.join("two.journal")).unwrap();
    let mut state = 1u64;
    for _ in 0..40 {
        let mut bad = good.clone();
        for _ in 0..20 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (state >> 20) as usize % bad.len().min(60_000);
            bad[at] = (state >> 12) as u8;
        }
        std::fs::write(directory.join("one.journal"), &bad).unwrap();
        g.journal_open("/j").unwrap();
        for _ in 0..50 {
            let _ = g.journal_next();
            let _ = g.journal_get();
        }
        g.ping_daemon().unwrap();
    }
}

#[test]
fn rules_find_files() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.write("/bad file", "some malicious bytes").unwrap();
    g.write("/good", "harmless").unwrap();
    assert!(message(g.yara_scan("/good")).contains("no yara rules loaded"));
    let rules = "rule Malice { strings: $a = \"malicious\" condition: $a }\nrule Any { condition: true }\n";
    assert!(g.yara_load(&b"rule { broken"[..]).is_err());
    g.yara_load(rules.as_bytes()).unwrap();
    let found = |path: &str| -> Vec<String> {
        let list = g.yara_scan(path).unwrap();
        assert!(list.iter().all(|one| one.yara_name == *path));
        list.iter().map(|one| one.yara_rule.to_string()).collect()
    };
    assert_eq!(
        (found("/bad file"), found("/good")),
        (vec!["Malice".into(), "Any".into()], vec!["Any".into()])
    );
    let (source, compiled) = (agent.directory.path().join("r"), agent.directory.path().join("c"));
    std::fs::write(&source, "rule One { condition: filesize < 9 }").unwrap();
    run(Command::new("yarac").args([&source, &compiled]));
    g.yara_load(std::fs::File::open(compiled).unwrap()).unwrap();
    assert_eq!((found("/bad file").len(), found("/good")), (0, vec!["One".into()]));
    assert!(message(g.yara_scan("/none")).contains("/none: No such file"));
    g.yara_destroy().unwrap();
    assert!(g.yara_destroy().is_err());
}

#[test]
fn directories_are_synchronised() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.mkdir_p("/from/below").unwrap();
    g.write("/from/below/a", "1").unwrap();
    g.chmod(0o600, "/from/below/a").unwrap();
    g.mkdir_p("/to/old").unwrap();
    let archive = RsyncOptions::default().archive(true);
    g.rsync("/from/", "/to", archive.clone()).unwrap();
    let copy = agent.host("to/below/a").metadata().unwrap();
    assert_eq!(copy.permissions().mode() & 0o777, 0o600);
    assert!(agent.host("to/old").exists());
    g.rsync("/from/", "/to", archive.clone().deletedest(true)).unwrap();
    assert!(!agent.host("to/old").exists());
    g.rsync("/from", "/to", archive).unwrap();
    assert!(agent.host("to/from/below/a").exists());
    assert!(g.rsync("/none", "/to", Default::default()).is_err());
    // What is not on this machine is left to rsync; a directory of it will do.
    let outside = agent.directory.path().join("outside");
    let place = outside.to_str().unwrap();
    g.rsync_out("/fro*/", place, guestd_api::actions::rsync::RsyncOutOptions::default().archive(true))
        .unwrap();
    assert!(outside.join("below/a").exists());
    std::fs::write(outside.join("new"), "n").unwrap();
    let options = guestd_api::actions::rsync::RsyncInOptions::default().archive(true);
    g.rsync_in(format!("{place}/"), "/to", options).unwrap();
    assert_eq!(g.cat("/to/new").unwrap(), "n");
}

#[test]
fn labels_of_a_policy() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.mkdir_p("/etc").unwrap();
    g.write("/etc/passwd", "x").unwrap();
    g.write("/top", "x").unwrap();
    g.write(
        "/spec",
        "/.*\tsystem_u:object_r:default_t:s0\n/etc(/.*)?\tsystem_u:object_r:etc_t:s0\n/etc/passwd\t--\tsystem_u:object_r:passwd_t:s0\n",
    )
    .unwrap();
    g.selinux_relabel("/spec", "/etc", Default::default()).unwrap();
    let label = |name: &str| {
        let bytes = g.lgetxattr(name, "security.selinux").unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    };
    assert_eq!(label("/etc/passwd"), "system_u:object_r:passwd_t:s0");
    assert_eq!((label("/etc").as_str(), label("/top").as_str()), ("system_u:object_r:etc_t:s0", ""));
    g.setfiles(
        "/spec",
        &["/top", "/spec"],
        guestd_api::actions::selinux::SetfilesOptions::default().force(true),
    )
    .unwrap();
    assert_eq!(label("/top"), "system_u:object_r:default_t:s0");
    assert!(g.selinux_relabel("/none", "/etc", Default::default()).is_err());
}

#[test]
fn deleted_files_and_blocks() {
    let agent = Agent::with_disks(&[16 << 20]);
    let g = &agent.client;
    let disk = agent.loops[0].node.to_str().unwrap().to_owned();
    run(Command::new("mkfs.ext2").args(["-q", "-b", "1024", &disk]));
    g.mount("/dev/sda", "/").unwrap();
    g.mkdir("/d").unwrap();
    g.write("/d/kept", "kept content").unwrap();
    g.ln("/d/kept", "/d/again").unwrap();
    g.ln_s("/d/kept", "/link").unwrap();
    g.write("/d/gone", "deleted content").unwrap();
    let inode = |path: &str| g.lstatns(path).unwrap().st_ino;
    let (kept, gone) = (inode("/d/kept"), inode("/d/gone"));
    g.utimens("/d/kept", 1000, 1, 2000, 2).unwrap();
    g.sync().unwrap();
    g.rm("/d/gone").unwrap();
    g.umount("/", Default::default()).unwrap();
    let all = g.filesystem_walk("/dev/sda").unwrap();
    let named = |name: &str| {
        all.iter().find(|entry| entry.tsk_name == *name).unwrap_or_else(|| panic!("{name}: {all:?}"))
    };
    let entry = named("d/kept");
    assert_eq!(
        (entry.tsk_inode, entry.tsk_type, entry.tsk_size, entry.tsk_flags),
        (kept.cast_unsigned(), b'r', 12, 1)
    );
    assert_eq!((entry.tsk_atime_sec, entry.tsk_mtime_sec, entry.tsk_nlink), (1000, 2000, 2));
    assert_eq!((named("d").tsk_type, named("link").tsk_type), (b'd', b'l'));
    assert_eq!(named("link").tsk_link, "/d/kept");
    // The kernel takes the name away; the inode is still there.
    let orphans = g.find_inode("/dev/sda", gone).unwrap();
    assert!(!orphans.is_empty() && orphans.iter().all(|entry| entry.tsk_flags & 1 == 0), "{orphans:?}");
    let names: Vec<_> =
        g.find_inode("/dev/sda", kept).unwrap().into_iter().map(|e| e.tsk_name.to_string()).collect();
    assert!(
        names.contains(&"d/kept".into()) && names.contains(&"d/again".into()) && !names.contains(&"d".into())
    );
    let mut bytes = Vec::new();
    g.download_inode("/dev/sda", kept, &mut bytes).unwrap();
    assert_eq!(bytes, b"kept content");
    assert!(g.download_inode("/dev/sda", gone, &mut Vec::new()).is_ok());
    let whole = std::fs::read(&agent.loops[0].file).unwrap();
    let mut blocks = Vec::new();
    g.download_blocks("/dev/sda", 1, 8, &mut blocks, Default::default()).unwrap();
    assert!(blocks == whole[1024..9 * 1024]);
    let free = DownloadBlocksOptions::default().unallocated(true);
    let mut unused = Vec::new();
    g.download_blocks("/dev/sda", 1, 16000, &mut unused, free).unwrap();
    assert!(unused.windows(15).any(|window| window == b"deleted content") && unused.len() < whole.len());
    assert!(g.download_blocks("/dev/sda", 9, 3, &mut Vec::new(), Default::default()).is_err());
}
