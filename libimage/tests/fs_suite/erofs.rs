//! erofs.

use std::sync::Arc;

use libimage::fs::erofs::Erofs;
use libimage::fs::system::FileSystem;
use libimage::storage::Memory;

use crate::dump::{Compared, same_as_kernel};
use crate::harm;
use crate::image::{ATTRIBUTES, Image, TREE};

fn made(options: &str, script: &str) -> Image {
    let make =
        format!("rm $1; mkdir tree; cd tree; {script}\ncd ..; mkfs.erofs --quiet {options} $1 tree >&2");
    Image::new(1, &make)
}

fn agree(options: &str) {
    // mkfs.erofs itself stumbles over names of 255 bytes.
    let more = r#"setfattr -n user.same -v same etc/dir/file-{1..9}; mv "$long" "${long:5}"
        seq 200000 >text; yes 'a line that packs well' | head -c 5000000 >lines; cp /bin/ls program; cp /bin/bash shell
        for i in 1 2 3 4095 4096 4097 8191 8192 65535 65536 65537; do head -c $i text >text-$i; head -c $i large >large-$i; done
        (head -c 70000 text; head -c 30000 large; tail -c 90001 text) >mixed; for i in {1..300}; do head -c $((i * 171)) program >many/part-$i; done
    "#;
    let image = made(options, &format!("{TREE}{ATTRIBUTES}{more}"));
    let mount = image.mount("ro");
    let fs = Erofs::open(image.block()).unwrap_or_else(|error| panic!("{options}: {error}"));
    same_as_kernel(options, &mount.point, &fs, Compared::ALL);
}

agree! {
    usual: "";
    short_inodes: "-E force-inode-compact --all-root -T 1000000000";
    long_inodes: "-E force-inode-extended";
    not_inside: "-E noinline_data";
    chunks: "--chunksize=4096";
    large_chunks: "--chunksize=65536";
    shared_attributes: "-x 1";
    no_checksum: "-E nosbcrc";
    lz4: "-zlz4";
    lz4_high: "-zlz4hc,4";
    lz4_old: "-zlz4 -E legacy-compress";
    lz4_old_short_inodes: "-zlz4hc -E legacy-compress,force-inode-compact --all-root -T 1000000000";
    lz4_ends_inside: "-zlz4hc -E ztailpacking";
    lz4_large_pieces: "-zlz4 -C65536";
    lz4_very_large_pieces: "-zlz4 -C262144";
    lz4_large_ends_inside: "-zlz4hc -C16384 -E ztailpacking";
    lz4_short_pieces: "-zlz4 -C65536 --max-extent-bytes=65536";
}

/// What mkfs.erofs does not make here: the methods' numbers are changed in an image that it made.
#[test]
fn other_methods_are_refused_by_name() {
    let image = made("-zlz4 -E nosbcrc", "seq 90000 >text; echo plain >plain");
    let good = std::fs::read(image.path()).unwrap();
    let open = |bytes: &[u8]| Erofs::open(Arc::new(Memory::from_bytes(bytes)));
    let read = |bytes: &[u8]| {
        let fs = open(bytes).unwrap();
        let find = |name: &[u8]| fs.lookup(fs.root(), name).unwrap().unwrap();
        assert_eq!(fs.read(find(b"plain"), 0, &mut [0; 6]).unwrap(), 6);
        let error = fs.read(find(b"text"), 0, &mut [0; 6]).err();
        (find(b"text").number, error.map_or_else(String::new, |error| error.to_string()))
    };
    let (number, error) = read(&good);
    assert_eq!(error, "");
    // The header of the index, behind the inode in its long or short form.
    let inode =
        u32::from_le_bytes(*good[1064..].first_chunk().unwrap()) as usize * 4096 + number as usize * 32;
    let header = inode + if good[inode] & 1 == 0 { 32 } else { 64 };
    for (at, value, what) in [
        (header + 6, 1, "with LZMA"),
        (header + 6, 2, "with deflate"),
        (header + 6, 3, "with zstd"),
        (header + 6, 9, "with a method that is not known"),
        (header + 4, 0x21, "with its end among others' (fragments)"),
        (header + 4, 0x11, "with plain pieces that are turned around (interlaced)"),
    ] {
        let mut bytes = good.clone();
        bytes[at] = value;
        let (_, error) = read(&bytes);
        assert!(error.ends_with(&format!("the file is compressed {what}")), "{error}");
    }
    let mut bytes = good.clone();
    bytes[1024 + 80] |= 0x20;
    let error = open(&bytes).err().unwrap().to_string();
    assert!(error.contains("fragments or shared data"), "{error}");
}

#[test]
fn damage_is_survived() {
    let small =
        "mkdir d; for i in $(seq 300); do echo $i >d/file-number-$i; done; ln -s there link; mknod null c 1 3
        head -c 300000 /dev/urandom >data; truncate -s 900000 hole; mkfifo pipe; setfattr -n user.x -v 1 data
        for i in $(seq 40); do seq $((i * 300)) >text-$i; done";
    for options in ["", " --chunksize=4096", ",legacy-compress -zlz4", ",ztailpacking -zlz4hc -C16384"] {
        let options = &format!("-E nosbcrc{options}");
        let image = made(options, small);
        let size = std::fs::metadata(image.path()).unwrap().len();
        harm::survive(&image, &[1024..1152, 1152..60_000, 1152..size], |block| {
            Ok(Arc::new(Erofs::open(block)?))
        });
    }
}
