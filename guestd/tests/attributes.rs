//! Attributes, lists, nodes and the small change of files: what the agent sets, the machine's own tools show.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::Error;
use guestd_api::actions::files::MktempOptions;
use guestd_api::actions::xattr::CopyAttributesOptions;
use guestd_api::prelude::*;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use support::Agent;

fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.unwrap_err().to_string()
}

fn tool(name: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(name).args(arguments).arg(path).output().unwrap();
    assert!(output.status.success(), "{name}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn extended_attributes() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.touch("/f").unwrap();
    symlink("/f", agent.host("l")).unwrap();
    g.setxattr("trusted.a", "value and more", 5, "/l").unwrap();
    g.lsetxattr("trusted.b", "x", 1, "/l").unwrap();
    g.setxattr("trusted.e", "", 0, "/f").unwrap();
    let shown = tool("getfattr", &["-d", "-m", "-", "--absolute-names"], &agent.host("f"));
    assert!(
        shown.contains("trusted.a=\"value\"") && shown.contains("trusted.e") && !shown.contains("trusted.b")
    );
    let shown = tool("getfattr", &["-h", "-d", "-m", "-", "--absolute-names"], &agent.host("l"));
    assert!(shown.contains("trusted.b=\"x\"") && !shown.contains("trusted.a"), "{shown}");
    assert_eq!(g.getxattr("/l", "trusted.a").unwrap(), b"value");
    assert_eq!(g.lgetxattr("/l", "trusted.b").unwrap(), b"x");
    assert_eq!(message(g.getxattr("/f", "trusted.b")), "getxattr: getxattr: No data available");
    let names = |list: Vec<guestd_api::structs::Xattr>| -> Vec<_> {
        list.into_iter().map(|x| (x.attrname.to_string(), x.attrval.into_bytes())).collect()
    };
    let mut all = names(g.getxattrs("/l").unwrap());
    all.sort();
    assert_eq!(all, [("trusted.a".into(), b"value".to_vec()), ("trusted.e".into(), Vec::new())]);
    assert_eq!(names(g.lgetxattrs("/l").unwrap()), [("trusted.b".into(), b"x".to_vec())]);
    let list = names(g.lxattrlist("/", &["l", "none", "f"]).unwrap());
    let heads: Vec<_> =
        list.iter().filter(|(name, _)| name.is_empty()).map(|(_, count)| count.clone()).collect();
    assert_eq!(heads, [b"1\0".to_vec(), b"".to_vec(), b"2\0".to_vec()]);
    assert_eq!(list.len(), 6);
    g.removexattr("trusted.a", "/l").unwrap();
    g.lremovexattr("trusted.b", "/l").unwrap();
    assert_eq!(message(g.removexattr("trusted.a", "/f")), "removexattr: removexattr: No data available");
    assert_eq!(names(g.getxattrs("/f").unwrap()).len(), 1);
    assert!(message(g.setxattr("trusted.z", "v", 9, "/f")).contains("vallen"));
}

#[test]
fn access_control_lists() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.write("/f", "").unwrap();
    g.mkdir("/d").unwrap();
    assert_eq!(g.acl_get_file("/f", "access").unwrap(), "user::rw-\ngroup::r--\nother::r--\n");
    g.acl_set_file("/f", "access", "u::rwx,g::r-x,o::r--,m::rwx,u:500:rwx,g:7:rx").unwrap();
    let shown = tool("getfacl", &["-n", "-c", "--absolute-names"], &agent.host("f"));
    assert_eq!(shown, "user::rwx\nuser:500:rwx\ngroup::r-x\ngroup:7:r-x\nmask::rwx\nother::r--\n\n");
    assert_eq!(g.acl_get_file("/f", "access").unwrap().to_string(), shown.trim_end().to_owned() + "\n");
    tool("setfacl", &["-d", "-m", "u:9:r"], &agent.host("d"));
    assert_eq!(
        g.acl_get_file("/d", "default").unwrap(),
        "user::rwx\nuser:9:r--\ngroup::r-x\nmask::r-x\nother::r-x\n"
    );
    g.acl_delete_def_file("/d").unwrap();
    g.acl_delete_def_file("/d").unwrap();
    assert_eq!(tool("getfacl", &["-d", "-c", "--absolute-names"], &agent.host("d")), "");
    assert_eq!(g.acl_get_file("/d", "default").unwrap(), "");
    assert_eq!(message(g.acl_get_file("/f", "default")), "acl_get_file: /f: Permission denied");
    assert_eq!(message(g.acl_get_file("/f", "x")), "acl_get_file: invalid acltype parameter: x");
    assert_eq!(message(g.acl_set_file("/f", "access", "u::rwx")), "acl_set_file: /f: Invalid argument");
    assert!(
        message(g.acl_set_file("/f", "access", "rubbish")).contains("could not parse acl string: rubbish")
    );
}

