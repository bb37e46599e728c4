//! Settings, disks and images on the host, as scripts use them; values are those that scripts know.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;

use system_tests::fish::{Ran, command, feed, output_of, script};
use system_tests::programs::{peer, run};

fn complaint(line: &str) -> String {
    let ran = script(&[], &format!("{line}\n"));
    assert!(ran.code == Some(1) && ran.out.is_empty(), "{line}: {ran:?}");
    ran.err
}

#[test]
fn what_is_set_is_what_is_got() {
    let printed = output_of(
        &[],
        "set-memsize 1000\nget-memsize\nmemsize 0x200\nget-memsize\nget-append\nset-append \"a b\"\nget-append\n\
         set-append \"\"\nget-append\nset-smp 4\nget-smp\nset-backend-setting a b\nget-backend-setting a\nclear-backend-setting a\n\
         clear-backend-setting a\nset-backend-settings \"x y=1\"\nget-backend-settings\nset-identifier foo\nget-identifier\n\
         get-program\nset-pgroup true\nget-pgroup\nget-autosync\nset-autosync off\nget-autosync\nset-cachedir /tmp\nget-cachedir\n\
         is-config\nset-backend libvirt:test:///\nget-backend\nuser-cancel\nshutdown\n\
         parse-environment-list \"LIBGUESTFS_MEMSIZE=700 OTHER=1\"\nget-memsize\n",
    );
    assert_eq!(
        printed,
        "1000\n512\n(null)\na b\n(null)\n4\nb\n1\n0\nx\ny=1\nfoo\nguestfish\ntrue\ntrue\nfalse\n/tmp\ntrue\n\
         libvirt:test:///\n700\n"
    );
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (line, why) in [
        ("set-memsize 100", "too small value for memsize (must be at least 256)"),
        ("set-smp 0", "invalid smp parameter: 0"),
        ("set-smp 300", "unsupported number of smp vcpus: 300"),
        ("set-backend nonsense", "invalid backend: nonsense"),
        ("get-backend-setting nope", "setting not found"),
        ("get-pid", "get-pid can only be called after launch"),
        ("run", "you must call guestfs_add_drive before guestfs_launch"),
        ("remove-drive x", "hotplugging support was removed in libguestfs 1.48"),
        ("add /no/such/disk", "/no/such/disk: No such file or directory"),
        ("add /dev/null format:qc/ow", "format parameter is empty or contains disallowed characters"),
        ("add /dev/null label:a1", "label parameter is empty, too long, or contains disallowed characters"),
        ("add /dev/null protocol:foo", "unknown protocol ‘foo’"),
        ("add /dev/null protocol:nbd", "nbd: you must specify exactly one server"),
        ("add /dev/null server:a", "you cannot specify a server with file-backed disks"),
        ("add /dev/null blocksize:1000", "blocksize parameter is invalid"),
        ("add /dev/null cachemode:foo", "cachemode parameter must be ‘writeback’ (default) or ‘unsafe’"),
        ("add-drive-scratch 0", "invalid size: 0"),
        ("parse-environment-list LIBGUESTFS_TRACE=9", "LIBGUESTFS_TRACE=9: non-boolean value"),
        ("disk-create d.vdi vdi 1M", "unsupported format ‘vdi’"),
        ("disk-create e.raw raw -1", "invalid size: -1"),
        (
            "disk-create e.raw raw 1M preallocation:metadata",
            "invalid value for preallocation parameter ‘metadata’",
        ),
        ("disk-create e.qcow2 qcow2 1M compat:2", "invalid value for compat parameter ‘2’"),
        ("disk-create e.qcow2 qcow2 1M clustersize:100", "invalid value for clustersize parameter ‘100’"),
        ("disk-create e.qcow2 qcow2 1M backingfile:x", "if using a backing file, size must be passed as -1"),
    ] {
        assert_eq!(complaint(line), format!("*stdin*:1: libguestfs: error: {why}\n"), "{line}");
    }
    for (line, said) in [
        ("set-memsize x", "set-memsize: memsize: invalid integer parameter 'x'\n"),
        ("set-memsize 99999999999", "set-memsize: memsize: integer out of range\n"),
        ("set-autosync maybe", "guestfish: 'maybe': invalid boolean value, use 'true' or 'false'\n"),
        ("add a b:c", "add: unknown optional argument \"b\"\n"),
        ("reopen x", "'reopen' command doesn't take any parameters\n"),
        ("setenv a", "use 'setenv VAR value' to set an environment variable\n"),
        ("event a bogus x", "unknown event name: bogus\n"),
        ("delete-event x", "delete-event: x: no such event handler\n"),
    ] {
        assert_eq!(complaint(line), said, "{line}");
    }
    let mut with = command(&["get-memsize"]);
    let ran = feed(with.env("LIBGUESTFS_MEMSIZE", "1"), b"");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "libguestfs: error: too small value for memsize (must be at least 256)\n")
    );
}

