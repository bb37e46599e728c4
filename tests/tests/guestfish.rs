//! guestfish as scripts and people drive it; what it did is judged by other tools.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use system_tests::fish::{Ran, at_home, command, feed, output_of, script};
use system_tests::images::{self, Table};
use system_tests::programs::{output_of as run_tool, peer, program, run};
use tempfile::TempDir;

/// A directory for a test, with an ext4 file system in the raw image `disk`.
struct Scratch {
    directory: TempDir,
}

impl Scratch {
    fn new() -> Self {
        let scratch = Scratch { directory: tempfile::tempdir().unwrap() };
        images::format(&scratch.path("disk"), 24, &["mkfs.ext4", "-q", "-F"]);
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs a script with the disk mounted, in this directory.
    fn run(&self, lines: &str) -> Ran {
        let disk = self.text("disk");
        let mut command = command(&["--format=raw", "-a", &disk, "-m", "/dev/sda"]);
        at_home(&mut command, self.directory.path());
        feed(command.current_dir(self.directory.path()), lines.as_bytes())
    }

    /// The same; it must succeed in silence.
    fn output(&self, lines: &str) -> String {
        let ran = self.run(lines);
        assert!(ran.code == Some(0) && ran.err.is_empty(), "{lines}: {ran:?}");
        ran.text().to_owned()
    }

    /// The same; it must fail. Returns what it printed and what it complained about.
    fn failure(&self, lines: &str) -> (String, String) {
        let ran = self.run(lines);
        assert_eq!(ran.code, Some(1), "{lines}: {ran:?}");
        (ran.text().to_owned(), ran.err)
    }

    fn debugfs(&self, request: &str) -> String {
        peer("debugfs", &["-R", request, &self.text("disk")])
    }

    fn check(&self) {
        peer("e2fsck", &["-fn", &self.text("disk")]);
    }
}

/// Partitions, file systems and files made by a script, judged by the tools of the system.
fn build_a_disk(backend: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let disk = path("disk.qcow2");
    run_tool("img", &["create", "-q", "-f", "qcow2", &disk, "100M"]);
    std::fs::create_dir_all(directory.path().join("from/below")).unwrap();
    std::fs::write(directory.path().join("from/below/file"), "copied in\n").unwrap();
    std::fs::write(directory.path().join("up"), vec![7; 3 << 20]).unwrap();
    let lines = format!(
        "run\npart-init /dev/sda gpt\npart-add /dev/sda p 2048 4095\npart-add /dev/sda p 4096 69631\n\
         part-add /dev/sda p 69632 -34\npart-set-name /dev/sda 2 \"the boot part\"\n\
         part-set-gpt-type /dev/sda 1 21686148-6449-6E6F-744E-656564454649\npart-set-bootable /dev/sda 2 true\n\
         mkfs ext2 /dev/sda2 label:boot blocksize:1024\nmkfs ext4 /dev/sda3\nset-label /dev/sda3 root\n\
         set-uuid /dev/sda3 11111111-2222-3333-4444-555555555555\nmount /dev/sda3 /\nmkdir-p /boot\nmount /dev/sda2 /boot\n\
         write /boot/kernel elf\nmkdir-mode /root 0700\nwrite /root/secret \"a\\tb\\x41\\n\"\nchmod 0600 /root/secret\n\
         chown 10 20 /root/secret\nln-s ../root/secret /boot/link\nln /root/secret /hard\n\
         copy-in {} /root\nupload {} /up\ntruncate-size /up 2M\nfill 97 10 /filled\nwrite-append /filled \" more\"\n\
         umount /boot\numount-all\n",
        path("from"),
        path("up")
    );
    let backend = format!("--backend={backend}");
    assert_eq!(output_of(&[&backend, "-a", &disk], &lines), "");

    peer("qemu-img", &["check", "-q", &disk]);
    let raw = path("raw");
    peer("qemu-img", &["convert", "-O", "raw", &disk, &raw]);
    let table = peer("sgdisk", &["-p", "-v", "-i", "2", &raw]);
    assert!(table.contains("No problems found") && table.contains("the boot part"), "{table}");
    // "Bootable" with a GUID table: what firmware starts from.
    assert!(table.contains("(EFI system partition)"), "{table}");
    assert!(peer("sgdisk", &["-i", "1", &raw]).contains("21686148-6449-6E6F-744E-656564454649"));
    let boot = images::part_of(Path::new(&raw), 1);
    let root = images::part_of(Path::new(&raw), 2);
    let (boot, root) = (boot.to_str().unwrap(), root.to_str().unwrap());
    for part in [boot, root] {
        peer("e2fsck", &["-fn", part]);
    }
    let tag = |tag: &str, part: &str| peer("blkid", &["-p", "-o", "value", "-s", tag, part]);
    assert_eq!((tag("TYPE", boot), tag("LABEL", boot)), ("ext2\n".into(), "boot\n".into()));
    assert_eq!((tag("TYPE", root), tag("LABEL", root)), ("ext4\n".into(), "root\n".into()));
    assert_eq!(tag("UUID", root), "11111111-2222-3333-4444-555555555555\n");
    let read = |request: &str, part: &str| peer("debugfs", &["-R", request, part]);
    assert_eq!(read("cat /kernel", boot), "elf");
    assert_eq!(read("cat /root/secret", root), "a\tbA\n");
    assert_eq!(read("cat /root/from/below/file", root), "copied in\n");
    assert_eq!(read("cat /filled", root), "aaaaaaaaaa more");
    let stat = read("stat /root/secret", root);
    assert!(stat.contains("Mode:  0600") && stat.contains("Links: 2"), "{stat}");
    assert!(stat.contains("User:    10") && stat.contains("Group:    20"), "{stat}");
    assert!(read("stat /link", boot).contains("Fast link dest: \"../root/secret\""));
    assert!(read("stat /up", root).contains("Size: 2097152"));
}

#[test]
fn a_disk_is_built_on_the_default_back_end() {
    build_a_disk("auto");
}

#[test]
fn a_disk_is_built_under_emulation() {
    build_a_disk("tcg");
}

#[test]
fn results_are_printed_by_their_kind() {
    let scratch = Scratch::new();
    let printed = scratch.output(
        "mkdir /d\nwrite /d/f \"one\\ntwo\\n\"\ntouch /d/g\n\
         echo int\nfilesize /d/f\necho bool\nis-dir /d\nexists /x\necho string\ncat /d/f\necho list\nls /d\nhead-n 1 /d/f\n\
         echo hash\nlist-filesystems\nmountpoints\necho bytes\nread-file /d/f\necho octal\numask 0027\nget-umask\n",
    );
    assert_eq!(
        printed,
        "int\n8\nbool\ntrue\nfalse\nstring\none\ntwo\n\nlist\nf\ng\none\nhash\n/dev/sda: ext4\n/dev/sda: /\n\
         bytes\none\ntwo\noctal\n022\n027\n"
    );
    let stat = scratch.output("chmod 0640 /d/f\nstat /d/f\n");
    let field = |name: &str| stat.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
    assert_eq!((field("mode"), field("size"), field("nlink")), ("33184", "8", "1"), "{stat}");
    let list = scratch.output("readdir /d\n");
    assert!(list.starts_with("[0] = {\n  ino: ") && list.contains("}\n[1] = {\n"), "{list}");
    assert!(list.contains("  ftyp: r\n  name: g\n}\n"), "{list}");

    images::disk(&scratch.path("disk"), Table::Logical, &[None, None]);
    let disk = scratch.text("disk");
    let lines = "run\npart-get-mbr-id /dev/sda 1\npart-list /dev/sda\npart-get-parttype /dev/sda\n";
    let printed = output_of(&["--format=raw", "-a", &disk], lines);
    assert!(printed.starts_with("0x83\n[0] = {\n  part_num: 1\n  part_start: 1048576\n"), "{printed}");
    assert!(printed.ends_with("}\nmsdos\n"), "{printed}");
}

#[test]
fn words_quotes_and_numbers() {
    let scratch = Scratch::new();
    let printed = scratch.output(
        "  # a comment\n\n   echo  a   b\necho \"a  b\" 'c  \"d\\n'\necho \"tab\\there\\x21\\041\"\n\
         echo excludes:\"*.txt\" ~ ~/x a~\nLIST-devices\nlist_devices\nwrite /n \"1\\n2\\n3\\n4\\n5\\n6\\n7\\n8\\n9\\n10\\n11\\n12\\n\"\n\
         tail-n +2 /n\ntail-n -11 /n\nhead-n -10 /n\ntruncate-size /n 1K\nfilesize /n\nchmod 0x1ed /n\nwrite /\\x41 literal\nls /\n",
    );
    let home = scratch.directory.path().display();
    assert_eq!(
        printed,
        format!(
            "a b\na  b c  \"d\\n\ntab\there!!\nexcludes:\"*.txt\" {home} {home}/x a~\n/dev/sda\n/dev/sda\n\
             11\n12\n11\n12\n1\n2\n1024\n\\x41\nlost+found\nn\n"
        )
    );
    assert!(scratch.debugfs("stat /n").contains("Mode:  0755"));
    for (line, complaint) in [
        ("echo \"open", "guestfish: unterminated double quote\n"),
        ("echo 'open", "guestfish: unterminated single quote\n"),
        ("echo \"a\"b", "guestfish: command arguments not separated by whitespace\n"),
        ("echo \"\\x00\"", "guestfish: a string cannot hold a NUL character\n"),
        ("chmod x /n", "chmod: mode: invalid integer parameter 'x'\n"),
        ("truncate-size /n 99999999999999999999", "truncate-size: size: integer out of range\n"),
        (
            "is-file /n followsymlinks:perhaps",
            "guestfish: 'perhaps': invalid boolean value, use 'true' or 'false'\n",
        ),
        ("is-file /n follow:true", "is-file: unknown optional argument \"follow\"\n"),
        (
            "ls relative",
            "*stdin*:1: libguestfs: error: ls: directory: 'relative': path must start with a / character\n",
        ),
    ] {
        assert_eq!(scratch.failure(line).1, complaint, "{line}");
    }
}

#[test]
fn errors_stop_scripts_unless_told_otherwise() {
    let scratch = Scratch::new();
    let (out, err) = scratch.failure("echo before\n\ncat /missing\necho after\n");
    assert_eq!(out, "before\n");
    assert_eq!(err, "*stdin*:3: libguestfs: error: cat: /missing: No such file or directory\n");
    let ran = scratch.run("-cat /missing\n- cat /missing\necho after\n");
    assert_eq!((ran.code, ran.text()), (Some(0), "after\n"));
    assert_eq!(
        ran.err,
        "*stdin*:1: libguestfs: error: cat: /missing: No such file or directory\n*stdin*:2: libguestfs: error: cat: /missing: No such file or directory\n"
    );
    // The lines of a here document count.
    let (_, err) = scratch.failure("upload -<<END /h\none\ntwo\nEND\nxyzzy\n");
    assert_eq!(err, "xyzzy: unknown command\n");
    let (_, err) = scratch.failure("mout /dev/sda /\n");
    assert_eq!(err, "mout: unknown command\nDid you mean 'mount'?\n");
    let (_, err) = scratch.failure("ls\n");
    assert_eq!(
        err,
        "error: incorrect number of arguments\nusage: ls directory\ntype 'help ls' for more help on ls\n"
    );
    let (_, err) = scratch.failure("lcd\n");
    assert_eq!(err, "use 'lcd directory' to change local directory\n");
    // What ran before an error is on the disk.
    scratch.failure("write /kept yes\nxyzzy\n");
    assert_eq!(scratch.debugfs("cat /kept"), "yes");
    scratch.check();
    // From a file, its name stands in front.
    let (file, disk) = (scratch.text("script"), scratch.text("disk"));
    std::fs::write(&file, "echo fine\ncat /missing\n").unwrap();
    let ran = script(&["--format=raw", "-a", &disk, "-m", "/dev/sda", "-f", &file], "");
    assert_eq!((ran.code, ran.text()), (Some(1), "fine\n"));
    assert_eq!(ran.err, format!("{file}:2: libguestfs: error: cat: /missing: No such file or directory\n"));
    let ran = script(&["-f", "/no/such/script"], "");
    assert!(ran.code == Some(1) && ran.err.contains("/no/such/script"), "{ran:?}");
    // Before the launch, and without disks.
    let ran = script(&["--format=raw", "-a", &disk], "ls /\n");
    assert!(
        ran.err.starts_with("*stdin*:1: libguestfs: error: ls: call launch before using this function\n"),
        "{ran:?}"
    );
    let ran = script(&[], "run\n");
    assert_eq!(
        ran.err,
        "*stdin*:1: libguestfs: error: you must call guestfs_add_drive before guestfs_launch\n"
    );
    let ran = script(&["-a", "/no/such/disk"], "run\n");
    assert!(ran.code == Some(1) && ran.err.contains("/no/such/disk"), "{ran:?}");
}

#[test]
fn commands_on_the_command_line() {
    let scratch = Scratch::new();
    let disk = scratch.text("disk");
    let run = |commands: &[&str]| {
        let ran = run("guestfish", &[&["--format=raw", "-a", &disk, "-m", "/dev/sda"], commands].concat());
        (Ran::from(ran.clone()).code, Ran::from(ran.clone()).text().to_owned(), Ran::from(ran).err)
    };
    let (code, out, err) =
        run(&["write", "/a b", "x  y", ":", "cat", "/a b", ":", "-cat", "/missing", ":", "ls", "/"]);
    assert_eq!((code, out.as_str()), (Some(0), "x  y\na b\nlost+found\n"));
    assert_eq!(err, "*stdin*:0: libguestfs: error: cat: /missing: No such file or directory\n");
    let (code, out, err) = run(&["ls", "/missing", ":", "echo", "not reached"]);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (Some(1), "", "*stdin*:0: libguestfs: error: ls: /missing: No such file or directory\n")
    );
    let (code, out, _) = run(&["--", "-rm", "/missing", ":", "glob", "echo", "/a*", "/dev/sd?"]);
    assert_eq!((code, out.as_str()), (Some(0), "/a b /dev/sda\n"));
    // Options show what they do.
    let ran = Ran::from(system_tests::programs::run(
        "guestfish",
        &["-x", "--ro", "-a", &disk, "run", ":", "list-devices"],
    ));
    assert!(
        ran.err.contains("libguestfs: trace: list_devices = [\"/dev/sda\"]\n") && ran.text() == "/dev/sda\n",
        "{ran:?}"
    );
    let ran = Ran::from(system_tests::programs::run(
        "guestfish",
        &["--ro", "-a", &disk, "-m", "/dev/sda", "write", "/new", "x"],
    ));
    assert!(ran.code == Some(1) && ran.err.contains("Read-only file system"), "{ran:?}");
}