#[test]
fn capabilities_and_copies_of_attributes() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.touch("/f").unwrap();
    g.touch("/g").unwrap();
    assert_eq!(g.cap_get_file("/f").unwrap(), "");
    g.cap_set_file("/f", "cap_net_raw+ep").unwrap();
    assert_eq!(g.cap_get_file("/f").unwrap(), "cap_net_raw=ep");
    assert!(tool("getcap", &[], &agent.host("f")).ends_with("f cap_net_raw=ep\n"));
    let why = message(g.cap_set_file("/f", "rubbish"));
    assert_eq!(why, "cap_set_file: could not parse cap string: rubbish: cap_from_text: Invalid argument");
    assert_eq!(message(g.cap_get_file("/n")), "cap_get_file: /n: No such file or directory");
    g.chown(3, 4, "/f").unwrap();
    g.chmod(0o4751, "/f").unwrap();
    g.setxattr("trusted.a", "v", 1, "/f").unwrap();
    g.copy_attributes("/f", "/g", Default::default()).unwrap();
    assert_eq!(agent.host("g").metadata().unwrap().uid(), 0);
    g.copy_attributes("/f", "/g", CopyAttributesOptions::default().all(true).xattributes(false)).unwrap();
    let m = agent.host("g").metadata().unwrap();
    assert_eq!((m.uid(), m.gid(), m.permissions().mode() & 0o7777), (3, 4, 0o4751));
    assert!(g.getxattrs("/g").unwrap().is_empty());
    g.copy_attributes("/f", "/g", CopyAttributesOptions::default().xattributes(true)).unwrap();
    assert_eq!(g.getxattr("/g", "trusted.a").unwrap(), b"v");
    assert!(
        message(g.copy_attributes("/f", "/n", Default::default())).starts_with("copy_attributes: stat: /n: ")
    );
}

