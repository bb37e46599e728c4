//! NTFS: what ntfs-3g wrote is read as ntfs-3g shows it.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;
use std::sync::Arc;

use libimage::fs::ntfs::Ntfs;
use libimage::fs::system::{FileSystem, FsError, Node};
use rustix::io::Errno;

use crate::dump::{Compared, compare, of_kernel, of_reader, same_as_kernel};
use crate::harm;
use crate::image::{Image, Mount, sh};

/// What NTFS can hold: kinds, names, times, streams, holes, fragments, files of many records.
const TREE: &str = r#"
mkdir -p etc/dir usr/bin empty many deep holes 'Case' streams
printf x >'ümlaut ß'; printf x >$'\xed\xa0\xbd alone'; printf x >'𝄞'; printf x >"$(printf '日%.0s' $(seq 255))"; printf x >'a:b*c?"<>|'
printf x >File; printf y >file; printf z >FILE; printf x >Case/one; printf dos >'A long name.text'
setfattr -n system.ntfs_dos_name -v ALONGN~1.TEX 'A long name.text'
perl -e 'open R, "<", "/dev/urandom"; for (1 .. 60) { read R, $b, $_ * 37; open F, ">", "etc/dir/file-$_"; print F $b; close F }'
perl -e 'for (1 .. MANY) { open F, ">", "many/an-entry-with-a-rather-long-name-$_"; close F } for (1 .. MANY / 3) { unlink "many/an-entry-with-a-rather-long-name-" . 3 * $_ }'
head -c 3000000 /dev/urandom >large; : >nothing; printf tiny >tiny; head -c 699 /dev/urandom >small
d=deep; for i in $(seq 12); do d=$d/level-$i; mkdir $d; done; echo deep >$d/file
ln etc/dir/file-7 hard; for i in $(seq 70); do ln etc/dir/file-8 "empty/one of very many names of the same file $i"; done
ln -s /etc/passwd absolute; ln -s ../etc usr/up; ln -s "$(printf 't%.0s' $(seq 600))" slow; ln -s 'ünï 日本' far
mkfifo fifo; mknod null c 1 3; mknod disk b 8 17; mknod big c 300 70000
perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("socket"))'
touch -d '2001-02-03 04:05:06.789012345 UTC' etc/dir/file-9; touch -d '1950-01-01 UTC' etc/dir/file-10; touch -d '2500-12-31 UTC' tiny
for i in $(seq 40); do setfattr -n "user.stream number $i" -v "value $i" streams; done; setfattr -n user.one -v 1 tiny; setfattr -n user.empty tiny
setfattr -n user.large -v "$(head -c 20000 /dev/zero | tr '\0' v)" tiny; setfattr -n user.ümlaut -v "$(head -c 900 /dev/zero | tr '\0' w)" tiny
truncate -s 10M holes/empty; truncate -s 1 holes/one; printf x >holes/end; truncate -s 300000 holes/end
dd if=/dev/urandom of=holes/islands bs=64k count=1 seek=3 status=none; dd if=/dev/urandom of=holes/islands bs=64k count=1 seek=30 conv=notrunc status=none
perl -e 'open R, "<", "/dev/urandom"; open F, "+>", "holes/fragments"; open G, "+>", "holes/others";
  for (0 .. 900) { sysread R, $b, 4096; sysseek F, $_ * 131072, 0; syswrite F, $b; sysseek G, $_ * 4096, 0; syswrite G, $b; }'
"#;

/// Directories that pack, and what goes into them.
const PACKED: &str = r#"
mkdir packed plain; setfattr -n system.ntfs_attrib_be -v 0x00000800 packed
(seq 200000; head -c 300000 /dev/urandom; head -c 400000 /dev/zero; seq 30000) >plain/mixed; cp plain/mixed packed/mixed; cp tiny packed/tiny
head -c 65536 plain/mixed >packed/unit; head -c 65537 plain/mixed >packed/more; head -c 4097 plain/mixed >packed/chunk
perl -e 'print pack("C", $_ % 7 + ($_ >> 12)) for 0 .. 200000' >packed/pattern; head -c 300000 /dev/zero >packed/zeroes
truncate -s 2M packed/mixed-holes; dd if=plain/mixed of=packed/mixed-holes bs=10000 count=9 seek=50 conv=notrunc status=none
for i in $(seq 20); do seq $((i * 1000)) >>packed/grown; seq 300 >>plain/other; done
"#;

