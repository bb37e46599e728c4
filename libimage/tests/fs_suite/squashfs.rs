//! squashfs.

use std::sync::Arc;

use libimage::fs::squashfs::Squashfs;
use libimage::storage::Memory;

use crate::dump::{Compared, Dump, compare, of_kernel, of_reader, same_as_kernel};
use crate::harm;
use crate::image::{ATTRIBUTES, Image, TREE, sh};

/// What mksquashfs has a way of its own with: ends that lie together, the same file twice, device numbers.
const MORE: &str = r#"
perl -e 'for (1 .. 700) { open F, ">", "many/text-$_"; print F $_ % 10 x ($_ * 13); close F }'
cp large copy; yes 'a line that packs well' | head -c 5000000 >text; head -c 131072 /dev/urandom >block
head -c 262145 text >over; chmod 6711 over; setfattr -n user.long -v "$(head -c 3000 text)" over
setfattr -n user.same -v "$(head -c 2500 text)" many/text-{1..300}; cp /bin/ls program
"#;

fn made(options: &str, script: &str) -> Image {
    let make = format!(
        "rm $1; mkdir tree; cd tree; {script}\ncd ..; mksquashfs tree $1 -quiet -no-progress {options} >&2"
    );
    Image::new(1, &make)
}

fn agree(options: &str) {
    let image = made(options, &format!("{TREE}{ATTRIBUTES}{MORE}"));
    let mount = image.mount("ro");
    // The kernel lists no attributes where there is no table of them.
    let what = Compared { attributes: !options.contains("-no-xattrs"), ..Compared::ALL };
    let fs = Squashfs::open(image.block()).unwrap_or_else(|error| panic!("{options}: {error}"));
    same_as_kernel(options, &mount.point, &fs, what);
}

agree! {
    gzip: "";
    lz4: "-comp lz4";
    lz4_high: "-comp lz4 -Xhc -b 256k";
    lzo: "-comp lzo -Xcompression-level 2";
    lzo_fast: "-comp lzo -Xalgorithm lzo1x_1 -b 64k";
    xz_small_dictionary: "-comp xz -b 256k -Xdict-size 8k";
    xz_filters: "-comp xz -Xbcj x86,arm";
    zstd: "-comp zstd -Xcompression-level 3";
    zstd_large_blocks: "-comp zstd -Xcompression-level 3 -b 1M";
    small_blocks: "-b 4096";
    not_packed: "-noI -noD -noF -noX -noId";
    no_fragments: "-no-fragments";
    all_fragments: "-always-use-fragments";
    no_sharing: "-no-duplicates -no-exports";
    no_attributes: "-no-xattrs";
    not_sparse: "-no-sparse";
    all_of_one_time: "-all-root -all-time 86400 -mkfs-time 0";
}

/// The kernel reads no lzma, and no machine code of ia64: their witness is unsquashfs.
#[test]
fn what_the_kernel_cannot_unpack() {
    let small = "cp /bin/ls program; seq 30000 >text; head -c 200000 /dev/urandom >noise
        for i in $(seq 300); do head -c $((i * 91)) program >part-$i; done";
    for options in ["-comp lzma", "-comp lzma -b 1M", "-comp xz -Xbcj ia64,armthumb,powerpc,sparc"] {
        let image = made(options, small);
        let place = image.path().with_file_name("unpacked");
        sh(
            image.path().parent().unwrap(),
            &format!("unsquashfs -quiet -no-progress -d {} image >&2", place.display()),
        );
        let fs = Squashfs::open(image.block()).unwrap_or_else(|error| panic!("{options}: {error}"));
        let what = Compared { holes: false, attributes: false, birth: false, blocks: false, inodes: false };
        // Of regular files, the sum of the contents is the last that is said.
        let sums = |dump: Dump| -> Dump {
            let files = dump.into_iter().filter(|(_, line)| line.starts_with("100"));
            files.map(|(path, line)| (path, line.rsplit(' ').next().unwrap().to_owned())).collect()
        };
        let (theirs, ours) = (sums(of_kernel(&place, what)), sums(of_reader(&fs, what)));
        assert!(theirs.len() > 300, "{options}: the tree is there");
        compare(options, &theirs, &ours);
    }
}

#[test]
fn what_cannot_be_unpacked_is_refused_by_name() {
    let image = made("", "echo >x");
    let mut bytes = std::fs::read(image.path()).unwrap();
    bytes[20] = 7;
    let error = Squashfs::open(Arc::new(Memory::from_bytes(&bytes))).err().unwrap().to_string();
    assert!(error.ends_with("it is packed by method 7"), "{error}");
}

#[test]
fn damage_is_survived() {
    let small = "mkdir d; for i in $(seq 300); do echo $i >d/file-number-$i; done; ln -s there link; mknod null c 1 3
        head -c 300000 /dev/urandom >data; seq 60000 >text; truncate -s 900000 hole; mkfifo pipe; setfattr -n user.x -v 1 text";
    for options in [
        "",
        "-comp lz4",
        "-comp xz",
        "-comp lzo",
        "-comp lzma",
        "-comp zstd -Xcompression-level 3",
        "-noI -noD -noF -noX",
    ] {
        let image = made(options, small);
        let size = std::fs::metadata(image.path()).unwrap().len();
        harm::survive(&image, &[0..96, 96..size, size.saturating_sub(30_000)..size], |block| {
            Ok(Arc::new(Squashfs::open(block)?))
        });
    }
}
