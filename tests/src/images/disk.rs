//! File systems in files, and disks of several of them.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs::peer;

const SECTOR: u64 = 512;

/// How a disk is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// A GUID partition table.
    Gpt,
    /// A master boot record; all partitions but the first are logical ones.
    Logical,
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Makes a file system of `mib` MiB in the file `path` with a `mkfs` program and its options.
///
/// # Panics
/// When the tool is missing or refuses.
pub fn format(path: &Path, mib: u64, make: &[&str]) {
    File::create(path).expect("an image can be made").set_len(mib << 20).expect("and be sized");
    let (program, options) = make.split_first().expect("a command was given");
    peer(program, &[options, &[text(path)]].concat());
}

/// Makes an ext file system that holds `tree`, with indexed directories, and lets `debugfs` change it further.
///
/// # Panics
/// When the tools are missing or refuse.
pub fn ext(path: &Path, mib: u64, make: &[&str], tree: &Path, debugfs: &str) {
    let (program, options) = make.split_first().expect("a command was given");
    let options = [&[*program, "-q", "-F", "-d", text(tree)], options].concat();
    format(path, mib, &options);
    if !debugfs.is_empty() {
        let mut child = Command::new("debugfs")
            .args(["-w", "-f", "-", text(path)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("debugfs is needed by this test (make deps)");
        child.stdin.take().expect("a pipe").write_all(debugfs.as_bytes()).expect("debugfs reads");
        assert!(child.wait().expect("debugfs ends").success());
    }
    // -D makes indexes for large directories; 1 means that it did something.
    let checked = Command::new("e2fsck").args(["-fyD", text(path)]).output().expect("e2fsck runs");
    assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
}

/// Makes a disk of partitions, each with the contents of a file (or none, but 1 MiB of nothing).
///
/// # Panics
/// When a tool is missing or refuses.
pub fn disk(path: &Path, table: Table, parts: &[Option<&Path>]) {
    let length = |part: &Option<&Path>| match part {
        Some(file) => std::fs::metadata(file).expect("the contents are there").len(),
        None => 1 << 20,
    };
    let total: u64 = parts.iter().map(|part| length(part) + (1 << 20)).sum::<u64>() + (2 << 20);
    File::create(path).expect("an image can be made").set_len(total).expect("and be sized");
    let mut script = match table {
        Table::Gpt => "label: gpt\n".to_owned(),
        Table::Logical => "label: dos\n".to_owned(),
    };
    for (index, part) in parts.iter().enumerate() {
        if table == Table::Logical && index == 1 {
            script.push_str("type=5\n");
        }
        script.push_str(&format!("size={}\n", length(part) / SECTOR));
    }
    let mut child = Command::new("sfdisk")
        .args(["-q", text(path)])
        .stdin(Stdio::piped())
        .spawn()
        .expect("sfdisk is needed by this test (make deps)");
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("sfdisk reads");
    assert!(child.wait().expect("sfdisk ends").success(), "{script}");
    let mut starts = starts(path);
    if table == Table::Logical && parts.len() > 1 {
        // The container itself.
        starts.remove(1);
    }
    let to = File::options().write(true).open(path).expect("the disk can be written");
    for (part, start) in parts.iter().zip(starts) {
        if let Some(file) = part {
            copy_sparse(&File::open(file).expect("the contents can be read"), &to, start);
        }
    }
}

fn copy_sparse(from: &File, to: &File, start: u64) {
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let count = from.read_at(&mut buffer, at).expect("contents can be read");
        if count == 0 {
            return;
        }
        if buffer[..count].iter().any(|&byte| byte != 0) {
            to.write_all_at(&buffer[..count], start + at).expect("the disk can be written");
        }
        at += count as u64;
    }
}

/// Where the partitions of a disk begin, in bytes, as sfdisk sees it.
fn starts(path: &Path) -> Vec<u64> {
    let dump = peer("sfdisk", &["-d", text(path)]);
    let field =
        |line: &str| -> Option<u64> { line.split_once("start=")?.1.split(',').next()?.trim().parse().ok() };
    dump.lines().filter_map(field).map(|sector| sector * SECTOR).collect()
}

/// A copy of a partition of a raw disk (counted from 0, containers included), for tools that want a file.
///
/// # Panics
/// When there is no such partition.
#[must_use]
pub fn part_of(disk: &Path, index: usize) -> PathBuf {
    let dump = peer("sfdisk", &["-d", text(disk)]);
    let start = starts(disk)[index];
    let line =
        dump.lines().filter(|line| line.contains("start=")).nth(index).expect("the partition is there");
    let size: u64 = line
        .split_once("size=")
        .and_then(|(_, rest)| rest.split(',').next()?.trim().parse().ok())
        .expect("sfdisk tells the size");
    let copy = disk.with_extension(format!("part{index}"));
    let to = File::create(&copy).expect("a copy can be made");
    to.set_len(size * SECTOR).expect("and be sized");
    let from = File::open(disk).expect("the disk can be read");
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < size * SECTOR {
        let count = buffer.len().min((size * SECTOR - at) as usize);
        from.read_exact_at(&mut buffer[..count], start + at).expect("the disk can be read");
        if buffer[..count].iter().any(|&byte| byte != 0) {
            to.write_all_at(&buffer[..count], at).expect("the copy can be written");
        }
        at += count as u64;
    }
    copy
}

/// A qcow2 image over a raw one, made by qemu-img.
///
/// # Panics
/// When qemu-img is missing or refuses.
#[must_use]
pub fn overlay(backing: &Path) -> PathBuf {
    let path = backing.with_extension("qcow2");
    peer("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", text(backing), text(&path)]);
    path
}
