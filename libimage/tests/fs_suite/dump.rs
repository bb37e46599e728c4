//! Everything that can be said of every file of a tree, in lines: from the kernel's mount, and from a reader.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use libimage::fs::system::{FileSystem, Node};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, StatxFlags};
use sha2::{Digest, Sha256};

/// What is compared.
#[derive(Clone, Copy)]
pub(crate) struct Compared {
    /// Where data and holes are.
    pub(crate) holes: bool,
    /// Extended attributes.
    pub(crate) attributes: bool,
    /// The time of birth.
    pub(crate) birth: bool,
    /// `st_blocks`.
    pub(crate) blocks: bool,
    /// `st_ino`.
    pub(crate) inodes: bool,
}

impl Compared {
    pub(crate) const ALL: Compared =
        Compared { holes: true, attributes: true, birth: true, blocks: true, inodes: true };
}

/// Lines by paths.
pub(crate) type Dump = BTreeMap<Vec<u8>, String>;

fn digest(bytes: impl FnOnce(&mut Sha256)) -> String {
    let mut sha = Sha256::new();
    bytes(&mut sha);
    sha.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What the kernel says of everything below `top`.
pub(crate) fn of_kernel(top: &Path, what: Compared) -> Dump {
    let mut dump = Dump::new();
    let mut left = vec![PathBuf::new()];
    while let Some(inside) = left.pop() {
        let path = top.join(&inside);
        let stat = rustix::fs::statx(CWD, &path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::ALL).unwrap();
        let kind = u32::from(stat.stx_mode) & 0o170_000;
        let mut line =
            format!("{:o} {}:{} links {}", stat.stx_mode, stat.stx_uid, stat.stx_gid, stat.stx_nlink);
        if what.inodes {
            write!(line, " inode {}", stat.stx_ino).unwrap();
        }
        if kind != 0o040_000 || what.blocks {
            write!(line, " size {}", stat.stx_size).unwrap();
        }
        if what.blocks {
            write!(line, " blocks {} of {}", stat.stx_blocks, stat.stx_blksize).unwrap();
        }
        write!(line, " device {}:{}", stat.stx_rdev_major, stat.stx_rdev_minor).unwrap();
        for (name, time) in [("a", stat.stx_atime), ("m", stat.stx_mtime), ("c", stat.stx_ctime)] {
            write!(line, " {name} {}.{:09}", time.tv_sec, time.tv_nsec).unwrap();
        }
        if what.birth && stat.stx_mask & StatxFlags::BTIME.bits() != 0 {
            write!(line, " b {}.{:09}", stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec).unwrap();
        }
        match kind {
            0o040_000 => {
                for entry in std::fs::read_dir(&path).unwrap() {
                    left.push(inside.join(entry.unwrap().file_name()));
                }
            }
            0o120_000 => {
                let target = std::fs::read_link(&path).unwrap().into_os_string().into_vec();
                write!(line, " -> {}", text(&target)).unwrap();
            }
            0o100_000 => {
                let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
                if what.holes {
                    let mut at = 0;
                    while let Ok(data) = rustix::fs::seek(file.as_fd(), SeekFrom::Data(at)) {
                        at = rustix::fs::seek(file.as_fd(), SeekFrom::Hole(data)).unwrap();
                        write!(line, " [{data},{at})").unwrap();
                    }
                }
                let bytes = std::fs::read(&path).unwrap();
                write!(line, " {}", digest(|sha| sha.update(&bytes))).unwrap();
            }
            _ => {}
        }
        if what.attributes {
            let c_path = CString::new(path.as_os_str().as_bytes()).unwrap();
            let mut names = vec![0u8; 64 << 10];
            let count = rustix::fs::llistxattr(&c_path, &mut names[..]).unwrap();
            let mut all: Vec<String> = Vec::new();
            for name in names[..count].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
                let mut value = vec![0u8; 64 << 10];
                let length = rustix::fs::lgetxattr(&c_path, OsStr::from_bytes(name), &mut value[..]).unwrap();
                all.push(format!(" {}={}", text(name), text(&value[..length])));
            }
            all.sort();
            line.extend(all);
        }
        dump.insert(inside.into_os_string().into_vec(), line);
    }
    dump
}

