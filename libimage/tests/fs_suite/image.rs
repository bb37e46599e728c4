//! Images made by the real mkfs, and filled and mounted by the real kernel.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use libimage::Block;
use libimage::format::raw::Raw;
use libimage::storage::{FileOptions, FileStorage};
use tempfile::TempDir;

/// Runs a script; it must succeed.
pub(crate) fn sh(place: &Path, script: &str) -> String {
    let out =
        Command::new("bash").args(["-ec", script]).current_dir(place).env("LC_ALL", "C").output().unwrap();
    assert!(out.status.success(), "{script}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A raw image of one file system.
pub(crate) struct Image {
    directory: TempDir,
}

impl Image {
    /// An image of `mib` MiB with a file system made by `mkfs`, a script that finds the image in `$1`.
    pub(crate) fn new(mib: u64, mkfs: &str) -> Image {
        let image = Image { directory: tempfile::tempdir().unwrap() };
        std::fs::File::create(image.path()).unwrap().set_len(mib << 20).unwrap();
        sh(image.directory.path(), &format!("set -- image; {mkfs}"));
        image
    }

    /// The image as it lies on the disk now.
    pub(crate) fn copy(&self) -> Image {
        let copy = Image { directory: tempfile::tempdir().unwrap() };
        sh(self.directory.path(), &format!("cp --sparse=always image '{}'", copy.path().display()));
        copy
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    pub(crate) fn block(&self) -> Arc<dyn Block> {
        let options = FileOptions { read_only: true, ..FileOptions::default() };
        Arc::new(Raw::new(Arc::new(FileStorage::open(self.path(), options).unwrap())))
    }

    /// Mounts it until the answer is dropped.
    pub(crate) fn mount(&self, options: &str) -> Mount {
        let point = self.directory.path().join("mount");
        std::fs::create_dir_all(&point).unwrap();
        sh(self.directory.path(), &format!("mount -o loop,{options} image mount"));
        Mount { point }
    }

    /// Mounts it, runs a script in it, and unmounts it.
    pub(crate) fn fill(&self, script: &str) {
        let mount = self.mount("rw");
        sh(&mount.point, script);
    }
}

/// A mounted image.
pub(crate) struct Mount {
    pub(crate) point: PathBuf,
}

impl Drop for Mount {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.point).status().unwrap();
        assert!(status.success() || std::thread::panicking());
        // A program that serves a mount may take a while longer to let its device go.
        let wait = "for i in $(seq 400); do test -z \"$(losetup -j ../image)\" && break; sleep 0.05; done";
        let _ = Command::new("sh").args(["-c", wait]).current_dir(self.point.as_path()).status();
    }
}

/// A tree with everything that a system has: kinds, names, owners, times, holes, attributes, sizes.
pub(crate) const TREE: &str = r#"
mkdir -p etc/dir usr/bin empty many deep holes
printf 'odd' > $'odd\nname'; printf x > 'ümlaut'; printf x > $'\xff\xfe'
perl -e 'open R, "<", "/dev/urandom"; for (1 .. 120) { read R, $b, $_ * 97; open F, ">", "etc/dir/file-$_"; print F $b; close F }'
for i in $(seq 1500); do : >many/an-entry-with-a-rather-long-name-$i; done
rm -f many/an-entry-with-a-rather-long-name-{0..1500..3}
head -c 3000000 /dev/urandom >large; : >nothing; printf tiny >tiny; head -c 150 /dev/urandom >small
long=$(printf 'n%.0s' $(seq 255)); echo a >"$long"
d=deep; for i in $(seq 12); do d=$d/level-$i; mkdir $d; done; echo deep >$d/file
ln etc/dir/file-7 hard; ln -s /etc/passwd absolute; ln -s ../etc usr/up; ln -s "$(printf 't%.0s' $(seq 59))" fast
ln -s "$(printf 't%.0s' $(seq 60))" slow; ln -s "$(printf 'u%.0s' $(seq 1000))" slower
chown 1000:50 tiny; chown 70000:4000000000 small; chown -h 7:8 slow; chmod 4755 usr/bin; chmod 0 nothing; chmod 1777 empty
mkfifo fifo; mknod null c 1 3; mknod disk b 8 17; mknod big c 300 70000
perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("socket"))'
touch -d '2001-02-03 04:05:06.789012345 UTC' etc/dir/file-9; touch -d '1950-01-01 UTC' etc/dir/file-10
touch -d '2037-12-31 UTC' etc/dir/file-11; touch -h -d '1999-01-01 UTC' fast
truncate -s 10M holes/empty; truncate -s 1 holes/one
dd if=/dev/urandom of=holes/islands bs=64k count=1 seek=3 status=none; dd if=/dev/urandom of=holes/islands bs=64k count=1 seek=30 conv=notrunc status=none
truncate -s 5000000 holes/islands
perl -e 'open R, "<", "/dev/urandom"; open F, "+>", "holes/fragments";
  for ((map { 2 * $_ } 0 .. 200), (map { 3 * $_ + 1 } 0 .. 133)) { sysread R, $b, 4096; sysseek F, $_ * 4096, 0; syswrite F, $b }'
"#;

/// What only some file systems can.
pub(crate) const RESERVED: &str = r#"
fallocate -l 300000 holes/reserved; printf x | dd of=holes/reserved bs=1 seek=100000 conv=notrunc status=none
printf short >holes/beyond; fallocate -n -l 300000 holes/beyond
"#;

/// Extended attributes and access control lists.
pub(crate) const ATTRIBUTES: &str = r#"
setfattr -n user.one -v 1 tiny; setfattr -n user.two -v "$(printf 'v%.0s' $(seq 400))" tiny; setfattr -n user.empty tiny
for i in $(seq 12); do setfattr -n user.number-$i -v "value $i" small; done
setfattr -n trusted.t -v t etc; setfattr -n security.s -v s etc; setfattr -h -n trusted.link -v l slow
setfacl -m u:7:rwx,g:8:r tiny; setfacl -d -m u:9:rx etc/dir; setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 usr/bin
"#;