fn made(mib: u64, mkfs: &str, many: u32, packed: bool) -> Image {
    let image = Image::new(mib, &format!("mkntfs -Q -F -q -p 0 -H 0 -S 0 -L 'Läbel x ' {mkfs} $1 >&2"));
    let mount = image.mount(if packed { "rw,compression" } else { "rw" });
    sh(&mount.point, &TREE.replace("MANY", &many.to_string()));
    if packed {
        sh(&mount.point, PACKED);
    }
    drop(mount);
    image
}

fn opened(image: &Image) -> Ntfs {
    Ntfs::open(image.block()).unwrap()
}

fn agree(mib: u64, mkfs: &str, many: u32, packed: bool) {
    let image = made(mib, mkfs, many, packed);
    let mount = image.mount("ro");
    let fs = opened(&image);
    same_as_kernel(mkfs, &mount.point, &fs, Compared::ALL);
    same_order(&mount, &fs, "many");
    same_order(&mount, &fs, "");
    // What is not listed is there, and so is a name for DOS; other letters are other names.
    for name in ["$MFT", "$Bitmap", "$Secure", "$Extend", "ALONGN~1.TEX", "CASE", "a", "$Extend/$Quota"] {
        let ours =
            name.split('/').try_fold(fs.root(), |node, name| fs.lookup(node, name.as_bytes()).unwrap());
        let wanted = std::fs::symlink_metadata(mount.point.join(name)).ok();
        let shown = ours.map(|node| {
            let what = fs.attributes(node).unwrap();
            (what.inode, what.size, what.blocks, what.kind.mode() | what.permissions)
        });
        assert_eq!(shown, wanted.map(|what| (what.ino(), what.size(), what.blocks(), what.mode())), "{name}");
    }
    let failure = |name: &[u8]| match fs.lookup(fs.root(), name) {
        Err(FsError::Errno(errno)) => Some(errno.raw_os_error()),
        _ => None,
    };
    for name in [b"\xff".to_vec(), vec![b'n'; 255], vec![b'n'; 256], "日".repeat(256).into_bytes()] {
        let path = mount.point.join(OsStr::from_bytes(&name));
        let wanted = std::fs::symlink_metadata(path).unwrap_err().raw_os_error().unwrap();
        assert_eq!(failure(&name).unwrap_or(Errno::NOENT.raw_os_error()), wanted, "{}", name.len());
    }
    let content = libimage::fs::detect(&*image.block()).unwrap().unwrap();
    let place = image.path().parent().unwrap().to_owned();
    let blkid = |tag: &str| {
        sh(&place, &format!("blkid -p -o value -s {tag} image")).trim_end_matches('\n').to_owned()
    };
    assert_eq!(content.label.unwrap(), blkid("LABEL"));
    assert_eq!(content.uuid.unwrap(), blkid("UUID"));
}

