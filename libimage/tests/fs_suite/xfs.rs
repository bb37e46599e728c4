//! XFS.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use libimage::fs::system::{FileSystem, FsError, Kind, Node};
use libimage::fs::xfs::Xfs;

use crate::dump::{Compared, Dump, compare, compare_statistics, of_kernel, of_reader, same_as_kernel};
use crate::image::{ATTRIBUTES, Image, RESERVED, TREE, sh};

/// What XFS keeps in different ways by how much there is of it.
const SIZES: &str = r#"
for count in 1 4 30 90 300 700 6000; do mkdir dir-$count; for i in $(seq $count); do : >dir-$count/name-$count-$i; done; done
rm -f dir-6000/*[3-7]?; mkdir wide; perl -e 'for (1 .. 900) { open F, ">", sprintf "wide/%0200d", $_ }'; rm -f wide/*0[2-6]??
for i in 1 7 30 58 59 60 150 336 337 400 1000 1023; do ln -s "$(printf 's%.0s' $(seq $i))" link-$i; done
perl -e 'open F, ">", "shreds"; for (reverse 0..2500) { seek F, $_ * 8192, 0; syswrite F, "at $_" x 200 }'
perl -e 'open G, ">", "grown"; close G; for (1 .. 300) { open F, ">", "a-$_"; print F $_; close F; open G, "+<", "grown"; seek G, $_ * 4096, 0; print G $_; close G }'; rm -f a-*[02468]
: >values; for i in 1 60 255 256 900 2000 5000 30000 65536; do perl -e 'print "v" x $ARGV[0]' $i >value
perl -e 'open V, "value"; $v = <V>; $f = "values"; $n = "user.of-$ARGV[0]"; substr($v, 0, 5) = sprintf("%05d", $ARGV[0]) if length $v > 9; syscall(188, $f, $n, $v, length $v, 0) == 0 or die $!' $i; done
perl -e 'for (1..3000) { for $i (1..3) { next if $_ > (0, 150, 3000, 2000)[$i]; $f = "many-$i"; open F, ">>", $f; print F "x" x 1000; close F;
$n = ($_ % 3 ? "user" : "trusted") . ".name-$_"; $v = "value-$_" x ($_ % 9); syscall(188, $f, $n, $v, length $v, 0) == 0 or die $! } }'
printf x >twice; setfacl -m u:1:r,u:2:w,u:3:x,u:4:rw,u:5:rx,u:6:rwx,g:77:r,m::rw twice; mkdir both; setfacl -m u:3:r both; setfacl -d -m u:3:r,g:4:w both
setfattr -n security.selinux -v system_u:object_r:tmp_t:s0 twice; setfattr -h -n security.selinux -v link_t link-7; setfattr -h -n trusted.long -v $(printf 'x%.0s' $(seq 250)) link-400
touch -d '1902-01-01 UTC' early; touch -d '2038-01-19 03:14:07.999999999 UTC' late
truncate -s 4T huge; printf end | dd of=huge bs=1 seek=4398046500000 conv=notrunc status=none; truncate -s 3 huge; printf tail >>huge
printf x >kept; fallocate -n -l 1M kept; head -c 100000 /dev/zero >zeroes; fallocate -p -o 8192 -l 40000 zeroes
"#;

/// With shared blocks.
const CLONES: &str = "cp --reflink=always large clone; printf changed | dd of=clone bs=1 seek=1000000 conv=notrunc status=none
cp --reflink=always shreds shared; printf y | dd of=shared bs=1 seek=100 conv=notrunc status=none; cp --reflink=always clone clone-2\n";

/// Times that only some can have.
const BIG_TIMES: &str = "touch -d '2200-05-05 05:05:05.123456789 UTC' far\n";

fn agree(what: &str, mib: u64, mkfs: &str, script: impl AsRef<str>) {
    let image = Image::new(mib, mkfs);
    image.fill(script.as_ref());
    agree_on(what, &image);
}

fn agree_on(what: &str, image: &Image) {
    let mount = image.mount("ro,noatime");
    let fs = Xfs::open(image.block()).unwrap_or_else(|error| panic!("{what}: {error}"));
    same_as_kernel(what, &mount.point, &fs, Compared::ALL);
    every_name(what, &fs);
}

/// Every name is found again, and names beside it are not.
fn every_name(what: &str, fs: &dyn FileSystem) {
    let mut left = vec![fs.root()];
    while let Some(directory) = left.pop() {
        let all = entries(fs, directory).unwrap();
        for (name, node) in &all {
            assert_eq!(fs.lookup(directory, name).unwrap(), Some(*node), "{what}");
            let mut other = name.clone();
            other.push(b'~');
            assert_eq!(fs.lookup(directory, &other).unwrap(), None, "{what}");
            if fs.attributes(*node).unwrap().kind == Kind::Directory {
                left.push(*node);
            }
        }
    }
}

fn entries(fs: &dyn FileSystem, directory: Node) -> Result<Vec<(Vec<u8>, Node)>, FsError> {
    let mut all = Vec::new();
    fs.list(directory, &mut |entry| {
        all.push((entry.name.to_vec(), entry.node));
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

fn full() -> String {
    format!("{TREE}{RESERVED}{ATTRIBUTES}{SIZES}{CLONES}{BIG_TIMES}")
}

fn without_clones() -> String {
    format!("{TREE}{RESERVED}{ATTRIBUTES}{SIZES}")
}

agree! {
    usual: "xfs", 320, "mkfs.xfs -q $1", full();
    small_blocks: "xfs, 1 KiB", 320, "mkfs.xfs -q -b size=1024 $1", full();
    large_directories: "xfs, 2 KiB, directories 8 KiB", 320, "mkfs.xfs -q -b size=2048 -n size=8192 $1", full();
    largest_directories: "xfs, directories 64 KiB", 320, "mkfs.xfs -q -n size=65536 $1", full();
    large_blocks: "xfs, 16 KiB", 600, "mkfs.xfs -q -b size=16384 $1", full();
    large_inodes: "xfs, inodes of 2 KiB", 320, "mkfs.xfs -q -i size=2048 $1", full();
    wide_counters: "xfs, nrext64", 320, "mkfs.xfs -q -i nrext64=1 $1", full();
    owners: "xfs, rmapbt", 320, "mkfs.xfs -q -m rmapbt=1 $1", full();
    few_features: "xfs, few features", 320,
        "mkfs.xfs -q -m reflink=0,bigtime=0,finobt=0,inobtcount=0 -i sparse=0,maxpct=0 $1", without_clones();
    large_sectors: "xfs, sectors of 4 KiB", 320, "mkfs.xfs -q -s size=4096 -i maxpct=7 $1", full();
    many_groups: "xfs, many groups", 640, "export TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1; mkfs.xfs -q -d agcount=27 -b size=1024 -i sparse=1 $1", full();
    stripes: "xfs, stripes", 640, "mkfs.xfs -q -d su=64k,sw=4 -l su=64k $1", full();
    other_uuid: "xfs, another UUID", 320, "mkfs.xfs -q $1; xfs_admin -U generate $1", full();
}

/// Changes the first superblock, and gives it the checksum that it wants.
fn change_superblock(image: &Image, at: u64, change: impl Fn(u32) -> u32) {
    let file = std::fs::File::options().read(true).write(true).open(image.path()).unwrap();
    let mut bytes = [0; 512];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let field: &mut [u8; 4] = (&mut bytes[at as usize..][..4]).try_into().unwrap();
    *field = change(u32::from_be_bytes(*field)).to_be_bytes();
    seal(&mut bytes, 224);
    file.write_all_at(&bytes, 0).unwrap();
}

/// Puts the checksum of a block where it belongs.
fn seal(bytes: &mut [u8], at: usize) {
    bytes[at..at + 4].fill(0);
    let sum = crc32c::crc32c(bytes);
    bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}

const INCOMPATIBLE: u64 = 216;
const READ_ONLY_COMPATIBLE: u64 = 212;

#[test]
fn parents() {
    // The tools here do not know them, the kernel does.
    let image = Image::new(320, "mkfs.xfs -q -i nrext64=1 $1");
    change_superblock(&image, INCOMPATIBLE, |features| features | 0xc0);
    image.fill(&full());
    agree_on("xfs, parents", &image);
}

fn refusal(image: &Image) -> String {
    match Xfs::open(image.block()) {
        Err(FsError::Unsupported(what)) => what,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn what_is_not_known_is_refused() {
    let made = |mkfs: &str| refusal(&Image::new(320, mkfs));
    assert_eq!(
        made("truncate -s 80M log; mkfs.xfs -q -l logdev=log,size=70m $1"),
        "its log is on another device"
    );
    assert_eq!(made("truncate -s 64M rt; mkfs.xfs -q -r rtdev=rt $1"), "it has a realtime device");
    let changed = |at, bit: u32| {
        let image = Image::new(320, "mkfs.xfs -q $1");
        change_superblock(&image, at, |features| features | bit);
        refusal(&image)
    };
    assert_eq!(changed(INCOMPATIBLE, 0x10), "it has to be repaired first");
    assert_eq!(changed(INCOMPATIBLE, 0x100), "it has features that are not known (0x100, 0x0)");
    assert_eq!(changed(READ_ONLY_COMPATIBLE, 0x10), "it has features that are not known (0x0, 0x10)");
}

#[test]
fn names_in_any_case_are_not_looked_up() {
    let image = Image::new(320, "mkfs.xfs -q -n version=ci $1");
    let fs = Xfs::open(image.block()).unwrap();
    assert!(matches!(fs.lookup(fs.root(), b"Name"), Err(FsError::Unsupported(_))));
    assert!(entries(&fs, fs.root()).unwrap().is_empty());
}

const REPLAY: &str = "its log has to be replayed";
/// Lets mkfs make what is smaller than it likes.
const SMALL: &str = "export TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1";

/// What is not yet brought to its place is not read, however often the log went round.
#[test]
fn only_a_clean_log_is_read() {
    let mut turns = 0;
    for mkfs in [
        "-l size=2000b",
        "-l size=4000b -m rmapbt=1 -d agcount=2",
        "-l su=32k,size=2000b",
        "-l su=256k,size=4736b -d agcount=2",
        "-s size=4096 -l size=2000b",
    ] {
        let image = Image::new(64, &format!("{SMALL}; mkfs.xfs -q {mkfs} $1"));
        let open = || Xfs::open(image.block());
        assert!(open().is_ok(), "{mkfs}: new");
        for round in 0..6 {
            let mount = image.mount("rw");
            let script = format!(
                "for i in $(seq 40); do mkdir r$i; for j in $(seq 25); do : >r$i/{round}-$j; done; sync -f .; done; rm -rf r[0-9]*; echo {round} >r; sync -f .",
            );
            sh(&mount.point, &script);
            assert_eq!(refusal(&image.copy()), REPLAY, "{mkfs}: {round}");
            drop(mount);
            let fs = open().unwrap_or_else(|error| panic!("{mkfs}: {round}: {error}"));
            let node = fs.lookup(fs.root(), b"r").unwrap().unwrap();
            let mut bytes = [0; 10];
            assert_eq!(fs.read(node, 0, &mut bytes).unwrap(), 2);
            assert_eq!(bytes[..2], [b'0' + round, b'\n']);
            // Looking at it changes nothing.
            let mount = image.mount("ro");
            compare_statistics(mkfs, &mount.point, &open().unwrap());
            drop(mount);
            assert!(open().is_ok(), "{mkfs}: {round}");
        }
        turns += turn_of_log(&image) - 1;
    }
    assert!(turns > 3, "{turns}");
}

/// How often the log went round: what its first record says.
fn turn_of_log(image: &Image) -> u32 {
    let file = std::fs::File::open(image.path()).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from(u32::from_be_bytes(bytes))
    };
    let (start, shift) = (number(48) << 32 | number(52), number(124) & 0xff00_0000);
    let shift = shift >> 24;
    let block = (start >> shift) * number(84) + (start & ((1 << shift) - 1));
    number(block * number(4) + 4) as u32
}

/// Makes a file system with files in it without a mount: the kernel here no longer knows version 4.
/// Long symbolic links are left out for version 5, of which this mkfs makes damaged ones.
fn from_prototype(mkfs: &str, links: &str) -> Image {
    let script = format!(
        r#"{SMALL}
        perl -e 'print map {{ chr($_ * 7919 >> 5 & 255) }} 1..70000' >source; : >none; printf short >short
        {{ echo boot; echo 0 0; echo d--755 3 4
        echo plain -u-755 5 6 source; echo short --g644 7 70000 short; echo null c--666 0 0 1 3; echo disk b--660 0 6 8 17
        echo pipe p--600 0 0; for i in {links}; do echo link-$i l--777 1 1 $(printf 't%.0s' $(seq $i)); done
        for n in 0 3 40 300 5000; do echo dir-$n d--750 1 $n
            for i in $(seq $n); do echo name-$n-$i ---600 0 $i none; done; echo '$'; done
        echo deep d--755 0 0; echo deeper d--755 0 0; echo file ---644 0 0 short; echo '$'; echo '$'; echo '$'; }} >prototype
        mkfs.xfs -q -p prototype {mkfs} $1 2>/dev/null
        set_attribute() {{ xfs_db -x -c "path $2" -c "attr_set $3" $1; }}
        set_attribute $1 /short '-v 9 one'; set_attribute $1 /short '-r -v 20 two'
        for i in 1 30 250 255 256 400 700 1500 2000; do set_attribute $1 /plain "-s -v $i of-$i"; done
        for i in $(seq 120); do set_attribute $1 /dir-3 "-v $i number-$i"; done"#
    );
    Image::new(100, &script)
}

const LINKS: &str = "1 50 150 160 300 512 513 900";

/// Without what differs from one to the next.
fn without_times(dump: Dump) -> Dump {
    let shorten = |line: String| {
        let (before, times) = line.split_once(" a ").unwrap();
        let after = times.splitn(6, ' ').nth(5).unwrap_or_default();
        format!("{before} {after}")
    };
    dump.into_iter().map(|(path, line)| (path, shorten(line))).collect()
}

#[test]
fn version_4_is_as_version_5() {
    let what = Compared { birth: false, blocks: false, inodes: false, ..Compared::ALL };
    let twin = from_prototype("-b size=1024", "1 50 150 160");
    let mount = twin.mount("ro,noatime");
    let wanted = without_times(of_kernel(&mount.point, what));
    assert!(wanted.len() > 5000);
    compare("xfs, version 5", &wanted, &without_times(of_reader(&Xfs::open(twin.block()).unwrap(), what)));
    for mkfs in [
        "-m crc=0",
        "-m crc=0 -b size=512 -i size=256",
        "-m crc=0 -n ftype=0 -b size=1024",
        "-m crc=0 -n size=8192 -i projid32bit=0",
    ] {
        let image = from_prototype(mkfs, LINKS);
        let fs = Xfs::open(image.block()).unwrap_or_else(|error| panic!("{mkfs}: {error}"));
        let mut found = without_times(of_reader(&fs, what));
        for length in [300, 512, 513, 900] {
            let link = found.remove(format!("link-{length}").as_bytes()).unwrap();
            assert!(link.ends_with(&format!(" -> {}", "t".repeat(length))), "{mkfs}: {link}");
        }
        compare(mkfs, &wanted, &found);
        every_name(mkfs, &fs);
    }
}

/// A generator of numbers that looks random and is the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }
}

/// Metadata of an image: where it begins, how long it is, and where its checksum is.
fn metadata(image: &Image, block: usize) -> Vec<(u64, usize, Option<usize>)> {
    let bytes = std::fs::read(image.path()).unwrap();
    let (is_v5, uuid) = (bytes[101] & 0xf == 5, &bytes[32..48]);
    let inode = usize::from(u16::from_be_bytes([bytes[104], bytes[105]]));
    let mut found = Vec::new();
    for at in (0..bytes.len()).step_by(inode.min(512)) {
        let start = &bytes[at..][..256];
        let (length, checksum) = match &start[..4] {
            b"XFSB" => (512, 224),
            [b'I', b'N', ..] => (inode, 100),
            b"XD2B" | b"XD2D" | b"XDB3" | b"XDD3" => (block, 4),
            b"BMAP" | b"BMA3" => (block, 64),
            b"XARM" | b"XSLM" => (block, 12),
            [0xfe, 0xed, 0xba, 0xbe] => (512, 32),
            _ if matches!(start[8], 0x3d | 0x3b | 0x3e | 0xd2 | 0xfb | 0xfe)
                && matches!(start[9], 0xf1 | 0xff | 0xee | 0xbe) =>
            {
                (block, 12)
            }
            _ => continue,
        };
        let is_log = start[0] == 0xfe;
        if is_log || !is_v5 || start.windows(16).any(|part| part == uuid) {
            found.push((at as u64, length, (is_v5 && !is_log).then_some(checksum)));
        }
    }
    found
}

/// A tree with everything once.
const LITTLE: &str = r#"
perl -e 'for $count (2, 30, 300, 1500) { $d = "dir-$count"; mkdir $d; for (1 .. $count) { open F, ">", "$d/name-$count-$_"; link "$d/name-$count-$_", "$d/n-$_" if $_ >= 40 } }'
rm -f dir-[31]*/name-*
perl -e 'open F, ">", "shreds"; for (reverse 0..400) { seek F, $_ * 8192, 0; syswrite F, "at $_" x 200 }'
for i in 10 500 1000; do ln -s "$(printf 's%.0s' $(seq $i))" link-$i; done; : >values; : >many
for i in 1 255 900 9000; do setfattr -n user.of-$i -v "$(printf 'v%.0s' $(seq $i))" values; done
perl -e 'for (1 .. 200) { ($f, $n, $v) = ("many", "user.name-$_", "$_"); syscall(188, $f, $n, $v, length $v, 0) == 0 or die $! }'; setfacl -m u:7:rwx many; mknod null c 1 3
"#;