/// Once the guest is launched, what only a launch can take over is refused; a new one begins afresh.
#[test]
fn a_guest_ends_and_begins_again() {
    let ran = script(
        &[],
        "scratch 10M\nadd-drive-scratch 8k\nrun\n-run\n-set-memsize 800\n-scratch 1M\nis-config\nblockdev-getsize64 /dev/sdb\n\
         shutdown\nis-config\n-run\n-list-devices\nscratch 1M\nrun\nlist-devices\n",
    );
    assert_eq!((ran.code, ran.text()), (Some(0), "false\n8192\ntrue\n/dev/sda\n"), "{ran:?}");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(
        lines,
        [
            "*stdin*:4: libguestfs: error: launch: this function can only be called in the config state",
            "*stdin*:5: libguestfs: error: set_memsize: this function can only be called in the config state",
            "*stdin*:6: libguestfs: error: hotplugging support was removed in libguestfs 1.48",
            "*stdin*:11: libguestfs: error: you must call guestfs_add_drive before guestfs_launch",
            "*stdin*:12: libguestfs: error: list_devices: call launch before using this function",
            "(in guestfish, don't forget to use the 'run' command)",
        ]
    );
}

/// Sector sizes and labels are what the kernel of the appliance finds.
#[test]
fn settings_reach_the_appliance() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk").to_str().unwrap().to_owned();
    let lines = format!(
        "sparse {disk} 16M\nreopen\nscratch 1M label:small\nadd {disk} format:raw blocksize:4096 label:big\nset-append quiet\n\
         run\nblockdev-getss /dev/sdb\nlist-disk-labels\nblockdev-getsize64 /dev/disk/guestfs/big\n"
    );
    assert_eq!(output_of(&[], &lines), "4096\nbig: /dev/sdb\nsmall: /dev/sda\n16777216\n");
}

#[test]
fn images_on_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (raw, base, over) = (path("raw"), path("base.qcow2"), path("over.qcow2"));
    let printed = output_of(
        &[],
        &format!(
            "disk-create {raw} raw 3M\ndisk-create {base} qcow2 5M compat:0.10 clustersize:4096 preallocation:metadata\n\
             disk-create {over} qcow2 -1 backingfile:base.qcow2 backingformat:qcow2\ndisk-format {raw}\ndisk-format {base}\n\
             disk-has-backing-file {raw}\ndisk-has-backing-file {over}\ndisk-virtual-size {over}\n"
        ),
    );
    assert_eq!(printed, "raw\nqcow2\nfalse\ntrue\n5242880\n");
    assert_eq!(std::fs::metadata(&raw).unwrap().len(), 3 << 20);
    let info = peer("qemu-img", &["info", "--output=json", &base]);
    assert!(info.contains("\"compat\": \"0.10\"") && info.contains("\"cluster-size\": 4096"), "{info}");
    let info = peer("qemu-img", &["info", "--backing-chain", "--output=json", &over]);
    assert!(info.contains("\"backing-filename-format\": \"qcow2\""), "{info}");
    peer("qemu-img", &["check", "-q", &over]);
}

/// A domain's description leads to its disks.
#[test]
fn domains_are_read_from_their_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let config = path("config");
    std::fs::create_dir_all(config.join("libvirt/qemu")).unwrap();
    let (one, two) = (path("one.qcow2"), path("two"));
    output_of(
        &[],
        &format!("disk-create {} qcow2 3M\ndisk-create {} raw 2M\n", one.display(), two.display()),
    );
    let xml = format!(
        "<domain type='kvm'><name>web</name><uuid>11111111-2222-3333-4444-555555555555</uuid><devices>\
         <disk type='file'><driver name='qemu' type='qcow2'/><source file='{}'/></disk>\
         <disk type='file'><driver type='raw'/><source file='{}'/><readonly/></disk></devices></domain>",
        one.display(),
        two.display()
    );
    std::fs::write(config.join("libvirt/qemu/web.xml"), &xml).unwrap();
    let ask = |arguments: &[&str], lines: &str| {
        feed(command(arguments).env("XDG_CONFIG_HOME", &config), lines.as_bytes())
    };
    let sizes = "run\nblockdev-getsize64 /dev/sda\nblockdev-getsize64 /dev/sdb\n";
    let file = config.join("libvirt/qemu/web.xml").to_str().unwrap().to_owned();
    for name in ["web", "11111111-2222-3333-4444-555555555555", &file] {
        let ran = ask(&["--ro", "-d", name], sizes);
        assert_eq!((ran.code, ran.text()), (Some(0), "3145728\n2097152\n"), "{name}: {ran:?}");
    }
    let ran = ask(&[], &format!("add-domain web readonlydisk:ignore\ndomain {file} readonlydisk:error\n"));
    assert_eq!((ran.code, ran.text()), (Some(1), "1\n"));
    assert!(ran.err.contains("marked read-only"), "{ran:?}");
    let ran = ask(&["-d", "no-such-domain"], "");
    assert!(
        ran.code == Some(1) && ran.err.contains("no libvirt domain with name 'no-such-domain'"),
        "{ran:?}"
    );
}

