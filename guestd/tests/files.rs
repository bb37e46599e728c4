//! Files and directories, against the real kernel: what the agent does is looked at from outside.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::Error;
use guestd_api::prelude::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use support::Agent;

fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn files_are_made_changed_and_removed() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.ping_daemon().unwrap();
    g.write("/a", "one\ntwo\n").unwrap();
    g.write_append("/a", "three").unwrap();
    assert_eq!(std::fs::read(agent.host("a")).unwrap(), b"one\ntwo\nthree");
    assert_eq!(g.cat("/a").unwrap(), "one\ntwo\nthree");
    assert_eq!(g.read_lines("/a").unwrap(), ["one", "two", "three"]);
    assert_eq!(g.head_n(2, "/a").unwrap(), ["one", "two"]);
    assert_eq!(g.head_n(-1, "/a").unwrap(), ["one", "two"]);
    assert_eq!(g.tail_n(1, "/a").unwrap(), ["three"]);
    assert_eq!(g.tail_n(-2, "/a").unwrap(), ["two", "three"]);
    assert_eq!((g.wc_l("/a").unwrap(), g.wc_w("/a").unwrap(), g.wc_c("/a").unwrap()), (2, 3, 13));
    assert_eq!(g.pread("/a", 3, 4).unwrap(), b"two");
    assert_eq!(g.pwrite("/a", "TWO", 4).unwrap(), 3);
    assert_eq!(g.filesize("/a").unwrap(), 13);
    g.chmod(0o4711, "/a").unwrap();
    g.chown(12, 34, "/a").unwrap();
    let metadata = agent.host("a").metadata().unwrap();
    // The kernel takes the set-user bit away from a file that changes hands.
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o711, 12, 34));
    let stat = g.statns("/a").unwrap();
    assert_eq!((stat.st_ino.cast_unsigned(), stat.st_size, stat.st_uid), (metadata.ino(), 13, 12));
    g.utimens("/a", 1, 2, 3, 4).unwrap();
    assert_eq!((g.lstatns("/a").unwrap().st_mtime_sec, g.stat("/a").unwrap().atime), (3, 1));
    g.fill_pattern("abc", 7, "/p").unwrap();
    assert_eq!(std::fs::read(agent.host("p")).unwrap(), b"abcabca");
    g.truncate_size("/p", 1 << 20).unwrap();
    assert_eq!(agent.host("p").metadata().unwrap().len(), 1 << 20);
    g.mv("/p", "/q").unwrap();
    g.cp("/a", "/b").unwrap();
    g.cp_a("/a", "/c").unwrap();
    assert_eq!(
        (agent.host("c").metadata().unwrap().uid(), agent.host("b").metadata().unwrap().uid()),
        (12, 0)
    );
    assert_eq!(g.ls("/").unwrap(), ["a", "b", "c", "q"]);
    g.rm("/q").unwrap();
    g.rm_f("/q").unwrap();
    assert_eq!(message(g.rm("/q")), "rm: /q: No such file or directory");
    assert!(!g.exists("/q").unwrap());
    assert_eq!(g.checksum("md5", "/a").unwrap().to_str().unwrap(), md5(&agent.host("a")));
}

fn md5(path: &std::path::Path) -> String {
    let output = std::process::Command::new("md5sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn the_umask_holds_between_actions_and_for_new_files_only() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    assert_eq!(
        (g.get_umask().unwrap(), g.umask(0o077).unwrap(), g.get_umask().unwrap()),
        (0o022, 0o022, 0o077)
    );
    g.mkdir("/d").unwrap();
    g.touch("/f").unwrap();
    let mode = |name| agent.host(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("d"), mode("f")), (0o700, 0o600));
    g.chmod(0o644, "/f").unwrap();
    assert_eq!(mode("f"), 0o644);
    assert!(message(g.umask(0o1000)).contains("out of range"));
}