#[test]
fn nodes_and_names() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    g.mkfifo(0o640, "/p").unwrap();
    g.mknod(0o020666, 1, 3, "/c").unwrap();
    g.mknod_b(0o660, 7, 300, "/b").unwrap();
    g.mknod_c(0o600, 5, 1, "/c2").unwrap();
    g.mknod(0o644, 0, 0, "/r").unwrap();
    let kind = |name| agent.host(name).symlink_metadata().unwrap();
    assert!(kind("p").file_type().is_fifo() && kind("c").file_type().is_char_device() && kind("r").is_file());
    assert_eq!(tool("stat", &["-c", "%F %a %t:%T"], &agent.host("b")), "block special file 640 7:12c\n");
    assert_eq!(kind("c").permissions().mode() & 0o777, 0o644);
    let why = message(g.mknod_c(0o020660, 5, 1, "/x"));
    assert_eq!(why, "mknod_c: 20660: mode must specify only file permission bits");
    assert!(
        message(g.mknod(-1, 5, 1, "/x")).contains("negative")
            && message(g.mkfifo(0o600, "/p")).contains("exists")
    );
    // A pipe that nobody writes to keeps nobody waiting.
    assert!(message(g.cat("/p")).contains("/p"));
    assert_eq!(g.file("/p").unwrap(), "FIFO");
    assert_eq!((g.file("/b").unwrap(), g.file("/").unwrap()), ("block device".into(), "directory".into()));
    g.write("/t", "text\n").unwrap();
    assert_eq!(g.file("/t").unwrap(), "ASCII text");
    Command::new("gzip").arg(agent.host("t")).status().unwrap();
    assert!(g.file("/t.gz").unwrap().to_string().starts_with("ASCII text (gzip compressed data"));
    assert_eq!(g.zfile("gzip", "/t.gz").unwrap(), "ASCII text");

    let made = g.mktemp("/nXXXXXX", MktempOptions::default().suffix(".txt")).unwrap();
    let m = agent.host(made.to_str().unwrap()).metadata().unwrap();
    assert!(made.to_string().ends_with(".txt") && m.permissions().mode() & 0o777 == 0o600);
    assert!(message(g.mktemp("/n", Default::default())).contains("Invalid argument"));

    g.mkdir_p("/Windows/System32").unwrap();
    g.touch("/Windows/System32/netkvm.sys").unwrap();
    assert_eq!(
        g.case_sensitive_path("/windows//SYSTEM32/NetKVM.sys").unwrap(),
        "/Windows/System32/netkvm.sys"
    );
    assert_eq!(g.case_sensitive_path("/windows/system32/New").unwrap(), "/Windows/System32/New");
    assert_eq!(g.case_sensitive_path("/").unwrap(), "/");
    assert_eq!(message(g.case_sensitive_path("/windows/s33/x")), "case_sensitive_path: s33: not found");
    assert_eq!(message(g.case_sensitive_path("/windows/../x")), "case_sensitive_path: ..: not found");
    let why = message(g.case_sensitive_path("/windows/system32/NETKVM.SYS/x"));
    assert_eq!(why, "case_sensitive_path: chdir: netkvm.sys: Not a directory");
}

#[test]
fn content_is_shown_searched_and_made() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    let mut bytes = vec![0x41; 100];
    bytes.extend(0..=255u8);
    bytes.extend("wide".encode_utf16().flat_map(u16::to_le_bytes));
    g.upload(&bytes[..], "/f").unwrap();
    assert_eq!(g.hexdump("/f").unwrap().to_string(), tool("hexdump", &["-C"], &agent.host("f")));
    let lines = |list: Vec<GuestString>| list.iter().map(|line| line.to_string() + "\n").collect::<String>();
    assert_eq!(lines(g.strings("/f").unwrap()), tool("strings", &["-a"], &agent.host("f")));
    assert_eq!(lines(g.strings_e("l", "/f").unwrap()), tool("strings", &["-a", "-e", "l"], &agent.host("f")));
    assert_eq!(message(g.strings_e("x", "/f")), "strings_e: x: invalid encoding");
    g.write("/t", "alpha\nBeta\nBETA a.c abc\n").unwrap();
    assert_eq!(g.egrep("p|t", "/t").unwrap(), ["alpha", "Beta"]);
    assert_eq!(g.egrepi("^b.*A$", "/t").unwrap(), ["Beta"]);
    assert_eq!(
        (g.fgrep("a.c", "/t").unwrap(), g.fgrepi("A.C", "/t").unwrap().len()),
        (vec!["BETA a.c abc".into()], 1)
    );
    assert_eq!(g.grepi("beta", "/t").unwrap().len(), 2);
    assert!(message(g.egrep("(", "/t")).starts_with("egrep: (: grep: Unmatched"));
    Command::new("gzip").args(["-k"]).arg(agent.host("t")).status().unwrap();
    assert_eq!((g.zgrep("alp", "/t.gz").unwrap().len(), g.zgrepi("BETA", "/t.gz").unwrap().len()), (1, 2));
    assert_eq!((g.zegrep("p|t", "/t.gz").unwrap().len(), g.zegrepi("P|T", "/t.gz").unwrap().len()), (2, 3));
    assert_eq!((g.zfgrep("a.c", "/t.gz").unwrap().len(), g.zfgrepi("A.C", "/t.gz").unwrap().len()), (1, 1));

    g.fallocate64("/a", 5 << 20).unwrap();
    let m = agent.host("a").metadata().unwrap();
    assert!(m.len() == 5 << 20 && m.blocks() >= 5 << 11);
    g.fallocate("/a", 4096).unwrap();
    assert_eq!(agent.host("a").metadata().unwrap().len(), 4096);
    assert_eq!(message(g.fallocate("/a", -1)), "fallocate: length < 0");
    g.mkdir("/many").unwrap();
    g.fill_dir("/many", 12).unwrap();
    assert_eq!(std::fs::read_dir(agent.host("many")).unwrap().count(), 12);
    assert!(agent.host("many/00000011").exists());
    g.write_file("/w", "hello", 3).unwrap();
    assert_eq!(std::fs::read(agent.host("w")).unwrap(), b"hel");
    assert!(message(g.write_file("/w", "hello", 9)).contains("larger than string content"));
    let stats = g.lstatlist("/", &["w", "none"]).unwrap();
    assert_eq!((stats[0].size, stats[1].ino), (3, -1));

    g.mkdir("/sums").unwrap();
    g.cp("/t", "/sums/t").unwrap();
    g.cp("/w", "/sums/w 2").unwrap();
    let mut sums = Vec::new();
    g.checksums_out("sha256", "/sums", &mut sums).unwrap();
    std::fs::write(agent.directory.path().join("sums"), &sums).unwrap();
    let mut check = Command::new("sha256sum");
    check.arg("-c").arg(agent.directory.path().join("sums")).current_dir(agent.host("sums"));
    assert!(check.status().unwrap().success());
    assert_eq!(sums.iter().filter(|byte| **byte == b'\n').count(), 2);
    assert!(
        g.equal("/t", "/sums/t").unwrap() && !g.equal("/t", "/w").unwrap() && g.equal("/t", "/none").is_err()
    );
    assert!(g.llz("/sums").unwrap().to_string().contains("w 2"));
}