/// What a reader says of everything.
pub(crate) fn of_reader(fs: &dyn FileSystem, what: Compared) -> Dump {
    let mut dump = Dump::new();
    let mut left: Vec<(Vec<u8>, Node)> = vec![(Vec::new(), fs.root())];
    while let Some((path, node)) = left.pop() {
        let shown = || text(&path);
        let stat = fs.attributes(node).unwrap_or_else(|error| panic!("{}: {error}", shown()));
        let mode = stat.kind.mode() | stat.permissions;
        let mut line = format!("{mode:o} {}:{} links {}", stat.user, stat.group, stat.links);
        if what.inodes {
            write!(line, " inode {}", stat.inode).unwrap();
        }
        let kind = stat.kind.mode();
        if kind != 0o040_000 || what.blocks {
            write!(line, " size {}", stat.size).unwrap();
        }
        if what.blocks {
            write!(line, " blocks {} of {}", stat.blocks, stat.block_size).unwrap();
        }
        write!(line, " device {}:{}", stat.device.0, stat.device.1).unwrap();
        for (name, time) in [("a", stat.accessed), ("m", stat.modified), ("c", stat.changed)] {
            write!(line, " {name} {}.{:09}", time.seconds, time.nanoseconds).unwrap();
        }
        if what.birth
            && let Some(time) = stat.created
        {
            write!(line, " b {}.{:09}", time.seconds, time.nanoseconds).unwrap();
        }
        match kind {
            0o040_000 => {
                let mut names = Vec::new();
                fs.list(node, &mut |entry| {
                    assert!(entry.kind.is_none_or(|kind| fs.attributes(entry.node).unwrap().kind == kind));
                    names.push((entry.name.to_vec(), entry.node));
                    ControlFlow::Continue(())
                })
                .unwrap_or_else(|error| panic!("{}: {error}", shown()));
                for (number, (name, node)) in names.into_iter().enumerate() {
                    if number % 7 == 0 {
                        assert_eq!(fs.lookup(walked(&path, fs), &name).unwrap(), Some(node));
                    }
                    let inside = if path.is_empty() { name } else { [&path[..], b"/", &name].concat() };
                    left.push((inside, node));
                }
            }
            0o120_000 => write!(line, " -> {}", text(&fs.read_link(node).unwrap())).unwrap(),
            0o100_000 => {
                if what.holes {
                    let mut at = 0;
                    while let Some((data, hole)) = fs.data_after(node, at).unwrap() {
                        write!(line, " [{data},{hole})").unwrap();
                        at = hole;
                    }
                }
                let sum = digest(|sha| {
                    let mut at = 0;
                    // Pieces that are not multiples of anything.
                    let mut buffer = vec![0xee; 100_003];
                    loop {
                        let count = fs
                            .read(node, at, &mut buffer)
                            .unwrap_or_else(|error| panic!("{}: {error}", shown()));
                        if count == 0 {
                            break;
                        }
                        sha.update(&buffer[..count]);
                        at += count as u64;
                    }
                });
                write!(line, " {sum}").unwrap();
            }
            _ => {}
        }
        if what.attributes {
            let mut all: Vec<String> = Vec::new();
            for name in fs.xattr_names(node).unwrap() {
                let value = fs.xattr(node, &name).unwrap().unwrap();
                all.push(format!(" {}={}", text(&name), text(&value)));
            }
            all.sort();
            line.extend(all);
        }
        dump.insert(path, line);
    }
    dump
}

/// The directory at a path, walked to from the top: names lead where listings say.
fn walked(path: &[u8], fs: &dyn FileSystem) -> Node {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .fold(fs.root(), |node, name| fs.lookup(node, name).unwrap().unwrap())
}

/// Fails with the first difference.
pub(crate) fn compare(what: &str, kernel: &Dump, reader: &Dump) {
    for (path, line) in kernel {
        let ours = reader.get(path).map_or("nothing", String::as_str);
        assert_eq!(ours, line, "{what}: {} (ours left, the kernel's right)", text(path));
    }
    let more: Vec<_> = reader.keys().filter(|path| !kernel.contains_key(*path)).collect();
    assert!(more.is_empty(), "{what}: the kernel has no {more:?}");
}

/// Holds the numbers of `statfs` against the kernel's.
pub(crate) fn compare_statistics(what: &str, mount: &Path, fs: &dyn FileSystem) {
    let kernel = rustix::fs::statfs(mount).unwrap();
    let ours = fs.statistics().unwrap();
    let kernel = [
        kernel.f_bsize as u64,
        kernel.f_blocks,
        kernel.f_bfree,
        kernel.f_bavail,
        kernel.f_files,
        kernel.f_ffree,
        kernel.f_namelen as u64,
    ];
    let ours = [
        ours.block_size,
        ours.blocks,
        ours.free,
        ours.available,
        ours.files,
        ours.files_free,
        ours.name_length,
    ];
    assert_eq!(
        ours, kernel,
        "{what}: block size, blocks, free, available, files, free, name length (ours left)"
    );
}

/// The kernel's mount and a reader say the same, of everything in the tree and of the whole.
pub(crate) fn same_as_kernel(what: &str, mount: &Path, fs: &dyn FileSystem, compared: Compared) {
    let kernel = of_kernel(mount, compared);
    compare(what, &kernel, &of_reader(fs, compared));
    compare_statistics(what, mount, fs);
    assert!(kernel.len() > 1000, "{what}: the tree is there");
}