#[test]
fn the_host_is_at_hand() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("below")).unwrap();
    let printed = scratch.output(
        "!echo from the host\n<! echo echo generated; echo 'write /made \"by a program\"'\ncat /made | tr a-z A-Z\n\
         write /lines \"b\\na\\nb\\n\"\ncat /lines | sort -u | tail -n 1\nlcd below\n!basename $(pwd)\n\
         download /made here\n!cat here\n!echo\ndownload /made - | tr a-z A-Z\n!echo\nupload -<<END /heredoc\nno $expansion \"here\"\n\
         END\ncat /heredoc\nls / | head -n 1\nfind / | cat | wc -l\ntime echo timed | sed 's/[0-9.]* seconds/T/'\n",
    );
    assert_eq!(
        printed,
        "from the host\ngenerated\nBY A PROGRAM\nb\nbelow\nby a program\nBY A PROGRAM\nno $expansion \"here\"\n\nheredoc\n\
         4\ntimed\nelapsed time: T\n"
    );
    let (_, err) = scratch.failure("!exit 3\n");
    assert_eq!(err, "");
    let (_, err) = scratch.failure("upload -<<END /x\nnever ends\n");
    assert_eq!(err, "*stdin*:1: libguestfs: error: unexpected end of file while looking for 'END'\n");
    let (_, err) = scratch.failure("upload /no/such/file /x\n");
    assert_eq!(err, "*stdin*:1: libguestfs: error: open: /no/such/file: No such file or directory\n");
    let (_, err) = scratch.failure("download /made /no/such/directory/x\n");
    assert_eq!(err, "*stdin*:1: libguestfs: error: /no/such/directory/x: No such file or directory\n");
    // A reader that leaves early, while much is printed.
    assert_eq!(scratch.output("fill 97 3000000 /much\ncat /much | head -c 3\necho\n"), "aaa\n");
    // A device that is full.
    let ran = scratch.run("download /much /dev/full\n");
    assert!(ran.code == Some(1) && ran.err.contains("No space left on device"), "{ran:?}");
    scratch.check();
}

