//! btrfs.

mod damage;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use libimage::Block;
use libimage::format::raw::Raw;
use libimage::fs::btrfs::Btrfs;
use libimage::fs::system::{FileSystem, FsError};
use libimage::storage::{FileOptions, FileStorage};
use tempfile::TempDir;

use crate::dump::{Compared, Dump, compare, compare_statistics, of_kernel, of_reader};
use crate::image::{ATTRIBUTES, RESERVED, TREE, sh};

/// What btrfs keeps in different ways by how much there is of it, and extents that are used in part or by several.
const SIZES: &str = r#"
for i in 1 100 2000 2047 2048 2049 3900 4095 4096 4097; do head -c $i /dev/urandom >of-$i; done
perl -e 'open F, ">", "shreds"; for (reverse 0..1500) { seek F, $_ * 8192, 0; syswrite F, "at $_" x 200 }'
cp --reflink=always large clone; printf changed | dd of=clone bs=1 seek=1000000 conv=notrunc status=none
cp --reflink=always shreds shared; printf y | dd of=shared bs=1 seek=100 conv=notrunc status=none; cp --reflink=always clone clone-2
truncate -s 2000001 clone-2; head -c 900000 /dev/zero >zeroes; fallocate -p -o 8192 -l 400000 zeroes; printf inside >grown; truncate -s 3000 grown
printf x >further; truncate -s 100000 further; printf tail >>further; for i in 1 500 3000; do perl -e 'print "v" x $ARGV[0]' $i >value
perl -e 'open V, "value"; $v = <V>; $f = "values"; open F, ">>", $f; $n = "user.of-$ARGV[0]"; syscall(188, $f, $n, $v, length $v, 0) == 0 or die $!' $i; done
truncate -s 4T huge; printf end | dd of=huge bs=1 seek=4398046500000 conv=notrunc status=none; truncate -s 3 huge; printf tail >>huge
touch -d '2200-05-05 05:05:05.123456789 UTC' far; touch -d '1600-01-01 UTC' early; perl -e 'link "large", "many/link-$_" or die for 1..700'
mkdir plain; chattr +C plain; head -c 300000 /dev/urandom >plain/file; setfattr -n btrfs.compression -v lzo of-1
"#;

/// What packs well, in part, and not at all.
const TEXT: &str = r#"
seq 200000 >text; head -c 2000000 /dev/zero | tr '\0' x >same; head -c 500000 /dev/urandom >noise; seq 300 >lines
(seq 20000; head -c 200000 /dev/urandom; seq 9000) >mixed; printf changed | dd of=text bs=1 seek=500000 conv=notrunc status=none
cp --reflink=always text text-2; truncate -s 777777 text-2; seq 100000 | dd of=text bs=100k seek=5 conv=notrunc status=none
for i in 1 50 500 1999 2048 3000 4095 4096 4097 10000 131072 131073; do yes "a line of $i" | head -c $i >line-$i; done
"#;

/// A small tree in little time, with all kinds of extents, nodes and names.
const LITTLE: &str = r#"
perl -e '$t = join "", map { "$_ a line of text\n" } 1..60000; sub f { open F, ">", $_[0] or die; print F $_[1]; close F }
mkdir $_ for "d", "d/deep", "holes"; f "d/file-$_", "x$_" x ($_ * 7) for 1..900; unlink "d/file-" . $_ * 3 for 1..100; f "text", $t; f "tail", substr $t, 0, 70001;
symlink "there" x $_, "link-$_" for 1..90; link "text", "d/hard-$_" for 1..50; f "large", join "", map { pack "N", rand 2**32 } 1..300000;
open F, ">", "shreds"; for (reverse 0..300) { seek F, $_ * 8192, 0; syswrite F, "at $_" x 200 }
for (1..200) { $f = "text"; $n = "user.name-$_"; $v = "v" x $_; syscall(188, $f, $n, $v, length $v, 0) == 0 or die $! }'
dd if=large of=large bs=1000 count=30 skip=7 seek=400 conv=notrunc status=none; cp --reflink=always large clone; cp --reflink=always text copy
printf changed | dd of=copy bs=1 seek=200000 conv=notrunc status=none; truncate -s 300000 clone; fallocate -l 300000 holes/reserved; mknod null c 1 3; mkfifo fifo
btrfs subvolume create below >/dev/null; cp text below/text; btrfs subvolume snapshot . below/all >/dev/null; head -c 100000 text >d/new
"#;

