//! A random walk over a file system: the same calls in two directories, whose answers must be the same.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, SeekFrom, Timespec, Timestamps,
    UTIME_NOW, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;
use system_tests::random::Random;

/// What a call answers: text that does not depend on where it was made.
type Answer = Result<String, Errno>;

/// One call, with its arguments chosen.
pub(crate) struct Step {
    what: u64,
    names: [PathBuf; 2],
    numbers: [u64; 3],
}

const NAMES: [&str; 9] = ["a", "b", "c", "dir", "dir/a", "dir/b", "dir/deep", "dir/deep/a", "long"];
// None leads out: what is done through a link would be done to the host.
const LINKS: [&str; 5] = ["a", "dir/b", "dir/../c", "./nothing", "b"];
const KINDS: u64 = 29;

fn path(random: &mut Random) -> PathBuf {
    match random.pick(&NAMES) {
        "long" => "n".repeat(200 + random.below(70) as usize).into(),
        name => name.into(),
    }
}

impl Step {
    /// The next of a walk.
    pub(crate) fn random(random: &mut Random) -> Step {
        let names = [path(random), path(random)];
        let numbers = [random.below(1 << 30), random.below(300_000), random.below(1 << 30)];
        Step { what: random.below(KINDS), names, numbers }
    }

    /// For messages.
    pub(crate) fn text(&self) -> String {
        format!("call {} on {:?} with {:?}", self.what, self.names, self.numbers)
    }

