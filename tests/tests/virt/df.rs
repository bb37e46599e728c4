//! virt-df, virt-alignment-scan: questions that are asked of many images at once.

use std::process::Command;

use system_tests::images::Table;
use system_tests::programs::{output_of, peer, program, run};

use super::{Guest, fails, room};

/// Lines of numbers, without the blanks between them.
fn fields(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn space_of_many_guests() {
    let guest = Guest::new(Table::Gpt);
    let disk = guest.disk();
    let damaged = guest.path("damaged.qcow2").to_str().unwrap().to_owned();
    peer("qemu-img", &["create", "-q", "-f", "qcow2", &damaged, "1M"]);
    std::fs::write(&damaged, [&b"QFI\xfb\0\0\0\x03"[..], &[0xff; 100]].concat()).unwrap();
    let ran = run("virt-df", &[&disk, &damaged, &disk]);
    // The one that is damaged is told, the others are shown in order.
    assert_eq!(ran.status.code(), Some(1));
    let error = String::from_utf8(ran.stderr).unwrap();
    assert!(error.contains("damaged.qcow2"), "{error}");
    let text = String::from_utf8(ran.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "Filesystem                           1K-blocks       Used  Available  Use%");
    let names: Vec<&str> = lines[1..].iter().map(|line| fields(line)[0]).collect();
    assert_eq!(names, ["disk:/dev/sda2", "disk:/dev/sda3", "disk:/dev/sda2", "disk:/dev/sda3"]);
    assert_eq!(lines[1..3], lines[3..5]);
    let blocks: u64 = fields(lines[1])[1].parse().unwrap();
    assert_eq!(blocks, room(&guest.path("root")) / 1024);
    assert_eq!(lines[1].len(), 74);

    let csv = output_of("virt-df", &["--csv", "-i", "--format=raw", "-a", &disk, "-a", &disk, "-P", "1"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "VirtualMachine,Filesystem,Inodes,IUsed,IFree,IUse%");
    let told = peer("dumpe2fs", &["-h", guest.path("root").to_str().unwrap()]);
    let inodes = told.lines().find_map(|line| line.strip_prefix("Inode count:")).unwrap().trim();
    assert!(lines[1].starts_with(&format!("disk+,/dev/sda2,{inodes},")), "{csv}");
    assert_eq!(lines.len(), 5, "{csv}");
    let error = fails(&run("virt-df", &["-h", "--csv", "-a", &disk]));
    assert_eq!(error, "virt-df: you cannot use -h and --csv options together.\n");
    assert_eq!(fails(&run("virt-df", &["-P", "x", &disk])), "virt-df: -P option is not numeric\n");
}

/// Domains are found where libvirt keeps their descriptions.
#[test]
fn all_domains_are_scanned() {
    let guest = Guest::new(Table::Gpt);
    let place = guest.path("config/libvirt/qemu");
    std::fs::create_dir_all(&place).unwrap();
    for (name, uuid) in [("web", "11111111"), ("db", "22222222")] {
        let text = format!(
            "<domain><name>{name}</name><uuid>{uuid}</uuid><devices><disk type='file'><driver type='raw'/>\
             <source file='{}'/></disk></devices></domain>",
            guest.disk()
        );
        std::fs::write(place.join(format!("{name}.xml")), text).unwrap();
    }
    std::fs::write(place.join("odd.xml"), "<network/>").unwrap();
    let ran = |words: &[&str]| {
        let mut command = Command::new(program("virt-alignment-scan"));
        let output = command.args(words).env("XDG_CONFIG_HOME", guest.path("config")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = ran(&[]);
    assert_eq!(code, Some(0));
    let firsts: Vec<&str> = text.lines().map(|line| fields(line)[0]).collect();
    assert_eq!(firsts.len(), 8, "{text}");
    assert_eq!((firsts[0], firsts[4]), ("db:/dev/sda1", "web:/dev/sda1"));
    let (_, text) = ran(&["--uuid"]);
    assert!(text.starts_with("22222222:/dev/sda1 "), "{text}");
    let (_, text) = ran(&["-d", "web"]);
    assert!(text.starts_with("/dev/sda1 "), "{text}");
}

#[test]
fn partitions_are_well_aligned_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("bad.img");
    std::fs::File::create(&disk).unwrap().set_len(20 << 20).unwrap();
    let table = "label: dos\nlabel-id: 0x11223344\nstart=63,size=4000,type=83\nstart=4096,size=4000,type=c\n\
                 start=8104,size=4096,type=83\nstart=12288,size=20000,type=5\nstart=14336,size=2048,type=83\n\
                 start=18495,size=2048,type=82\n";
    std::fs::write(directory.path().join("table"), table).unwrap();
    let line = format!("sfdisk -q {} < {}/table", disk.display(), directory.path().display());
    peer("sh", &["-c", &line]);
    let disk = disk.to_str().unwrap();
    let ran = run("virt-alignment-scan", &["--format=raw", "-a", disk]);
    // Taken down from virt-alignment-scan 1.48 on this disk.
    let expected = "\
/dev/sda1        32256          512    bad (alignment < 4K)
/dev/sda2      2097152         2048K   ok
/dev/sda3      4149248            4K   bad (alignment < 64K)
/dev/sda4      6291456         2048K   ok
/dev/sda5      7340032         1024K   ok
/dev/sda6      9469440          512    bad (alignment < 4K)
";
    assert_eq!((String::from_utf8(ran.stdout).unwrap().as_str(), ran.status.code()), (expected, Some(3)));
    let quiet = run("virt-alignment-scan", &["-q", "--format=raw", "-a", disk]);
    assert_eq!((quiet.stdout.as_slice(), quiet.status.code()), (&b""[..], Some(3)));
    let empty = directory.path().join("empty.img");
    std::fs::File::create(&empty).unwrap().set_len(10 << 20).unwrap();
    let empty = empty.to_str().unwrap();
    let ran = run("virt-alignment-scan", &["--format=raw", "-a", empty]);
    assert_eq!((ran.stdout.as_slice(), ran.status.code()), (&b""[..], Some(0)));
    // Between 4K and 64K.
    peer("sh", &["-c", &format!("printf 'label: gpt\\nstart=2056\\n' | sfdisk -q {empty}")]);
    assert_eq!(run("virt-alignment-scan", &["--format=raw", "-a", empty]).status.code(), Some(2));
}