/// Changes a few bytes.
fn damage(dice: &mut Dice, piece: &mut [u8]) {
    // Most of what matters stands at the beginning.
    let within = if dice.roll(2) == 0 { piece.len().min(192) } else { piece.len() };
    let at = dice.roll(within);
    match dice.roll(5) {
        0 => piece[at] ^= 1 << dice.roll(8),
        1 => piece[at] = dice.roll(256) as u8,
        2 => piece[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
        3 => piece[at..].iter_mut().take(8).for_each(|byte| *byte = 0),
        _ => {
            let from = dice.roll(piece.len());
            let part = piece[from..].iter().take(8).copied().collect::<Vec<_>>();
            piece[at..].iter_mut().zip(part).for_each(|(byte, other)| *byte = other);
        }
    }
}

/// Lets `look` see an image with one to four damaged places, `times` over. Whether checksums are made right again.
fn damaged(image: &Image, block: usize, times: u64, is_sealed: bool, mut look: impl FnMut(&str)) {
    let places = metadata(image, block);
    assert!(places.len() > 100, "{}", places.len());
    let file = std::fs::File::options().read(true).write(true).open(image.path()).unwrap();
    for seed in 1..=times {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut before = BTreeMap::new();
        for _ in 0..=dice.roll(4) * 8 {
            let (at, length, checksum) = places[dice.roll(places.len())];
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, at).unwrap();
            before.entry(at).or_insert_with(|| bytes.clone());
            damage(&mut dice, &mut bytes);
            if let (true, Some(checksum)) = (is_sealed, checksum) {
                seal(&mut bytes, checksum);
            }
            file.write_all_at(&bytes, at).unwrap();
        }
        look(&format!("seed {seed}"));
        for (at, bytes) in before {
            file.write_all_at(&bytes, at).unwrap();
        }
    }
}

