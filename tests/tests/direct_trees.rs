//! The direct reader against the kernel, on whole trees: every file system that is read directly, made by its own
//! tool and filled by the kernel, has every file asked about by every action that reads.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::{Path, PathBuf};

use system_tests::fish;
use system_tests::images;
use system_tests::programs::{peer, run};
use tempfile::TempDir;

/// What the direct reader says when it leaves a question to the appliance.
const ASIDE: &str = "it cannot be answered without an appliance";

/// Actions about one path of a tree, `{}`.
const ABOUT_PATHS: &[&str] = &[
    "exists {}",
    "is-file {} followsymlinks:true",
    "is-dir {}",
    "is-chardev {}",
    "is-blockdev {}",
    "is-fifo {}",
    "is-socket {}",
    "is-symlink {}",
    "stat {}",
    "lstat {}",
    "statns {}",
    "lstatns {}",
    "filesize {}",
    "realpath {}",
    "case-sensitive-path {}",
    "readlink {}",
    "ls {}",
    "ls0 {} -",
    "readdir {}",
    "find {}",
    "find0 {} -",
    "du {}",
    "getxattrs {}",
    "lgetxattrs {}",
    "getxattr {} user.color",
    "lgetxattr {} security.selinux",
    "acl-get-file {} access",
    "acl-get-file {} default",
    "cap-get-file {}",
    "statvfs {}",
    "lstatnslist {} \"same pipe missing 4097 loop-a entry-number-00100\"",
    "lstatnslist {} \"same /etc/hostname\"",
    "lstatlist {} \"a b\"",
    "lxattrlist {} \"same pipe missing 4097\"",
    "readlinklist {} \"loop-a same relative missing\"",
    "glob-expand {}/*",
    "download {} - | sha256sum",
    "download-offset {} - 5 40 | sha256sum",
    "pread {} 20 3",
    "cat {}",
    "read-lines {}",
    "head-n 2 {}",
    "head-n -1 {}",
    "tail-n 2 {}",
    "tail-n -1 {}",
    "wc-c {}",
    "wc-l {}",
    "wc-w {}",
    "equal {} /etc/hostname",
    "strings {}",
    "strings-e l {}",
    "hexdump {}",
];

/// Those for which the appliance starts a program, for fewer paths.
const BY_PROGRAMS: &[&str] = &[
    "ll {}",
    "checksum crc {}",
    "checksum md5 {}",
    "checksum sha1 {}",
    "checksum sha256 {}",
    "checksum sha512 {}",
    "checksum md4 {}",
    "checksums-out md5 {} -",
    "checksums-out crc {} -",
    "base64-out {} -",
    "grep line {}",
    "grep ^web {}",
    "egrep 1$ {}",
    "fgrep a.b {}",
    "tar-out {} - | sha256sum",
    "tar-out {} - numericowner:true | sha256sum",
];

/// What is asked about in full on file systems with all that Unix has.
const PATHS: &[&str] = &[
    "/",
    "/etc",
    "/etc/hostname",
    "/etc/os-release",
    "/bin",
    "/missing",
    "/missing/x",
    "/etc/hostname/x",
    "/links",
    "/links/loop-a",
    "/links/dangling",
    "/links/directory",
    "/links/escape",
    "/links/chain-41",
    "/sizes/0",
    "/sizes/1",
    "/sizes/4097",
    "/sizes/65535",
    "/sizes/with-nul",
    "/special",
    "/special/same",
    "/special/secret",
    "/special/pipe",
    "/special/sock",
    "/names",
    "/deep",
    "/empty",
    "/VAR/LOG/syslog",
    "/var/log/syslog",
];

fn asked(actions: &[&str], paths: &[&str]) -> Vec<String> {
    let about = |path: &&str| actions.iter().map(|action| action.replace("{}", path)).collect::<Vec<_>>();
    paths.iter().flat_map(about).collect()
}

/// Disks with one file system each, in order.
struct Disks {
    directory: TempDir,
    images: Vec<PathBuf>,
}

impl Disks {
    fn new() -> Self {
        Disks { directory: tempfile::tempdir().unwrap(), images: Vec::new() }
    }

    fn add(&mut self, mib: u64, make: &[&str]) -> &Path {
        let path = self.directory.path().join(format!("disk{}", self.images.len()));
        images::format(&path, mib, make);
        self.images.push(path);
        self.images.last().unwrap()
    }

    fn tree(&self) -> PathBuf {
        let tree = self.directory.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        images::debian_tree(&tree);
        // Its commands are for debugfs; the kernel makes these here.
        let _ = images::odd_tree(&tree);
        tree
    }

