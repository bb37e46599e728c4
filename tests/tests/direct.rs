//! The direct reader against the kernel: whatever it answers, the appliance answers the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use system_tests::fish::{self, Answer};
use system_tests::images::{self, BOOT_LABEL, ROOT_UUID, Table};
use system_tests::programs::{peer, run};
use tempfile::TempDir;

/// What the direct reader says when it leaves a question to the appliance.
const ASIDE: &str = "it cannot be answered without an appliance";

/// Paths that lead to the odd parts of the tree, and nowhere.
fn paths() -> Vec<String> {
    let mut paths: Vec<String> = [
        "/",
        "//",
        "/.",
        "/..",
        "/../..",
        "/etc",
        "/etc/",
        "/etc/.",
        "/etc/hostname",
        "/etc/hostname/",
        "/etc/hostname/.",
        "/etc/hostname/..",
        "/etc/hostname/x",
        "//etc///hostname",
        "/etc/./hostname",
        "/etc/../etc/hostname",
        "/../../etc/hostname",
        "/missing",
        "/missing/",
        "/missing/x",
        "/missing/..",
        "/bin",
        "/bin/",
        "/bin/true",
        "/bin/../bin/true",
        "/etc/mtab",
        "/proc",
        "/boot",
        "/boot/",
        "/boot/..",
        "/boot/../etc/hostname",
        "/boot/vmlinuz",
        "/boot/outside",
        "/boot/outside-relative",
        "/boot/grub/grub.cfg",
        "/boot/missing",
        "/many",
        "/many/entry-number-00000",
        "/many/entry-number-02999",
        "/many/entry-number-x",
        "/empty",
        "/special",
        "/special/pipe",
        "/special/disk",
        "/special/null",
        "/special/secret",
        "/special/same",
        "/special/pipe/x",
        "/names/-dash",
        "/names/...",
        "/lost+found",
        "/links/chain-40",
        "/links/chain-41",
        "/links/loop-a",
        "/links/loop-a/x",
        "/links/self",
        "/links/self/",
    ]
    .map(str::to_owned)
    .into();
    for link in [
        "absolute",
        "relative",
        "escape",
        "escape-absolute",
        "directory",
        "directory-slash",
        "root",
        "dangling",
        "dangling-further",
        "file-slash",
        "through-file",
        "here",
        "up",
        "other-file-system",
        "there-and-back",
        "long",
    ] {
        paths.extend(["", "/", "/.", "/..", "/hostname"].map(|end| format!("/links/{link}{end}")));
    }
    paths.extend([0, 1, 59, 60, 61, 4096, 4097, 65_535, 300_000].map(|size| format!("/sizes/{size}")));
    paths.extend(["with-nul", "sparse", "beyond-4g"].map(|name| format!("/sizes/{name}")));
    paths.push(format!("/names/{}", "x".repeat(255)));
    paths.push(format!("/names/{}", "x".repeat(256)));
    paths.push(format!("/{}", "long/".repeat(900)));
    paths.push(format!("/deep/{}bottom", "level/".repeat(40)));
    for odd in
        [r"new\nline", r"\xff\xfe not UTF-8", r"back\\slash", " blank ", r#"quote\"'"#, r"tab\t", "[a]*?"]
    {
        paths.push(format!("/names/{odd}"));
    }
    paths
}

/// Every question that the direct reader knows, about every path.
fn questions() -> Vec<String> {
    let actions = [
        "exists",
        "is-file",
        "is-dir",
        "is-symlink",
        "realpath",
        "readlink",
        "ls",
        "filesize",
        "cat",
        "read-file",
    ];
    let mut all = Vec::new();
    for path in paths() {
        for action in actions {
            // Reading pipes and devices waits for whoever is at their other end.
            let reads = ["cat", "read-file"].contains(&action);
            if reads && ["pipe", "null", "disk"].iter().any(|name| path.ends_with(name)) {
                continue;
            }
            all.push(format!("{action} \"{path}\""));
        }
        for action in ["is-file", "is-dir"] {
            all.push(format!("{action} \"{path}\" followsymlinks:true"));
        }
    }
    for path in [
        "/",
        "/etc",
        "/links",
        "/names",
        "/deep",
        "/boot",
        "/empty",
        "/missing",
        "/etc/hostname",
        "/links/directory",
    ] {
        all.push(format!("find {path}"));
    }
    for path in
        ["/sizes/1500001", "/sizes/sparse", "/etc/hostname", "/links/escape", "/links/loop-a", "/missing"]
    {
        all.push(format!("download {path} - | sha256sum"));
    }
    all
}

/// Questions about the devices of a guest.
fn device_questions(disks: &[&str], partitions: u32) -> Vec<String> {
    let mut all: Vec<String> =
        ["list-devices", "list-partitions", "list-filesystems", "nr-devices", "mounts", "mountpoints"]
            .map(str::to_owned)
            .into();
    let mut devices: Vec<String> = disks.iter().map(|disk| format!("/dev/{disk}")).collect();
    devices.extend((1..=partitions).map(|number| format!("/dev/sda{number}")));
    devices.extend(["/dev/sdq", "/dev/sda99", "/dev/vda", "/dev/vda1", "/dev/sda01"].map(str::to_owned));
    for device in devices {
        for action in [
            "vfs-type",
            "vfs-label",
            "vfs-uuid",
            "blockdev-getsize64",
            "blockdev-getss",
            "part-list",
            "part-get-parttype",
            "part-to-dev",
            "part-to-partnum",
        ] {
            all.push(format!("{action} {device}"));
        }
    }
    all
}

/// Asks both and compares; returns how many of the questions the direct reader answered.
fn agree(drives: &[&Path], before: &str, questions: &[String]) -> usize {
    let scratch = TempDir::new().unwrap();
    let ask = |how: &str| -> Vec<Answer> {
        let mut arguments = vec!["--ro", how];
        for drive in drives {
            let is_raw = drive.extension().is_none();
            arguments.extend([
                if is_raw { "--format=raw" } else { "--format" },
                "-a",
                drive.to_str().unwrap(),
            ]);
        }
        fish::each(&arguments, before, questions, scratch.path())
    };
    let (direct, kernel) = (ask("--direct=only"), ask("--direct=never"));
    let mut wrong = Vec::new();
    let mut answered = 0;
    for ((question, direct), kernel) in questions.iter().zip(&direct).zip(&kernel) {
        if direct.err.contains(ASIDE) {
            continue;
        }
        answered += 1;
        if direct != kernel {
            let show = |answer: &Answer| {
                let out = String::from_utf8_lossy(&answer.out).chars().take(300).collect::<String>();
                format!("{out:?} {:?}", answer.err.chars().take(300).collect::<String>())
            };
            wrong.push(format!("{question:.200}\n  direct: {}\n  kernel: {}", show(direct), show(kernel)));
        }
    }
    assert!(wrong.is_empty(), "{before}: {} disagreements:\n{}", wrong.len(), wrong.join("\n"));
    answered
}

struct Made {
    directory: TempDir,
}

impl Made {
    /// A root and a boot file system, in the files `root` and `boot`.
    fn new(root: &[&str], boot: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = Made { directory };
        let (tree, boot_tree) = (made.path("tree"), made.path("boot-tree"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::create_dir(&boot_tree).unwrap();
        images::debian_tree(&tree);
        let debugfs = images::odd_tree(&tree);
        images::boot_tree(&boot_tree);
        images::ext(&made.path("root"), 96, &[root, &["-U", ROOT_UUID]].concat(), &tree, &debugfs);
        images::ext(&made.path("boot"), 16, &[boot, &["-L", BOOT_LABEL]].concat(), &boot_tree, "");
        made
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

/// Most of these are answered directly: an optimisation that never answers would agree as well.
fn check_most(answered: usize, asked: usize) {
    assert!(answered * 10 >= asked * 8, "only {answered} of {asked} questions were answered directly");
}

#[test]
fn ext4_and_ext2_on_gpt() {
    let made = Made::new(&["mkfs.ext4"], &["mkfs.ext2"]);
    let disk = made.path("disk");
    images::disk(&disk, Table::Gpt, &[Some(&made.path("root")), None, Some(&made.path("boot"))]);
    let questions = questions();
    let mounts = "run\nmount-ro /dev/sda1 /\nmount-ro /dev/sda3 /boot";
    check_most(agree(&[&disk], mounts, &questions), questions.len());
    let devices = device_questions(&["sda"], 4);
    check_most(agree(&[&disk], mounts, &devices), devices.len());
}

#[test]
fn ext3_and_plain_ext4_on_logical_partitions_of_qcow2() {
    let made = Made::new(&["mkfs.ext3"], &["mkfs.ext4", "-O", "^64bit,^metadata_csum"]);
    let raw = made.path("disk");
    images::disk(&raw, Table::Logical, &[None, Some(&made.path("root")), Some(&made.path("boot"))]);
    let disk = images::overlay(&raw);
    let questions = questions();
    let mounts = "run\nmount-ro /dev/sda5 /\nmount-ro /dev/sda6 /boot";
    check_most(agree(&[&disk], mounts, &questions), questions.len());
    let devices = device_questions(&["sda"], 6);
    check_most(agree(&[&disk], mounts, &devices), devices.len());
}

#[test]
fn small_blocks_and_bare_disks() {
    let made = Made::new(&["mkfs.ext4", "-b", "1024"], &["mkfs.ext3", "-b", "2048", "-I", "128"]);
    let root = images::overlay(&made.path("root"));
    let drives: [&Path; 2] = [&root, &made.path("boot")];
    let questions = questions();
    let mounts = "run\nmount-ro /dev/sda /\nmount-ro /dev/sdb /boot";
    check_most(agree(&drives, mounts, &questions), questions.len());
    let devices = device_questions(&["sda", "sdb"], 1);
    agree(&drives, mounts, &devices);
}

#[test]
fn mounts_are_made_and_undone_as_by_the_kernel() {
    let made = Made::new(&["mkfs.ext4"], &["mkfs.ext4"]);
    let disk = made.path("disk");
    images::disk(&disk, Table::Gpt, &[Some(&made.path("root")), Some(&made.path("boot"))]);
    let lines = [
        "cat /etc/hostname",
        "mount-ro /dev/sda2 /boot",
        "umount /",
        "umount /dev/sda1",
        "mounts",
        "mount-ro /dev/sda1 /",
        "mount-ro /dev/sda2 /missing",
        "mount-ro /dev/sda2 /etc/hostname",
        "mount-ro /dev/sda2 relative",
        "mount-ro /dev/sda9 /boot",
        "mount-ro /dev/sdx /boot",
        "mount-ro /dev/sda2 /links/up/boot",
        "mountpoints",
        "ls /boot",
        "umount /",
        "umount /etc",
        "umount /boot/grub",
        "umount /missing",
        "ls /boot",
        "cat /boot/outside",
        "umount /boot/",
        "ls /boot",
        "mount-ro /dev/sda2 /home",
        "ls /home",
        "umount /dev/sda2",
        "ls /home",
        "mount-ro /dev/sda2 /",
        "ls /",
        "cat /etc/hostname",
        "mounts",
        "umount /",
        "ls /",
        "umount-all",
        "mounts",
        "ls /",
        "exists /",
        "find /",
        "readlink /x",
    ]
    .map(str::to_owned);
    let answered = agree(&[&disk], "run", &lines);
    assert!(answered > 15, "{answered}");
}

#[test]
fn a_file_beyond_4_gib_is_read_whole() {
    let made = Made::new(&["mkfs.ext4"], &["mkfs.ext2"]);
    let root = made.path("root");
    let root = root.to_str().unwrap();
    let original = made.path("tree/sizes/beyond-4g");
    let script = format!(
        "run\nmount-ro /dev/sda /\ndownload /sizes/beyond-4g - | cmp - {} && echo the same\n",
        original.display()
    );
    assert_eq!(fish::output_of(&["--ro", "--direct=only", "-a", root], &script), "the same\n");
}

/// The journal of a file system whose machine was killed: read directly as the kernel sees it after replay.
fn journal_is_replayed(make: &[&str]) {
    let made = Made::new(make, &["mkfs.ext2"]);
    let root = made.path("root");
    let shown = root.to_str().unwrap();
    // The file in the journal when the power goes: names new, gone and moved, files grown and cut.
    let mut script = String::from("run\nmount /dev/sda /\n");
    for round in 0..20 {
        script.push_str(&format!(
            "mkdir /new-{round}\nwrite /new-{round}/file \"{}\"\n",
            "text".repeat(round * 40)
        ));
    }
    script.push_str("rm /etc/hostname\nmv /sizes/300000 /moved\nwrite /etc/fstab new\ntruncate-size /sizes/1500001 70000\n");
    script.push_str(
        "rm-rf /many\nln-s /moved /links/new\nsync\nwrite /after-sync lost\nrm /moved\n!kill -9 $PPID\n",
    );
    let ran = fish::script(&["--format=raw", "-a", shown], &script);
    assert_eq!(ran.code, None, "it was killed: {ran:?}");
    let features = peer("dumpe2fs", &["-h", shown]);
    assert!(features.contains("needs_recovery"), "{features}");

    let mut questions = questions();
    questions
        .extend(["find /", "cat /moved", "cat /links/new", "cat /etc/fstab", "ls /new-7"].map(str::to_owned));
    questions.extend(["download /sizes/1500001 - | sha256sum", "exists /after-sync"].map(str::to_owned));
    questions.extend((0..20).map(|round| format!("cat /new-{round}/file")));
    let before = peer("sha256sum", &[shown]);
    let mounts = "run\nmount-ro /dev/sda /";
    check_most(agree(&[&root], mounts, &questions), questions.len());
    assert_eq!(peer("sha256sum", &[shown]), before, "a read-only guest was written");
    // A third opinion: e2fsck replays, debugfs reads.
    let moved = "download /moved - | sha256sum";
    let ours = fish::output_of(&["--ro", "--direct=only", "-a", shown], &format!("{mounts}\n{moved}\n"));
    let checked = std::process::Command::new("e2fsck").args(["-fy", shown]).output().unwrap();
    assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
    let copy = made.path("copy");
    peer("debugfs", &["-R", &format!("dump /moved {}", copy.display()), shown]);
    let theirs = peer("sha256sum", &[copy.to_str().unwrap()]);
    assert_eq!(ours.split(' ').next(), theirs.split(' ').next());
}

#[test]
fn the_journal_of_ext4_is_replayed() {
    journal_is_replayed(&["mkfs.ext4"]);
}

/// Journals that the direct reader does not know are left to the appliance, not ignored.
#[test]
fn a_journal_of_another_kind_is_not_ignored() {
    for make in [&["mkfs.ext3"][..], &["mkfs.ext4", "-O", "fast_commit"]] {
        let made = Made::new(make, &["mkfs.ext2"]);
        let root = made.path("root");
        let shown = root.to_str().unwrap();
        let script = "run\nmount /dev/sda /\nwrite /new content\nrm /etc/hostname\nsync\n!kill -9 $PPID\n";
        fish::script(&["--format=raw", "-a", shown], script);
        assert!(peer("dumpe2fs", &["-h", shown]).contains("needs_recovery"));
        let output =
            fish::output_of(&["--ro", "-a", shown, "-m", "/dev/sda"], "cat /new\nexists /etc/hostname\n");
        assert_eq!(output, "content\nfalse\n", "{make:?}");
    }
}

/// What the direct reader does not know is served all the same.
#[test]
fn other_file_systems_go_to_the_appliance() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    let shown = path.to_str().unwrap();
    for (make, mib) in [
        (&["mkfs.xfs", "-q", "-f"][..], 320),
        (&["mkfs.btrfs", "-q", "-f"], 128),
        (&["mkfs.vfat"], 64),
        (&["mkfs.ext4", "-q", "-F", "-O", "inline_data"], 32),
    ] {
        images::format(&path, mib, make);
        let write = "mkdir-p /a/b\nwrite /a/b/file \"text\\n\"\nwrite /small x\n";
        fish::output_of(&["--format=raw", "-a", shown, "-m", "/dev/sda"], write);
        let read = "find /a\ncat /a/b/file\nfilesize /small\nexists /a/c\nvfs-type /dev/sda\n";
        let auto = fish::output_of(&["--ro", "-a", shown, "-m", "/dev/sda"], read);
        let never = fish::output_of(&["--ro", "--direct=never", "-a", shown, "-m", "/dev/sda"], read);
        assert_eq!(auto, never, "{make:?}");
        assert!(auto.starts_with("b\nb/file\ntext\n\n1\nfalse\n"), "{make:?} {auto}");
    }
}

/// An appliance that takes over mounts as was asked for: what is written to a read-only drive goes nowhere, but works.
#[test]
fn a_guest_that_is_written_to_after_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    images::format(&path, 32, &["mkfs.ext4", "-q", "-F"]);
    let shown = path.to_str().unwrap();
    let before = std::fs::read(&path).unwrap();
    let lines =
        "run\nmount /dev/sda /\nls /\ntouch /new\nls /\numount /\nmount-ro /dev/sda /\n-touch /newer\nls /\n";
    let ran = fish::script(&["--ro", "--format=raw", "-a", shown], lines);
    assert_eq!(ran.text(), "lost+found\nlost+found\nnew\nlost+found\nnew\n");
    assert!(ran.err.contains("touch: /newer: Read-only file system"), "{}", ran.err);
    assert!(std::fs::read(&path).unwrap() == before, "the drive was to be left alone");
}

/// Tables of partitions that are not as they should be: what the kernel makes of them counts.
#[test]
fn odd_partition_tables() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    let shown = path.to_str().unwrap().to_owned();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    images::format(&one, 8, &["mkfs.ext4", "-q", "-F", "-L", "one"]);
    images::format(&two, 8, &["mkfs.ext2", "-q", "-F", "-L", "two"]);
    let parts = [None, Some(&*one), Some(&*two), Some(&*one), Some(&*two)];
    let make = |table| images::disk(&path, table, &parts);
    let questions = device_questions(&["sda"], 8);
    let check = |what: &str| {
        eprintln!("{what}");
        agree(&[&path], "run", &questions)
    };
    let poke = |at: u64, bytes: &[u8]| {
        File::options().write(true).open(&path).unwrap().write_all_at(bytes, at).unwrap()
    };
    let size = || std::fs::metadata(&path).unwrap().len();

    make(Table::Gpt);
    assert!(check("a whole table") > 40);
    poke(1024 + 40, &[0xff; 8]);
    check("damaged entries, a sound backup");
    make(Table::Gpt);
    poke(446 + 4, &[0]);
    check("no protective record");
    make(Table::Gpt);
    peer("sfdisk", &["-q", "--delete", &shown, "2", "4"]);
    assert!(check("gaps in the numbers") > 40);
    make(Table::Gpt);
    File::options().write(true).open(&path).unwrap().set_len(size() - (9 << 20)).unwrap();
    check("a disk that was cut");

    // An old GUID table is left behind when a disk gets a master boot record by a careless program.
    make(Table::Gpt);
    let mut first = [0; 66];
    first[4] = 0x83;
    first[8..12].copy_from_slice(&4096_u32.to_le_bytes());
    first[12..16].copy_from_slice(&4096_u32.to_le_bytes());
    first[64..].copy_from_slice(&[0x55, 0xaa]);
    poke(446, &first);
    check("a stale GUID table");

    make(Table::Logical);
    assert!(check("logical partitions") > 40);
    peer("sfdisk", &["-q", "--delete", &shown, "6"]);
    assert!(check("a logical partition removed") > 40);
    make(Table::Logical);
    File::options().write(true).open(&path).unwrap().set_len(size() - (9 << 20)).unwrap();
    check("logical partitions on a disk that was cut");
    make(Table::Logical);
    poke(446 + 4, &[0]);
    check("a partition of type 0");
    poke(446 + 4, &[0xc5]);
    check("a partition that calls itself extended by an old name");

    images::disk(&path, Table::Gpt, &[]);
    assert!(check("a table without partitions") > 10);
    images::disk(&path, Table::Logical, &[]);
    assert!(check("a record without partitions") > 10);
    images::format(&path, 8, &["true"]);
    assert!(check("a blank disk") > 10);
    poke(1 << 20, b"something");
    check("not quite blank");
    images::format(&path, 8, &["mkfs.minix"]);
    check("a file system that is known to few");
    images::format(&path, 64, &["mkfs.vfat", "-n", "LABEL"]);
    check("a file system whose boot sector looks like a table");
    images::format(&path, 8, &["mkswap", "-q"]);
    check("swap");
    let mut luks = b"LUKS\xba\xbe\0\x01aes\0".to_vec();
    luks.resize(168, 0);
    luks.extend(b"12345678-1234-1234-1234-123456789abc\0\0\0\0");
    images::format(&path, 8, &["true"]);
    poke(0, &luks);
    check("an encrypted disk");
}

/// The verbose option says who answered and why.
#[test]
fn who_answered_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    images::format(&path, 16, &["mkfs.ext4", "-q", "-F"]);
    let shown = path.to_str().unwrap();
    let output = run("guestfish", &["-v", "--ro", "-a", shown, "-m", "/dev/sda", "stat", "/", ":", "df"]);
    let error = String::from_utf8_lossy(&output.stderr);
    let told = ["stat: read from the disks, without an appliance", "df: the appliance answers, because"];
    assert!(output.status.success() && told.iter().all(|line| error.contains(line)), "{error}");
}