#[test]
fn links_stay_inside_the_guest() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    // A file that every host has and the guest does not.
    symlink("/etc/passwd", agent.host("abs")).unwrap();
    symlink("../../../../../../../etc/passwd", agent.host("rel")).unwrap();
    for name in ["/abs", "/rel", "/../../../../etc/passwd"] {
        assert!(message(g.cat(name)).ends_with("No such file or directory"), "{name}");
        assert!(!g.exists(name).unwrap());
    }
    assert!(g.write("/abs", "x").is_err());
    g.mkdir("/etc").unwrap();
    g.write("/abs", "guest's").unwrap();
    assert_eq!(std::fs::read_to_string(agent.host("etc/passwd")).unwrap(), "guest's");
    assert_eq!(g.cat("/rel").unwrap(), "guest's");
    assert_eq!(
        (g.readlink("/abs").unwrap(), g.realpath("/rel").unwrap()),
        ("/etc/passwd".into(), "/etc/passwd".into())
    );
    assert!(!g.is_file("/abs", Default::default()).unwrap());
    let follow = guestd_api::actions::files::IsFileOptions::default().followsymlinks(true);
    assert!(g.is_file("/abs", follow).unwrap());
    // Tools see the same files.
    assert_eq!(g.checksum("md5", "/rel").unwrap().to_str().unwrap(), md5(&agent.host("etc/passwd")));
    g.cp("/abs", "/copy").unwrap();
    assert_eq!(g.cat("/copy").unwrap(), "guest's");
    g.ln_s("x", "/s").unwrap();
    assert_eq!(message(g.ln_s("x", "/s")), "ln_s: x: /s: File exists");
    g.ln_sf("y", "/s").unwrap();
    g.ln("/copy", "/hard").unwrap();
    g.ln_f("/copy", "/hard").unwrap();
    assert_eq!((g.readlink("/s").unwrap(), agent.host("hard").metadata().unwrap().nlink()), ("y".into(), 2));
    // Removing a tree removes links and not what they point to.
    g.mkdir_p("/t/u").unwrap();
    g.ln_s("/etc", "/t/u/etc").unwrap();
    g.rm_rf("/t").unwrap();
    assert!(agent.host("etc/passwd").exists() && !agent.host("t").exists());
    assert!(message(g.rm_rf("/..")).contains("root directory"));
}

#[test]
fn directories_are_listed_whole_and_in_order() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.mkdir_p("/d/e/f").unwrap();
    g.mkdir_mode("/d/m", 0o700).unwrap();
    std::fs::write(agent.host("d").join(std::ffi::OsStr::new("b")), "x").unwrap();
    let odd = GuestString::from(&b"/d/\xe9\n \""[..]);
    g.touch(&odd).unwrap();
    assert_eq!(
        g.ls("/d").unwrap(),
        [GuestString::from("b"), "e".into(), "m".into(), (&b"\xe9\n \""[..]).into()]
    );
    assert_eq!(g.find("/").unwrap().len(), 6);
    assert_eq!(g.find("/d/e").unwrap(), ["f"]);
    let mut names = Vec::new();
    g.find0("/d", &mut names).unwrap();
    assert_eq!(names.iter().filter(|byte| **byte == 0).count(), 5);
    let entries = g.readdir("/d").unwrap();
    let letters: String = entries.iter().map(|entry| char::from(entry.ftyp)).collect();
    assert_eq!(letters, "ddrddr");
    assert!(entries.iter().any(|entry| entry.name == *"b"
        && entry.ino.cast_unsigned() == agent.host("d/b").metadata().unwrap().ino()));
    let slash = guestd_api::actions::search::GlobExpandOptions::default().directoryslash(false);
    assert_eq!(g.glob_expand("/d/[em]*", Default::default()).unwrap(), ["/d/e/", "/d/m/"]);
    assert_eq!(g.glob_expand("/d/[em]*", slash).unwrap(), ["/d/e", "/d/m"]);
    assert_eq!(g.glob_expand("/none/*", Default::default()).unwrap(), [""; 0]);
    let long = g.ll("/d").unwrap();
    assert!(
        long.to_string_lossy().starts_with("total") && !long.to_string_lossy().contains("guest"),
        "{long}"
    );
    assert!(g.ll("/d/b").unwrap().to_string_lossy().trim_end().ends_with(" /d/b"));
    assert!(message(g.rmdir("/d")).contains("Directory not empty"));
    assert_eq!(message(g.mkdir("/d")), "mkdir: /d: File exists");
    assert_eq!(message(g.mkdir("d")), "mkdir: path: 'd': path must start with a / character");
    g.write("/g", "alpha\nBeta\ngamma\n").unwrap();
    let insensitive = guestd_api::actions::search::GrepOptions::default().insensitive(true);
    assert_eq!(g.grep("^b", "/g", insensitive).unwrap(), ["Beta"]);
    assert_eq!(g.grep("zzz", "/g", Default::default()).unwrap(), [""; 0]);
    let made = g.mkdtemp("/d/tXXXXXX").unwrap();
    assert_eq!(agent.host(made.to_str().unwrap()).metadata().unwrap().mode() & 0o777, 0o700);
}
