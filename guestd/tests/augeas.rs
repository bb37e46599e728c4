//! Configuration files as trees; what was saved is read from the files.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::Error;
use guestd_api::actions::augeas::AugTransformOptions;
use guestd_api::prelude::*;
use support::Agent;

fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.unwrap_err().to_string()
}

fn guest() -> Agent {
    let agent = Agent::over_directory();
    std::fs::create_dir(agent.host("etc")).unwrap();
    let hosts = "127.0.0.1 localhost\n192.168.0.1 pigiron.example.com pigiron\n";
    std::fs::write(agent.host("etc/hosts"), hosts).unwrap();
    std::fs::write(agent.host("etc/fstab"), "/dev/sda1 / ext4 defaults 0 1\n").unwrap();
    agent
}

#[test]
fn files_are_read_changed_and_saved() {
    let agent = guest();
    let g = &agent.client;
    let early = "aug_get: do_aug_get: you must call 'aug-init' first to initialize Augeas";
    assert_eq!(message(g.aug_get("/x")), early);
    g.aug_init("/", 0).unwrap();
    assert_eq!(g.aug_get("/files/etc/hosts/1/ipaddr").unwrap(), "127.0.0.1");
    assert_eq!(g.aug_match("/files/etc/hosts/*").unwrap(), ["/files/etc/hosts/1", "/files/etc/hosts/2"]);
    assert_eq!(g.aug_ls("/files/etc").unwrap(), ["/files/etc/fstab", "/files/etc/hosts"]);
    assert_eq!(g.aug_ls("/").unwrap(), ["/augeas", "/files"]);
    assert_eq!(g.aug_label("/files/etc/hosts/*[canonical='localhost']").unwrap(), "1");
    g.aug_set("/files/etc/hosts/3/ipaddr", "10.0.0.9").unwrap();
    g.aug_set("/files/etc/hosts/3/canonical", "db").unwrap();
    g.aug_insert("/files/etc/hosts/1", "04", true).unwrap();
    g.aug_set("/files/etc/hosts/04/ipaddr", "10.0.0.1").unwrap();
    g.aug_set("/files/etc/hosts/04/canonical", "first").unwrap();
    assert_eq!(g.aug_rm("/files/etc/hosts/2").unwrap(), 4);
    assert_eq!(g.aug_setm("/files/etc/fstab/*[file]", Some("passno"), "2").unwrap(), 1);
    g.aug_save().unwrap();
    let hosts = std::fs::read_to_string(agent.host("etc/hosts")).unwrap();
    assert_eq!(hosts, "10.0.0.1\tfirst\n127.0.0.1 localhost\n10.0.0.9\tdb\n");
    assert_eq!(std::fs::read_to_string(agent.host("etc/fstab")).unwrap(), "/dev/sda1 / ext4 defaults 0 2\n");
    // What was not saved is forgotten.
    g.aug_set("/files/etc/hosts/1/canonical", "x").unwrap();
    g.aug_load().unwrap();
    assert_eq!(g.aug_get("/files/etc/hosts/2/canonical").unwrap(), "localhost");
    g.aug_insert("/files/etc/hosts/1", "bad", true).unwrap();
    assert!(message(g.aug_save()).contains("/augeas//error"));
    assert!(g.aug_match("/augeas//error").unwrap().iter().any(|p| p.to_string().contains("etc/hosts")));
    assert_eq!(std::fs::read_to_string(agent.host("etc/hosts")).unwrap(), hosts);
    g.aug_close().unwrap();
    assert!(g.aug_close().is_err());
}

