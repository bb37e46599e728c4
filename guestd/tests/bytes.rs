//! Zeroes, discards, compressed copies, archives and images, judged by the tools of this machine.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::actions::archive::{CpioOutOptions, MksquashfsOptions};
use guestd_api::actions::compress::{CompressDeviceOutOptions, CompressOutOptions};
use guestd_api::prelude::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Command, Stdio};
use support::{Agent, MIB, message, output};

/// What a program makes of bytes; it must succeed.
fn through(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A program that saw enough closes its input early.
    let _ = feeder.join().unwrap();
    assert!(output.status.success(), "{program} {args:?}");
    output.stdout
}

#[test]
fn zeroes_are_found_and_written() {
    let agent = Agent::with_disks(&[8 * MIB, 40 * MIB]);
    let g = &agent.client;
    let disk = || fs::read(&agent.loops.first().unwrap().file).unwrap();
    assert!(g.is_zero_device("/dev/sda").unwrap());
    let node = fs::File::options().write(true).open(agent.node(0)).unwrap();
    for at in [0, 131_071, 131_072, (8 << 20) - 1] {
        node.write_all_at(&[1], at).unwrap();
    }
    node.sync_all().unwrap();
    assert!(!g.is_zero_device("/dev/sda").unwrap());
    g.zero("/dev/sda").unwrap();
    let left: Vec<usize> =
        disk().iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    assert_eq!(left, [131_072, (8 << 20) - 1]);
    g.zero_device("/dev/sda").unwrap();
    assert!(disk().iter().all(|byte| *byte == 0) && g.is_zero_device("/dev/sda").unwrap());

    g.mkfs("ext4", "/dev/sdb", Default::default()).unwrap();
    g.mount("/dev/sdb", "/").unwrap();
    g.touch("/empty").unwrap();
    g.touch("/hole").unwrap();
    g.truncate_size("/hole", 5 << 20).unwrap();
    agent.make_fifo("/fifo");
    assert!(g.is_zero("/empty").unwrap() && g.is_zero("/hole").unwrap());
    g.pwrite("/hole", "x", (5 << 20) - 1).unwrap();
    assert!(!g.is_zero("/hole").unwrap());
    assert_eq!(message(g.is_zero("/none")), "is_zero: open: /none: No such file or directory");
    assert_eq!(message(g.is_zero("/fifo")), "is_zero: open: /fifo: not a regular file");

    // Data that was removed is still on the disk until free space is zeroed.
    g.fill_pattern("SECRET--", 4 << 20, "/secret").unwrap();
    g.sync().unwrap();
    g.rm("/secret").unwrap();
    g.sync().unwrap();
    let secrets = || {
        let disk = fs::read(&agent.loops.get(1).unwrap().file).unwrap();
        disk.windows(8).filter(|window| *window == b"SECRET--").count()
    };
    assert!(secrets() > 1000);
    g.zero_free_space("/").unwrap();
    assert_eq!(secrets(), 0);
    assert_eq!(g.ls("/").unwrap(), ["empty", "fifo", "hole", "lost+found"]);
    assert!(message(g.zero_free_space("/hole")).contains("Not a directory"));
    assert!(message(g.zero_free_space("/none")).contains("No such file"));
    g.remount("/", guestd_api::actions::mount::RemountOptions::default().rw(false)).unwrap();
    assert_eq!(message(g.zero_free_space("/")), "zero_free_space: /: Read-only file system");
}

#[test]
fn data_is_made_unreadable() {
    let agent = Agent::with_disks(&[40 * MIB, 2 * MIB]);
    let g = &agent.client;
    let node = fs::File::options().write(true).open(agent.node(1)).unwrap();
    node.write_all_at(&b"SECRET--".repeat(1000), 4096).unwrap();
    node.sync_all().unwrap();
    g.scrub_device("/dev/sdb").unwrap();
    let disk = fs::read(&agent.loops.get(1).unwrap().file).unwrap();
    assert!(!disk.windows(8).any(|window| window == b"SECRET--"));
    g.mkfs("ext4", "/dev/sda", Default::default()).unwrap();
    g.mount("/dev/sda", "/").unwrap();
    g.fill_pattern("SECRET--", 1 << 20, "/secret").unwrap();
    g.sync().unwrap();
    g.scrub_file("/secret").unwrap();
    assert!(!g.exists("/secret").unwrap());
    g.sync().unwrap();
    let disk = fs::read(&agent.loops.first().unwrap().file).unwrap();
    assert!(!disk.windows(8).any(|window| window == b"SECRET--"));
    agent.make_fifo("/fifo");
    assert_eq!(message(g.scrub_file("/fifo")), "scrub_file: /fifo: not a regular file");
    g.scrub_freespace("/filled").unwrap();
    assert!(message(g.scrub_freespace("/fifo")).starts_with("scrub_freespace: /fifo: "));
}