    fn arguments<'a>(&'a self, how: &'a [&'a str]) -> Vec<&'a str> {
        let mut arguments = how.to_vec();
        for image in &self.images {
            arguments.extend(["--format=raw", "-a", image.to_str().unwrap()]);
        }
        arguments
    }

    fn name(index: usize) -> String {
        format!("/dev/sd{}", char::from(b'a' + u8::try_from(index).unwrap()))
    }

    /// Asks both about each disk, mounted by itself, and compares. Returns how many were answered directly. The kernel
    /// makes numbers for files up on the first `unnumbered` disks.
    fn agree(&self, questions: &[Vec<String>], unnumbered: usize) -> (usize, usize) {
        let mut all = Vec::new();
        for (index, questions) in questions.iter().enumerate() {
            all.push("umount-all".to_owned());
            all.push(format!("mount-ro {} /", Self::name(index)));
            all.extend(questions.iter().cloned());
        }
        let ask = |how: &str| {
            let ways = ["--ro", how];
            let arguments = self.arguments(&ways);
            fish::each(&arguments, "run", &all, self.directory.path())
        };
        let (direct, kernel) = (ask("--direct=only"), ask("--direct=never"));
        let mut wrong = Vec::new();
        let mut answered = 0;
        let mut disk = String::new();
        for ((question, direct), kernel) in all.iter().zip(&direct).zip(&kernel) {
            if question.starts_with("mount-ro") {
                disk = question.clone();
            }
            if direct.err.contains(ASIDE) {
                continue;
            }
            answered += 1;
            let without_numbers = |answer: &fish::Answer| {
                let lines = answer.out.split(|byte| *byte == b'\n');
                let shown = |line: &&[u8]| {
                    let line = line.trim_ascii_start();
                    !line.starts_with(b"ino: ") && !line.starts_with(b"st_ino: ")
                };
                (lines.filter(shown).map(<[u8]>::to_vec).collect::<Vec<_>>(), answer.err.clone())
            };
            let is_numbered = !(0..unnumbered).any(|index| disk.contains(&Self::name(index)));
            let same = match is_numbered {
                true => direct == kernel,
                false => without_numbers(direct) == without_numbers(kernel),
            };
            if !same {
                let show = |answer: &fish::Answer| {
                    let out = String::from_utf8_lossy(&answer.out).chars().take(600).collect::<String>();
                    format!("{out:?} {:?}", answer.err.chars().take(300).collect::<String>())
                };
                wrong.push(format!(
                    "{disk}: {question}\n  direct: {}\n  kernel: {}",
                    show(direct),
                    show(kernel)
                ));
            }
        }
        assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
        (answered, all.len())
    }
}

/// Fills a mounted file system by the kernel, with what an archive does not hold.
fn fill(tree: &Path, unix: bool) -> String {
    let tar = tree.with_extension("tar");
    if !tar.exists() {
        // What is sparse stays so: it is copied by itself.
        peer(
            "tar",
            &[
                "-C",
                tree.to_str().unwrap(),
                "--exclude=./sizes/sparse",
                "--exclude=./sizes/beyond-4g",
                "--exclude=./many/*[1-9]",
                "-cf",
                tar.to_str().unwrap(),
                ".",
            ],
        );
    }
    if !unix {
        return "mkdir-p /etc\nwrite /etc/hostname \"web1\\n\"\nmkdir-p /sub/Dir\nwrite /sub/Dir/File.txt \"some text\\nmore\\n\"\n\
                fill 65 70000 /sub/large\nmkdir /empty\nwrite /sub/zero \"\"\n"
            .to_owned();
    }
    format!(
        "tar-in {} /\nmkfifo 0640 /special/pipe\nmknod-b 0660 8 17 /special/disk\nmknod-c 0666 1 3 /special/null\n\
         mknod 0140755 0 0 /special/sock\nwrite /sizes/holes x\ntruncate-size /sizes/holes 3000000\n\
         setxattr user.color red 3 /etc/hostname\nsetxattr user.empty \"\" 0 /etc/hostname\n\
         setxattr trusted.t value 5 /special\nlsetxattr security.selinux label 5 /special/secret\n\
         lsetxattr trusted.link there 5 /links/loop-a\n\
         acl-set-file /special/secret access \"u::rwx,u:1234:r,g::r,m::rx,o::-\"\n\
         acl-set-file /special default \"u::rwx,g::rx,g:77:rw,m::rwx,o::-\"\n\
         chown 1234 70000 /special/same\nchmod 07751 /sizes/4097\nutimens /etc/fstab -5 7 4000000000 999999999\n",
        tar.display()
    )
}

#[test]
fn file_systems_of_unix() {
    let mut disks = Disks::new();
    disks.add(96, &["mkfs.ext4", "-q", "-F"]);
    disks.add(96, &["mkfs.ext3", "-q", "-F", "-b", "1024", "-I", "128"]);
    disks.add(320, &["mkfs.xfs", "-q", "-f"]);
    let tree = disks.tree();
    let mut script = "run\n".to_owned();
    for index in 0..disks.images.len() {
        let filled = fill(&tree, true);
        script.push_str(&format!("mount {} /\n{filled}umount /\n", Disks::name(index)));
    }
    fish::script(&disks.arguments(&["--rw"]), &script);
    let half: Vec<&str> = PATHS.iter().step_by(2).copied().collect();
    let mut questions = asked(ABOUT_PATHS, PATHS);
    let few = ["/etc/hostname", "/special", "/links/directory", "/missing", "/sizes/with-nul", "/names"];
    questions.extend(asked(BY_PROGRAMS, &few));
    questions.extend(["/", "/sizes", "/deep"].map(|path| format!("tar-out {path} - | sha256sum")));
    // What lies above the top of a guest is nothing of it.
    questions.retain(|question| question != "ll /");
    // The older ext is read by the same code as the newer one.
    let older = asked(ABOUT_PATHS, &half);
    let (answered, all) = disks.agree(&[questions.clone(), older, questions], 0);
    assert!(answered * 10 > all * 9, "only {answered} of {all} questions were answered directly");
}