#[test]
fn wildcards_name_files_and_devices() {
    let scratch = Scratch::new();
    let printed = scratch.output(
        "mkdir /d\ntouch /d/a.c\ntouch /d/b.c\ntouch /d/c.h\nmkdir /d/e.c\ntouch \"/d/x y.c\"\ntouch /d/.c\n\
         glob echo /d/*.c\nglob echo /d/[ab].? /nothing/* plain\nglob echo /dev/sd*\nglob rm-f /d/[ab].c\n-glob rmdir /d/e*\nls /d\n",
    );
    let expected = "/d/a.c\n/d/b.c\n/d/e.c/\n/d/x y.c\n/d/a.c /nothing/* plain\n/d/b.c /nothing/* plain\n/dev/sda\n.c\nc.h\nx y.c\n";
    assert_eq!(printed, expected);
}

#[test]
fn trees_are_copied_in_and_out() {
    let scratch = Scratch::new();
    let tree = scratch.path("tree");
    std::fs::create_dir(&tree).unwrap();
    images::debian_tree(&tree);
    std::fs::create_dir(scratch.path("out")).unwrap();
    assert_eq!(
        scratch.output(
            "mkdir /in\ncopy-in tree /in\ncopy-out /in/tree /in/tree/etc/hostname out\ncopy-out / out\n\
             tar-out /in/tree tree.tar\nmkdir /again\ntar-in tree.tar /again\ncat /again/etc/hostname\n"
        ),
        "web1\n\n"
    );
    let text = |name: &str| scratch.text(name);
    for copy in ["out/tree", "out/in/tree"] {
        peer("diff", &["-r", "--no-dereference", &text("tree"), &text(copy)]);
    }
    assert_eq!(std::fs::read_to_string(scratch.path("out/hostname")).unwrap(), "web1\n");
    let listed = peer("tar", &["-tf", &text("tree.tar")]);
    assert!(listed.contains("./etc/fstab\n"), "{listed}");
    assert_eq!(scratch.debugfs("cat /again/etc/debian_version"), "13.2\n");
    for (line, complaint) in [
        ("copy-out /missing out", "‘/missing’ is not a file or directory"),
        ("copy-out /in nowhere", "target ‘nowhere’ is not a directory"),
        ("copy-in missing /in", "source ‘missing’ does not exist (or cannot be read)"),
        ("copy-in tree /missing", "target ‘/missing’ is not a directory"),
        ("copy-in tree", "use 'copy-in <local>"),
    ] {
        let (_, err) = scratch.failure(line);
        assert!(err.contains(complaint), "{line}: {err}");
    }
    assert!(!scratch.path("out/missing").exists());
    scratch.check();
}