#[test]
fn watching_files() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    let early = "inotify_read: do_inotify_read: you must call 'inotify_init' first to initialize inotify";
    assert_eq!(message(g.inotify_read()), early);
    g.inotify_init(0).unwrap();
    let watch = g.inotify_add_watch("/", 0x300).unwrap();
    for name in ["b", "a"] {
        std::fs::write(agent.host(name), "").unwrap();
    }
    std::fs::remove_file(agent.host("b")).unwrap();
    let events = g.inotify_read().unwrap();
    let seen: Vec<_> = events.iter().map(|e| (e.in_mask, e.in_name.to_string())).collect();
    assert_eq!(seen, [(0x100, "b".into()), (0x100, "a".into()), (0x200, "b".into())]);
    assert!(g.inotify_read().unwrap().is_empty());
    for name in ["d", "c"] {
        std::fs::write(agent.host(name), "").unwrap();
    }
    std::fs::remove_file(agent.host("d")).unwrap();
    assert_eq!(g.inotify_files().unwrap(), ["c", "d"]);
    g.inotify_rm_watch(i32::try_from(watch).unwrap()).unwrap();
    assert!(message(g.inotify_rm_watch(77)).contains("Invalid argument"));
    g.inotify_close().unwrap();
    assert!(g.inotify_close().is_err());
}

#[test]
fn the_machine_itself() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    assert_eq!(g.echo_daemon(&["a", "b c"]).unwrap(), "a b c");
    let uname = g.utsname().unwrap();
    let release = String::from_utf8(Command::new("uname").arg("-r").output().unwrap().stdout).unwrap();
    assert_eq!(
        (uname.uts_sysname, uname.uts_release.to_string()),
        ("Linux".into(), release.trim().to_owned())
    );
    assert!(message(g.modprobe("no_such_module")).contains("FATAL: Module no_such_module not found"));
    assert!(message(g.drop_caches(99)).contains("/proc/sys/vm/drop_caches: "));
}