#[test]
fn block_devices_are_discarded_and_adjusted() {
    let agent = Agent::with_disks(&[16 * MIB]);
    let g = &agent.client;
    let file = &agent.loops.first().unwrap().file;
    let node = fs::File::options().write(true).open(agent.node(0)).unwrap();
    node.write_all_at(&vec![1; 8 << 20], 0).unwrap();
    node.sync_all().unwrap();
    assert!(fs::metadata(file).unwrap().blocks() >= 16384);
    g.blkdiscard("/dev/sda").unwrap();
    assert_eq!(fs::metadata(file).unwrap().blocks(), 0);
    assert!(!g.blkdiscardzeroes("/dev/sda").unwrap());
    g.blockdev_setra("/dev/sda", 2048).unwrap();
    assert_eq!(output("blockdev", &["--getra", &agent.node(0)]).trim(), "2048");
    g.blockdev_setbsz("/dev/sda", 1000).unwrap();
    assert_eq!(g.blockdev_getbsz("/dev/sda").unwrap(), 4096);
    assert!(g.blockdev_setra("/dev/sda", -1).is_err());
}

#[test]
fn compressed_copies() {
    let agent = Agent::with_disks(&[3 * MIB, 32 * MIB]);
    let g = &agent.client;
    g.mkfs("ext4", "/dev/sdb", Default::default()).unwrap();
    g.mount("/dev/sdb", "/").unwrap();
    g.fill_pattern("0123456789", 1_000_003, "/data").unwrap();
    agent.make_fifo("/fifo");
    let content = g.read_file("/data").unwrap();
    for (kind, level) in [("gzip", 9), ("bzip2", 1), ("xz", 0), ("lzop", 3)] {
        let (mut plain, mut chosen, mut disk) = (Vec::new(), Vec::new(), Vec::new());
        g.compress_out(kind, "/data", &mut plain, Default::default()).unwrap();
        g.compress_out(kind, "/data", &mut chosen, CompressOutOptions::default().level(level)).unwrap();
        g.compress_device_out(kind, "/dev/sda", &mut disk, CompressDeviceOutOptions::default().level(level))
            .unwrap();
        assert!(
            through(kind, &["-dc"], &plain) == content && through(kind, &["-dc"], &chosen) == content,
            "{kind}"
        );
        assert!(through(kind, &["-dc"], &disk) == vec![0; 3 << 20], "{kind}");
    }
    let refused = |kind: &str, level: i32| {
        message(g.compress_out(kind, "/data", &mut Vec::new(), CompressOutOptions::default().level(level)))
    };
    assert_eq!(refused("gzip", 0), "compress_out: gzip: incorrect value for level parameter");
    assert_eq!(refused("zip", 1), "compress_out: unknown compression type");
    assert_eq!(
        refused("compress", 1),
        "compress_out: compression type compress is not supported, because external program 'compress' is not available in the appliance"
    );
    let fifo = message(g.compress_out("gzip", "/fifo", &mut Vec::new(), Default::default()));
    assert_eq!(fifo, "compress_out: /fifo: not a regular file");
}