/// Quotas without groups, which the tools here cannot switch on.
const SIMPLE_QUOTA: &str =
    "perl -e 'open D, \"<\", \".\"; $a = pack \"QQ\", 4, 0; ioctl(D, 0xc0109428, $a) or die $!'\n";

/// One or more devices of one file system.
struct Devices {
    directory: TempDir,
    count: usize,
}

/// They are mounted until this is dropped.
struct Mounted {
    point: PathBuf,
}

impl Devices {
    /// `count` devices of `mib` MiB, made by `mkfs`, a script that finds them in `$@`.
    fn new(count: usize, mib: u64, mkfs: &str) -> Devices {
        let devices = Devices { directory: tempfile::tempdir().unwrap(), count };
        let mut names = Vec::new();
        for index in 0..count {
            std::fs::File::create(devices.path(index)).unwrap().set_len(mib << 20).unwrap();
            names.push(format!("image-{index}"));
        }
        sh(devices.directory.path(), &format!("set -- {}; {mkfs}", names.join(" ")));
        devices
    }

    fn path(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("image-{index}"))
    }

    fn block(&self, index: usize) -> Arc<dyn Block> {
        let options = FileOptions { read_only: true, ..FileOptions::default() };
        Arc::new(Raw::new(Arc::new(FileStorage::open(self.path(index), options).unwrap())))
    }

    fn open(&self) -> Result<Btrfs, FsError> {
        // The last one leads, the others are found.
        let last = self.count - 1;
        Btrfs::open(self.block(last), &|| (0..last).map(|index| self.block(index)).collect())
    }

    /// Mounts them on devices that could be written to, which is what the kernel's count of free space depends on.
    fn mount(&self, options: &str) -> Mounted {
        let script = format!(
            "mkdir -p mount; for i in $(seq 0 {}); do l=$(losetup --show -f image-$i); all=\"$all $l\"; o=\"$o,device=$l\"; done
             trap 'losetup -d $all' EXIT; mount -t btrfs -o {options}$o $l mount",
            self.count - 1
        );
        sh(self.directory.path(), &script);
        Mounted { point: self.directory.path().join("mount") }
    }

    fn fill(&self, options: &str, script: &str) {
        let mounted = self.mount(options);
        sh(&mounted.point, script);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.point).status().unwrap();
        assert!(status.success() || std::thread::panicking());
    }
}

/// Lines of directories that stand for subvolumes which are elsewhere: when they were looked at is in them.
fn without_times_of_empty_places(dump: Dump) -> Dump {
    let line = |line: String| match line.split_once(" a ") {
        Some((start, _)) if line.contains(" inode 2 ") => start.to_owned(),
        _ => line,
    };
    dump.into_iter().map(|(path, text)| (path, line(text))).collect()
}

fn agree_on(what: &str, devices: &Devices) {
    let mounted = devices.mount("ro,noatime");
    let kernel = without_times_of_empty_places(of_kernel(&mounted.point, Compared::ALL));
    let fs = devices.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    let ours = without_times_of_empty_places(of_reader(&fs, Compared::ALL));
    compare(what, &kernel, &ours);
    compare_statistics(what, &mounted.point, &fs);
    assert!(kernel.len() > 900, "{what}: the tree is there");
}

fn agree(devices: (usize, u64), mkfs: &str, options: &str, script: impl AsRef<str>) {
    let devices = Devices::new(devices.0, devices.1, &format!("mkfs.btrfs -q {mkfs} $@"));
    devices.fill(options, script.as_ref());
    agree_on(&format!("{mkfs} {options}"), &devices);
}

fn full() -> String {
    format!("{TREE}{RESERVED}{ATTRIBUTES}{SIZES}")
}

fn packed() -> String {
    format!("{LITTLE}{RESERVED}{TEXT}")
}

