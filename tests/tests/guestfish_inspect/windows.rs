//! Windows without Windows: its directories on NTFS and FAT, with hives that libhivex's tools filled.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use system_tests::fish::{output_of, script};
use system_tests::images::{WINDOWS_QUESTIONS, hives};

use crate::recipe::program;

fn disk(path: &Path, mib: u64, table: &str) {
    fs::File::create(path).unwrap().set_len(mib << 20).unwrap();
    let mut child = Command::new("sfdisk").arg("-q").arg(path).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Three systems on three disks: a new one with GPT and data beside it, an old one in a directory that only its boot
/// menu names, and a server on FAT.
fn disks(directory: &Path) -> [PathBuf; 3] {
    let disks = ["win10.img", "winxp.img", "win2019.img"].map(|name| directory.join(name));
    let uuid = |digit: &str| format!("{}-4444-5555-6666-777788889999", digit.repeat(8));
    let gpt: String = ["1", "2", "3"].map(|digit| format!("size=16M,uuid={}\n", uuid(digit))).concat();
    disk(&disks[0], 64, &format!("label: gpt\n{gpt}"));
    let mbr = "label: dos\nlabel-id: 0x12345678\nstart=2048,size=16M,type=7\nstart=36864,size=16M,type=7\n";
    disk(&disks[1], 40, mbr);
    disk(&disks[2], 40, "label: dos\nsize=32M,type=c\n");
    for system in ["win10", "winxp", "win2019"] {
        hives(directory, system);
    }
    for machine in ["pe32", "pe64"] {
        fs::write(directory.join(machine), program(machine)).unwrap();
    }
    let menu = "[boot loader]\r\ntimeout=30\r\n[operating systems]\r\n\
                multi(0)disk(0)rdisk(0)partition(1)\\WINXP=\"Microsoft Windows XP Professional\" /fastdetect\r\n";
    fs::write(directory.join("boot.ini"), menu).unwrap();
    let from = directory.display();
    let making = format!(
        "run
mkfs ntfs /dev/sda1
mkfs ntfs /dev/sda2
mkfs ntfs /dev/sda3
mount /dev/sda2 /
mkdir-p /Windows/System32/config
mkdir '/System Volume Information'
upload {from}/win10-software /Windows/System32/config/SOFTWARE
upload {from}/win10-system /Windows/System32/config/SYSTEM
upload {from}/pe64 /Windows/System32/cmd.exe
umount /
mount /dev/sda3 /
mkdir '/System Volume Information'
mkdir '/Program Files'
umount /
mkfs ntfs /dev/sdb1
mkfs vfat /dev/sdb2
mount /dev/sdb1 /
mkdir-p /WinXP/system32/config
upload {from}/winxp-software /WinXP/system32/config/software
upload {from}/winxp-system /WinXP/system32/config/system
upload {from}/pe32 /WinXP/system32/CMD.EXE
upload {from}/boot.ini /boot.ini
umount /
mkfs vfat /dev/sdc1
mount /dev/sdc1 /
mkdir-p /winnt/System32/Config
upload {from}/win2019-software /winnt/System32/Config/SOFTWARE
upload {from}/win2019-system /winnt/System32/Config/SYSTEM
upload {from}/pe64 /winnt/System32/cmd.exe
umount /
"
    );
    output_of(
        &["--format=raw", "-a", name(&disks[0]), "-a", name(&disks[1]), "-a", name(&disks[2])],
        &making,
    );
    disks
}

fn name(disk: &Path) -> &str {
    disk.to_str().unwrap()
}

/// What libguestfs says of the same disks; the build and the group policy, which are newer, are as in the hives.
const EXPECTED: [(&str, [&str; 17]); 3] = [
    (
        "/dev/sda2",
        [
            "windows",
            "windows",
            "Windows 10 Pro",
            "Client",
            "10",
            "0",
            "x86_64",
            "desk.example.com",
            "win11",
            "22631",
            "/: /dev/sda2",
            "D: /dev/sda3 C: /dev/sda2",
            "/Windows",
            "/Windows/System32/config/SOFTWARE",
            "/Windows/System32/config/SYSTEM",
            "ControlSet001",
            "true",
        ],
    ),
    (
        "/dev/sdb1",
        [
            "windows",
            "windows",
            "Microsoft Windows XP",
            "unknown",
            "5",
            "1",
            "i386",
            "old",
            "winxp",
            "2600",
            "/: /dev/sdb1",
            "C: /dev/sdb1 E: /dev/sdb2",
            "/WINXP",
            "/WinXP/system32/config/software",
            "/WinXP/system32/config/system",
            "ControlSet003",
            "false",
        ],
    ),
    (
        "/dev/sdc1",
        [
            "windows",
            "windows",
            "Windows Server 2019 Standard",
            "Server",
            "10",
            "0",
            "x86_64",
            "unknown",
            "win2k19",
            "17763",
            "/: /dev/sdc1",
            "",
            "/winnt",
            "/winnt/System32/Config/SOFTWARE",
            "/winnt/System32/Config/SYSTEM",
            "ControlSet002",
            "false",
        ],
    ),
];

#[test]
fn windows_is_told_by_its_registry() {
    let directory = tempfile::tempdir().unwrap();
    let disks = disks(directory.path());
    let arguments =
        ["--ro", "--format=raw", "-a", name(&disks[0]), "-a", name(&disks[1]), "-a", name(&disks[2])];
    let mut asking = "run\ninspect-os\n".to_owned();
    for (root, _) in EXPECTED {
        for question in WINDOWS_QUESTIONS {
            asking.push_str(&format!("echo =\ninspect-get-{question} {root}\n"));
        }
    }
    let said = output_of(&arguments, &asking);
    let mut said = said.split("=\n").map(|answer| answer.trim_end().replace('\n', " "));
    assert_eq!(said.next().as_deref(), Some("/dev/sda2 /dev/sdb1 /dev/sdc1"));
    for (root, answers) in EXPECTED {
        for (question, expected) in WINDOWS_QUESTIONS.iter().zip(answers) {
            assert_eq!(said.next().as_deref(), Some(expected), "{root}: {question}");
        }
    }

    // Programs are those that can be uninstalled, of both kinds, by the names of their keys.
    let listed = output_of(
        &arguments,
        "run\ninspect-os\nmount-ro /dev/sda2 /\necho =\ninspect-list-applications2 /dev/sda2\n",
    );
    let listed = listed.split("=\n").nth(1).unwrap();
    let of = |field: &str| -> Vec<&str> {
        let begin = format!("  app2_{field}: ");
        listed.lines().filter_map(|line| line.strip_prefix(&begin)).collect()
    };
    assert_eq!(of("name"), ["Aold", "Bare", "{A-GUID}"]);
    assert_eq!(of("display_name"), ["An old one", "Bare", "Größter Editor"]);
    assert_eq!(of("version"), ["0.9", "", "1.2.3"]);
    assert_eq!(of("install_path"), ["", "", "C:\\Program Files\\Editor"]);
    assert_eq!(of("publisher"), ["", "", "Editors Ltd."]);
    assert_eq!(of("url"), ["", "", "http://editor.example.com"]);
    assert_eq!(of("description"), ["", "", "Edits."]);

    // With one system in sight its paths can be written as it writes them.
    let one = ["--ro", "--format=raw", "-a", name(&disks[1]), "-i"];
    let ran = script(
        &one,
        "is-file win:C:\\winxp\\SYSTEM32\\cmd.exe\nis-file WIN:/winxp/system32/nothing\nls win:c:\ncase-sensitive-path win:c:/winxp/new\n\
         -ls win:q:/x\n-ls win:E:\\x\n",
    );
    assert_eq!((ran.code, ran.text()), (Some(0), "true\nfalse\nWinXP\nboot.ini\n/WinXP/new\n"), "{ran:?}");
    let complaints = "guestfish: drive 'q:' not found.  To list available drives do:\n  inspect-get-drive-mappings /dev/sda1\n\
                      guestfish: to access 'e:', mount /dev/sda2 first.  One way to do this is:\n  umount-all\n  mount /dev/sda2 /\n";
    assert_eq!(ran.err, complaints);
}

/// Hives that are damaged, cut off or no hives take nothing but themselves away.
#[test]
fn odd_hives_end_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("odd.img");
    disk(&image, 40, "label: dos\nsize=32M,type=7\n");
    hives(directory.path(), "winxp");
    let from = directory.path().display();
    fs::write(directory.path().join("pe32"), &program("pe32")[..70]).unwrap();
    let hive = fs::read(directory.path().join("winxp-software")).unwrap();
    fs::write(directory.path().join("cut"), &hive[..0x1100]).unwrap();
    let making = format!(
        "run
mkfs ntfs /dev/sda1
mount /dev/sda1 /
mkdir-p /Windows/System32/config
upload {from}/pe32 /Windows/System32/cmd.exe
upload {from}/cut /Windows/System32/config/SOFTWARE
mkdir /Windows/System32/config/SYSTEM
"
    );
    output_of(&["--format=raw", "-a", name(&image)], &making);
    let ran = script(
        &["--ro", "--format=raw", "-a", name(&image)],
        "run\ninspect-os\ninspect-get-arch /dev/sda1\ninspect-get-product-name /dev/sda1\n\
         inspect-get-windows-systemroot /dev/sda1\n-inspect-get-windows-system-hive /dev/sda1\n\
         -inspect-get-windows-current-control-set /dev/sda1\n-inspect-list-applications2 /dev/sda1\nmount-ro /dev/sda1 /\n-inspect-list-applications2 /dev/sda1\n",
    );
    assert_eq!((ran.code, ran.text()), (Some(0), "/dev/sda1\nunknown\nunknown\n/Windows\n"), "{ran:?}");
    for part in [
        "inspect_get_windows_system_hive: not a Windows guest, or system hive not found\n",
        "inspect_get_windows_current_control_set: not a Windows guest, or CurrentControlSet could not be determined\n",
        "*stdin*:8: libguestfs: error: inspect_list_applications2: you must call 'mount' first to mount the root filesystem\n",
        "*stdin*:10: libguestfs: error: inspect_list_applications2: hivex failed to open /Windows/System32/config/SOFTWARE: ",
    ] {
        assert!(ran.err.contains(part), "{part}: {ran:?}");
    }
}
