//! File systems in the appliance: what needs its kernel, its tools, or a second start; judged by the tools of the
//! system where they can.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::PathBuf;

use system_tests::fish::{output_of, script};
use system_tests::programs::peer;
use tempfile::TempDir;

/// Empty disks of these sizes in MiB.
struct Disks {
    directory: TempDir,
    count: usize,
}

impl Disks {
    fn new(sizes: &[u64]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (index, size) in sizes.iter().enumerate() {
            let file = std::fs::File::create(directory.path().join(index.to_string())).unwrap();
            file.set_len(size << 20).unwrap();
        }
        Disks { directory, count: sizes.len() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--format=raw".to_owned()];
        (0..self.count).for_each(|index| arguments.extend(["-a".to_owned(), self.text(&index.to_string())]));
        arguments
    }

    /// Runs a script that must succeed in silence.
    fn output(&self, lines: &str) -> String {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        output_of(&arguments, &format!("run\n{lines}"))
    }

    /// Runs a script of which the last command must fail; returns what it complained about.
    fn failure(&self, lines: &str) -> String {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = script(&arguments, &format!("run\n{lines}"));
        assert_eq!(ran.code, Some(1), "{lines}: {ran:?}");
        ran.err
    }
}

#[test]
fn swap_is_used_and_given_back() {
    let disks = Disks::new(&[32, 64]);
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    let out = disks.output(&format!(
        "mkswap-L first /dev/sda\nmkfs ext4 /dev/sdb\nmount /dev/sdb /\nmkdir /proc\nmkdir /bin\nmkdir /dev\n\
         upload /bin/busybox /bin/busybox\nchmod 0755 /bin/busybox\nfill 0 10M /swapfile\nmkswap-file /swapfile\n\
         swapon-device /dev/sda\ncommand \"/bin/busybox cat /proc/swaps\"\nswapoff-device /dev/sda\n\
         swapon-label first\nswapon-file /swapfile\ncommand \"/bin/busybox cat /proc/swaps\"\nswapoff-label first\n\
         swapoff-file /swapfile\nmkswap-U {uuid} /dev/sda\nswapon-uuid {uuid}\n\
         command \"/bin/busybox cat /proc/swaps\"\nswapoff-uuid {uuid}\ncommand \"/bin/busybox cat /proc/swaps\"\n"
    ));
    let parts: Vec<&str> = out.split("Filename").collect();
    let areas: Vec<usize> = parts
        .iter()
        .skip(1)
        .map(|part| part.lines().skip(1).filter(|line| !line.is_empty()).count())
        .collect();
    assert_eq!(areas, [1, 2, 1, 0], "{out}");
    assert!(peer("blkid", &["-p", &disks.text("0")]).contains(uuid));
    for (command, words) in [
        ("swapon-label none", "none"),
        ("swapon-device /dev/sdb", "/dev/sdb"),
        ("swapon-uuid 11111111-1111-1111-1111-111111111111", "11111111"),
    ] {
        assert!(disks.failure(command).contains(words));
    }
}

#[test]
fn boot_loaders_are_installed() {
    let disks = Disks::new(&[64, 64]);
    disks.output(
        "part-disk /dev/sda mbr\nmkfs ext2 /dev/sda1\nmount /dev/sda1 /\nmkdir /boot\nextlinux /boot\numount-all\n\
         part-set-bootable /dev/sda 1 true\npart-disk /dev/sdb mbr\nmkfs vfat /dev/sdb1\nmount /dev/sdb1 /\nmkdir /dir\n\
         umount-all\nsyslinux /dev/sdb1 directory:/dir\n",
    );
    let part = |name: &str| system_tests::images::part_of(&disks.path(name), 0);
    let (ext, fat) = (part("0"), part("1"));
    let list = peer("debugfs", &["-R", "ls /boot", ext.to_str().unwrap()]);
    assert!(list.contains("ldlinux.sys") && list.contains("ldlinux.c32"), "{list}");
    // What the master boot record jumps to is the loader's.
    for part in [ext, fat] {
        let start = std::fs::read(part).unwrap();
        let start = start.get(..512).unwrap();
        assert!(start.windows(8).any(|window| window == b"SYSLINUX" || window == b"EXTLINUX"));
        assert_eq!(start.get(510..), Some(&[0x55, 0xaa][..]));
    }
}

#[test]
fn a_btrfs_of_several_devices_is_found_by_the_next_session() {
    let disks = Disks::new(&[200, 200, 200]);
    let out = disks.output(
        "mkfs-btrfs \"/dev/sda /dev/sdb\" datatype:raid0 metadata:raid1 label:pair\nmount /dev/sdb /\nwrite /x there\n\
         btrfs-subvolume-create /sub\nbtrfs-filesystem-show /dev/sda\n",
    );
    assert_eq!(out, "/dev/sda\n/dev/sdb\n");
    // Another start: nobody has told this kernel of the devices.
    let out = disks
        .output("mount /dev/sda /\ncat /x\numount-all\nbtrfs-subvolume-list /dev/sdb\nlist-filesystems\n");
    assert!(out.starts_with("there\n") && out.contains("btrfssubvolume_path: sub"), "{out}");
    let out = disks.output(
        "mount /dev/sda /\nfill 3 20M /big\nsync\nbtrfs-scrub-start /\nsleep 1\nbtrfs-scrub-status /\nbtrfs-scrub-full /\n\
         btrfs-device-add /dev/sdc /\nbtrfs-device-delete /dev/sdb /\nbtrfs-balance /\nbtrfs-balance-status /\n\
         btrfs-filesystem-show /dev/sda\ncat /x\n",
    );
    let value = |name: &str| {
        out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse::<u64>().ok())
    };
    assert!(value("btrfsscrub_data_bytes_scrubbed") >= Some(20 << 20), "{out}");
    assert_eq!((value("btrfsscrub_csum_errors"), value("btrfsbalance_total")), (Some(0), Some(0)));
    assert!(
        out.contains("btrfsbalance_status: none\n") && out.ends_with("/dev/sda\n/dev/sdc\nthere\n"),
        "{out}"
    );
    let damaged = disks.path("0");
    {
        use std::os::unix::fs::FileExt;
        let disk = std::fs::File::options().read(true).write(true).open(&damaged).unwrap();
        let mut bytes = vec![0; 200 << 20];
        disk.read_exact_at(&mut bytes, 0).unwrap();
        // Which of the pages are the file's now and which it left behind when it was moved is not known here.
        let mut damaged = 0;
        for (index, page) in bytes.chunks(4096).enumerate() {
            if page.iter().all(|byte| *byte == 3) {
                disk.write_all_at(&[4; 4096], index as u64 * 4096).unwrap();
                damaged += 1;
            }
        }
        assert!(damaged > 1000, "{damaged}");
    }
    let error = disks.failure("mount /dev/sda /\nbtrfs-scrub-full /\n");
    assert!(error.contains("btrfs_scrub_full: /: "), "{error}");
}

