//! Damage, and what a mount would refuse: the right answer, or none.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use libimage::fs::btrfs::Btrfs;
use libimage::fs::system::{FileSystem, FsError, Node};

use super::{Devices, LITTLE};
use crate::harm::{Numbers, walk};
use crate::image::sh;

const SUPERBLOCK: u64 = 64 << 10;
const SECTOR: u64 = 4096;

fn writable(devices: &Devices, index: usize) -> File {
    File::options().read(true).write(true).open(devices.path(index)).unwrap()
}

/// Where nodes of `size` bytes lie, each with the address that it has: one that has copies is there several times.
fn nodes(file: &File, size: u64) -> Vec<(u64, u64)> {
    let mut id = [0; 16];
    file.read_exact_at(&mut id, SUPERBLOCK + 32).unwrap();
    let mut found = Vec::new();
    let mut header = [0; 101];
    let end = file.metadata().unwrap().len();
    for at in (0..end - size).step_by(SECTOR as usize) {
        file.read_exact_at(&mut header, at).unwrap();
        let address = u64::from_le_bytes(header[48..56].try_into().unwrap());
        // Superblocks have their own place there.
        if header[32..48] == id && &header[64..72] != b"_BHRfS_M" {
            found.push((at, address));
        }
    }
    found
}

/// Gives a node or superblock the checksum that it wants.
fn seal(bytes: &mut [u8]) {
    let sum = crc32c::crc32c(&bytes[32..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
}

fn entries(fs: &dyn FileSystem, node: Node) -> Option<Vec<(Vec<u8>, Node)>> {
    let mut all = Vec::new();
    let listed = fs.list(node, &mut |entry| {
        all.push((entry.name.to_vec(), entry.node));
        ControlFlow::Continue(())
    });
    listed.ok().map(|()| all)
}

/// Nodes, each with names that are looked up in it.
type Nodes = Vec<(Node, Vec<Vec<u8>>)>;
/// What was said of each node.
type Answers = Vec<Vec<Option<String>>>;

/// All nodes of a file system, of a full directory only some.
fn all_nodes(fs: &dyn FileSystem) -> Nodes {
    let mut nodes = vec![(fs.root(), Vec::new())];
    let mut at = 0;
    while at < nodes.len() {
        let inside = entries(fs, nodes[at].0).unwrap_or_default();
        nodes.extend(inside.iter().step_by(1 + inside.len() / 20).map(|(_, node)| (*node, Vec::new())));
        nodes[at].1 = inside.into_iter().map(|(name, _)| name).step_by(9).collect();
        at += 1;
    }
    nodes
}

/// What can be asked of a node; `None` where there is no answer.
fn answers(fs: &dyn FileSystem, node: Node, names: &[Vec<u8>]) -> Vec<Option<String>> {
    let mut all = vec![
        fs.attributes(node).ok().map(|answer| format!("{answer:?}")),
        entries(fs, node).map(|answer| format!("{answer:?}")),
        fs.read_link(node).ok().map(|answer| format!("{answer:?}")),
        fs.xattr_names(node).ok().map(|answer| format!("{answer:?}")),
        fs.xattr(node, b"user.name-77").ok().map(|answer| format!("{answer:?}")),
        fs.lookup(node, b"none").ok().map(|answer| format!("{answer:?}")),
    ];
    for at in [0, 8192, 300_001] {
        let mut bytes = vec![0; 9000];
        all.push(fs.read(node, at, &mut bytes).ok().map(|count| format!("{:?}", bytes.get(..count))));
        all.push(fs.data_after(node, at).ok().map(|answer| format!("{answer:?}")));
    }
    all.extend(names.iter().map(|name| fs.lookup(node, name).ok().map(|answer| format!("{answer:?}"))));
    all
}

/// Holds what is said now against what was right. How many questions have no answer any more.
fn compare(
    what: &str,
    fs: &dyn FileSystem,
    nodes: &[(Node, Vec<Vec<u8>>)],
    right: &[Vec<Option<String>>],
) -> usize {
    let mut unanswered = 0;
    for ((node, names), right) in nodes.iter().zip(right) {
        for (answer, right) in answers(fs, *node, names).into_iter().zip(right) {
            match answer {
                Some(_) => assert!(&answer == right, "{what}: {node:?}: {answer:?}, not {right:?}"),
                None => unanswered += usize::from(right.is_some()),
            }
        }
    }
    unanswered
}

fn all_answers(fs: &Btrfs) -> (Nodes, Answers) {
    let nodes = all_nodes(fs);
    let right = nodes.iter().map(|(node, names)| answers(fs, *node, names)).collect();
    (nodes, right)
}

#[test]
fn what_is_damaged_is_never_believed() {
    let devices = Devices::new(1, 64, "mkfs.btrfs -q -M -n 4096 $1");
    devices.fill("rw", LITTLE);
    let file = writable(&devices, 0);
    let (all, right) = all_answers(&devices.open().unwrap());
    let places = nodes(&file, SECTOR);
    assert!(places.len() > 100 && all.len() > 30, "{} {}", places.len(), all.len());
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut opened, mut unanswered) = (0, 0);
    for seed in 0..60 {
        let mut before = Vec::new();
        for _ in 0..=numbers.below(20) {
            // Metadata mostly, and whatever lies elsewhere.
            let at = match numbers.below(4) {
                0 => numbers.below(30 << 20),
                _ => places[numbers.below(places.len() as u64) as usize].0 + numbers.below(SECTOR),
            };
            let mut old = [0];
            file.read_exact_at(&mut old, at).unwrap();
            before.push((at, old));
            file.write_all_at(&[numbers.below(256) as u8], at).unwrap();
        }
        if let Ok(fs) = devices.open() {
            opened += 1;
            unanswered += compare(&format!("seed {seed}"), &fs, &all, &right);
        }
        for (at, old) in before.into_iter().rev() {
            file.write_all_at(&old, at).unwrap();
        }
    }
    assert!(opened > 10 && unanswered > 20, "{opened} {unanswered}");
    assert_eq!(compare("all mended", &devices.open().unwrap(), &all, &right), 0);
}

/// Where checksums are made right again nothing tells damage, and a reader still ends in order.
#[test]
fn damage_that_cannot_be_told_does_no_harm() {
    let devices = Devices::new(1, 64, "mkfs.btrfs -q -M -n 4096 $1");
    devices.fill("compress=lzo", LITTLE);
    let file = writable(&devices, 0);
    let mut places: Vec<u64> = nodes(&file, SECTOR).into_iter().map(|(at, _)| at).collect();
    places.extend([SUPERBLOCK; 10]);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut seen = 0;
    for _ in 0..250 {
        let mut before = Vec::new();
        for _ in 0..=numbers.below(4) * 6 {
            let at = places[numbers.below(places.len() as u64) as usize];
            let mut node = [0; SECTOR as usize];
            file.read_exact_at(&mut node, at).unwrap();
            before.push((at, node));
            // Mostly where there is something: at both ends.
            let inside = match numbers.below(3) {
                0 => 48 + numbers.below(60),
                1 => 101 + numbers.below(800),
                _ => SECTOR - 1 - numbers.below(1500),
            };
            let change = [0, 0xff, 1, numbers.below(256) as u8][numbers.below(4) as usize];
            let length = 1 << numbers.below(4);
            node[inside as usize..].iter_mut().take(length).for_each(|byte| *byte = change);
            seal(&mut node);
            file.write_all_at(&node, at).unwrap();
        }
        if let Ok(fs) = devices.open() {
            seen += walk::tree(&fs, 300);
        }
        for (at, node) in before.into_iter().rev() {
            file.write_all_at(&node, at).unwrap();
        }
    }
    assert!(seen > 5000, "{seen}");
}

/// As long as one copy of everything is whole, nothing is missing.
#[test]
fn other_copies_are_found() {
    let devices = Devices::new(1, 300, "mkfs.btrfs -q -m dup -d dup $1");
    devices.fill("rw", LITTLE);
    let (all, right) = all_answers(&devices.open().unwrap());
    let file = writable(&devices, 0);
    let found = nodes(&file, 16 << 10);
    for (at, address) in &found {
        let is_first = found.iter().find(|(_, other)| other == address).is_some_and(|(first, _)| first == at);
        if is_first {
            file.write_all_at(b"damage", at + 200).unwrap();
        }
    }
    assert_eq!(compare("one copy of each node", &devices.open().unwrap(), &all, &right), 0);

    let devices = Devices::new(2, 200, "mkfs.btrfs -q -m raid1 -d raid1 $1 $2");
    devices.fill("compress=zlib", LITTLE);
    let (all, right) = all_answers(&devices.open().unwrap());
    for index in 0..2 {
        let file = writable(&devices, index);
        let whole = std::fs::read(devices.path(index)).unwrap();
        let damage = [0xa5; 1 << 20];
        for at in (1..200).map(|mib| mib << 20) {
            file.write_all_at(&damage, at).unwrap();
        }
        assert_eq!(compare("one device", &devices.open().unwrap(), &all, &right), 0);
        file.write_all_at(&whole, 0).unwrap();
    }
}

fn refusal(opened: Result<Btrfs, FsError>) -> String {
    match opened {
        Err(FsError::Unsupported(what)) => what,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn what_is_not_known_is_refused() {
    let devices = Devices::new(2, 128, "mkfs.btrfs -q -d raid1 -m raid1 $1 $2");
    let alone = Btrfs::open(devices.block(0), &Vec::new);
    assert_eq!(refusal(alone), "of its 2 devices there are only 1");
    let twice = Btrfs::open(devices.block(0), &|| vec![devices.block(0), devices.block(1)]);
    assert_eq!(refusal(twice), "its device 1 is there twice");
    let stale = Devices::new(1, 128, "true");
    std::fs::copy(devices.path(1), stale.path(0)).unwrap();
    devices.fill("rw", "echo >new");
    let missed = Btrfs::open(devices.block(0), &|| vec![stale.block(0)]);
    assert_eq!(refusal(missed), "one of its devices missed changes");
    assert!(devices.open().is_ok());

    let devices = Devices::new(1, 128, "mkfs.btrfs -q $1");
    let log = Devices::new(1, 128, "true");
    {
        let mounted = devices.mount("rw");
        sh(&mounted.point, "sync .; echo >new; sync new");
        std::fs::copy(devices.path(0), log.path(0)).unwrap();
    }
    assert_eq!(refusal(log.open()), "its log has to be replayed");
    let file = writable(&devices, 0);
    let mut whole = [0; 4096];
    file.read_exact_at(&mut whole, SUPERBLOCK).unwrap();
    for (at, bit, words) in [
        (188, 0x1000_u64, "it has the feature zoned, which is not known here"),
        (188, 0x2000, "it has the feature extent-tree-v2, which is not known here"),
        (188, 0x4000, "it has the feature raid-stripe-tree, which is not known here"),
        (188, 0x8000, "it has features that are not known (0x8000, 0x0)"),
        (180, 0x10, "it has features that are not known (0x0, 0x10)"),
        (56, 1 << 33, "its state is not a usual one (0x200000000)"),
        (196, 7, "its checksums are of a kind that is not known (7)"),
    ] {
        let mut changed = whole;
        let field: &mut [u8; 8] = (&mut changed[at..at + 8]).try_into().unwrap();
        *field = (u64::from_le_bytes(*field) | bit).to_le_bytes();
        seal(&mut changed);
        file.write_all_at(&changed, SUPERBLOCK).unwrap();
        assert_eq!(refusal(devices.open()), words);
    }
}