    /// Makes the call in a directory.
    pub(crate) fn make(&self, root: &Path) -> Answer {
        let [one, two] = &self.names.clone().map(|name| root.join(name));
        let [a, at, b] = self.numbers;
        let open = |flags: OFlags| {
            rustix::fs::open(one, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::from_raw_mode(0o644))
        };
        match self.what {
            0 | 1 => {
                let flags = [
                    OFlags::empty(),
                    OFlags::EXCL,
                    OFlags::TRUNC,
                    OFlags::APPEND,
                    OFlags::SYNC,
                    OFlags::NOFOLLOW,
                ];
                let file = open(OFlags::CREATE | OFlags::RDWR | flags[(a % 6) as usize])?;
                write(&file, &vec![b'x'; (b % 9000) as usize], at)
            }
            2 => write(&open(OFlags::WRONLY)?, &vec![b'w'; (b % 70_000) as usize], at),
            3 => {
                let file = open(OFlags::WRONLY | OFlags::APPEND)?;
                Ok(rustix::io::write(&file, &vec![b'+'; (b % 5000) as usize])?.to_string())
            }
            4 => read(&open(OFlags::RDONLY)?, (b % 100_000) as usize, at),
            5 => done(rustix::fs::ftruncate(open(OFlags::WRONLY)?, at)),
            6 => {
                let modes = [
                    FallocateFlags::empty(),
                    FallocateFlags::KEEP_SIZE,
                    FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE,
                    FallocateFlags::ZERO_RANGE,
                    FallocateFlags::PUNCH_HOLE,
                ];
                let (at, length) = (at & !4095, (b % 100_000) & !4095);
                done(rustix::fs::fallocate(open(OFlags::RDWR)?, modes[(a % 5) as usize], at, length))
            }
            7 => {
                let file = open(OFlags::RDONLY)?;
                if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
                    // Directories have holes for some file systems, which no program looks for.
                    return Ok("no file".to_owned());
                }
                rustix::fs::fsync(&file)?;
                let mut found = Vec::new();
                for from in [SeekFrom::Hole(0), SeekFrom::Data(0), SeekFrom::Hole(at), SeekFrom::Data(at)] {
                    found.push(rustix::fs::seek(&file, from));
                }
                Ok(format!("{found:?}"))
            }
            8 | 9 => {
                let flags = [
                    RenameFlags::empty(),
                    RenameFlags::NOREPLACE,
                    RenameFlags::EXCHANGE,
                    RenameFlags::WHITEOUT,
                ];
                done(rustix::fs::renameat_with(CWD, one, CWD, two, flags[(a % 4) as usize]))
            }
            10 => done(rustix::fs::link(one, two)),
            11 => done(rustix::fs::symlink(LINKS[(a % 5) as usize], one)),
            12 => Ok(format!("{:?}", rustix::fs::readlink(one, Vec::new())?)),
            13 => done(rustix::fs::unlink(one)),
            14 | 15 => done(rustix::fs::mkdir(one, Mode::from_raw_mode((a & 0o7777) as u32))),
            16 => done(rustix::fs::rmdir(one)),
            17 => done(rustix::fs::chmod(one, Mode::from_raw_mode((a & 0o7777) as u32))),
            18 => {
                let owner = |number: u64| [None, Some(0), Some(1000)][(number % 3) as usize];
                let (uid, gid) = (owner(a).map(Uid::from_raw), owner(b).map(Gid::from_raw));
                done(rustix::fs::chownat(CWD, one, uid, gid, AtFlags::SYMLINK_NOFOLLOW))
            }
            19 => {
                let time = |number: u64| match number % 4 {
                    0 => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                    1 => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
                    _ => Timespec { tv_sec: number as i64, tv_nsec: (number % 1000) as i64 * 1_000_000 },
                };
                let times = Timestamps { last_access: time(a), last_modification: time(b) };
                rustix::fs::utimensat(CWD, one, &times, AtFlags::SYMLINK_NOFOLLOW)?;
                let seen = rustix::fs::statat(CWD, one, AtFlags::SYMLINK_NOFOLLOW)?;
                let set = |number: u64, seconds: i64, rest: u64| (number % 4 > 1).then_some((seconds, rest));
                Ok(format!(
                    "{:?}",
                    (set(a, seen.st_atime, seen.st_atime_nsec), set(b, seen.st_mtime, seen.st_mtime_nsec))
                ))
            }
            20 => {
                let flags = [XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE][(a % 3) as usize];
                let name = ["user.a", "user.b", "trusted.c", "security.d", "bogus"][(b % 5) as usize];
                done(rustix::fs::lsetxattr(one, name, &vec![b'v'; (at % 3000) as usize], flags))
            }
            21 => {
                let name = ["user.a", "user.b", "trusted.c", "security.d"][(b % 4) as usize];
                let mut room = vec![0; [0, 10, 4000][(a % 3) as usize]];
                Ok(rustix::fs::lgetxattr(one, name, &mut room[..])?.to_string())
            }
            22 => {
                let mut room = [0; 4096];
                let length = rustix::fs::llistxattr(one, &mut room[..])?;
                let mut names: Vec<_> = room[..length].split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
                names.sort();
                Ok(format!("{names:?}"))
            }
            23 => done(rustix::fs::lremovexattr(one, ["user.a", "user.b", "trusted.c"][(b % 3) as usize])),
            24 => {
                let kinds =
                    [FileType::Fifo, FileType::Socket, FileType::CharacterDevice, FileType::BlockDevice];
                let kind = kinds[(a % 4) as usize];
                let mode = Mode::from_raw_mode((b & 0o777) as u32);
                done(rustix::fs::mknodat(CWD, one, kind, mode, rustix::fs::makedev((at & 0xff) as u32, 300)))
            }
            25 => {
                let file =
                    rustix::fs::open(one, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR)?;
                write(&file, b"without a name", at % 5000)?;
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
                let linked = rustix::fs::linkat(CWD, path, CWD, two, AtFlags::SYMLINK_FOLLOW);
                Ok(format!("{linked:?} {}", rustix::fs::fstat(&file)?.st_nlink))
            }
            26 => {
                let (from, to) = (
                    open(OFlags::RDONLY)?,
                    rustix::fs::open(two, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty())?,
                );
                let (mut in_at, mut out_at) = (at % 10_000, b % 10_000);
                let length = (a % 50_000) as usize;
                Ok(rustix::fs::copy_file_range(from, Some(&mut in_at), to, Some(&mut out_at), length)?
                    .to_string())
            }
            27 => {
                let file = open(OFlags::RDWR)?;
                rustix::fs::unlink(one)?;
                write(&file, b"gone and still there", at % 3000)?;
                let seen = rustix::fs::fstat(&file)?;
                Ok(format!("{} {} {}", seen.st_nlink, seen.st_size, read(&file, 4000, 0)?))
            }
            _ => done(rustix::fs::accessat(
                CWD,
                one,
                rustix::fs::Access::from_bits_retain((a % 8) as u32),
                AtFlags::empty(),
            )),
        }
    }
}

