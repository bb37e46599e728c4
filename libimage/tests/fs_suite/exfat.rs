//! exFAT: what exfat-fuse wrote is read, and dump.exfat counts as we do.

use std::sync::Arc;

use libimage::fs::exfat::ExFat;
use libimage::fs::system::FileSystem;

use crate::fat::{TREE, same_tree};
use crate::harm;
use crate::image::{Image, sh};

fn made(mib: u64, mkfs: &str) -> Image {
    let image = Image::new(mib, &format!("{mkfs} >&2; {TREE}"));
    // Files that grow in turns have clusters in a chain.
    let turns =
        "for i in $(seq 30); do for f in one two three; do head -c 20000 /dev/urandom >>tree/$f; done; done";
    let fill = format!(
        "{turns}; mkdir -p mount; loop=$(losetup --find --show image); trap 'losetup -d $loop' EXIT
        TZ=UTC mount.exfat-fuse -o noatime $loop mount 2>/dev/null
        cp -r --preserve=timestamps tree/. mount/; rm mount/many/*9
        for i in $(seq 30); do for f in one two three; do dd if=tree/$f of=mount/turn-$f bs=20000 count=1 skip=$((i - 1)) seek=$((i - 1)) conv=notrunc status=none; done; done
        for f in one two three; do cp tree/$f tree/turn-$f; touch -d '2020-02-29 12:34:56 UTC' tree/turn-$f mount/turn-$f; done
        touch -d '2020-02-29 12:34:56 UTC' tree/one tree/two tree/three mount/one mount/two mount/three
        umount mount; rm tree/many/*9; sync; fsck.exfat -n image >&2"
    );
    sh(image.path().parent().unwrap(), &fill);
    image
}

fn agree(mib: u64, mkfs: &str) {
    let image = made(mib, mkfs);
    let place = image.path().parent().unwrap().to_owned();
    let fs = ExFat::open(image.block()).unwrap_or_else(|error| panic!("{mkfs}: {error}"));
    same_tree(mkfs, &place.join("tree"), &fs);
    let counted = sh(&place, "dump.exfat image | grep -i 'free clusters' | tr -dc 0-9");
    let statistics = fs.statistics().unwrap();
    assert_eq!(statistics.free.to_string(), counted.trim(), "{mkfs}: free clusters");
    let find = |name: &str| fs.lookup(fs.root(), name.as_bytes()).unwrap();
    assert_eq!(find("Readme.txt."), find("README.TXT"));
    assert!(find("ÜMLAUT ß").is_some() && find("umlaut ß").is_none());
    let root = fs.attributes(fs.root()).unwrap();
    assert_eq!((root.permissions, root.links), (0o755, 2 + 4));
}

agree! {
    usual: 64, "mkfs.exfat $1";
    small_clusters: 64, "mkfs.exfat -c 512 $1";
    large_clusters: 300, "mkfs.exfat -c 128K $1";
    far_apart: 64, "mkfs.exfat -c 4K -b 1M $1";
}

#[test]
fn damage_is_survived_and_seen() {
    let image = made(16, "mkfs.exfat -c 4K -b 64K $1");
    let tables = 64 << 10;
    let ranges = [0..512, tables..tables + 4096, 2 * tables..2 * tables + 40_000, 128 << 10..600 << 10];
    harm::survive(&image, &ranges, |block| Ok(Arc::new(ExFat::open(block)?)));
}