#[test]
fn a_mounted_ext4_grows() {
    let disks = Disks::new(&[128]);
    peer("mkfs.ext4", &["-q", "-F", &disks.text("0"), "32M"]);
    let out = disks.output("mount /dev/sda /\nwrite /x there\nresize2fs /dev/sda\ncat /x\n");
    assert_eq!(out, "there\n");
    peer("e2fsck", &["-fn", &disks.text("0")]);
    assert!(peer("dumpe2fs", &["-h", &disks.text("0")]).contains("Block count:              131072"));
}

#[test]
fn programs_see_what_was_remounted() {
    let disks = Disks::new(&[64]);
    // The tools' root is there before the mount, so they see it through a copy of its own.
    let out = disks.output(
        "mkfs ext4 /dev/sda\nmount-ro /dev/sda /\nremount / rw:true\nwrite /x one\ncp /x /y\ncat /y\n\
         remount / rw:false\n",
    );
    assert_eq!(out, "one\n");
    assert!(
        disks
            .failure("mount-ro /dev/sda /\nremount / rw:true\nremount / rw:false\ncp /x /z\n")
            .contains("Read-only")
    );
    assert!(!peer("debugfs", &["-R", "ls /", &disks.text("0")]).contains(" z"));
}

#[test]
fn a_file_system_in_a_file_is_mounted() {
    let disks = Disks::new(&[128]);
    let inner = disks.text("inner");
    std::fs::File::create(&inner).unwrap().set_len(16 << 20).unwrap();
    peer("mkfs.ext4", &["-q", "-F", &inner]);
    let out = disks.output(&format!(
        "mkfs ext4 /dev/sda\nmount /dev/sda /\nmkdir /mnt\nupload {inner} /image\nmount-loop /image /mnt\n\
         write /mnt/deep down\ncp /mnt/deep /copy\ncat /copy\nmounts\n"
    ));
    assert_eq!(out, "down\n/dev/sda\n/dev/loop0\n");
    let back = disks.text("back");
    let out = disks.output(&format!(
        "mount-ro /dev/sda /\nmount-loop /image /mnt\ncat /mnt/deep\numount /mnt\ndownload /image {back}\n"
    ));
    assert_eq!(out, "down\n");
    peer("e2fsck", &["-fn", &back]);
    assert_eq!(peer("debugfs", &["-R", "cat /deep", &back]), "down");
}

