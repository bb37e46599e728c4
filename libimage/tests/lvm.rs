//! Volume groups that LVM2's own programs made: every volume is where they say it is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use libimage::Block;
use libimage::storage::Memory;
use libimage::volume::lvm::Groups;

const DISK: usize = 40 << 20;
const EXTENT: u64 = 1 << 20;

/// Makes a group of the files `a` and `b`, and prints where its volumes are. Nothing is made ready, so nothing needs
/// the kernel's device mapper.
const MAKE: &str = r#"
trap 'losetup -d $A $B' EXIT
A=$(losetup -f --show a); B=$(losetup -f --show b)
C="devices { use_devicesfile=0 filter=[\"a|^$A\$|\",\"a|^$B\$|\",\"r|.*|\"] } backup { backup=0 archive=0 }"
L() { c=$1; shift; lvm $c --driverloaded n --config "$C" "$@" 2>log || { cat log >&2; exit 1; }; }
{ L pvcreate $A $B; L vgcreate -s 1m vg-x $A $B; L lvcreate -an -Zn -Wn -l 3 -n plain vg-x
L lvcreate -an -Zn -Wn -l 8 -i 2 -I 64k -n wide vg-x; L lvextend -l +40 vg-x/plain; } >/dev/null
L lvs --segments --noheadings --units b --nosuffix -o lv_name,seg_start,seg_size,stripes,stripe_size,seg_pe_ranges |
    sed "s,$A,a,g; s,$B,b,g"
"#;

/// A piece of a volume, as LVM's programs tell it: its bytes, and the first extents of the disks it lies on.
struct Piece {
    volume: String,
    start: u64,
    size: u64,
    stripe: u64,
    areas: Vec<(usize, u64)>,
}

fn piece(line: &str) -> Piece {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [volume, start, size, _, stripe, areas @ ..] = words.as_slice() else { panic!("{line}") };
    let areas = areas.iter().map(|area| {
        let (disk, extents) = area.split_once(':').unwrap();
        (usize::from(disk == "b"), extents.split('-').next().unwrap().parse().unwrap())
    });
    let number = |word: &str| word.parse().unwrap();
    Piece {
        volume: (*volume).to_owned(),
        start: number(start),
        size: number(size),
        stripe: number(stripe),
        areas: areas.collect(),
    }
}

/// A group on two disks, whose every eight bytes say where they are.
fn made() -> (Vec<Vec<u8>>, Vec<Piece>) {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| directory.path().join(name));
    for (number, path) in (0..).zip(&paths) {
        let words = (0..DISK as u64 / 8).flat_map(|word| (word | number << 48).to_le_bytes());
        std::fs::write(path, words.collect::<Vec<u8>>()).unwrap();
    }
    let printed = sh(directory.path(), MAKE);
    let pieces = printed.lines().map(piece).collect();
    (paths.iter().map(|path| std::fs::read(path).unwrap()).collect(), pieces)
}

fn sh(place: &Path, script: &str) -> String {
    let out =
        Command::new("bash").args(["-ec", script]).current_dir(place).env("LC_ALL", "C").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn groups(disks: &[Vec<u8>]) -> libimage::Result<Groups> {
    let blocks: Vec<_> =
        disks.iter().map(|bytes| Arc::new(Memory::from_bytes(bytes)) as Arc<dyn Block>).collect();
    Groups::read(&blocks)
}

#[test]
fn volumes_are_where_lvm_says() {
    let (disks, pieces) = made();
    let groups = groups(&disks).unwrap();
    let [group] = groups.all() else { panic!("one group") };
    assert!(group.name == "vg-x" && group.is_complete() && !group.is_exported);
    let names: Vec<_> =
        group.logical_volumes().into_iter().map(|volume| (volume.name, volume.size)).collect();
    assert_eq!(names, [("plain".to_owned(), 43 * EXTENT), ("wide".to_owned(), 8 * EXTENT)]);
    assert_eq!(pieces.len(), 4);
    for piece in pieces {
        let volume = group.open(&piece.volume).unwrap();
        for offset in (0..piece.size).step_by(4096) {
            let (area, within) = if piece.areas.len() == 1 {
                (0, offset)
            } else {
                let (number, count) = (offset / piece.stripe, piece.areas.len() as u64);
                ((number % count) as usize, number / count * piece.stripe + offset % piece.stripe)
            };
            let (disk, extent) = piece.areas[area];
            // The first megabyte of each disk is LVM's own.
            let at = EXTENT + extent * EXTENT + within;
            let mut word = [0; 8];
            volume.read_at(&mut word, piece.start + offset).unwrap();
            assert_eq!(
                u64::from_le_bytes(word),
                (at / 8) | ((disk as u64) << 48),
                "{}: {offset}",
                piece.volume
            );
        }
    }
}

#[test]
fn a_disk_that_is_missing_or_there_twice_is_noticed() {
    let (mut disks, _) = made();
    let b = disks.pop().unwrap();
    let one = groups(&disks).unwrap();
    assert!(!one.all()[0].is_complete());
    let error = one.all()[0].open("plain").err().unwrap().to_string();
    assert!(error.contains("vg-x/plain") && error.contains("missing"), "{error}");
    disks.extend([b.clone(), b]);
    assert!(!groups(&disks).unwrap().all()[0].is_complete());
}

/// What is damaged is refused, or was not needed: a volume is never read from the wrong place.
#[test]
fn damage_is_refused() {
    let (disks, _) = made();
    let whole = groups(&disks).unwrap();
    let heads = |groups: &Groups| {
        let [group] = groups.all() else { return Vec::new() };
        let open = |name| {
            group.open(name).ok().map(|volume| {
                let mut bytes = vec![0; 4 << 20];
                volume.read_at(&mut bytes, 0).map(|()| bytes).ok()
            })
        };
        ["plain", "wide"].into_iter().filter_map(open).collect::<Vec<_>>()
    };
    let right = heads(&whole);
    assert_eq!(right.len(), 2);
    let mut state = 88_172_645_463_325_252u64;
    let (mut refused, mut answered) = (0, 0);
    for _ in 0..60 {
        // Where something is written: the label, and the area behind it.
        let mut damaged: Vec<_> = disks.iter().map(|disk| disk[..12 << 20].to_vec()).collect();
        for disk in &mut damaged {
            let used: Vec<usize> = (0..1 << 14).filter(|at| disk[*at] != 0).collect();
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            disk[used[state as usize % used.len()]] ^= 1 << (state >> 60 & 7);
        }
        match groups(&damaged) {
            Err(_) => refused += 1,
            Ok(groups) => {
                for found in heads(&groups).into_iter().flatten() {
                    answered += 1;
                    assert!(right.iter().flatten().any(|right| *right == found));
                }
            }
        }
    }
    assert!(refused > 5, "{refused} {answered}");
}