#[test]
fn files_are_edited_in_place() {
    let scratch = Scratch::new();
    scratch.output("mkdir /etc\nwrite /etc/conf \"port=1\\n\"\nchmod 0604 /etc/conf\nchown 7 8 /etc/conf\nln-s etc/conf /link\n");
    let edit = |editor: &str, line: &str| {
        let disk = scratch.text("disk");
        let mut command = command(&["--format=raw", "-a", &disk, "-m", "/dev/sda"]);
        feed(command.env("EDITOR", editor), format!("{line}\n").as_bytes())
    };
    let ran = edit("sed -i s/1/22/", "edit /link");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(scratch.debugfs("cat /etc/conf"), "port=22\n");
    let stat = scratch.debugfs("stat /etc/conf");
    assert!(stat.contains("Mode:  0604") && stat.contains("User:     7   Group:     8"), "{stat}");
    assert!(scratch.debugfs("stat /link").contains("Type: symlink"));
    let inode = |stat: &str| stat.split_whitespace().nth(1).unwrap().to_owned();
    // Nothing changed: nothing is written.
    assert_eq!(edit("true", "edit /etc/conf").code, Some(0));
    assert_eq!(inode(&scratch.debugfs("stat /etc/conf")), inode(&stat));
    let ran = edit("false", "edit /etc/conf");
    assert!(ran.code == Some(1) && ran.err.contains("edit: 'false' failed"), "{ran:?}");
    let ran = edit("true", "edit /missing");
    assert!(ran.code == Some(1) && ran.err.contains("/missing: No such file or directory"), "{ran:?}");
    assert_eq!(scratch.output("find /etc\n"), "conf\n");
    assert_eq!(scratch.output("more /etc/conf\n"), "port=22\n");
    scratch.check();
}