#[test]
fn archives_and_encodings() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    g.mkdir_p("/tree/below").unwrap();
    g.write("/tree/below/file", "content\n").unwrap();
    g.write("/tree/skip.tmp", "x").unwrap();
    g.ln_s("below/file", "/tree/link").unwrap();
    for (format, magic) in [(None, "070701"), (Some("crc"), "070702")] {
        let mut archive = Vec::new();
        let options = CpioOutOptions { format: format.map(Into::into) };
        g.cpio_out("/tree", &mut archive, options).unwrap();
        assert!(archive.starts_with(magic.as_bytes()));
        let names = String::from_utf8(through("cpio", &["--quiet", "-it"], &archive)).unwrap();
        let mut names: Vec<_> = names.lines().collect();
        names.sort_unstable();
        assert_eq!(names, [".", "below", "below/file", "link", "skip.tmp"]);
    }
    assert!(
        message(g.cpio_out("/tree", &mut Vec::new(), CpioOutOptions::default().format("odc")))
            .contains("odc")
    );
    assert!(g.cpio_out("/none", &mut Vec::new(), Default::default()).is_err());

    let (mut gz, mut xz) = (Vec::new(), Vec::new());
    g.tgz_out("/tree", &mut gz).unwrap();
    g.txz_out("/tree", &mut xz).unwrap();
    let list = |packed: &[u8], option: &str| through("tar", &["-t", option, "-f", "-"], packed);
    assert!(String::from_utf8(list(&gz, "-z")).unwrap().contains("./below/file"));
    assert!(String::from_utf8(list(&xz, "-J")).unwrap().contains("./below/file"));
    for (name, packed) in [("gz", gz), ("xz", xz)] {
        let to = format!("/{name}");
        g.mkdir(&to).unwrap();
        if name == "gz" {
            g.tgz_in(&packed[..], &to).unwrap()
        } else {
            g.txz_in(&packed[..], &to).unwrap()
        }
        assert_eq!(fs::read_to_string(agent.host(&format!("{name}/link"))).unwrap(), "content\n");
    }
    assert!(message(g.tgz_in(&b"no gzip"[..], "/gz")).starts_with("tgz_in: "));

    let mut text = Vec::new();
    g.base64_out("/tree/below/file", &mut text).unwrap();
    assert_eq!(text, b"Y29udGVudAo=\n");
    g.base64_in(&b"Y29udG\nVudAo="[..], "/decoded").unwrap();
    assert_eq!(fs::read_to_string(agent.host("decoded")).unwrap(), "content\n");
    let long = through("base64", &[], &vec![9; 3_000_000]);
    g.base64_in(&long[..], "/decoded").unwrap();
    assert!(fs::read(agent.host("decoded")).unwrap() == vec![9; 3_000_000]);
    assert!(message(g.base64_in(&b"abc"[..], "/none/x")).contains("/none/x"));
    assert!(message(g.base64_out("/none", &mut Vec::new())).contains("/none: No such file"));

    for compress in ["gzip", "xz", "zstd"] {
        let mut image = Vec::new();
        let options = MksquashfsOptions::default().compress(compress).excludes(&["*.tmp"]);
        g.mksquashfs("/tree", &mut image, options).unwrap();
        fs::write(place("image"), &image).unwrap();
        let list = output("unsquashfs", &["-ll", &place("image")]);
        assert!(list.contains("squashfs-root/below/file") && !list.contains("skip.tmp"), "{list}");
        assert!(output("unsquashfs", &["-s", &place("image")]).contains(&format!("Compression {compress}")));
    }
    let wrong = MksquashfsOptions::default().compress("lha");
    assert!(message(g.mksquashfs("/tree", &mut Vec::new(), wrong)).starts_with("mksquashfs: /tree: "));
}

