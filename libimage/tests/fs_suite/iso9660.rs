//! ISO 9660: what genisoimage and xorriso wrote is read; bsdtar and bsdtar see the same.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use libimage::fs::iso9660::Iso;
use libimage::fs::system::FileSystem;

use crate::dump::{Compared, compare, of_kernel, of_reader};
use crate::fat;
use crate::harm;
use crate::image::{Image, TREE, sh};

const WHAT: Compared =
    Compared { holes: false, attributes: false, birth: false, blocks: false, inodes: false };

fn made(script: &str, make: &str) -> Image {
    Image::new(1, &format!("rm $1; mkdir tree; cd tree; {script}\ncd ..; {make} >&2"))
}

/// Lines without what a CD does not keep: parts of seconds, times but the last change, names but one.
fn kept(dump: BTreeMap<Vec<u8>, String>) -> BTreeMap<Vec<u8>, String> {
    let kept = dump.into_iter().map(|(path, line)| {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.drain(2..4);
        let mut line = String::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            if matches!(word, "a" | "m" | "c") {
                let time = words.next().unwrap_or_default();
                if word == "m" {
                    line += time.split('.').next().unwrap_or_default();
                }
                continue;
            }
            line += word;
            line.push(' ');
        }
        (path, line)
    });
    kept.collect()
}

/// With Rock Ridge, everything is as it was in the tree.
fn agree(make: &str, but: &str) {
    // Linux leaves out the end of names of more than 253 bytes; xorriso does not survive long parts of targets.
    let but =
        format!(r#"rm etc/dir/file-10 slower {but}; mv "$long" "${{long:5}}"; chown 70000:70000 small"#);
    let image = made(&format!("{TREE}{but}"), make);
    let fs = Iso::open(image.block()).unwrap_or_else(|error| panic!("{make}: {error}"));
    let mut wanted = kept(of_kernel(&image.path().parent().unwrap().join("tree"), WHAT));
    let mut found = kept(of_reader(&fs, WHAT));
    // Where directories that are too deep were moved to; the top gets a time of its own.
    for dump in [&mut wanted, &mut found] {
        dump.remove(&b""[..]);
        dump.retain(|path, _| !path.starts_with(b"rr_moved"));
    }
    compare(make, &wanted, &found);
    assert!(found.len() > 1000, "{make}: the tree is there");
}

#[test]
fn rock_ridge_of_genisoimage() {
    agree("genisoimage -quiet -R -o $1 tree", "");
}

#[test]
fn rock_ridge_and_joliet_of_genisoimage() {
    agree("genisoimage -quiet -R -J -joliet-long -o $1 tree", "");
}

#[test]
fn rock_ridge_and_deep_directories_of_genisoimage() {
    agree("genisoimage -quiet -R -D -o $1 tree", "");
}

#[test]
fn rock_ridge_of_xorriso() {
    // It writes numbers of devices in a way that Linux does not know, where they are large.
    agree("xorriso -as mkisofs -quiet -R -o $1 tree", "big");
}

#[test]
fn joliet() {
    let image = Image::new(
        1,
        &format!(
            "rm $1; {} genisoimage -quiet -J -joliet-long -input-charset utf-8 -o $1 tree >&2",
            fat::TREE
                .replace(" 𝄞 name", "")
                .replace("seq 200", "seq 90")
                .replace("; with = [signs]", "")
                .replace("seq 8", "seq 6")
        ),
    );
    let fs = Iso::open(image.block()).unwrap();
    fat::same_tree("joliet", &image.path().parent().unwrap().join("tree"), &fs);
    assert!(fs.lookup(fs.root(), b"TINY.INI").unwrap().is_some());
}

#[test]
fn names_of_the_standard() {
    let image = made("mkdir Sub; echo 1 >README.TXT; echo 2 >Sub/kernel", "genisoimage -quiet -o $1 tree");
    let fs = Iso::open(image.block()).unwrap();
    let mut names = Vec::new();
    fs.list(fs.root(), &mut |entry| {
        names.push(String::from_utf8_lossy(entry.name).into_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(names, ["readme.txt", "sub"]);
    let sub = fs.lookup(fs.root(), b"sub").unwrap().unwrap();
    assert!(fs.lookup(sub, b"kernel").unwrap().is_some());
}

/// Files of more than 4 GiB have several records; so has this one, once two files were given one name.
#[test]
fn files_of_several_pieces() {
    let script = "seq 2000 | head -c 6144 >piece.a; echo the end >piece.b; echo small >small";
    let image = made(script, "genisoimage -quiet -o $1 tree");
    let mut bytes = std::fs::read(image.path()).unwrap();
    let name_of = |name: &[u8]| bytes.windows(name.len()).position(|window| window == name).unwrap();
    let (first, second) = (name_of(b"PIECE.A;1"), name_of(b"PIECE.B;1"));
    // The flags are eight bytes before the name.
    bytes[first - 8] |= 0x80;
    bytes[second..second + 9].copy_from_slice(b"PIECE.A;1");
    std::fs::write(image.path(), bytes).unwrap();
    let wanted = sh(image.path().parent().unwrap(), "bsdtar -xOf image PIECE.A");
    assert!(wanted.len() == 6144 + 8 && wanted.ends_with("the end\n"), "{wanted}");
    let fs = Iso::open(image.block()).unwrap();
    let file = fs.lookup(fs.root(), b"piece.a").unwrap().unwrap();
    assert_eq!(fs.attributes(file).unwrap().size, 6144 + 8);
    let mut read = vec![0; 10_000];
    assert_eq!(fs.read(file, 0, &mut read).unwrap(), 6144 + 8);
    assert_eq!(&read[..6144 + 8], wanted.as_bytes());
    assert_eq!(fs.read(file, 6140, &mut read).unwrap(), 12);
}

#[test]
fn bsdtar_sees_the_same() {
    let image = made(TREE, "genisoimage -quiet -R -D -o $1 tree");
    let fs = Iso::open(image.block()).unwrap();
    let listed = sh(
        image.path().parent().unwrap(),
        "bsdtar -tf image | sed 's,^\\./,,; s,/$,,' | LC_ALL=C sort | wc -l",
    );
    assert_eq!(of_reader(&fs, WHAT).len().to_string(), listed.trim());
}

#[test]
fn damage_is_survived() {
    let small = "mkdir d; for i in $(seq 150); do echo $i >d/file-number-$i; done; ln -s /there/../link link; mknod null c 1 3
        head -c 100000 /dev/urandom >data; long=$(printf 'n%.0s' $(seq 250)); echo a >\"$long\"; ln -s \"$long\" \"l$long\"";
    for make in ["genisoimage -quiet -R -o $1 tree", "genisoimage -quiet -J -joliet-long -o $1 tree"] {
        let image = made(small, make);
        harm::survive(&image, &[32_768..40_000, 40_960..90_000], |block| Ok(Arc::new(Iso::open(block)?)));
    }
}