#[test]
fn images_are_made_by_the_shell() {
    let scratch = Scratch::new();
    let (sparse, full) = (scratch.text("sparse"), scratch.text("full"));
    let lines = format!(
        "sparse {sparse} 10M\nalloc {full} 1M\nadd-ro {}\nrun\nlist-devices\nblockdev-getsize64 /dev/sdb\nblockdev-getsize64 /dev/sda\n\
         mount-ro /dev/sdc /\nls /\nshutdown\n",
        scratch.text("disk")
    );
    let ran = script(&[], &lines);
    assert_eq!(
        (ran.code, ran.text()),
        (Some(0), "/dev/sda\n/dev/sdb\n/dev/sdc\n1048576\n10485760\nlost+found\n"),
        "{ran:?}"
    );
    use std::os::unix::fs::MetadataExt;
    let sizes = |path: &str| std::fs::metadata(path).map(|m| (m.size(), m.blocks() * 512)).unwrap();
    assert_eq!(sizes(&sparse).0, 10 << 20);
    assert!(sizes(&sparse).1 < 1 << 20);
    assert!(sizes(&full).1 >= 1 << 20);
}

#[test]
fn help_is_there() {
    let list = run_tool("guestfish", &["-h"]);
    assert!(list.lines().count() > 150 && list.contains("\nadd-drive "), "{list}");
    assert!(list.contains("list-filesystems"), "{list}");
    let page = run_tool("guestfish", &["-h", "tail-n"]);
    assert!(
        page.starts_with("NAME\n    tail-n - ") && page.contains("SYNOPSIS\n     tail-n nrlines path\n"),
        "{page}"
    );
    assert_eq!(page, output_of(&[], "help tail_n\n"));
    assert!(run_tool("guestfish", &["-h", "vi"]).contains("'vi' and 'emacs'"), "aliases are explained");
    let ran = Ran::from(run("guestfish", &["-h", "mout"]));
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "mout: command not known: use -h to list all commands\nDid you mean 'mount'?\n")
    );
    assert!(run_tool("guestfish", &["--help"]).contains("--inspector"));
    assert!(run_tool("guestfish", &["--version"]).starts_with("guestfish "));
    let ran = Ran::from(run("guestfish", &["--no-such-option"]));
    assert!(ran.code == Some(1) && ran.out.is_empty() && !ran.err.is_empty(), "{ran:?}");
    // Every command that is listed has its page.
    let commands: String = list
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next())
        .filter(|c| !c.is_empty() && !c.starts_with('\''))
        .map(|c| format!("help {c}\n"))
        .collect();
    let pages = output_of(&[], &commands);
    assert_eq!(pages.lines().filter(|line| *line == "SYNOPSIS").count(), commands.lines().count());
}

