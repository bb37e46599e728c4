//! Archives without GNU tar are what GNU tar would have made of them, in both directions.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::prelude::*;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use support::Agent;

/// A tree with everything that a system has, and names and sizes at the borders of the format.
const TREE: &str = r#"
set -e
mkdir -p etc/dir usr/bin empty 'odd
name' deep
for i in $(seq 300); do head -c $((i * 7 % 1300)) /dev/urandom >etc/dir/$i; done
head -c 65536 /dev/urandom >edge; head -c 65537 /dev/urandom >edge+1; head -c 131073 /dev/urandom >large
head -c 3000000 /dev/urandom >larger; : >nothing
long=$(printf 'n%.0s' $(seq 99)); echo a >"$long"; echo b >"x$long"; echo c >"xy$long"
d=deep; for i in 1 2 3; do d=$d/$long; mkdir $d; done; echo deep >$d/file; ln -s $d/file longlink
ln etc/dir/7 hard; ln hard "usr/bin/$long"; ln -s /etc/passwd absolute; ln -s ../etc usr/up; ln -s dir etc/down
ln absolute second
chown 1000:50 etc/dir/1; chown 4000000000:3 etc/dir/2; chown -h 7:8 etc/down
chmod 4755 usr/bin; chmod 4711 etc/dir/3; chown 33:33 etc/dir/4; chmod 6755 etc/dir/4; chmod 0 etc/dir/5; chmod 1777 empty
mkfifo fifo; mknod null c 1 3; mknod disk b 259 300
touch -d '2001-02-03 04:05:06.789 UTC' etc/dir etc/dir/9; touch -d '1960-01-01 UTC' etc/dir/10
touch -h -d '1999-01-01 UTC' longlink; touch -d '2010-10-10 UTC' .
"#;

