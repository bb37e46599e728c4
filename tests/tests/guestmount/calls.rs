//! Every call on every kind of thing: what each answers, and what it leaves behind.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

/// What there is, and what is not.
const THINGS: [&str; 14] = [
    "missing",
    "file",
    "empty",
    "full",
    "full/inside",
    "link",
    "dangling",
    "circle",
    "pipe",
    "file/below",
    "missing/below",
    "circle/below",
    "LONG",
    "full/..",
];

/// Of these, all pairs.
const PAIRED: [&str; 8] =
    ["missing", "file", "empty", "full", "link", "dangling", "file/below", "missing/below"];

/// Makes everything anew.
fn prepare(root: &Path) {
    if root.exists() {
        fs::remove_dir_all(root).unwrap();
    }
    for directory in ["", "empty", "full"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    for file in ["file", "full/inside"] {
        fs::write(root.join(file), file).unwrap();
    }
    for (name, target) in [("link", "file"), ("dangling", "nowhere"), ("circle", "circle")] {
        std::os::unix::fs::symlink(target, root.join(name)).unwrap();
    }
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(CWD, root.join("pipe"), kind, Mode::from_raw_mode(0o644), 0).unwrap();
}

type One = (&'static str, fn(&Path) -> Result<(), Errno>);
type Two = (&'static str, fn(&Path, &Path) -> Result<(), Errno>);

fn times() -> Timestamps {
    let time = |tv_sec| Timespec { tv_sec, tv_nsec: 5 };
    Timestamps { last_access: time(1_000_000_000), last_modification: time(-5) }
}

fn open(path: &Path, flags: OFlags) -> Result<(), Errno> {
    rustix::fs::open(path, flags | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::from_raw_mode(0o640)).map(drop)
}

const ONE: [One; 17] = [
    ("chmod", |path| rustix::fs::chmod(path, Mode::from_raw_mode(0o4711))),
    ("chown", |path| {
        rustix::fs::chownat(CWD, path, Some(Uid::from_raw(7)), Some(Gid::from_raw(8)), AtFlags::empty())
    }),
    ("lchown", |path| {
        rustix::fs::chownat(CWD, path, Some(Uid::from_raw(9)), None, AtFlags::SYMLINK_NOFOLLOW)
    }),
    ("utimens", |path| rustix::fs::utimensat(CWD, path, &times(), AtFlags::empty())),
    ("lutimens", |path| rustix::fs::utimensat(CWD, path, &times(), AtFlags::SYMLINK_NOFOLLOW)),
    ("unlink", |path| rustix::fs::unlink(path)),
    ("rmdir", |path| rustix::fs::rmdir(path)),
    ("mkdir", |path| rustix::fs::mkdir(path, Mode::from_raw_mode(0o751))),
    ("symlink", |path| rustix::fs::symlink("file", path)),
    ("mkfifo", |path| {
        rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
    }),
    ("read", |path| open(path, OFlags::RDONLY)),
    ("write", |path| open(path, OFlags::WRONLY)),
    ("new", |path| open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)),
    ("create", |path| open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)),
    ("directory", |path| open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW)),
    ("readlink", |path| rustix::fs::readlink(path, Vec::new()).map(drop)),
    ("truncate", |path| {
        let file =
            rustix::fs::open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::ftruncate(file, 3)
    }),
];

const TWO: [Two; 2] =
    [("link", |from, to| rustix::fs::link(from, to)), ("rename", |from, to| rustix::fs::rename(from, to))];

/// A line for every call: what it answers, and if it was done, what is there then. What one does the next ones see.
pub(crate) fn answers(root: &Path) -> Vec<String> {
    let path = |thing: &str| root.join(thing.replace("LONG", &"n".repeat(256)));
    let mut lines = Vec::new();
    let mut note = |what: String, done: Result<(), Errno>| {
        let after = if done.is_ok() { seen(root) } else { String::new() };
        lines.push(format!("{what}: {done:?} {after}"));
    };
    for (name, call) in ONE {
        prepare(root);
        for thing in THINGS {
            note(format!("{name} {thing}"), call(&path(thing)));
        }
    }
    for (name, call) in TWO {
        for from in PAIRED {
            prepare(root);
            for to in PAIRED {
                note(format!("{name} {from} {to}"), call(&path(from), &path(to)));
            }
        }
    }
    fs::remove_dir_all(root).unwrap();
    lines
}

/// What is there, in order.
fn seen(root: &Path) -> String {
    let mut names: Vec<_> = ["", "full", "empty"]
        .iter()
        .flat_map(|directory| fs::read_dir(root.join(directory)).into_iter().flatten().flatten())
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            let old = if meta.mtime() < 1_000_000 { meta.mtime() } else { 0 };
            let path = entry.path().strip_prefix(root).unwrap().display().to_string();
            let size = if meta.is_dir() { 0 } else { meta.len() };
            format!("{path} {:o} {} {} {size} {old} {}", meta.mode(), meta.uid(), meta.gid(), meta.nlink())
        })
        .collect();
    names.sort();
    names.join(", ")
}