#[test]
fn ntfs_is_resized_cloned_and_read() {
    let disks = Disks::new(&[128, 256]);
    let clone = disks.text("clone");
    let out = disks.output(&format!(
        "mkfs ntfs /dev/sda label:win\nmount /dev/sda /\nwrite /hello world\nmkdir /dir\nwrite /dir/file x\numount-all\n\
         ntfs-3g-probe true /dev/sda\nntfs-3g-probe false /dev/sdb\nntfs-chmod /dev/sda 0640 /dir recursive:true\n\
         ntfsclone-out /dev/sda {clone}\nntfsclone-in {clone} /dev/sdb\nntfsfix /dev/sdb\nntfsresize /dev/sdb force:true\n\
         ntfsresize /dev/sda size:100M force:true\nmount-ro /dev/sdb /\ncat /hello\n"
    ));
    let mut lines = out.lines();
    assert_eq!((lines.next(), lines.next(), lines.next()), (Some("0"), Some("12"), Some("world")), "{out}");
    let info =
        |name: &str| peer("ntfsresize", &["--info", "--force", "--no-progress-bar", &disks.text(name)]);
    assert!(
        info("0").contains("Current volume size: 10485") && info("1").contains("Current volume size: 26843"),
        "{}",
        info("1")
    );
    let boot = peer("ntfscat", &["-f", &disks.text("0"), "/hello"]);
    assert_eq!(boot, "world");
    assert!(peer("ntfssecaudit", &[&disks.text("1"), "/dir/file"]).contains("640"));
    let least: u64 = disks.output("vfs-minimum-size /dev/sda\n").trim().parse().unwrap();
    assert!((1 << 20..100 << 20).contains(&least), "{least}");
    let error = disks.failure("ntfscat-i /dev/sda 99999 -\n");
    assert!(error.contains("ntfscat_i: /dev/sda: "), "{error}");
    assert!(disks.failure("ntfsresize /dev/sda size:1\n").contains("ntfsresize: /dev/sda: "));
}

#[test]
fn exfat_is_written_and_read() {
    let disks = Disks::new(&[64]);
    let out = disks.output(
        "mkfs exfat /dev/sda\nmount /dev/sda /\nmkdir /dir\nwrite /dir/x there\numount-all\nmount-ro /dev/sda /\ncat /dir/x\n",
    );
    assert_eq!(out, "there\n");
    peer("fsck.exfat", &["-n", &disks.text("0")]);
}

#[test]
fn f2fs_grows_with_its_device() {
    let disks = Disks::new(&[200]);
    peer("mkfs.f2fs", &["-q", &disks.text("0"), "200000"]);
    let blocks = || -> String {
        let dump = peer("dump.f2fs", &["-d", "1", &disks.text("0")]);
        dump.lines().find(|line| line.contains("block_count ")).unwrap_or_default().to_owned()
    };
    let before = blocks();
    let out = disks.output(
        "f2fs-expand /dev/sda\nmount /dev/sda /\nwrite /x there\numount-all\nmount-ro /dev/sda /\ncat /x\n",
    );
    assert!(blocks() != before, "{before}");
    assert_eq!(out, "there\n");
}