/// A directory is listed in the order of the mount.
fn same_order(mount: &Mount, fs: &Ntfs, path: &str) {
    let wanted: Vec<String> = std::fs::read_dir(mount.point.join(path))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let directory =
        if path.is_empty() { fs.root() } else { fs.lookup(fs.root(), path.as_bytes()).unwrap().unwrap() };
    let mut ours = Vec::new();
    fs.list(directory, &mut |entry| {
        ours.push(String::from_utf8_lossy(entry.name).into_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(ours, wanted);
}

agree! {
    usual: 64, "", 5000, true;
    small_clusters: 64, "-c 512", 1500, true;
    large_clusters: 200, "-c 65536", 1500, false;
    huge_clusters: 600, "-c 1048576", 1300, false;
    large_sectors: 100, "-s 4096", 1500, true;
}

/// Links and devices of Windows and of its Linux: relative links, of which some lead nowhere, and unknown tags.
const LINKS: &str = r#"
ln -s ../some/thing linux; ln -s /abs/olute linux-absolute; mkfifo lx-fifo; mknod lx-char c 1 3; mknod lx-block b 8 17
perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("lx-socket"))'
mkdir -p Sub/Deeper; echo x >Sub/File.txt
perl -e '
sub wide { join "", map { pack "v", ord } split //, $_[0] }
sub put { my ($name, $tag, $body) = @_; my $hex = unpack "H*", pack("Vvv", $tag, length $body, 0) . $body;
  system("setfattr", "-h", "-n", "system.ntfs_reparse_data", "-v", "0x$hex", $name) == 0 or die $name }
sub link_ { my ($name, $to, $flags) = @_; open F, ">", $name or mkdir $name; close F; my $t = wide($to); my $l = length $t;
  put($name, 0xa000000c, pack("vvvvV", 0, $l, $l, $l, $flags) . $t . $t) }
sub junction { my ($name, $to) = @_; mkdir $name; my $t = wide($to); my $l = length $t;
  put($name, 0xa0000003, pack("vvvv", 0, $l, $l + 2, $l) . $t . "\0\0" . $t . "\0\0") }
link_("relative", "sub\\FILE.TXT", 1); link_("nowhere", "sub\\none.txt", 1); link_("missing", "none", 1); link_("dotted", ".\\sub\\file.txt", 1);
link_("Sub/Deeper/upwards", "..\\..\\SUB\\file.TXT", 1); link_("file-to-directory", "Sub", 1); mkdir "to-directory"; link_("to-directory", "SUB", 1);
link_("chain", "Relative", 1); link_("Sub/above", "..\\..\\Sub\\File.txt", 1);
link_("short", "z", 1); link_("short-inside", "sub\\q", 1); link_("parent", "..", 1); link_("open", "SUB\\", 1); link_("unmarked", "Sub\\File.txt", 0); link_("through-a-file", "Sub\\File.txt\\x", 1);
link_("outside-full", "\\??\\C:\\Sub\\file.txt", 0); link_("outside-absolute", "\\Sub\\file.txt", 1); junction("outside-junction", "\\??\\C:\\Sub");
for (0x80000017, 0x9000601a, 0x80000013) { open F, ">", "tag-$_"; print F "contents"; close F; put("tag-$_", $_, "y" x 16) }
mkdir "tagged"; put("tagged", 0x80000017, "x" x 16)'
"#;

#[test]
fn links_of_windows() {
    let image = Image::new(16, "mkntfs -Q -F -q -p 0 -H 0 -S 0 $1 >&2");
    sh(&image.mount("rw,special_files=wsl").point, LINKS);
    let fs = opened(&image);
    let names = |fs: &Ntfs| {
        let mut names = Vec::new();
        fs.list(fs.root(), &mut |entry| {
            names.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.kind.unwrap()));
            ControlFlow::Continue(())
        })
        .unwrap();
        names
    };
    let listed = names(&fs);
    {
        // What depends on where it is mounted is left to the appliance; what kind of thing it is is known.
        let mount = image.mount("ro");
        for entry in std::fs::read_dir(&mount.point).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let kind = listed.iter().find(|(listed, _)| *listed == name).unwrap().1;
            assert_eq!(kind.mode(), entry.metadata().unwrap().mode() & 0o170_000, "{name}");
            if name.starts_with("outside") {
                let target = std::fs::read_link(entry.path()).unwrap();
                assert!(target.starts_with(&mount.point), "{target:?}");
                let node = fs.lookup(fs.root(), name.as_bytes()).unwrap().unwrap();
                assert!(matches!(fs.read_link(node), Err(FsError::Unsupported(_))));
                assert!(matches!(fs.attributes(node), Err(FsError::Unsupported(_))));
            }
        }
    }
    sh(&image.mount("rw").point, "rm -r outside*");
    let mount = image.mount("ro");
    let fs = opened(&image);
    compare("links", &of_kernel(&mount.point, Compared::ALL), &of_reader(&fs, Compared::ALL));
}