agree! {
    usual: (1, 200), "", "rw", full();
    small_nodes: (1, 200), "-n 4096", "rw", LITTLE;
    large_nodes: (1, 300), "-n 65536", "rw", LITTLE;
    one_copy: (1, 200), "-m single", "rw", LITTLE;
    data_twice: (1, 300), "-d dup", "rw", LITTLE;
    mixed_groups: (1, 100), "-M", "rw", LITTLE;
    mixed_groups_twice: (1, 256), "-M -m dup -d dup", "rw", LITTLE;
    xxhash: (1, 200), "--csum xxhash", "rw", LITTLE;
    sha256: (1, 200), "--csum sha256", "rw", LITTLE;
    blake2: (1, 200), "--csum blake2", "rw", LITTLE;
    holes_have_items: (1, 200), "-O ^no-holes", "rw", packed();
    as_long_ago: (1, 200), "-O ^no-holes,^skinny-metadata,^extref -R ^free-space-tree -m single", "rw", LITTLE;
    quota: (1, 200), "-R quota", "rw", LITTLE;
    simple_quota: (1, 200), "", "rw", format!("{SIMPLE_QUOTA}{LITTLE}");
    no_checksums: (1, 200), "", "nodatasum", LITTLE;
    not_inside: (1, 200), "", "max_inline=0", LITTLE;
    zlib: (1, 200), "", "compress-force=zlib", packed();
    lzo: (1, 200), "", "compress-force=lzo", packed();
    zstd: (1, 200), "", "compress-force=zstd:3", packed();
    packed_if_worth_it: (1, 200), "-O ^no-holes", "compress=zstd", LITTLE;
    striped: (3, 128), "-d raid0 -m raid0", "rw", LITTLE;
    striped_and_packed: (3, 128), "-d raid0 -m raid0", "compress=lzo", LITTLE;
    mirrored: (2, 200), "-d raid1 -m raid1", "rw", LITTLE;
    three_copies: (3, 200), "-d raid1c3 -m raid1c3", "rw", LITTLE;
    four_copies: (4, 200), "-d raid1c4 -m raid1c4", "rw", LITTLE;
    striped_mirrors: (4, 200), "-d raid10 -m raid10", "rw", LITTLE;
    striped_mirrors_on_two: (2, 200), "-d raid10 -m raid1", "rw", LITTLE;
    one_after_another: (3, 80), "-d single -m raid1", "rw", LITTLE;
    parity: (3, 200), "-d raid5 -m raid1", "rw", LITTLE;
    double_parity: (4, 200), "-d raid6 -m raid6", "rw", LITTLE;
}

#[test]
fn devices_of_different_sizes() {
    let mkfs = "truncate -s 300M $2; truncate -s 150M $3; mkfs.btrfs -q -d raid1 -m raid1 $@";
    let devices = Devices::new(3, 500, mkfs);
    devices.fill("rw", LITTLE);
    agree_on("raid1, devices of different sizes", &devices);
    let devices = Devices::new(3, 500, &mkfs.replace("-d raid1", "-d raid0"));
    devices.fill("rw", LITTLE);
    agree_on("raid0, devices of different sizes", &devices);
}

#[test]
fn another_identity() {
    let devices = Devices::new(1, 200, "mkfs.btrfs -q $1; btrfstune -m $1");
    devices.fill("rw", LITTLE);
    agree_on("another identity", &devices);
}

