//! Trees of files: what a Debian root looks like, and everything that a reader might stumble over.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

/// UUID of the root file system in the tree's table of file systems.
pub const ROOT_UUID: &str = "6b8a1f0e-52c1-4f7c-9a43-0f6f2f4e7a11";
/// Label of its boot file system there.
pub const BOOT_LABEL: &str = "bootfs";

fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).expect("a file of the tree can be written");
}

fn link(target: impl AsRef<Path>, name: impl AsRef<Path>) {
    symlink(target, name).expect("a link of the tree can be made");
}

fn directory(path: impl AsRef<Path>) {
    fs::create_dir_all(path).expect("a directory of the tree can be made");
}

/// Bytes that compress badly and differ from place to place, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The files by which a Debian guest is known, with a table of file systems by UUID and by label.
///
/// # Panics
/// When it cannot be made.
pub fn debian_tree(root: &Path) {
    for path in ["boot", "etc", "home/user", "proc", "root", "tmp", "usr/bin", "usr/lib", "var/log"] {
        directory(root.join(path));
    }
    link("usr/bin", root.join("bin"));
    link("usr/lib", root.join("lib"));
    write(root.join("usr/bin/true"), b"\x7fELF not really");
    let release = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n";
    write(root.join("usr/lib/os-release"), release);
    link("../usr/lib/os-release", root.join("etc/os-release"));
    write(root.join("etc/hostname"), "web1\n");
    write(root.join("etc/debian_version"), "13.2\n");
    let table = format!(
        "# what is mounted where\nUUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\nLABEL={BOOT_LABEL} /boot ext4 defaults 0 2\n/dev/sr0 /media/cdrom udf,iso9660 user,noauto 0 0\n"
    );
    write(root.join("etc/fstab"), table);
    write(root.join("var/log/syslog"), "line 1\nline 2\nno newline at the end");
    link("../proc/self/mounts", root.join("etc/mtab"));
}

/// What lies on a boot partition.
///
/// # Panics
/// When it cannot be made.
pub fn boot_tree(root: &Path) {
    directory(root.join("grub"));
    write(root.join("vmlinuz-6.12"), noise(100_000));
    write(root.join("grub/grub.cfg"), "set timeout=5\n");
    link("vmlinuz-6.12", root.join("vmlinuz"));
    // Leads out of this file system into the one around it.
    link("/etc/hostname", root.join("outside"));
    link("../etc/hostname", root.join("outside-relative"));
}

/// Links of every kind, deep and large directories, strange names, files of many sizes, holes. What only
/// root can make on this host is left to `debugfs`: see the answer, which are commands for it.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn odd_tree(root: &Path) -> String {
    let at = |path: &str| root.join(path);
    for path in ["links", "sizes", "names", "many", "special", "empty"] {
        directory(at(path));
    }
    for (target, name) in [
        ("/etc/hostname", "absolute"),
        ("../etc/hostname", "relative"),
        ("../../../../../etc/hostname", "escape"),
        ("/../../etc/hostname", "escape-absolute"),
        ("loop-b", "loop-a"),
        ("loop-a", "loop-b"),
        ("self", "self"),
        ("../etc", "directory"),
        ("../etc/", "directory-slash"),
        ("/", "root"),
        ("missing", "dangling"),
        ("missing/further", "dangling-further"),
        ("../etc/hostname/", "file-slash"),
        ("../etc/hostname/x", "through-file"),
        (".", "here"),
        ("..", "up"),
        ("/boot/vmlinuz", "other-file-system"),
        ("/boot/outside", "there-and-back"),
        (&format!("{}etc/hostname", "../links/".repeat(8) + "../"), "long"),
    ] {
        link(target, at("links").join(name));
    }
    // The kernel follows 40 links in one path, not 41.
    link("../etc/hostname", at("links/chain-1"));
    for step in 2..=41 {
        link(format!("chain-{}", step - 1), at(&format!("links/chain-{step}")));
    }
    for size in [0, 1, 59, 60, 61, 511, 512, 513, 1023, 1025, 4095, 4096, 4097, 65_535, 300_000, 1_500_001] {
        write(at(&format!("sizes/{size}")), noise(size));
    }
    write(at("sizes/with-nul"), b"before\0after\n");
    let sparse = File::create(at("sizes/sparse")).expect("a file can be made");
    for place in [0, 70_000, 5 << 20, 80 << 20] {
        sparse.write_all_at(b"island\n", place).expect("a file can be written");
    }
    let huge = File::create(at("sizes/beyond-4g")).expect("a file can be made");
    huge.write_all_at(b"start\n", 0).expect("a file can be written");
    huge.write_all_at(b"end\n", (4 << 30) + 12_345).expect("a file can be written");
    for name in [
        &b"new\nline"[..],
        b"\xff\xfe not UTF-8",
        b"back\\slash",
        b"-dash",
        b" blank ",
        b"quote\"'",
        b"\xc3\xa4\xe2\x82\xac",
        b"tab\t",
        b"[a]*?",
        b"...",
        &[b'x'; 255],
    ] {
        write(at("names").join(OsStr::from_bytes(name)), name);
    }
    for number in 0..3000 {
        write(at(&format!("many/entry-number-{number:05}")), if number % 100 == 0 { "x" } else { "" });
    }
    directory(at("deep/").join("level/".repeat(40)));
    write(at("deep/").join("level/".repeat(40)).join("bottom"), "here\n");
    write(at("special/secret"), "for nobody\n");
    fs::set_permissions(at("special/secret"), fs::Permissions::from_mode(0o000)).expect("a mode can be set");
    fs::hard_link(at("sizes/4097"), at("special/same")).expect("a link can be made");
    "cd special\nmknod pipe p\nmknod disk b 8 0\nmknod null c 1 3\nmknod console c 5 1\n".to_owned()
}
