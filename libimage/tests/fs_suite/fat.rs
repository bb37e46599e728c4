//! FAT: what mtools wrote is read, and fsck.fat counts as we do.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use libimage::fs::fat::Fat;
use libimage::fs::system::{FileSystem, Kind};

use crate::dump::{Compared, Dump, of_reader};
use crate::harm;
use crate::image::{Image, sh};

/// A tree with what FAT can hold.
pub(crate) const TREE: &str = r#"
mkdir -p tree/etc/dir tree/empty tree/many; cd tree
printf x >'ümlaut ß'; printf x >'日本語 𝄞 name'; printf x >README.TXT; printf x >lower.txt; printf x >'a long name; with = [signs] and + more.text'
for i in $(seq 60); do head -c $((i * 97)) /dev/urandom >etc/dir/file-$i; done
for i in $(seq 400); do echo $i >many/an-entry-with-a-rather-long-name-$i; done
head -c 700000 /dev/urandom >large; : >nothing; printf tiny >tiny.ini
long=$(printf 'n%.0s' $(seq 200)); echo a >"$long"; d=.; for i in $(seq 8); do d=$d/level-$i; mkdir $d; done; echo deep >$d/file
find . -exec touch -d '2001-02-03 04:05:06 UTC' {} +; touch -d '2037-12-31 23:59:58 UTC' tiny.ini; touch -d '1980-01-01 UTC' nothing
cd ..
"#;

fn made(mib: u64, mkfs: &str) -> Image {
    let copy = "export TZ=UTC MTOOLS_SKIP_CHECK=1; mcopy -i $1 -s -m -Q tree/* ::; mdel -i $1 $(ls tree/many | grep 9$ | sed 's,^,::/many/,'); mattrib -i $1 +r ::/large";
    // mtools knows no letters of two units.
    let tree = TREE.replace('𝄞', "");
    let image = Image::new(mib, &format!("{mkfs} >&2; {tree} LC_ALL=C.UTF-8; {copy}"));
    sh(
        image.path().parent().unwrap(),
        "rm -f tree/many/*9; chmod 555 tree/large; chmod 755 tree/many; fsck.fat -n image",
    );
    image
}

/// What is in a tree of the host's: sizes, times, and contents by the lines of the other dump.
pub(crate) fn of_tree(top: &Path) -> BTreeMap<Vec<u8>, (bool, u64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(inside) = left.pop() {
        for entry in std::fs::read_dir(top.join(&inside)).unwrap() {
            let path = format!("{inside}{}", entry.unwrap().file_name().to_str().unwrap());
            let stat = std::fs::metadata(top.join(&path)).unwrap();
            let bytes = if stat.is_dir() { Vec::new() } else { std::fs::read(top.join(&path)).unwrap() };
            found.insert(path.clone().into_bytes(), (stat.is_dir(), bytes.len() as u64, stat.mtime(), bytes));
            if stat.is_dir() {
                left.push(format!("{path}/"));
            }
        }
    }
    found
}

/// The same of a reader.
pub(crate) fn of_fs(fs: &dyn FileSystem) -> BTreeMap<Vec<u8>, (bool, u64, i64, Vec<u8>)> {
    let paths: Dump = of_reader(fs, Compared::ALL);
    let mut found = BTreeMap::new();
    for path in paths.keys().filter(|path| !path.is_empty()) {
        let node = path.split(|byte| *byte == b'/');
        let node = node.fold(fs.root(), |node, name| fs.lookup(node, name).unwrap().unwrap());
        let stat = fs.attributes(node).unwrap();
        let is_directory = stat.kind == Kind::Directory;
        let mut bytes = vec![0; if is_directory { 0 } else { stat.size as usize }];
        if !is_directory {
            assert_eq!(fs.read(node, 0, &mut bytes).unwrap(), bytes.len());
        }
        found.insert(path.clone(), (is_directory, bytes.len() as u64, stat.modified.seconds, bytes));
    }
    found
}

/// Fails with the first difference; times of directories are not those of the tree.
pub(crate) fn same_tree(what: &str, top: &Path, fs: &dyn FileSystem) {
    let (wanted, found) = (of_tree(top), of_fs(fs));
    let more = found.keys().filter(|path| !wanted.contains_key(*path));
    let more: Vec<_> = more.map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    assert!(more.is_empty(), "{what}: there is no {more:?}");
    for (path, (is_directory, size, time, bytes)) in wanted {
        let shown = String::from_utf8_lossy(&path);
        let ours = found.get(&path).unwrap_or_else(|| panic!("{what}: {shown} is missing"));
        assert_eq!((ours.0, ours.1), (is_directory, size), "{what}: {shown}");
        assert!(ours.3 == bytes, "{what}: contents of {shown}");
        if !is_directory {
            assert_eq!(ours.2, time, "{what}: time of {shown}");
        }
    }
}

fn agree(mib: u64, mkfs: &str) {
    let image = made(mib, mkfs);
    let place = image.path().parent().unwrap().to_owned();
    let fs = Fat::open(image.block()).unwrap_or_else(|error| panic!("{mkfs}: {error}"));
    same_tree(mkfs, &place.join("tree"), &fs);
    // "image: 512 files, 3456/65432 clusters"
    let counted = sh(&place, "fsck.fat -n image | grep clusters | sed 's/.*, //; s/ clusters//'");
    let statistics = fs.statistics().unwrap();
    let ours = format!("{}/{}", statistics.blocks - statistics.free, statistics.blocks);
    assert_eq!(ours, counted.trim(), "{mkfs}: clusters");
    let find = |path: &str| {
        path.split('/').try_fold(fs.root(), |node, name| fs.lookup(node, name.as_bytes()).unwrap())
    };
    assert_eq!(find("readme.txt"), find("README.TXT"));
    assert!(find("Readme.txt.").is_some() && find("AN-ENT~1").is_none() && find("MANY/AN-ENT~1").is_some());
    let large = fs.attributes(find("large").unwrap()).unwrap();
    assert_eq!((large.permissions, large.links, large.user), (0o555, 1, 0));
    assert_eq!(large.blocks * 512, large.size.next_multiple_of(large.block_size.into()));
    let root = fs.attributes(fs.root()).unwrap();
    assert_eq!((root.permissions, root.links, root.modified.seconds), (0o755, 2 + 4, 0));
    assert_eq!(fs.attributes(find("etc").unwrap()).unwrap().links, 3);
}

agree! {
    fat12: 8, "mkfs.fat -F 12 -s 8 $1";
    fat12_one_table: 4, "mkfs.fat -F 12 -f 1 -s 4 $1";
    fat16: 64, "mkfs.fat -F 16 $1";
    fat16_large_root: 64, "mkfs.fat -F 16 -r 1024 $1";
    fat32: 64, "mkfs.fat -F 32 $1";
    fat32_small_clusters: 64, "mkfs.fat -F 32 -s 1 $1";
    fat32_large_sectors: 300, "mkfs.fat -F 32 -S 4096 -s 1 $1";
    fat32_moved_root: 100, "mkfs.fat -F 32 -s 2 -R 64 $1";
}

#[test]
fn damage_is_survived() {
    for (mib, mkfs, clusters) in [
        (8, "mkfs.fat -F 12 -s 8 $1", 40 << 10),
        (16, "mkfs.fat -F 16 $1", 200 << 10),
        (34, "mkfs.fat -F 32 -s 1 $1", 1 << 20),
    ] {
        let image = made(mib, mkfs);
        harm::survive(&image, &[0..64, 512..4096, clusters / 2..clusters, clusters..clusters * 2], |block| {
            Ok(Arc::new(Fat::open(block)?))
        });
    }
}
