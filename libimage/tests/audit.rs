//! Audits of images that other programs made, whole and damaged.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use libimage::Block;
use libimage::audit::{Audit, Bounds, Severity, audit};
use libimage::storage::{FileOptions, FileStorage, Memory};

const MIB: u64 = 1 << 20;

struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Self {
        Room(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a shell command there.
    fn run(&self, command: &str) {
        let status = Command::new("sh").args(["-ec", command]).current_dir(self.0.path()).status().unwrap();
        assert!(status.success(), "{command}");
    }

    fn audit(&self, name: &str) -> Audit {
        look(&self.path(name))
    }
}

fn look(path: &Path) -> Audit {
    let storage = FileStorage::open(path, FileOptions { read_only: true, ..FileOptions::default() }).unwrap();
    audit(&(Arc::new(storage) as Arc<dyn Block>), Bounds::default()).unwrap()
}

fn codes(audit: &Audit, severity: Severity) -> Vec<&str> {
    audit.findings.iter().filter(|f| f.severity == severity).map(|f| f.code).collect()
}

#[test]
fn every_format_is_known_by_its_name_and_size() {
    let room = Room::new();
    for (name, format, options) in [
        ("q2", "qcow2", "compat=0.10"),
        ("q3", "qcow2", "compat=1.1"),
        ("q1", "qcow", ""),
        ("qed", "qed", ""),
        ("vmdk", "vmdk", ""),
        ("stream", "vmdk", "subformat=streamOptimized"),
        ("vdi", "vdi", ""),
        ("vhdx", "vhdx", ""),
        ("vhd", "vpc", "force_size=on"),
        ("fixed", "vpc", "force_size=on,subformat=fixed"),
        ("parallels", "parallels", ""),
        ("raw", "raw", ""),
    ] {
        let options = if options.is_empty() { String::new() } else { format!("-o {options}") };
        room.run(&format!("qemu-img create -q -f {format} {options} {name} 64M"));
        let found = room.audit(name);
        assert_eq!((found.format(), found.virtual_size), (format, Some(64 * MIB)), "{name}");
        assert!(found.is_safe(), "{name}: {found:?}");
    }
}

#[test]
fn what_reaches_out_is_refused() {
    let room = Room::new();
    // A FIFO in its place: whoever opened it would wait for ever.
    room.run("mkfifo base; ln -s base data.raw");
    room.run("qemu-img create -q -u -f qcow2 -b base -F raw q 1M; qemu-img create -q -u -f qcow2 -b json:{} -F raw j 1M");
    room.run("qemu-img create -q -f qcow2 -o data_file=d,data_file_raw=on d.q 1M; rm d; ln -s base d");
    room.run("qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse m.vmdk 1M");
    room.run("qemu-img create -q -u -f qed -b base -F raw e 1M");
    for (name, kind, target) in [
        ("q", "backing file", "base"),
        ("j", "backing file", "json:{}"),
        ("d.q", "data file", "d"),
        ("m.vmdk", "extent", "m-s001.vmdk"),
        ("e", "backing file", "base"),
    ] {
        let found = room.audit(name);
        assert_eq!(codes(&found, Severity::Danger), ["reference"], "{name}: {found:?}");
        assert_eq!(found.references.len(), 1, "{name}");
        assert_eq!((found.references[0].kind, &*found.references[0].name), (kind, target), "{name}");
    }
}

#[test]
fn files_with_two_faces_are_refused() {
    let room = Room::new();
    // A fixed VHD's footer behind a qcow2; a disk that is a qcow2 inside; a text that QEMU takes for a VMDK.
    room.run("qemu-img create -q -f qcow2 a 1M; qemu-img create -q -f vpc -o subformat=fixed v 1M; tail -c 512 v >> a");
    room.run("qemu-img create -q -f qcow2 n 1M; qemu-img create -q -f qcow2 inner 1M; qemu-io -c 'write -s inner 0 64k' n");
    room.run("printf '# hello\\n\\nversion=1\\nRW 1 FLAT \"/etc/hostname\" 0\\n' > t; truncate -s 1M t");
    assert!(codes(&room.audit("a"), Severity::Danger).contains(&"ambiguous-format"));
    assert_eq!(codes(&room.audit("n"), Severity::Danger), ["nested-image"]);
    let text = room.audit("t");
    assert_eq!((text.format(), text.references.len()), ("vmdk", 1));
}

#[test]
fn what_nobody_sees_is_told() {
    let room = Room::new();
    room.run("qemu-img create -q -f qcow2 s 1M; qemu-img snapshot -c secret s");
    room.run("qemu-img create -q -f qcow2 t 1M; truncate -s 1M t; echo hidden >> t");
    let snapshot = room.audit("s");
    assert!(codes(&snapshot, Severity::Warning).contains(&"snapshots"));
    assert!(snapshot.findings.iter().any(|f| f.text.contains("secret")));
    assert_eq!(codes(&room.audit("t"), Severity::Warning), ["hidden-data"]);
}

#[test]
fn contents_and_limits() {
    let room = Room::new();
    room.run("truncate -s 8M e; mkfs.ext4 -q -F -L inside e; qemu-img convert -f raw -O qcow2 e q");
    assert_eq!(room.audit("q").contents, ["ext4 \"inside\""]);
    assert_eq!(room.audit("e").contents, ["ext4 \"inside\""]);
    let storage: Arc<dyn Block> = Arc::new(Memory::new(2 * MIB));
    let found = audit(&storage, Bounds { max_virtual_size: Some(MIB) }).unwrap();
    assert_eq!(codes(&found, Severity::Danger), ["too-large"]);
}

/// Numbers that follow from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

#[test]
fn damage_is_survived() {
    let room = Room::new();
    let mut numbers = Numbers(0xa0d17);
    for (name, create) in [
        ("qcow2", "-f qcow2 -o cluster_size=512 qcow2"),
        ("backed", "-u -f qcow2 -b x -F raw backed"),
        ("qed", "-f qed qed"),
        ("vmdk", "-f vmdk vmdk"),
        ("vdi", "-f vdi vdi"),
        ("vhdx", "-f vhdx -o log_size=1M,block_size=1M vhdx"),
        ("vhd", "-f vpc vhd"),
        ("qcow", "-f qcow qcow"),
    ] {
        room.run(&format!("qemu-img create -q {create} 1M"));
        let whole = std::fs::read(room.path(name)).unwrap();
        let meaning: Vec<usize> = (0..whole.len()).filter(|&at| at < 128 || whole[at] != 0).collect();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..1 + numbers.below(4) {
                let at = meaning[numbers.below(meaning.len())];
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, numbers.below(256) as u8][numbers.below(6)];
            }
            if numbers.below(8) == 0 {
                bytes.truncate(numbers.below(bytes.len()));
            }
            let memory = Memory::new(bytes.len() as u64);
            memory.write_at(&bytes, 0).unwrap();
            // Whatever it says: it says something, soon, and does not panic.
            let _ = audit(&(Arc::new(memory) as Arc<dyn Block>), Bounds::default());
        }
    }
}
