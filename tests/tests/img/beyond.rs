//! What img does beyond qemu-img: deltas, trees, repairs that are tried and undone. qemu-img judges the images.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use system_tests::programs::program;
use tempfile::TempDir;

struct Room(TempDir);

impl Room {
    fn new() -> Self {
        Room(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs commands of the real tools, which must succeed.
    fn prepare(&self, commands: &str) {
        let status = Command::new("sh")
            .args(["-ec", commands])
            .current_dir(self.0.path())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{commands}");
    }

    fn img(&self, words: &str) -> Output {
        Command::new(program("img")).args(words.split(' ')).current_dir(self.0.path()).output().unwrap()
    }

    /// Runs our program, which must succeed, and returns what it printed.
    fn done(&self, words: &str) -> String {
        let output = self.img(words);
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs our program, which must fail in this way, and returns what it complained about.
    fn refused(&self, words: &str, code: i32) -> String {
        let output = self.img(words);
        assert_eq!(output.status.code(), Some(code), "{words}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn same(&self, a: &str, b: &str) {
        self.prepare(&format!("qemu-img compare -q {a} {b}"));
    }
}

fn listing(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_delta_makes_the_new_image_of_the_old_one() {
    let room = Room::new();
    room.prepare(
        "qemu-img create -q -f qcow2 old.q 32M; qemu-io -c 'write -P 1 0 3M' -c 'write -P 2 20M 70k' old.q;
         qemu-img convert -O raw old.q new.raw; qemu-io -f raw -c 'write -P 9 1M 5000' -c 'write -z 20M 64k' \
         -c 'write -P 3 31M 1M' new.raw; truncate -s 40M new.raw; qemu-io -f raw -c 'write -P 4 39M 1k' new.raw",
    );
    let told = room.done("diff -F raw old.q new.raw delta");
    assert!(told.contains("changed"), "{told}");
    assert!(fs::metadata(room.path("delta")).unwrap().len() < 20_000);
    // A new image, and the old one in place.
    room.done("patch -O qcow2 old.q delta made.q");
    room.same("made.q", "new.raw");
    room.prepare("qemu-img check -q made.q; cp old.q copy.q");
    room.done("patch copy.q delta");
    room.same("copy.q", "new.raw");
    room.prepare("qemu-img check -q copy.q");
    // The way back, through a pipe, from a snapshot.
    room.prepare("qemu-img snapshot -c then copy.q; qemu-io -c 'write -P 77 0 1M' copy.q");
    let back = room.img("diff -l then copy.q old.q -");
    assert!(back.status.success());
    fs::write(room.path("back"), back.stdout).unwrap();
    room.done("patch made.q back");
    room.same("made.q", "old.q");
    assert_eq!(room.done("diff old.q made.q none"), "The disks are identical.\n");
}

#[test]
fn a_bitmap_says_what_a_delta_holds() {
    let room = Room::new();
    room.prepare(
        "qemu-img create -q -f qcow2 a 32M; qemu-io -c 'write -P 1 0 8M' a; cp a before; qemu-img bitmap --add a since;
         qemu-io -c 'write -P 2 1M 3M' -c 'write -z 6M 1M' -c 'write -P 3 30M 5k' a",
    );
    room.done("diff --bitmap since a delta");
    room.done("patch before delta");
    room.same("before", "a");
    room.refused("diff --bitmap nope a delta", 1);
}

#[test]
fn a_delta_is_not_applied_to_another_disk() {
    let room = Room::new();
    room.prepare(
        "qemu-img create -q -f qcow2 a 4M; cp a b; qemu-io -c 'write 1M 64k' b; cp a c; qemu-io -c 'write -P 1 1M 4k' c",
    );
    room.done("diff a b delta");
    let before = fs::read(room.path("c")).unwrap();
    let text = room.refused("patch c delta", 1);
    assert!(text.contains("differs at offset 1048576; nothing was changed"), "{text}");
    // Nor one that is damaged.
    let mut delta = fs::read(room.path("delta")).unwrap();
    delta.pop();
    fs::write(room.path("short"), delta).unwrap();
    let text = room.refused("patch a short", 1);
    assert!(text.contains("ends too early"), "{text}");
    room.refused("patch a b", 1);
    room.refused("patch -O qcow2 a delta", 1);
    room.refused("patch a", 1);
    room.refused("diff a b", 1);
    assert!(fs::read(room.path("c")).unwrap() == before);
    assert_eq!(listing(room.0.path()), ["a", "b", "c", "delta", "short"]);
}

#[test]
fn a_tree_shows_what_an_image_builds_upon() {
    let room = Room::new();
    room.prepare(
        "qemu-img create -q base 4M; qemu-img create -q -f qcow2 -b base -F raw mid; qemu-img snapshot -c s1 mid;
         qemu-img create -q -f qcow2 -b mid -F qcow2 top; qemu-img bitmap --add top b0",
    );
    let tree = room.done("tree top");
    let shape: Vec<&str> = tree.lines().map(|line| line.split("  (").next().unwrap()).collect();
    assert_eq!(shape, ["top", "├─ bitmap \"b0\"", "└─ mid", "   ├─ snapshot 1 \"s1\"", "   └─ base"]);
    let value: serde_json::Value = serde_json::from_str(&room.done("tree --output=json top")).unwrap();
    assert_eq!(value[0]["backing"]["backing"]["filename"], "base");
    // What is missing is drawn as missing, and a loop ends.
    fs::remove_file(room.path("base")).unwrap();
    let output = room.img("tree top");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("base  (cannot be opened"));
    room.prepare("qemu-img rebase -u -b top -F qcow2 mid");
    let output = room.img("tree top");
    assert!(String::from_utf8(output.stdout).unwrap().contains("the chain comes back to it"));
    room.refused("tree nope", 1);
}

#[test]
fn repairs_are_tried_and_undone() {
    let room = Room::new();
    // Counts of the refcount block: one zeroed, one too high.
    room.prepare(
        "qemu-img create -q -f qcow2 a 16M; qemu-io -c 'write -P 1 0 3M' a;
         printf '\\0\\0' | dd of=a bs=1 seek=131082 conv=notrunc status=none;
         printf '\\0\\5' | dd of=a bs=1 seek=131112 conv=notrunc status=none",
    );
    let before = fs::read(room.path("a")).unwrap();
    let tried = room.img("check -r all --dry-run a");
    assert_eq!(tried.status.code(), Some(2));
    assert!(String::from_utf8(tried.stdout).unwrap().contains("Nothing was changed"));
    assert!(fs::read(room.path("a")).unwrap() == before);
    let told = room.done("check -r all a");
    assert!(told.contains("'a.undo'"), "{told}");
    room.prepare("qemu-img check -q a; qemu-io -c 'read -P 1 0 3M' a");
    room.done("check --undo a.undo a");
    assert!(fs::read(room.path("a")).unwrap() == before);
    // The second one has a name of its own; after a change nothing is undone.
    room.done("check -r all a");
    assert!(room.path("a.undo.1").exists());
    room.prepare("qemu-io -c 'write -P 2 8M 64k' a");
    let text = room.refused("check --undo a.undo.1 a", 1);
    assert!(text.contains("it was changed since"), "{text}");
    room.prepare("qemu-img check -q a; qemu-io -c 'read -P 2 8M 64k' a");
    // Nothing to repair, nothing to keep; and whoever calls us qemu-img expects no new files.
    room.done("check -r all a");
    fs::write(room.path("a"), &before).unwrap();
    room.done("check -r all --no-undo a");
    fs::write(room.path("a"), &before).unwrap();
    std::os::unix::fs::symlink(program("img"), room.path("qemu-img")).unwrap();
    room.prepare("./qemu-img check -q -r all a 2>/dev/null");
    fs::write(room.path("a"), &before).unwrap();
    room.done("check -r all --undo kept a");
    assert_eq!(listing(room.0.path()), ["a", "a.undo", "a.undo.1", "kept", "qemu-img"]);
    for words in ["check --dry-run a", "check -r all --dry-run --no-undo a", "check -r all --undo kept a"] {
        fs::write(room.path("a"), &before).unwrap();
        room.refused(words, 1);
        assert!(fs::read(room.path("a")).unwrap() == before, "{words}");
    }
}

#[test]
fn images_from_strangers_reach_nothing() {
    let room = Room::new();
    // Whoever opened the FIFO would wait for ever.
    room.prepare(
        "mkfifo base; qemu-img create -q -u -f qcow2 -b base -F raw q 1M; qemu-img create -q -f qcow2 fine 1M;
         qemu-img create -q -f qcow2 -o data_file=d d.q 1M; rm d; ln -s base d;
         qemu-img create -q -f qcow2 two 1M; qemu-img create -q -f vpc -o subformat=fixed v 1M; tail -c 512 v >> two",
    );
    for words in [
        "check --untrusted d.q",
        "convert --untrusted q out",
        "convert --untrusted -O qcow2 d.q out",
        "compare --untrusted q q",
        "map --untrusted q",
        "hash --untrusted q",
        "info --untrusted --backing-chain q",
        "measure --untrusted -O qcow2 q",
        "info --untrusted two",
    ] {
        let output = room.img(words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains("not trusted"), "{words}: {text}");
    }
    for words in [
        "info --untrusted q",
        "info --untrusted d.q",
        "convert --untrusted fine out",
        "check fine --untrusted",
        "info -f qcow2 --untrusted two",
    ] {
        room.done(words);
    }
    let output = room.img("tree --untrusted q");
    assert!(String::from_utf8(output.stdout).unwrap().contains("not trusted"));
}

#[test]
fn every_command_speaks_json() {
    let room = Room::new();
    let json = |words: &str| -> serde_json::Value { serde_json::from_str(&room.done(words)).unwrap() };
    room.done("create -q -f qcow2 base 8M");
    assert_eq!(json("create -f qcow2 -b base -F qcow2 top --output=json")["done"], true);
    for words in [
        "resize --output json top +1M",
        "snapshot -c s1 --output=json base",
        "bitmap --output=json --add top b0",
        "amend --output=json -o lazy_refcounts=on top",
        "convert --output=json -O raw top raw",
        "rebase --output=json -u -b base -F qcow2 top",
        "commit --output=json top",
        "dd --output=json if=raw of=copy bs=1M count=2",
        "bench --output=json -c 10 raw",
    ] {
        assert_eq!(json(words)["done"], true, "{words}");
    }
    assert_eq!(json("snapshot -l --output=json base")[0]["name"], "s1");
    let failed = room.img("resize --output=json nope 1M");
    let told: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert!(failed.status.code() == Some(1) && told["error"].as_str().unwrap().contains("nope"), "{told}");
    room.refused("convert --output=json -O raw base -", 1);
}

#[test]
fn a_map_is_drawn() {
    let room = Room::new();
    room.prepare("qemu-img create -q -f qcow2 a 64M; qemu-io -c 'write 0 16M' -c 'write -z 32M 1M' a");
    let drawn = room.done("map --heat a");
    assert!(
        drawn.contains('█') && drawn.contains("data: 16 MiB") && drawn.contains("zero: 1 MiB"),
        "{drawn}"
    );
    room.done("map --plot a.svg a");
    let svg = fs::read_to_string(room.path("a.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
}

#[test]
fn a_locked_image_names_who_uses_it() {
    let room = Room::new();
    room.prepare("qemu-img create -q -f qcow2 a 1M");
    let mut holder = Command::new("qemu-io")
        .args(["-c", "sleep 20000", "a"])
        .current_dir(room.0.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Looked up, not tried: who tries holds the image for a moment too.
    let inode = format!(":{} ", fs::metadata(room.path("a")).unwrap().ino());
    while !fs::read_to_string("/proc/locks").unwrap().contains(&inode) {
        assert!(holder.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let output = room.img("resize a +1M");
    let text = String::from_utf8(output.stderr).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(text.contains(&format!("process {} (qemu-io)", holder.id())), "{text}");
}
