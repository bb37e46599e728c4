//! virt-ls, virt-copy-out, virt-tar-out and virt-diff: the lines that they print, and that both ways to a guest give
//! the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use system_tests::images;
use system_tests::programs::{output_of, peer, run, run_in};
use tempfile::TempDir;

struct Guest {
    directory: TempDir,
}

impl Guest {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let guest = Guest { directory };
        let tree = guest.path("tree");
        std::fs::create_dir(&tree).unwrap();
        images::debian_tree(&tree);
        std::fs::write(tree.join("etc/a,b \"c\""), "x").unwrap();
        std::fs::write(tree.join("var/log/text"), "one\ntwo\nthree\n").unwrap();
        std::fs::write(tree.join("var/log/bytes"), [0, 1, 2]).unwrap();
        peer("chmod", &["-R", "u=rwX,go=rX", tree.to_str().unwrap()]);
        images::ext(&guest.path("disk"), 24, &["mkfs.ext4"], &tree, "");
        guest
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Changes an image without any system's clock in it.
    fn change(image: &Path, commands: &str) {
        let mut child = Command::new("debugfs")
            .args(["-w", "-f", "-", image.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

const WAYS: [&str; 2] = ["--direct=only", "--direct=never"];

#[test]
fn lists_have_the_columns_that_were_asked_for() {
    let guest = Guest::new();
    let disk = guest.path("disk");
    let times =
        ["atime", "mtime", "ctime"].map(|field| format!("sif /etc/hostname {field} 20010203040506\n"));
    Guest::change(
        &disk,
        &format!("{}sif /etc/hostname uid 1000\nsif /etc/fstab size 20000\n", times.concat()),
    );
    let disk = disk.to_str().unwrap();
    for way in WAYS {
        let list = |options: &[&str], directory: &str| {
            let arguments = [&[way, "--format=raw", "-a", disk, "-lR"], options, &[directory]].concat();
            output_of("virt-ls", &arguments)
        };
        let plain = list(&[], "/etc");
        assert!(plain.starts_with("d 0755       "), "{way} {plain}");
        assert!(plain.contains("\n- 0644          5 /etc/hostname\n"), "{way} {plain}");
        assert!(plain.contains("\nl 0777         19 /etc/mtab -> ../proc/self/mounts\n"), "{way} {plain}");
        let line = |options: &[&str], end: &str| {
            let all = list(options, "/etc");
            let found = all.lines().find(|line| line.ends_with(end)).map(str::to_owned);
            found.unwrap_or_else(|| panic!("{way} {options:?} {end}: {all}"))
        };
        assert_eq!(line(&["-h"], "fstab"), "- 0644        20K /etc/fstab");
        assert_eq!(line(&["--uids"], "hostname"), "- 0644          5 1000    0 /etc/hostname");
        let seconds = "  981173106";
        assert_eq!(
            line(&["--time-t"], "hostname"),
            format!("- 0644          5{} /etc/hostname", seconds.repeat(3))
        );
        let sum = peer("sh", &["-c", "printf 'web1\\n' | sha1sum"]);
        let sum = sum.split(' ').next().unwrap();
        assert_eq!(line(&["--checksum=sha1"], "hostname"), format!("- 0644          5 {sum} /etc/hostname"));
        assert!(line(&["--extra-stats"], "hostname").ends_with(" 1 0:0 2 /etc/hostname"), "{way}");
        assert_eq!(line(&["--csv"], "\"\"\""), "-,0644,1,\"/etc/a,b \"\"c\"\"\"");
        assert_eq!(line(&["--csv", "--checksum"], "mounts"), "l,0777,19,,/etc/mtab,../proc/self/mounts");
        // What is not there does not hide the rest.
        let both = run("virt-ls", &[way, "--format=raw", "-a", disk, "/missing", "/home"]);
        assert_eq!((both.status.code(), &both.stdout[..]), (Some(1), &b"user\n"[..]), "{way} {both:?}");
    }
    for wrong in [
        &["-h", "/"][..],
        &["--csv", "-l", "/"],
        &["-lR", "--csv", "-h", "/"],
        &["-lR", "--checksum=md4", "/"],
    ] {
        let output = run("virt-ls", &[&["--format=raw", "-a", disk], wrong].concat());
        assert!(!output.status.success() && output.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn files_and_trees_are_copied_out() {
    let guest = Guest::new();
    let disk = guest.path("disk");
    let mut archives = Vec::new();
    for way in WAYS {
        let to = guest.path(way);
        std::fs::create_dir(&to).unwrap();
        let arguments = [way, "--format=raw", "-a", disk.to_str().unwrap()];
        let copy = [&arguments[..], &["/var", "/etc/hostname", "."]].concat();
        let done = run_in(&to, "virt-copy-out", &copy);
        assert!(done.status.success(), "{way} {done:?}");
        peer("diff", &["-r", guest.path("tree/var").to_str().unwrap(), to.join("var").to_str().unwrap()]);
        assert_eq!(std::fs::read(to.join("hostname")).unwrap(), b"web1\n");
        let archive = to.join("all.tar");
        let pack = [&arguments[..], &["/", archive.to_str().unwrap()]].concat();
        output_of("virt-tar-out", &pack);
        archives.push(std::fs::read(&archive).unwrap());
        let unpacked = to.join("unpacked");
        std::fs::create_dir(&unpacked).unwrap();
        peer("tar", &["-C", unpacked.to_str().unwrap(), "--no-same-owner", "-xf", archive.to_str().unwrap()]);
        std::fs::remove_dir(unpacked.join("lost+found")).unwrap();
        peer(
            "diff",
            &["-r", "--no-dereference", guest.path("tree").to_str().unwrap(), unpacked.to_str().unwrap()],
        );
        let missing = run_in(&to, "virt-copy-out", &[&arguments[..], &["/missing", "."]].concat());
        assert_eq!(missing.status.code(), Some(1), "{way}");
        let nowhere = run_in(&to, "virt-copy-out", &[&arguments[..], &["/etc", "nowhere"]].concat());
        assert!(String::from_utf8_lossy(&nowhere.stderr).contains("is not a directory"), "{way}");
    }
    assert!(archives[0] == archives[1], "the archives differ");
}

#[test]
fn guests_are_compared() {
    let guest = Guest::new();
    let (old, new) = (guest.path("disk"), guest.path("new"));
    std::fs::copy(&old, &new).unwrap();
    let text = guest.path("text");
    std::fs::write(&text, "one\n2\nthree\nfour\n").unwrap();
    // The inode of what is removed is taken by what is added.
    Guest::change(
        &new,
        &format!(
            "rm /etc/debian_version\nrm /var/log/text\nwrite {} /var/log/text\nmkdir /etc/new\n\
             sif /etc/hostname mode 0100600\nea_set /etc/fstab user.color red\nsif /var/log/bytes mtime 20010203040506\n",
            text.display()
        ),
    );
    Guest::change(&old, "sif /var/log/text ctime 20010203040506\n");
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let diff = |way: &str, more: &[&str]| {
        output_of("virt-diff", &[&[way, "--format=raw", "-a", old, "-A", new], more].concat())
    };
    for way in WAYS {
        let plain = diff(way, &[]);
        let expected = "\
            - - 0644          5 /etc/debian_version\n\
            - - 0644        172 /etc/fstab\n\
            + - 0644        172 /etc/fstab\n\
            # changed: xattrs\n\
            - - 0644          5 /etc/hostname\n\
            + - 0600          5 /etc/hostname\n\
            # changed: st_mode\n\
            + d 0755       1024 /etc/new\n\
            = - 0644          3 /var/log/bytes\n\
            @@ End of diff @@\n\
            = - 0644         14 /var/log/text\n\
            @@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n\
            @@ End of diff @@\n";
        // Sizes that depend on the tree and the tools are not the point.
        let without_sizes = |text: &str| {
            let fields = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
                [mark @ ("+" | "-" | "="), kind, mode, _, path] => format!("{mark} {kind} {mode} {path}"),
                _ => line.to_owned(),
            };
            text.lines().map(fields).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(without_sizes(&plain), without_sizes(expected), "{way}");
        assert_eq!(diff(way, &["--checksum"]).matches("/var/log/bytes").count(), 2, "{way}");
        let csv = diff(way, &["--csv", "--xattrs", "--time-t"]);
        assert!(csv.contains("/etc/fstab,user.color,red\n#,changed:,xattrs\n"), "{way} {csv}");
        assert!(!csv.contains("@@"), "{way} {csv}");
        // A guest does not differ from itself.
        let same = output_of("virt-diff", &[way, "--format=raw", "-a", old, "-A", old, "--all"]);
        assert_eq!(same, "", "{way}");
    }
    let one = run("virt-diff", &["--format=raw", "-a", old]);
    assert_eq!(one.status.code(), Some(1));
}