/// Everything that can be asked of a node; `None` where there is no answer.
fn answers(fs: &dyn FileSystem, node: Node, names: &[Vec<u8>]) -> Vec<Option<String>> {
    let mut all = vec![
        fs.attributes(node).ok().map(|answer| format!("{answer:?}")),
        entries(fs, node).ok().map(|answer| format!("{answer:?}")),
        fs.read_link(node).ok().map(|answer| format!("{answer:?}")),
        fs.xattr_names(node).ok().map(|answer| format!("{answer:?}")),
    ];
    for name in ["user.of-1", "user.of-9000", "user.name-77", "system.posix_acl_access", "user.none"] {
        all.push(fs.xattr(node, name.as_bytes()).ok().map(|answer| format!("{answer:?}")));
    }
    for at in [0, 8192, 800_000] {
        let mut bytes = vec![0; 10_000];
        all.push(fs.read(node, at, &mut bytes).ok().map(|count| format!("{:?}", bytes.get(..count))));
        all.push(fs.data_after(node, at).ok().map(|answer| format!("{answer:?}")));
    }
    for name in names.iter().step_by(9) {
        all.push(fs.lookup(node, name).ok().map(|answer| format!("{answer:?}")));
    }
    all.push(fs.lookup(node, b"none").ok().map(|answer| format!("{answer:?}")));
    all
}