/// Subvolumes in subvolumes, snapshots of what holds others, and those that were deleted.
#[test]
fn subvolumes() {
    let script = format!(
        "{TREE}
        btrfs subvolume create one >/dev/null; btrfs subvolume create one/two >/dev/null; btrfs subvolume create etc/three >/dev/null
        echo in one >one/file; echo in two >one/two/file; echo in three >etc/three/file; mkdir one/two/dir; cp --reflink=always large one/two/large
        btrfs subvolume snapshot . one/all >/dev/null; btrfs subvolume snapshot -r one kept >/dev/null; echo changed >one/file; chown 7:8 one/all/one
        btrfs subvolume create gone >/dev/null; echo x >gone/x; btrfs subvolume snapshot gone stays >/dev/null; btrfs subvolume delete gone >/dev/null
        mv one/two one/moved; mkdir one/two; btrfs subvolume snapshot one/moved one/two/again >/dev/null; chmod 700 one/two/again"
    );
    let devices = Devices::new(1, 200, "mkfs.btrfs -q $1");
    devices.fill("rw", &script);
    agree_on("subvolumes", &devices);

    let fs = devices.open().unwrap();
    assert!(fs.shows_top() && fs.devices() == 1);
    let ours: Vec<_> = fs
        .subvolumes()
        .unwrap()
        .into_iter()
        .map(|found| format!("{} {}\n", found.number, String::from_utf8_lossy(&found.path)))
        .collect();
    let mounted = devices.mount("ro,noatime");
    assert_eq!(ours.concat(), sh(&mounted.point, "btrfs subvolume list . | sed 's/^ID //; s/ .* path / /'"));
    assert_eq!(ours.len(), 7);
    let error = |path: &[u8]| devices.open().unwrap().within(path).err().unwrap().to_string();
    assert_eq!(error(b"one/none"), "No such file or directory (os error 2)");
    assert_eq!(error(b"etc"), "Invalid argument (os error 22)");
    drop(mounted);
    let mounted = devices.mount("ro,noatime,subvol=one/two/again");
    let kernel = of_kernel(&mounted.point, Compared::ALL);
    let fs = devices.open().unwrap().within(b"/one/two/again").unwrap();
    compare("a subvolume", &kernel, &of_reader(&fs, Compared::ALL));
}

#[test]
fn default_subvolume() {
    let devices = Devices::new(1, 200, "mkfs.btrfs -q $1");
    let script = format!(
        "btrfs subvolume create root >/dev/null; btrfs subvolume set-default root; cd root; {LITTLE}"
    );
    devices.fill("rw", &script);
    agree_on("another default subvolume", &devices);
}

/// Names that have the same hash share an item.
#[test]
fn names_with_the_same_hash() {
    let pairs = |prefix: &str| {
        let mut names: HashMap<u32, String> = HashMap::new();
        let mut pairs = Vec::new();
        for number in 0..300_000_u64 {
            // A sum of this kind tells names apart that differ in a few bytes only.
            let name = format!("{prefix}{}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            if let Some(other) = names.insert(crc32c::crc32c_append(1, name.as_bytes()), name.clone()) {
                pairs.push((name, other));
            }
        }
        assert!(pairs.len() > 3, "{}", pairs.len());
        pairs
    };
    let mut script = LITTLE.to_owned();
    for (one, other) in pairs("") {
        script += &format!("echo {other} >{one}; mkdir {other}\n");
    }
    for (one, other) in pairs("user.") {
        script += &format!("setfattr -n {one} -v {other} text; setfattr -n {other} -v x text\n");
    }
    let devices = Devices::new(1, 200, "mkfs.btrfs -q $1");
    devices.fill("rw", &script);
    agree_on("names with the same hash", &devices);
}

/// The kernel here mounts no other sectors than those of 4 KiB; what mkfs put in is there.
#[test]
fn large_sectors() {
    for size in [16 << 10, 64 << 10] {
        let make = format!(
            "mkdir tree; cd tree; seq 100000 >text; echo x >small; mkdir d; seq 30 >d/file; ln -s text link; cd ..
             mkfs.btrfs -q -s {size} -n 65536 -r tree $1 2>&1"
        );
        let devices = Devices::new(1, 256, &make);
        let fs = devices.open().unwrap();
        let read = |path: &str| {
            let node = path
                .split('/')
                .fold(fs.root(), |node, name| fs.lookup(node, name.as_bytes()).unwrap().unwrap());
            let mut bytes = vec![0; 1 << 20];
            let count = fs.read(node, 0, &mut bytes).unwrap();
            bytes.truncate(count);
            bytes
        };
        for path in ["text", "small", "d/file"] {
            let right = std::fs::read(devices.directory.path().join("tree").join(path)).unwrap();
            assert!(read(path) == right, "{size}: {path}");
        }
        let link = fs.lookup(fs.root(), b"link").unwrap().unwrap();
        assert_eq!(fs.read_link(link).unwrap(), b"text");
    }
}
