//! Volumes and file systems to begin with, small ones, made and filled by the tools that everybody has.

use crate::seeds::{Seed, good, made};

/// A tree with some of everything that a file system without owners can hold, in the directory `t`.
const TREE: &str = "mkdir -p t/a/b t/many; echo text >t/a/file; seq 5000 >t/a/b/numbers; yes line | head -c 70000 >t/lines
    seq 30000 | gzip -n | head -c 30000 >t/noise; : >t/nothing; for i in $(seq 90); do echo $i >t/many/a-rather-long-name-$i; done
    truncate -s 300000 t/hole; echo end >>t/hole";

/// The same with links and special files.
const LINKS: &str =
    "ln -s file t/a/link; ln -s \"$(printf 'x%.0s' $(seq 200))\" t/slow; ln t/a/file t/hard; mkfifo t/pipe
    setfattr -n user.one -v 1 t/a/file; setfattr -n user.two -v \"$(seq 60)\" t/a/file";

/// The inputs that the body called `target` begins with.
pub fn of(target: &str) -> Vec<Seed> {
    let one = |name: &str, make: &str| good(name, made(&format!("{TREE}\n{LINKS}\n{make}")));
    match target {
        "volumes" => volumes(),
        "btrfs" => {
            let make = "truncate -s 16M image; mkfs.btrfs -q -M -n 4096 --rootdir t image >/dev/null";
            vec![rolled(one("mixed", make))]
        }
        "erofs" => {
            ["", "-zlz4", "-zlz4 -Elegacy-compress", "-zlz4hc -C16384 -Eztailpacking", "--chunksize=4096"]
                .map(|options| one(options, &format!("mkfs.erofs --quiet {options} image t >/dev/null")))
                .into()
        }
        "exfat" => {
            let make = "truncate -s 2M image; mkfs.exfat -c 4K -b 64K image >/dev/null; mkdir m
                D=$(losetup --find --show image); trap 'losetup -d $D' EXIT
                mount.exfat-fuse -o noatime $D m 2>/dev/null; cp -r t/. m; umount m; sync";
            vec![good("exfat", made(&format!("{TREE}\n{make}")))]
        }
        "ext4" => [
            "-t ext4 -O ^has_journal,^metadata_csum",
            "-t ext2 -b 1024",
            "-t ext4 -O ^has_journal,^metadata_csum,inline_data -I 256",
        ]
        .map(|options| {
            let make = format!("truncate -s 1M image; mke2fs -q -F -N 256 {options} -d t image");
            one(options, &make)
        })
        .into(),
        "fat" => [("-F 12", 3), ("-F 16 -s 1 -f 1", 3), ("-F 32 -s 1", 34)]
            .map(|(options, mib)| {
                let make = format!(
                    "truncate -s {mib}M image; mkfs.vfat {options} image >/dev/null 2>&1
                    MTOOLS_SKIP_CHECK=1 mcopy -i image -s -m -Q t/* ::"
                );
                rolled(good(options, made(&format!("{TREE}\n{make}"))))
            })
            .into(),
        "iso9660" => ["-R", "-J", "-R -J -iso-level 3", "-iso-level 1"]
            .map(|options| one(options, &format!("genisoimage -quiet {options} -o image t 2>/dev/null")))
            .into(),
        "ntfs" => {
            // What is put into a directory with the attribute is packed.
            let make = "truncate -s 3M image; mkntfs -F -f -q -s 512 -p 0 -H 0 -S 0 image >/dev/null 2>&1; mkdir m
                ntfs-3g -o compression,streams_interface=xattr image m; trap 'umount m 2>/dev/null || true' EXIT
                mkdir m/packed; setfattr -n system.ntfs_attrib_be -v 0x00000810 m/packed; cp t/lines t/noise m/packed
                cp -r t/. m; cp t/a/b/numbers m/packed; umount m; sync
                for i in $(seq 50); do ntfs-3g.probe -w image && break; sleep 0.1; done";
            vec![good("packed", made(&format!("{TREE}\n{LINKS}\n{make}")))]
        }
        "squashfs" => ["gzip", "lzma", "lzo", "xz -Xbcj x86", "lz4", "zstd -Xcompression-level 2"]
            .map(|method| {
                one(method, &format!("mksquashfs t image -quiet -no-progress -comp {method} >/dev/null"))
            })
            .into(),
        "xfs" => {
            // A prototype says what to put in: mode, owner, and where the contents are.
            let make = "for i in $(seq 60); do echo \"f$i ---644 0 0 $PWD/t/a/file\"; done >names
                (echo /; echo 1 1; echo d--755 0 0; echo d d--755 0 0; cat names; echo '$'; echo link l--777 0 0 d/f1
                 echo big ---600 0 0 $PWD/t/a/b/numbers; echo null c--666 0 0 1 3; echo '$'; echo '$') >prototype
                truncate -s 32M image
                mkfs.xfs -q -f --unsupported -m crc=0 -d agcount=2 -p prototype image >/dev/null 2>&1";
            vec![rolled(one("version-4", make))]
        }
        other => panic!("there are no seeds for {other}"),
    }
}

/// Tables of partitions, and a group of volumes.
fn volumes() -> Vec<Seed> {
    let table = |label: &str| {
        format!(
            "truncate -s 16M image; printf 'label: {label}\\nstart=256,size=1024\\ntype=5,size=9000\\nsize=100\\nsize=100\\n' | sfdisk -q image"
        )
    };
    let gpt = "truncate -s 8M image; printf 'label: gpt\\nsize=1024,name=\"one\"\\nsize=100\\n' | sfdisk -q image; truncate -s 16M image";
    // No volume is made ready, so that the kernel has no part in it.
    let group = "truncate -s 8M 0 1; A=$(losetup -f --show 0); B=$(losetup -f --show 1); trap 'losetup -d $A $B' EXIT
        C=\"devices { use_devicesfile=0 filter=[\\\"a|^$A\\$|\\\",\\\"a|^$B\\$|\\\",\\\"r|.*|\\\"] } backup { backup=0 archive=0 }\"
        L() { c=$1; shift; lvm $c --driverloaded n --config \"$C\" \"$@\" >log 2>&1 || { cat log >&2; exit 1; }; }
        L pvcreate --dataalignment 64k $A $B; L vgcreate -s 64k mutations $A $B
        L lvcreate -an -Zn -Wn -l 10 -n plain mutations; L lvcreate -an -Zn -Wn -i 2 -l 8 -n striped mutations
        sync; cat 0 1 >image";
    [("dos", table("dos")), ("gpt", gpt.to_owned()), ("group", group.to_owned())]
        .map(|(name, make)| rolled(good(name, made(&make))))
        .into()
}

/// Keeps the parts of a device that are not empty, each behind its number.
fn rolled(seed: Seed) -> Seed {
    let parts = seed.bytes.chunks_exact(4096).enumerate();
    let kept = parts.filter(|(_, part)| part.iter().any(|byte| *byte != 0));
    let bytes = kept.flat_map(|(number, part)| [&(number as u32).to_le_bytes(), part].concat()).collect();
    Seed { bytes, ..seed }
}