#[test]
fn damage_with_checksums_is_never_believed() {
    for mkfs in ["-b size=1024", "-i nrext64=1 -m rmapbt=1"] {
        let image = Image::new(64, &format!("{SMALL}; mkfs.xfs -q {mkfs} $1"));
        image.fill(LITTLE);
        let fs = Xfs::open(image.block()).unwrap();
        let mut nodes = vec![(fs.root(), Vec::new())];
        let mut at = 0;
        while at < nodes.len() {
            let directory = nodes[at].0;
            let inside = entries(&fs, directory).unwrap_or_default();
            // Of large directories not everything.
            nodes.extend(inside.iter().step_by(1 + inside.len() / 30).map(|(_, node)| (*node, Vec::new())));
            nodes[at].1 = inside.into_iter().map(|(name, _)| name).collect();
            at += 1;
        }
        let right: Vec<_> = nodes.iter().map(|(node, names)| answers(&fs, *node, names)).collect();
        let statistics = fs.statistics().unwrap();
        let (mut opened, mut unanswered) = (0, 0);
        let block = if mkfs.contains("1024") { 1024 } else { 4096 };
        damaged(&image, block, 200, false, |seed| {
            let Ok(fs) = Xfs::open(image.block()) else { return };
            opened += 1;
            assert_eq!(fs.statistics().unwrap(), statistics, "{mkfs}: {seed}");
            for ((node, names), right) in nodes.iter().zip(&right) {
                for (answer, right) in answers(&fs, *node, names).into_iter().zip(right) {
                    match answer {
                        Some(_) => assert_eq!(&answer, right, "{mkfs}: {seed}: {node:?}"),
                        None => unanswered += usize::from(right.is_some()),
                    }
                }
            }
            crate::harm::walk::tree(&fs, 3000);
        });
        assert!(opened > 50 && unanswered > 100, "{mkfs}: {opened} {unanswered}");
    }
}

/// Where nothing tells damage, a reader still ends in order.
#[test]
fn damage_that_cannot_be_told_does_no_harm() {
    let image = Image::new(64, &format!("{SMALL}; mkfs.xfs -q -b size=1024 $1"));
    image.fill(LITTLE);
    let mut seen = 0;
    damaged(&image, 1024, 400, true, |_| {
        if let Ok(fs) = Xfs::open(image.block()) {
            seen += crate::harm::walk::tree(&fs, 3000);
        }
    });
    assert!(seen > 10_000, "{seen}");
    let image = from_prototype("-m crc=0 -b size=512 -i size=256", LINKS);
    damaged(&image, 512, 300, false, |_| {
        if let Ok(fs) = Xfs::open(image.block()) {
            seen += crate::harm::walk::tree(&fs, 3000);
        }
    });
    assert!(seen > 20_000, "{seen}");
}