fn sh(place: &Path, script: &str) -> Vec<u8> {
    let out = Command::new("bash").arg("-c").arg(script).current_dir(place).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Everything that an archive is to keep, and the contents.
fn listing(place: &Path) -> String {
    let script = r#"find . -mindepth 1 -printf '%P|%y|%m|%U:%G|%s|%n|%l|%TY-%Tm-%Td %TT\n' | sed -E '/\|d\|/s/\|[0-9]+\|[0-9]+\|\|/|-|/' | sort
        find . -type f -print0 | sort -z | xargs -0 sha256sum"#;
    String::from_utf8(sh(place, script)).unwrap()
}

/// What GNU tar makes of an archive in an empty directory, or in one that `before` has filled.
fn by_tar(archive: &[u8], before: &str) -> (String, bool) {
    let place = tempfile::tempdir().unwrap();
    sh(place.path(), before);
    let mut tar = Command::new("tar")
        .args(["-x", "-f", "-", "--numeric-owner", "-C"])
        .arg(place.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = tar.stdin.take().unwrap().write_all(archive);
    let status = tar.wait().unwrap();
    (listing(place.path()), status.success())
}

fn compare(what: &str, archive: &[u8], before: &str) {
    let agent = Agent::over_directory();
    agent.client.mkdir("/in").unwrap();
    sh(&agent.host("in"), before);
    let ours = agent.client.tar_in(archive, "/in", Default::default());
    let (theirs, success) = by_tar(archive, before);
    assert_eq!(ours.is_ok(), success, "{what}: {ours:?}");
    let ours = listing(&agent.host("in"));
    if success && ours != theirs {
        let differ = ours.lines().zip(theirs.lines()).find(|(a, b)| a != b);
        panic!(
            "{what}: {} and {} lines, first difference {differ:#?}",
            ours.lines().count(),
            theirs.lines().count()
        );
    }
    assert_eq!(sh(&agent.host(""), "ls -A"), b"in\n", "{what}");
}

/// Archives of the tree in every format that GNU tar writes.
fn archives() -> Vec<(String, Vec<u8>)> {
    let tree = tempfile::tempdir().unwrap();
    sh(tree.path(), TREE);
    let formats = ["gnu", "oldgnu", "pax", "posix --pax-option=delete=atime", "ustar", "v7"];
    formats
        .iter()
        .map(|format| {
            // Not everything fits into the older ones.
            let script = format!("tar -c --format={format} -f - . 2>/dev/null || true");
            ((*format).to_owned(), sh(tree.path(), &script))
        })
        .collect()
}

#[test]
fn what_goes_out_is_what_tar_writes() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.mkdir("/tree").unwrap();
    let place = agent.host("tree");
    sh(&place, TREE);
    let _socket = std::os::unix::net::UnixListener::bind(place.join("socket")).unwrap();
    for (numeric, option) in [(false, ""), (true, "--numeric-owner")] {
        let mut ours = Vec::new();
        let options = guestd_api::actions::archive::TarOutOptions::default().numericowner(numeric);
        g.tar_out("/tree", &mut ours, options).unwrap();
        let theirs = sh(&place, &format!("tar -c --format=gnu {option} -f - . 2>/dev/null"));
        if let Some(at) = ours.iter().zip(&theirs).position(|(a, b)| a != b) {
            panic!("{option}: differs at {at} (entry block {})", at / 512);
        }
        assert_eq!(ours.len(), theirs.len(), "{option}");
    }
}

#[test]
fn what_comes_in_is_what_tar_unpacks() {
    for (format, archive) in archives() {
        compare(&format, &archive, "true");
    }
    // The directory itself is an entry, too.
    let agent = Agent::over_directory();
    let (format, archive) = archives().swap_remove(0);
    agent.client.tar_in(&archive[..], "/", Default::default()).unwrap();
    assert_eq!(
        sh(&agent.host(""), "TZ=UTC stat -c '%a %u %y' ."),
        b"755 0 2010-10-10 00:00:00.000000000 +0000\n",
        "{format}"
    );
}

#[test]
fn what_is_in_the_way_is_treated_as_by_tar() {
    let archive = archives().swap_remove(0).1;
    let before = [
        "mkdir -p etc/dir; echo old >etc/dir/200; mkdir hard",
        "ln -s etc empty; mkdir etc; echo x >longlink; mkfifo larger",
        "mkdir -m 2755 etc; chgrp 42 etc; mkdir absolute; echo x >absolute/y",
        "mkdir etc; setfacl -d -m u:7:rwx etc",
    ];
    for before in before {
        compare(before, &archive, before);
    }
}

#[test]
fn damage_and_tricks_end_as_with_tar() {
    let tree = tempfile::tempdir().unwrap();
    sh(tree.path(), "mkdir a; for i in $(seq 200); do echo $i >a/$i; done; ln -s ../.. a/up; ln -s /tmp out");
    let good = sh(tree.path(), "tar -c -f - a out");
    let cut = |length: usize| good.get(..length).unwrap().to_vec();
    let damaged = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        bytes
    };
    // Names that lead through a link that the archive itself has made, and upwards.
    let through = sh(
        tree.path(),
        "mkdir b; ln -s /tmp b/l; tar -c -f x.tar b/l; rm b/l; mkdir b/l; echo bad >b/l/evil-through-link; tar -r -f x.tar b/l/evil-through-link; cat x.tar",
    );
    let upwards = sh(tree.path(), "echo bad >evil; tar -c -P -f - a/../evil a/7");
    let cases = [
        ("whole", good.clone()),
        ("no end", cut(512 * 3)),
        ("cut in a header", cut(512 * 41 + 100)),
        ("cut in data", cut(512 * 42 + 3)),
        ("damaged header", damaged(512 * 101 + 20)),
        ("empty", Vec::new()),
        ("zeroes", vec![0; 10240]),
        ("noise", b"x".repeat(5000)),
        ("through a link", through),
        ("upwards", upwards),
    ];
    for (what, archive) in cases {
        compare(what, &archive, "true");
    }
    assert!(!Path::new("/tmp/evil-through-link").exists());
}

#[test]
fn a_full_disk_is_told_in_tars_words() {
    let agent = Agent::over_directory();
    agent.client.mkdir("/small").unwrap();
    // The agent has mounts of its own.
    let within = format!("nsenter -m -t {}", agent.child.id());
    sh(
        Path::new("/"),
        &format!("{within} mount -t tmpfs -o size=300k none {}", agent.host("small").display()),
    );
    let tree = tempfile::tempdir().unwrap();
    sh(tree.path(), "for i in $(seq 100); do head -c 9000 /dev/urandom >$i; done");
    let archive = sh(tree.path(), "tar -c -f - .");
    let large = sh(tree.path(), "head -c 900000 /dev/urandom >large; tar -c -f - large");
    let results =
        [&archive, &large].map(|archive| agent.client.tar_in(&archive[..], "/small", Default::default()));
    for result in results {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("No space left on device"), "{error}");
        assert!(error.ends_with("Exiting with failure status due to previous errors"), "{error}");
    }
}