/// What NTFS has more than FAT.
const OF_NTFS: &str = "ln-s /etc/hostname /link\nln /sub/large /again\nmkfifo 0644 /pipe\nmknod-c 0666 1 3 /null\n\
                       write /日本語name x\nsetxattr user.color red 3 /etc/hostname\nmkdir-p /sub/many\n\
                       write /sub/holes x\ntruncate-size /sub/holes 3000000\n";

#[test]
fn other_file_systems() {
    let mut disks = Disks::new();
    let tree = disks.tree();
    disks.add(64, &["mkfs.vfat", "-F", "32"]);
    disks.add(64, &["mkntfs", "-Q", "-F", "-q", "-p", "0", "-H", "0", "-S", "0"]);
    let mut script = "run\n".to_owned();
    let plain = fill(&tree, false);
    script.push_str(&format!(
        "mount /dev/sda /\n{plain}umount /\nmount /dev/sdb /\n{plain}{OF_NTFS}umount /\n"
    ));
    fish::script(&disks.arguments(&["--rw"]), &script);
    let small = disks.directory.path().join("small");
    std::fs::create_dir(&small).unwrap();
    images::debian_tree(&small);
    std::fs::hard_link(small.join("etc/hostname"), small.join("etc/again")).unwrap();
    let from = small.to_str().unwrap();
    for (name, program) in [
        ("squashfs", "mksquashfs FROM TO -quiet -no-progress"),
        ("erofs", "mkfs.erofs --quiet TO FROM"),
        ("iso", "xorriso -outdev TO -map FROM / -report_about FATAL"),
    ] {
        let path = disks.directory.path().join(name);
        let line = program.replace("FROM", from).replace("TO", path.to_str().unwrap());
        peer("sh", &["-c", &format!("{line} >/dev/null 2>&1")]);
        disks.images.push(path);
    }
    let dos = ["/", "/etc", "/etc/hostname", "/sub", "/sub/Dir/File.txt", "/SUB/dir/FILE.TXT", "/sub/large"];
    let windows = [
        "/",
        "/etc",
        "/etc/hostname",
        "/link",
        "/again",
        "/SUB/dir/FILE.TXT",
        "/sub/large",
        "/pipe",
        "/$MFTMirr",
        "/$Extend",
        "/日本語name",
    ];
    let unix = ["/", "/etc", "/etc/hostname", "/etc/again", "/bin", "/etc/os-release", "/missing"];
    let of = |paths: &[&str]| {
        let mut questions = asked(ABOUT_PATHS, paths);
        questions.extend(asked(BY_PROGRAMS, &paths[1..4]));
        questions.push("tar-out / - | sha256sum".to_owned());
        questions
    };
    let questions = [of(&dos), of(&windows), of(&unix), of(&unix), of(&unix)];
    let (answered, all) = disks.agree(&questions, 1);
    assert!(answered * 10 > all * 7, "only {answered} of {all} questions were answered directly");
}

/// Questions about devices and volumes need no appliance where there are none of the kind.
#[test]
fn volumes_that_are_not_there() {
    let mut disks = Disks::new();
    let path = disks.add(16, &["mkfs.ext4", "-q", "-F"]).to_str().unwrap().to_owned();
    let lines = "run\nlvs\nvgs\npvs\nlist-md-devices\nlist-dm-devices\nlist-ldm-volumes\nis-lv /dev/sda\n\
                 blockdev-getsz /dev/vda\nblockdev-getro /dev/sda\nis-whole-device /dev/sda\ndevice-index /dev/sda\n\
                 device-name 0\ncanonical-device-name /dev/hda\nget-umask\nchecksum-device crc /dev/sda\n\
                 pread-device /dev/sda 2 1080\n-device-name 1\n";
    let answer = |how| {
        let output = fish::script(&["--ro", how, "--format=raw", "-a", &path], lines);
        (output.out, output.err, output.code)
    };
    assert_eq!(answer("--direct=only"), answer("--direct=never"));
    // Both choices hold for the other tools as well.
    let tool = |how: &str, more: &[&str]| {
        run("virt-ls", &[&["-v", how, "--format=raw", "-a", &path, "-m", "/dev/sda"], more].concat())
    };
    let direct = tool("--direct=only", &["/"]);
    let told = String::from_utf8_lossy(&direct.stderr);
    assert!(direct.status.success() && told.contains("ls: read from the disks"), "{told}");
    let refused = tool("--direct=only", &["-l", "/missing/../.."]);
    assert!(!refused.status.success());
}
