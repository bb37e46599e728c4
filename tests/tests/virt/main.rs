//! The virt-* tools on whole guests. What they are expected to say was taken down from libguestfs 1.48.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod df;
mod inspector;
mod system;
mod tail;
mod volumes;
mod windows;

use std::path::{Path, PathBuf};
use std::process::Output;

use system_tests::images::{self, BOOT_LABEL, ROOT_UUID, Table};
use system_tests::programs::{output_of, peer, run};
use tempfile::TempDir;

/// A Debian guest with a boot partition, swap, and 1 MiB for nobody.
struct Guest {
    directory: TempDir,
}

impl Guest {
    fn new(table: Table) -> Self {
        Self::with(table, |_, _| {})
    }

    /// The same with more files in its root and boot file systems.
    fn with(table: Table, fill: impl FnOnce(&Path, &Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let guest = Guest { directory };
        let (tree, boot_tree) = (guest.path("tree"), guest.path("boot-tree"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::create_dir(&boot_tree).unwrap();
        images::debian_tree(&tree);
        images::boot_tree(&boot_tree);
        fill(&tree, &boot_tree);
        images::ext(&guest.path("root"), 24, &["mkfs.ext4", "-U", ROOT_UUID], &tree, "");
        images::ext(&guest.path("boot"), 8, &["mkfs.ext4", "-L", BOOT_LABEL], &boot_tree, "");
        images::format(&guest.path("swap"), 2, &["mkswap", "-q", "-L", "swap,\"1\""]);
        let parts = [None, Some(guest.path("root")), Some(guest.path("boot")), Some(guest.path("swap"))];
        let parts: Vec<Option<&Path>> = parts.iter().map(Option::as_deref).collect();
        images::disk(&guest.path("disk"), table, &parts);
        guest
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn disk(&self) -> String {
        self.path("disk").to_str().unwrap().to_owned()
    }
}

fn fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn files_and_directories_of_a_guest() {
    let guest = Guest::new(Table::Gpt);
    let raw = guest.disk();
    let overlay = images::overlay(&guest.path("disk")).to_str().unwrap().to_owned();
    // The last two must boot an appliance: the answers are the same.
    for how in [&["-a", &overlay][..], &["--format=raw", "-a", &raw], &["--direct=never", "-a", &overlay]] {
        let cat = |files: &[&str]| output_of("virt-cat", &[how, files].concat());
        assert_eq!(cat(&["/etc/hostname", "/etc/debian_version"]), "web1\n13.2\n");
        assert_eq!(cat(&["/var/log/syslog"]), "line 1\nline 2\nno newline at the end");
        // Mounted where the table says, by label; and a link from there.
        assert_eq!(cat(&["/boot/grub/grub.cfg", "/boot/outside"]), "set timeout=5\nweb1\n");
        let ls = |directories: &[&str]| output_of("virt-ls", &[how, directories].concat());
        assert_eq!(ls(&["/etc"]), "debian_version\nfstab\nhostname\nmtab\nos-release\n");
        assert_eq!(ls(&["/var", "/home"]), "log\nuser\n");
        assert_eq!(ls(&["-R", "/usr"]), "bin\nbin/true\nlib\nlib/os-release\n");
        assert!(ls(&["-R", "/"]).lines().any(|line| line == "boot/grub/grub.cfg"));
        let long = ls(&["-l", "/etc"]);
        assert!(long.starts_with("total ") && long.contains("mtab -> ../proc/self/mounts\n"), "{long}");

        let error = fails(&run("virt-cat", &[how, &["/missing"]].concat()));
        assert_eq!(error, "libguestfs: error: download: /missing: No such file or directory\n");
        let error = fails(&run("virt-ls", &[how, &["/etc/hostname"]].concat()));
        assert_eq!(error, "libguestfs: error: ls: /etc/hostname: Not a directory\n");
        let error = fails(&run("virt-cat", &[how, &["/etc"]].concat()));
        assert_eq!(error, "libguestfs: error: download: /etc: Is a directory\n");
    }
}

#[test]
fn mounts_can_be_chosen() {
    let guest = Guest::new(Table::Logical);
    let disk = guest.disk();
    let cat =
        |arguments: &[&str]| output_of("virt-cat", &[&["--format=raw", "-a", &disk], arguments].concat());
    assert_eq!(cat(&["-m", "/dev/sda6", "/grub/grub.cfg"]), "set timeout=5\n");
    assert_eq!(cat(&["-m", "/dev/sda5", "-m", "/dev/sda6:/boot", "/boot/outside"]), "web1\n");
    assert_eq!(cat(&["-m", "/dev/sda5:/:noatime:ext4", "/etc/hostname"]), "web1\n");
    // Two disks are two names.
    let boot = guest.path("boot");
    let both =
        ["--format=raw", "-a", &disk, "-a", boot.to_str().unwrap(), "-m", "/dev/sdb", "/grub/grub.cfg"];
    assert_eq!(output_of("virt-cat", &both), "set timeout=5\n");
    for device in ["/dev/sda9", "/dev/sda7"] {
        let error = fails(&run("virt-cat", &["--format=raw", "-a", &disk, "-m", device, "/x"]));
        assert!(error.starts_with("libguestfs: error: mount_ro: "), "{error}");
        let advice = format!(
            "\nvirt-cat: ‘{device}’ could not be mounted.\n\
             virt-cat: Did you mean to mount one of these filesystems?\n"
        );
        assert!(error.contains(&advice) && error.contains("\nvirt-cat: \t/dev/sda6 (ext4)\n"), "{error}");
    }
}

#[test]
fn systems_that_are_not_there_and_too_many() {
    let guest = Guest::new(Table::Gpt);
    let (disk, boot) = (guest.disk(), guest.path("boot"));
    let error = fails(&run("virt-ls", &["--format=raw", "-a", boot.to_str().unwrap(), "/"]));
    assert!(error.starts_with("virt-ls: no operating system was found on this disk\n"), "{error}");
    let copy = guest.path("copy");
    std::fs::copy(guest.path("root"), &copy).unwrap();
    let two = ["--format=raw", "-a", &disk, "-a", copy.to_str().unwrap(), "/"];
    let error = fails(&run("virt-ls", &two));
    let begin = "virt-ls: multi-boot operating systems are not supported\n";
    assert!(error.starts_with(begin) && error.contains("/dev/sdb, /dev/sda2"), "{error}");
    let error = fails(&run("virt-ls", &["/"]));
    assert!(error.contains("at least one -a or -d option"), "{error}");
    let error = fails(&run("virt-ls", &["-a", "/nonexistent/disk", "/"]));
    assert_eq!(error, "virt-ls: access: /nonexistent/disk: No such file or directory\n");
    let error = fails(&run("virt-ls", &["--format=qcow2", "-a", &disk, "/"]));
    assert!(error.contains("qcow2"), "{error}");
    assert_eq!(fails(&run("virt-cat", &["-a", &disk])), "Try ‘virt-cat --help’ for more information.\n");
}

#[test]
fn command_lines_are_answered_as_getopt_does() {
    for program in [
        "virt-alignment-scan",
        "virt-cat",
        "virt-df",
        "virt-filesystems",
        "virt-get-kernel",
        "virt-inspector",
        "virt-log",
        "virt-tail",
    ] {
        assert!(output_of(program, &["--help"]).contains("--add"), "{program}");
        assert!(output_of(program, &["-V"]).starts_with(program));
        assert!(output_of(program, &["--manual-page"]).contains(".SH OPTIONS\n"), "{program}");
        let hint = format!("Try ‘{program} --help’ for more information.\n");
        let told = |words: &[&str]| fails(&run(program, words));
        assert_eq!(told(&["--nope"]), format!("{program}: unrecognized option '--nope'\n{hint}"));
        assert_eq!(told(&["-a"]), format!("{program}: option requires an argument -- 'a'\n{hint}"));
        let error = told(&["--key", "x:what:y", "-a", "x", "y"]);
        assert!(error.contains("invalid TYPE"), "{error}");
    }
}

#[test]
fn what_the_disks_hold() {
    let guest = Guest::new(Table::Gpt);
    let (disk, bare) = (guest.disk(), guest.path("root"));
    for how in ["--direct=auto", "--direct=never"] {
        let list = |options: &[&str]| {
            let disks = [how, "--format=raw", "-a", &disk, "-a", bare.to_str().unwrap()];
            output_of("virt-filesystems", &[&disks, options].concat())
        };
        assert_eq!(list(&[]), "/dev/sdb\n/dev/sda2\n/dev/sda3\n");
        assert_eq!(list(&["--extra"]), "/dev/sdb\n/dev/sda1\n/dev/sda2\n/dev/sda3\n/dev/sda4\n");
        assert_eq!(list(&["--partitions"]), "/dev/sda1\n/dev/sda2\n/dev/sda3\n/dev/sda4\n");
        assert_eq!(list(&["--block-devices"]), "/dev/sda\n/dev/sdb\n");
        let long = list(&["--long"]);
        // What they have room for, which is less than their devices have.
        let [root, boot] = [room(bare.as_path()), room(&guest.path("boot"))];
        assert_eq!(
            long,
            format!(
                "Name       Type        VFS   Label   Size      Parent\n\
                 /dev/sdb   filesystem  ext4  -       {root}  -\n\
                 /dev/sda2  filesystem  ext4  -       {root}  -\n\
                 /dev/sda3  filesystem  ext4  bootfs  {boot}   -\n"
            )
        );
        let partitions = list(&["-l", "-h", "--no-title", "--partitions"]);
        assert_eq!(partitions.lines().nth(1), Some("/dev/sda2  partition  -  24M   /dev/sda"));
        // UUIDs belong to long lists.
        assert_eq!(list(&["--uuid", "--csv"]), list(&[]));
        let error = fails(&run("virt-filesystems", &["-a", &disk, "-h", "--csv"]));
        assert_eq!(error, "virt-filesystems: you cannot use -h and --csv options together.\n");
        let csv = list(&["--all", "--long", "--csv", "--uuid"]);
        assert!(csv.starts_with("Name,Type,VFS,Label,MBR,Size,Parent,UUID\n"), "{csv}");
        assert!(csv.contains("/dev/sda4,filesystem,swap,\"swap,\"\"1\"\"\",,2097152,,"), "{csv}");
        assert!(csv.contains(&format!("/dev/sdb,filesystem,ext4,,,{root},,{ROOT_UUID}\n")), "{csv}");
        assert!(csv.contains("/dev/sda,device,,,,"), "{csv}");
    }
    // Types of a master boot record, with its container.
    let guest = Guest::new(Table::Logical);
    let disk = guest.disk();
    let list = |how: &str| {
        output_of(
            "virt-filesystems",
            &[how, "--format=raw", "-a", &disk, "--partitions", "--long", "--csv", "--no-title"],
        )
    };
    let direct = list("--direct=auto");
    assert_eq!(direct, list("--direct=never"));
    let dump = peer("sfdisk", &["-d", &disk]);
    assert_eq!(
        dump.lines().filter(|line| line.contains("start=")).count(),
        direct.lines().count(),
        "{direct}"
    );
    assert!(
        direct.starts_with("/dev/sda1,partition,83,1048576,/dev/sda\n/dev/sda2,partition,05,1024,/dev/sda\n"),
        "{direct}"
    );
}

/// A reader that has seen enough is not an error.
#[test]
fn a_closed_pipe_is_no_error() {
    let guest = Guest::new(Table::Gpt);
    let program = system_tests::programs::program("virt-ls");
    let line =
        format!("set -o pipefail; {} --format=raw -a {} -R / | head -n 1", program.display(), guest.disk());
    assert_eq!(peer("bash", &["-c", &line]), "bin\n");
}

/// What an ext file system has room for, in bytes: its blocks without those that hold its own tables, as the kernel
/// counts them.
fn room(filesystem: &Path) -> u64 {
    let told = peer("dumpe2fs", &["-h", filesystem.to_str().unwrap()]);
    let number = |name: &str| -> u64 {
        let line =
            told.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {told}"));
        line.split(':').nth(1).unwrap().trim().parse().unwrap()
    };
    (number("Block count") - number("Overhead clusters")) * number("Block size")
}