/// Types a line at every prompt, as somebody at a terminal would; returns what was shown.
fn at_terminal(terminal: &mut Command, lines: &[&str]) -> String {
    let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    let mut typed = lines.iter();
    let mut prompts = 0;
    loop {
        match screen.read(&mut buffer).unwrap() {
            0 => break,
            count => shown.extend_from_slice(&buffer[..count]),
        }
        // The prompt is drawn anew with every key: what counts is that it waits for input after an output.
        let ready = String::from_utf8_lossy(&shown).matches("\x1b[?2004h").count();
        if ready > prompts
            && let Some(line) = typed.next()
        {
            prompts = ready;
            keys.write_all(line.as_bytes()).unwrap();
        }
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&shown).replace('\r', "")
}

/// Somebody at a terminal: the prompt, errors that do not end it, completion, history.
#[test]
fn a_session_at_a_terminal() {
    let scratch = Scratch::new();
    scratch.output("mkdir /directory\nwrite /directory/file \"in the file\\n\"\n");
    let line = format!(
        "{} --ro --format=raw -a {} -m /dev/sda",
        program("guestfish").display(),
        scratch.text("disk")
    );
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-e", "-c", &line, "/dev/null"]);
    at_home(&mut terminal, scratch.directory.path()).env("TERM", "xterm");
    let lines = [
        "cat /missing\n",
        "list-filesy\t\n",
        "cat /dire\tfi\t\n",
        "echo still here\n",
        "vfs-type /dev/sd\t\n",
        "quit\n",
    ];
    let shown = at_terminal(&mut terminal, &lines);
    for expected in [
        "Welcome to guestfish",
        // In red, which tells it from what was asked for.
        "\x1b[31mlibguestfs: error: cat: /missing: No such file or directory\x1b[0m\n",
        "/dev/sda: ext4\n",
        "in the file\n",
        "still here\n",
        "\next4\n",
    ] {
        assert!(shown.contains(expected), "{expected:?} in {shown}");
    }
    let history = std::fs::read_to_string(scratch.path(".guestfish")).unwrap();
    assert!(history.contains("list-filesystems") && history.contains("cat /directory/file"), "{history}");
    // The next session begins with what was typed in this one: the key up, twice.
    let shown = at_terminal(&mut terminal, &["\x1b[A\x1b[A\n", "quit\n"]);
    assert!(shown.contains("\next4\n"), "{shown}");
}