/// A little of everything.
fn small() -> Image {
    let image = Image::new(8, "mkntfs -Q -F -q -p 0 -H 0 -S 0 $1 >&2");
    let fill = r#"
mkdir -p many packed holes; setfattr -n system.ntfs_attrib_be -v 0x00000800 packed; echo secret >secret
for i in $(seq 300); do echo $i >many/an-entry-with-a-rather-long-name-$i; done
(seq 20000; head -c 70000 /dev/urandom) >packed/mixed; head -c 100000 /dev/zero >packed/zeroes
for i in $(seq 40); do ln secret "many/one of very many names of the same file $i"; setfattr -n "user.stream $i" -v $i packed/mixed; done
ln -s many/x link; mkfifo fifo; perl -e 'open F, "+>", "holes/fragments"; for (0 .. 300) { sysseek F, $_ * 131072, 0; syswrite F, "x" x 4096 }'
"#;
    sh(&image.mount("rw,compression").point, fill);
    image
}

/// Where an attribute of a file lies that has no name.
fn attribute(bytes: &[u8], file: usize, kind: u32) -> usize {
    let number = |at: usize, width: usize| {
        bytes[at..at + width].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let record = number(48, 8) * 4096 + file * 1024;
    let mut at = record + number(record + 20, 2);
    while number(at, 4) != kind as usize || bytes[at + 9] != 0 {
        assert!(number(at, 4) < kind as usize, "there is one");
        at += number(at + 4, 4);
    }
    at
}

fn number_of(fs: &Ntfs, name: &str) -> (Node, usize) {
    let node = fs.lookup(fs.root(), name.as_bytes()).unwrap().unwrap();
    (node, fs.attributes(node).unwrap().inode as usize)
}

#[test]
fn what_is_not_known_is_refused() {
    let image = small();
    let bytes = std::fs::read(image.path()).unwrap();
    let change = |at: usize, value: &[u8]| {
        let copy = image.copy();
        let file = std::fs::File::options().write(true).open(copy.path()).unwrap();
        file.write_all_at(value, at as u64).unwrap();
        copy
    };
    let fs = opened(&image);
    let (node, number) = number_of(&fs, "secret");
    // Encrypted: ntfs-3g does not let anybody read it.
    let at = attribute(&bytes, number, 0x80);
    let encrypted = change(at + 12, &0x4000u16.to_le_bytes());
    let read = |image: &Image| opened(image).read(node, 0, &mut [0; 10]);
    assert!(matches!(read(&encrypted), Err(FsError::Unsupported(what)) if what.contains("EFS")));
    assert_eq!(read(&image).unwrap(), 7);
    assert!(std::fs::read(encrypted.mount("ro").point.join("secret")).is_err());
    // The number of writes of the second half of its record.
    let record = at / 1024 * 1024;
    let cut = change(record + 1022, b"??");
    let what = opened(&cut).read(node, 0, &mut [0; 10]).unwrap_err().to_string();
    assert!(what.contains(&format!("record {number} ")) && what.contains("cut"), "{what}");
    // Another file has its record now.
    let other = change(record + 16, &77u16.to_le_bytes());
    assert!(opened(&other).attributes(node).is_err());
    // Of version 1.
    let version = change(attribute(&bytes, 3, 0x70) + 24 + 8, &[1]);
    assert!(matches!(Ntfs::open(version.block()), Err(FsError::Unsupported(_))));
}

/// What the tool says that mounts would do: 0, 14 for a hibernated Windows, 15 for a log that was not closed.
fn probe(image: &Image) -> i32 {
    let told = Command::new("ntfs-3g.probe").arg("--readwrite").arg(image.path()).output().unwrap();
    told.status.code().unwrap()
}

#[test]
fn only_what_was_left_in_order_is_read() {
    let image = small();
    let bytes = std::fs::read(image.path()).unwrap();
    let at = attribute(&bytes, 2, 0x80) + 0x40;
    let (counts, places) = (usize::from(bytes[at] & 15), usize::from(bytes[at] >> 4));
    let place = &bytes[at + 1 + counts..][..places];
    let log = place.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)) * 4096;
    let page = |lsn: u8, user: u16, flags: u16, version: u16| {
        let mut page = vec![0; 4096];
        page[..4].copy_from_slice(b"RSTR");
        (page[4], page[6]) = (30, 9);
        page[16..20].copy_from_slice(&4096u32.to_le_bytes());
        page[20..24].copy_from_slice(&4096u32.to_le_bytes());
        page[24] = 48;
        page[26..28].copy_from_slice(&1u16.to_le_bytes());
        page[28..30].copy_from_slice(&version.to_le_bytes());
        // One client, 67 bits of sequence numbers in all.
        page[48] = lsn;
        page[56] = 1;
        page[58..60].copy_from_slice(&if user == 0 { 0xffffu16 } else { 0 }.to_le_bytes());
        page[60..62].copy_from_slice(&user.to_le_bytes());
        page[62..64].copy_from_slice(&flags.to_le_bytes());
        let size = u64::from(image_log_size(&bytes));
        let bits = 67 - (64 - size.leading_zeros());
        page[64..68].copy_from_slice(&bits.to_le_bytes());
        page[68..70].copy_from_slice(&(48u16 + 160).to_le_bytes());
        page[70..72].copy_from_slice(&48u16.to_le_bytes());
        page[72..80].copy_from_slice(&size.to_le_bytes());
        page[84..86].copy_from_slice(&48u16.to_le_bytes());
        page[86..88].copy_from_slice(&64u16.to_le_bytes());
        // The client's record.
        let client = 48 + 48;
        page[client + 16..client + 20].fill(0xff);
        page[client + 28] = 8;
        page[client + 32..client + 40].copy_from_slice(b"N\0T\0F\0S\0");
        page
    };
    for (first, second) in [
        (page(5, 0xffff, 0, 1), page(5, 0xffff, 0, 1)),
        (page(5, 0, 2, 1), page(4, 0, 0, 1)),
        (page(5, 0, 0, 1), page(5, 0, 0, 1)),
        (page(4, 0xffff, 0, 1), page(5, 0, 0, 1)),
        (page(5, 0, 0, 1), page(4, 0xffff, 0, 1)),
        (page(5, 0xffff, 0, 2), page(5, 0xffff, 0, 2)),
    ] {
        let copy = image.copy();
        let file = std::fs::File::options().write(true).open(copy.path()).unwrap();
        file.write_all_at(&[&first[..], &second].concat(), log).unwrap();
        // An image that is open is locked.
        let ours = Ntfs::open(copy.block()).map(|_| ());
        assert_eq!(ours.is_ok(), probe(&copy) == 0, "{} {:?}", probe(&copy), ours.err());
    }
    assert_eq!(probe(&image), 0);
    sh(&image.mount("rw").point, "head -c 8192 /dev/zero >hiberfil.sys");
    assert!(probe(&image) == 0 && Ntfs::open(image.block()).is_ok());
    sh(&image.mount("rw").point, "printf hibr | dd of=hiberfil.sys conv=notrunc status=none");
    let refused = Ntfs::open(image.block());
    assert!(matches!(refused, Err(FsError::Unsupported(what)) if what.contains("hibernated")));
    assert_eq!(probe(&image), 14);
}

/// Bytes of the log.
fn image_log_size(bytes: &[u8]) -> u32 {
    let at = attribute(bytes, 2, 0x80) + 48;
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn damage_is_survived() {
    let image = small();
    let bytes = std::fs::read(image.path()).unwrap();
    let table = u64::from_le_bytes(bytes[48..56].try_into().unwrap()) * 4096;
    let block = bytes.chunks(4096).rposition(|block| block.starts_with(b"INDX")).unwrap() as u64 * 4096;
    let ranges =
        [0..512, table..table + 16 * 1024, table + 64 * 1024..table + 80 * 1024, block..block + 4096];
    harm::survive(&image, &ranges, |block| Ok(Arc::new(Ntfs::open(block)?)));
}