#[test]
fn values_come_back_byte_for_byte() {
    let agent = guest();
    let g = &agent.client;
    g.aug_init("/", 32).unwrap();
    assert_eq!(g.aug_match("/files/*").unwrap(), [""; 0]);
    let odd =
        GuestString::from(&b" = ' \" \\ \x01\x02\x16\x1b\x7f\xff\xc3\xa9 \r\n\t\\n end\n/files/x = y\n"[..]);
    let long = GuestString::from(vec![b'a'; 300_000]);
    for value in [odd, long, "".into(), " ".into(), "(none)".into(), "\n".into()] {
        g.aug_set("/files/v", &value).unwrap();
        assert!(g.aug_get("/files/v").unwrap() == value, "{value:?}");
    }
    g.aug_set(r"/files/a\ b\=c", "x\n/files/none = 1\n").unwrap();
    g.aug_set("/files/z", "1").unwrap();
    assert_eq!(g.aug_match("/files/*").unwrap(), ["/files/v", r"/files/a\ b\=c", "/files/z"]);
    g.aug_clear("/files/z").unwrap();
    assert_eq!(message(g.aug_get("/files/z")), "aug_get: Augeas returned NULL match");
    g.aug_mv("/files/z", "/files/moved").unwrap();
    assert_eq!(message(g.aug_get("/files/z")), "aug_get: no matching node");
    assert_eq!(message(g.aug_label("/files/z")), "aug_label: no matching nodes found");
    assert!(message(g.aug_set("/files/q", "a\0b")).contains("NUL"));
}

#[test]
fn expressions_and_their_errors() {
    let agent = guest();
    let g = &agent.client;
    g.aug_init("/", 0).unwrap();
    assert_eq!(g.aug_defvar("v", Some("/files/etc/hosts/*")).unwrap(), 2);
    assert_eq!(g.aug_match("$v").unwrap().len(), 2);
    assert_eq!((g.aug_defvar("v", Some("'abc'")).unwrap(), g.aug_defvar("v", None).unwrap()), (0, 0));
    let made = g.aug_defnode("n", "/files/new", "value").unwrap();
    let there = g.aug_defnode("n", "/files/etc/hosts/*", "value").unwrap();
    assert_eq!((made.i, made.b, there.i, there.b), (1, 1, 2, 0));
    assert_eq!(g.aug_get("/files/new").unwrap(), "value");
    let many = "Too many matches for path expression";
    let path = "/files/etc/hosts/*/ipaddr";
    let why = format!("aug_get: aug_get: {path}: {many}: There are 2 nodes matching {path}");
    assert_eq!(message(g.aug_get(path)), why);
    assert_eq!(message(g.aug_set(path, "x")), format!("aug_set: aug_set: {path}: x: {many}"));
    assert!(
        message(g.aug_match("/files/[["))
            .starts_with("aug_match: aug_match: /files/[[: Invalid path expression: ")
    );
    assert_eq!(
        message(g.aug_insert("/files/none", "x", true)),
        "aug_insert: aug_insert: /files/none: x [before=1]: No match for path expression"
    );
    assert_eq!(
        message(g.aug_mv("/files/none", "/files/x")),
        "aug_mv: aug_mv: /files/none: /files/x: No match for path expression"
    );
    std::fs::write(agent.host("etc/more"), "10.1.1.1 more\n").unwrap();
    g.aug_transform("Hosts.lns", "/etc/more", AugTransformOptions::default()).unwrap();
    g.aug_load().unwrap();
    assert_eq!(g.aug_get("/files/etc/more/1/canonical").unwrap(), "more");
    g.aug_transform("Hosts.lns", "/etc/more", AugTransformOptions::default().remove(true)).unwrap();
    g.aug_load().unwrap();
    assert!(g.aug_get("/files/etc/more/1/canonical").is_err());
    // Keeping the original, and pretending.
    g.aug_init("/", 1).unwrap();
    g.aug_set("/files/etc/hosts/1/canonical", "lh").unwrap();
    g.aug_save().unwrap();
    assert!(agent.host("etc/hosts.augsave").exists());
    g.aug_init("/", 16).unwrap();
    g.aug_set("/files/etc/hosts/1/canonical", "other").unwrap();
    g.aug_save().unwrap();
    assert!(std::fs::read_to_string(agent.host("etc/hosts")).unwrap().starts_with("127.0.0.1 lh\n"));
}