/// Every kind of disk that `-N` makes, judged by tools of the host.
#[test]
fn new_disks_are_prepared() {
    let directory = tempfile::tempdir().unwrap();
    let fish = |arguments: &[&str], lines: &str| -> Ran {
        feed(command(arguments).current_dir(directory.path()), lines.as_bytes())
    };
    let done = |arguments: &[&str], lines: &str| -> String {
        let ran = fish(arguments, lines);
        assert!(ran.code == Some(0) && ran.err.is_empty(), "{arguments:?} {ran:?}");
        ran.text().to_owned()
    };
    let exists = |name: &str| Path::new(&directory.path().join(name)).exists();
    let printed = done(
        &["-N", "disk:3M", "-N", "part:10M:gpt", "-N", "x.img=fs:ext4:32M", "-m", "/dev/sdc1"],
        "list-devices\nlist-filesystems\npart-get-parttype /dev/sdb\npart-get-parttype /dev/sdc\nblockdev-getsize64 /dev/sda\n\
         write /hello world\n",
    );
    assert_eq!(
        printed,
        "/dev/sda\n/dev/sdb\n/dev/sdc\n/dev/sda: unknown\n/dev/sdb1: unknown\n/dev/sdc1: ext4\ngpt\nmsdos\n3145728\n"
    );
    assert!(exists("test1.img") && exists("test2.img") && exists("x.img"));
    let table = peer("sfdisk", &["-d", directory.path().join("x.img").to_str().unwrap()]);
    assert!(table.contains("label: dos"), "{table}");
    let printed = done(&["-N", "bootroot:ext2:ext4:64M:16M:gpt", "-m", "/dev/sda2"], "list-filesystems\n");
    assert_eq!(printed, "/dev/sda1: ext2\n/dev/sda2: ext4\n");
    let table = peer("sgdisk", &["-p", directory.path().join("test1.img").to_str().unwrap()]);
    assert!(table.contains("16.0 MiB"), "{table}");
    let ran = fish(&["-N", "bogus"], "");
    assert!(ran.code == Some(1) && ran.err.contains("no such prepared disk image known"), "{ran:?}");
    assert!(Ran::from(run("guestfish", &["-N", "help"])).text().contains("bootrootlv"));
}

#[test]
fn options_are_read_as_getopt_reads_them() {
    for (arguments, said) in [
        (&["--foo"][..], "guestfish: unrecognized option '--foo'\n"),
        (&["-a"], "guestfish: option requires an argument -- 'a'\n"),
        (&["-r", "-w"], "guestfish: cannot mix --ro and --rw options\n"),
        (&["-f", "a", "-f", "b"], "guestfish: only one -f parameter can be given\n"),
        (&["--format=raw"], "guestfish: --format parameter must appear before -a parameter\n"),
        (&["--key", "x"], "guestfish: selector 'x': missing TYPE\n"),
        (&["--live"], "guestfish: libguestfs live support was removed in libguestfs 1.48\n"),
        (&["-a", "nbd://"], "libguestfs: error: nbd: you must specify exactly one server\n"),
        (&["-a", "foo://bar/x"], "libguestfs: error: unknown protocol ‘foo’\n"),
    ] {
        let ran = Ran::from(run("guestfish", arguments));
        assert!(ran.code == Some(1) && ran.err.starts_with(said), "{arguments:?}: {ran:?}");
    }
    let ran = Ran::from(run("guestfish", &["--verb", "--sel", "-n", "echo", "a"]));
    assert_eq!((ran.code, ran.text()), (Some(0), "a\n"));
}

#[test]
fn events_and_traces() {
    let ran = script(
        &[],
        "event a enter 'echo $EVENT $1'\nget-memsize\nlist-events\ndelete-event a\nlist-events\nset-identifier id\nset-trace true\n\
         get-autosync\nset-trace false\nevent b close \"echo closed\"\n",
    );
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.text(), "enter get_memsize\n512\n\"a\" (0): enter: echo $EVENT $1\ntrue\nclosed\n");
    assert_eq!(
        ran.err,
        "libguestfs: trace: id: get_autosync\nlibguestfs: trace: id: get_autosync = 1\nlibguestfs: trace: id: set_trace false\n\
         libguestfs: trace: id: set_trace = 0\n"
    );
}

#[test]
fn results_as_json() {
    let directory = tempfile::tempdir().unwrap();
    let new = format!("{}=fs:ext2:8M", directory.path().join("disk").display());
    let printed = output_of(
        &["--json", "-N", &new, "-m", "/dev/sda1"],
        "ls /\nfilesize /lost+found\nmountpoints\ntouch /x\n",
    );
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "{\"command\":\"ls\",\"result\":[\"lost+found\"]}");
    assert_eq!(lines[2], "{\"command\":\"mountpoints\",\"result\":{\"/dev/sda1\":\"/\"}}");
    assert_eq!(lines[3], "{\"command\":\"touch\",\"result\":null}");
}

#[test]
fn variables_reach_commands_of_the_host() {
    let printed = output_of(
        &[],
        "setenv A \"b c\"\n!echo $A\nunsetenv A\n!echo ${A:-unset}\necho x | cat\n<! echo echo hi\n",
    );
    assert_eq!(printed, "b c\nunset\nx\nhi\n");
}
