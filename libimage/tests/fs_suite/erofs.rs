//! erofs.

use std::sync::Arc;

use libimage::fs::erofs::Erofs;
use libimage::fs::system::FileSystem;

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
    let more = r#"setfattr -n user.same -v same etc/dir/file-{1..9}; mv "$long" "${long:5}""#;
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
}

#[test]
fn compressed_files_are_refused_by_name() {
    let image = made("-zlz4", "seq 90000 >text; echo plain >plain");
    let fs = Erofs::open(image.block()).unwrap();
    let find = |name: &[u8]| fs.lookup(fs.root(), name).unwrap().unwrap();
    let mut bytes = [0; 6];
    assert_eq!(fs.read(find(b"plain"), 0, &mut bytes).unwrap(), 6);
    let error = fs.read(find(b"text"), 0, &mut bytes).unwrap_err().to_string();
    assert!(error.ends_with("the file is compressed"), "{error}");
}

#[test]
fn damage_is_survived() {
    let small = "mkdir d; for i in $(seq 300); do echo $i >d/file-number-$i; done; ln -s there link; mknod null c 1 3
        head -c 300000 /dev/urandom >data; truncate -s 900000 hole; mkfifo pipe; setfattr -n user.x -v 1 data";
    for options in ["-E nosbcrc", "-E nosbcrc --chunksize=4096"] {
        let image = made(options, small);
        let size = std::fs::metadata(image.path()).unwrap().len();
        harm::survive(&image, &[1024..1152, 1152..60_000, 1152..size], |block| {
            Ok(Arc::new(Erofs::open(block)?))
        });
    }
}
