//! ext2, ext3 and ext4.

use libimage::fs::ext4::Ext4;

use crate::dump::{Compared, compare, of_kernel, of_reader, same_as_kernel};
use crate::image::{ATTRIBUTES, Image, RESERVED, TREE, sh};

fn agree(what: &str, mib: u64, mkfs: &str, script: impl AsRef<str>) {
    let image = Image::new(mib, mkfs);
    image.fill(script.as_ref());
    let mount = image.mount("ro,noatime");
    let fs = Ext4::open(image.block()).unwrap_or_else(|error| panic!("{what}: {error}"));
    same_as_kernel(what, &mount.point, &fs, Compared::ALL);
}

fn full() -> String {
    format!("{TREE}{RESERVED}{ATTRIBUTES}")
}

fn without_reservations() -> String {
    format!("{TREE}{ATTRIBUTES}")
}

agree! {
    ext4: "ext4", 64, "mkfs.ext4 -q -b 4096 $1", full();
    small_blocks: "ext4, 1 KiB", 64, "mkfs.ext4 -q -b 1024 $1", full();
    small_inodes: "ext4, small inodes", 64, "mkfs.ext4 -q -I 128 $1", full();
    inline_data: "ext4, inline data", 64, "mkfs.ext4 -q -O inline_data $1", full();
    no_checksums: "ext4, no checksums", 64, "mkfs.ext4 -q -O ^metadata_csum,^64bit $1", full();
    clusters: "ext4, clusters", 64, "mkfs.ext4 -q -O bigalloc -C 16384 $1", full();
    meta_groups: "ext4, meta groups", 300, "mkfs.ext4 -q -b 1024 -O meta_bg,^resize_inode $1", full();
    attributes_in_inodes: "ext4, attributes in inodes", 64, "mkfs.ext4 -q -O ea_inode $1", full();
    seed: "ext4, seed", 64, "mkfs.ext4 -q -O metadata_csum_seed,large_dir $1; tune2fs -U random $1", full();
    two_backups: "ext4, sparse_super2", 300, "mkfs.ext4 -q -b 1024 -O sparse_super2,^resize_inode $1", full();
    ext3: "ext3", 64, "mkfs.ext3 -q $1", without_reservations();
    ext3_small_blocks: "ext3, 1 KiB", 64, "mkfs.ext3 -q -b 1024 $1", without_reservations();
    ext2: "ext2", 64, "mkfs.ext2 -q $1", without_reservations();
    revision_0: "ext2, revision 0", 64, "mkfs.ext2 -q -r 0 $1", TREE;
}

/// What a power cut leaves: the reader sees what the kernel makes of it.
fn replays(what: &str, mkfs: &str, options: &str) {
    let image = Image::new(64, mkfs);
    let mount = image.mount(&format!("rw,{options}"));
    // Files come and go, and their blocks become others: some are revoked.
    let script = "for r in 1 2 3 4; do mkdir -p d$r/sub; for i in $(seq 200); do echo $r $i >d$r/file-$i; echo x >d$r/sub/$i; done; sync -f .
        [ $r = 1 ] || { rm -rf d$((r - 1))/sub; head -c 400000 /dev/urandom >d$((r - 1))/blob; }; done; sync -f .
        printf '\\xc0\\x3b\\x39\\x98 looks like a journal' >magic; setfattr -n user.late -v 1 d1; sync -f .; mv d1 renamed; sync -f .";
    sh(&mount.point, script);
    let cut = image.copy();
    drop(mount);
    let replayed = cut.copy();
    let fs = Ext4::open(cut.block()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let kernel = replayed.mount("rw,noatime");
    let wanted = of_kernel(&kernel.point, Compared::ALL);
    compare(what, &wanted, &of_reader(&fs, Compared::ALL));
    assert!(wanted.len() > 900, "{what}");
    let mark = sh(cut.path().parent().unwrap(), "dumpe2fs -h image 2>/dev/null | grep -c needs_recovery");
    assert_eq!(mark.trim(), "1", "{what}: there was nothing to replay");
}

#[test]
fn journals_are_replayed_in_memory() {
    replays("ext4", "mkfs.ext4 -q $1", "data=ordered");
    replays("ext4, data in the journal", "mkfs.ext4 -q $1", "data=journal");
    replays("ext4, no checksums", "mkfs.ext4 -q -b 4096 -O ^metadata_csum $1", "data=journal");
    replays("ext4, 32 bits", "mkfs.ext4 -q -O ^64bit $1", "journal_checksum");
    replays("ext3", "mkfs.ext3 -q $1", "data=journal");
}