/// An archive as cpio makes it of a directory.
fn packed(directory: &std::path::Path) -> Vec<u8> {
    let script = "find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc";
    let output = Command::new("sh").args(["-c", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn initial_ram_disks() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    let (early, main) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(early.path().join("kernel/x86")).unwrap();
    fs::write(early.path().join("kernel/x86/code.bin"), [7; 5001]).unwrap();
    fs::create_dir_all(main.path().join("conf")).unwrap();
    fs::write(main.path().join("conf/a"), "first\n").unwrap();
    fs::hard_link(main.path().join("conf/a"), main.path().join("conf/z")).unwrap();
    std::os::unix::fs::symlink("conf/a", main.path().join("init")).unwrap();
    let (early, main) = (packed(early.path()), packed(main.path()));
    let expected = ["kernel", "kernel/x86", "kernel/x86/code.bin", "conf", "conf/a", "conf/z", "init"];
    let packers: &[(&str, &[&str])] = &[
        ("cat", &[]),
        ("gzip", &["-c"]),
        ("xz", &["-c", "--check=crc32"]),
        ("zstd", &["-qc"]),
        ("bzip2", &["-c"]),
        ("lzop", &["-c"]),
        ("lz4", &["-lqc"]),
        ("xz", &["-c", "--format=lzma"]),
    ];
    for (packer, options) in packers {
        let whole = [early.clone(), vec![0; 1024], through(packer, options, &main)].concat();
        fs::write(agent.host("initrd"), whole).unwrap();
        assert_eq!(g.initrd_list("/initrd").unwrap(), expected, "{packer}");
        assert_eq!(g.initrd_cat("/initrd", "conf/a").unwrap(), b"first\n", "{packer}");
        assert_eq!(g.initrd_cat("/initrd", "/conf/z").unwrap(), b"first\n");
        assert_eq!(g.initrd_cat("/initrd", "kernel/x86/code.bin").unwrap(), &[7u8; 5001][..]);
        assert_eq!(
            message(g.initrd_cat("/initrd", "none")),
            "initrd_cat: open: /initrd:none: No such file or directory"
        );
        assert_eq!(
            message(g.initrd_cat("/initrd", "init")),
            "initrd_cat: /initrd:init: is a symbolic link to 'conf/a'"
        );
        assert!(message(g.initrd_cat("/initrd", "conf")).contains("Is a directory"));
    }
    let gz = through("gzip", &["-c"], &main);
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("text", b"0123 no archive".to_vec()),
        ("other", vec![b'x'; 10_000]),
        ("half", main.get(..main.len() / 2).unwrap().to_vec()),
        ("half.gz", gz.get(..gz.len() / 2).unwrap().to_vec()),
        ("wrong.gz", through("gzip", &["-c"], &[b'0'; 100_000])),
    ] {
        fs::write(agent.host(name), bytes).unwrap();
        let text = message(g.initrd_list(format!("/{name}")));
        assert!(text.starts_with(&format!("initrd_list: /{name}: ")), "{text}");
    }
    agent.make_fifo("/fifo");
    assert_eq!(message(g.initrd_list("/fifo")), "initrd_list: /fifo: not a regular file");
    assert_eq!(message(g.initrd_cat("/none", "x")), "initrd_cat: /none: No such file or directory");
    g.ping_daemon().unwrap();
}

#[test]
fn descriptors_of_cds() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("readme.txt"), "on a CD\n").unwrap();
    let image = agent.host("cd.iso");
    let options = [
        "-quiet",
        "-V",
        "THE CD",
        "-publisher",
        "A PUBLISHER",
        "-A",
        "AN APPLICATION",
        "-sysid",
        "LINUX",
        "-o",
    ];
    let args: Vec<&str> =
        options.into_iter().chain([image.to_str().unwrap(), tree.path().to_str().unwrap()]).collect();
    output("genisoimage", &args);
    let info = g.isoinfo("/cd.iso").unwrap();
    assert_eq!(
        (info.iso_volume_id.to_string(), info.iso_system_id.to_string()),
        ("THE CD".into(), "LINUX".into())
    );
    assert_eq!(
        (info.iso_publisher_id.to_string(), info.iso_application_id.to_string(), info.iso_logical_block_size),
        ("A PUBLISHER".into(), "AN APPLICATION".into(), 2048)
    );
    assert_eq!(
        (info.iso_volume_set_size, info.iso_volume_sequence_number, info.iso_copyright_file_id.len()),
        (1, 1, 0)
    );
    let size = fs::metadata(&image).unwrap().len();
    assert!(u64::from(info.iso_volume_space_size) * 2048 <= size);
    let now = fs::metadata(&image).unwrap().mtime();
    assert!((now - 3600..=now + 60).contains(&info.iso_volume_creation_t), "{now} {info:?}");
    assert_eq!(info.iso_volume_expiration_t, -1);
    fs::write(agent.host("small"), [0; 100]).unwrap();
    fs::write(agent.host("zero"), [0; 40_000]).unwrap();
    for name in ["/small", "/zero"] {
        assert_eq!(message(g.isoinfo(name)), format!("isoinfo: {name}: not an ISO file or CD-ROM"));
    }
    agent.make_fifo("/fifo");
    assert_eq!(message(g.isoinfo("/fifo")), "isoinfo: open: /fifo: not a regular file");
    let disks = Agent::with_disks(&[MIB]);
    fs::copy(&image, disks.node(0)).unwrap();
    assert_eq!(disks.client.isoinfo_device("/dev/sda").unwrap(), info);
    assert_eq!(
        message(disks.client.isoinfo_device("/dev/sdb")),
        "isoinfo_device: /dev/sdb: No such file or directory"
    );
}