fn done(result: Result<(), Errno>) -> Answer {
    result.map(|()| String::new())
}

fn write(file: &OwnedFd, bytes: &[u8], at: u64) -> Answer {
    Ok(rustix::io::pwrite(file, bytes, at)?.to_string())
}

fn read(file: impl AsFd, length: usize, at: u64) -> Answer {
    let mut bytes = vec![0; length];
    let count = rustix::io::pread(file, &mut bytes[..], at)?;
    Ok(format!("{count} {}", sum(&bytes[..count])))
}

fn sum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Everything that can be seen of a tree, by path. Inode numbers are told by which paths have the same.
pub(crate) fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut first = BTreeMap::new();
    let mut all = BTreeMap::new();
    look(root, Path::new(""), &mut first, &mut all);
    all
}

fn look(root: &Path, inside: &Path, first: &mut BTreeMap<u64, PathBuf>, all: &mut BTreeMap<PathBuf, String>) {
    let path = root.join(inside);
    let meta = fs::symlink_metadata(&path).unwrap();
    let mut names = [0; 4096];
    let length = rustix::fs::llistxattr(&path, &mut names[..]).unwrap();
    let mut attributes = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 8192];
        let size = rustix::fs::lgetxattr(&path, CString::new(name).unwrap(), &mut value[..]).unwrap();
        attributes.insert(String::from_utf8_lossy(name).into_owned(), sum(&value[..size]));
    }
    let same = first.entry(meta.ino()).or_insert_with(|| inside.to_owned()).clone();
    let content = match meta.file_type() {
        kind if kind.is_file() => sum(&fs::read(&path).unwrap()),
        kind if kind.is_symlink() => {
            sum(std::os::unix::ffi::OsStrExt::as_bytes(fs::read_link(&path).unwrap().as_os_str()))
        }
        _ => 0,
    };
    let size = if meta.is_dir() { 0 } else { meta.size() };
    all.insert(
        inside.to_owned(),
        format!(
            "{:o} {} {} {} {} {size} {content:x} {attributes:?} {same:?}",
            meta.mode(),
            meta.nlink(),
            meta.uid(),
            meta.gid(),
            meta.rdev()
        ),
    );
    if meta.is_dir() {
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            let inside = inside.join(entry.file_name());
            assert_eq!(
                std::os::unix::fs::DirEntryExt::ino(&entry),
                fs::symlink_metadata(entry.path()).unwrap().ino(),
                "{inside:?}"
            );
            look(root, &inside, first, all);
        }
    }
}

/// Files written from several threads at once, each read back by another.
pub(crate) fn write_together(root: &Path, threads: usize) {
    std::thread::scope(|scope| {
        for number in 0..threads {
            scope.spawn(move || {
                let directory = root.join(format!("thread{number}"));
                fs::create_dir(&directory).unwrap();
                for file in 0..20_usize {
                    let bytes = vec![(number * 31 + file) as u8; 1 + file * 7919];
                    let path = directory.join(format!("{file}"));
                    let new = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
                    new.write_all_at(&bytes, 5).unwrap();
                    if file % 5 == 0 {
                        new.sync_all().unwrap();
                    }
                    drop(new);
                    let read = fs::read(&path).unwrap();
                    assert!(read[5..] == bytes && read[..5] == [0; 5], "{path:?}");
                    if file % 3 == 0 {
                        fs::remove_file(&path).unwrap();
                    }
                }
                assert_eq!(fs::read_dir(&directory).unwrap().count(), 13);
                drop(File::open(&directory).unwrap());
            });
        }
    });
}
