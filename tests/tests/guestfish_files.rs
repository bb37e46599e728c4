//! Actions on files that stand on packages of the appliance, in the real appliance: the result is judged by other
//! tools on the image.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::Command;

use system_tests::fish::output_of;
use system_tests::images;
use system_tests::programs::peer;

fn on_disk(disk: &Path, lines: &str) -> String {
    let disk = disk.to_str().unwrap();
    output_of(&["--format=raw", "-a", disk, "-m", "/dev/sda"], lines)
}

fn debugfs(disk: &Path, request: &str) -> String {
    peer("debugfs", &["-R", request, disk.to_str().unwrap()])
}

#[test]
fn attributes_and_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    images::format(&disk, 24, &["mkfs.ext4", "-q", "-F"]);
    let out = on_disk(
        &disk,
        "mkdir /etc\nwrite /etc/hosts \"127.0.0.1 localhost\\n\"\naug-init / 0\naug-get /files/etc/hosts/1/canonical\n\
         aug-set /files/etc/hosts/2/ipaddr 10.0.0.9\naug-set /files/etc/hosts/2/canonical db\naug-save\n\
         aug-match /files/etc/hosts/*\n\
         touch /f\nsetxattr user.origin backup 6 /f\ngetxattr /f user.origin\necho\n\
         acl-set-file /f access u::rw-,g::r--,o::---,m::rw-,u:500:rw-\nacl-get-file /f access\n\
         cap-set-file /f cap_net_raw+ep\ncap-get-file /f\n\
         mkdir /spec\nwrite /spec/s \"/.*\\tsystem_u:object_r:default_t:s0\\n\"\nselinux-relabel /spec/s /f\n\
         mknod-c 0600 5 1 /chr\nfile /etc/hosts\nrsync /etc/ /copy archive:true\n\
         checksums-out md5 /etc -\numount-all\n",
    );
    assert_eq!(
        out,
        "localhost\n/files/etc/hosts/1\n/files/etc/hosts/2\nbackup\nuser::rw-\nuser:500:rw-\ngroup::r--\nmask::rw-\n\
         other::---\n\ncap_net_raw=ep\nASCII text\n44b1f0fdd5ea29bd3b4b2d0dca8a8d1a  ./hosts\n"
            .replace("44b1f0fdd5ea29bd3b4b2d0dca8a8d1a", &md5("127.0.0.1 localhost\n10.0.0.9\tdb\n"))
    );
    assert_eq!(debugfs(&disk, "cat /etc/hosts"), "127.0.0.1 localhost\n10.0.0.9\tdb\n");
    assert_eq!(debugfs(&disk, "cat /copy/hosts"), "127.0.0.1 localhost\n10.0.0.9\tdb\n");
    let attributes = debugfs(&disk, "ea_list /f");
    for part in [
        "user.origin (6) = \"backup\"",
        "security.capability",
        "security.selinux",
        "default_t",
        "posix_acl_access",
    ] {
        assert!(attributes.contains(part), "{part}: {attributes}");
    }
    assert!(debugfs(&disk, "stat /chr").contains("Type: character special"));
    peer("e2fsck", &["-fn", disk.to_str().unwrap()]);
}

fn md5(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let output = Command::new("md5sum").arg(file.path()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn deleted_files_and_rules() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    images::format(&disk, 24, &["mkfs.ext4", "-q", "-F"]);
    let rules = directory.path().join("rules");
    std::fs::write(&rules, "rule Malice { strings: $a = \"malicious\" condition: $a }\n").unwrap();
    let found = on_disk(
        &disk,
        &format!(
            "mkdir /d\nwrite /d/kept \"malicious\"\nln-s /d/kept /link\nyara-load {}\nyara-scan /d/kept\nyara-destroy\n\
             inotify-init 0\ninotify-add-watch / 0x100\ntouch /seen\ninotify-files\ninotify-close\numount /\n\
             filesystem-walk /dev/sda\n",
            rules.display()
        ),
    );
    assert!(found.starts_with("[0] = {\n  yara_name: /d/kept\n  yara_rule: Malice\n}\n1\nseen\n"), "{found}");
    for part in
        ["  tsk_type: d\n  tsk_size: 1024\n  tsk_name: .\n", "  tsk_name: d/kept\n", "  tsk_link: /d/kept\n"]
    {
        assert!(found.contains(part), "{part}: {found}");
    }
}