/// Inspection mounts the system as its own table says.
#[test]
fn a_system_is_found_and_mounted() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (tree, boot) = (path("tree"), path("boot-tree"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::create_dir(&boot).unwrap();
    images::debian_tree(&tree);
    images::boot_tree(&boot);
    images::ext(&path("root"), 24, &["mkfs.ext4", "-U", images::ROOT_UUID], &tree, "");
    images::ext(&path("boot"), 8, &["mkfs.ext4", "-L", images::BOOT_LABEL], &boot, "");
    images::disk(&path("disk"), Table::Gpt, &[Some(&path("boot")), Some(&path("root"))]);
    let overlay = images::overlay(&path("disk"));
    let overlay = overlay.to_str().unwrap();
    let lines = "mountpoints\ncat /boot/grub/grub.cfg\n";
    let expected = "/dev/sda2: /\n/dev/sda1: /boot\nset timeout=5\n\n";
    for how in [&["--ro"][..], &["--ro", "--direct=never"], &["--rw"]] {
        assert_eq!(output_of(&[how, &["-a", overlay, "-i"]].concat(), lines), expected, "{how:?}");
    }
    output_of(&["-a", overlay, "-i"], "write /etc/hostname \"web2\\n\"\nwrite /boot/new x\n");
    peer("qemu-img", &["check", "-q", overlay]);
    let raw = path("flat");
    peer("qemu-img", &["convert", "-O", "raw", overlay, raw.to_str().unwrap()]);
    let root = images::part_of(&raw, 1);
    assert_eq!(peer("debugfs", &["-R", "cat /etc/hostname", root.to_str().unwrap()]), "web2\n");
    // A line in the table whose device is gone is told and does not stop anything.
    output_of(&["-a", overlay, "-i"], "write-append /etc/fstab \"LABEL=gone /srv ext4 defaults 0 0\\n\"\n");
    let ran = script(&["--ro", "-a", overlay, "-i"], lines);
    assert_eq!((ran.code, ran.text()), (Some(0), expected));
    assert!(ran.err.contains("/srv"), "{ran:?}");
}
