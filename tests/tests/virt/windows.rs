//! Paths as Windows writes them.

use system_tests::fish;
use system_tests::images::hives;
use system_tests::programs::{output_of, peer, run};

use super::fails;

#[test]
fn drives_and_paths_of_windows() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().display().to_string();
    hives(directory.path(), "win10");
    let disk = directory.path().join("disk");
    std::fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    let disk = disk.to_str().unwrap().to_owned();
    let uuid = |digit: &str| format!("size=16M,uuid={}-4444-5555-6666-777788889999\\n", digit.repeat(8));
    let table = format!("label: gpt\\n{}{}{}", uuid("1"), uuid("2"), uuid("3"));
    peer("sh", &["-c", &format!("printf '{table}' | sfdisk -q {disk}")]);
    let making = format!(
        "run
mkfs ntfs /dev/sda2
mkfs vfat /dev/sda3
mount /dev/sda2 /
mkdir-p /Windows/System32/config
mkdir-p /Users/Bob
write /Users/Bob/Hello.txt hello
upload {from}/win10-software /Windows/System32/config/SOFTWARE
upload {from}/win10-system /Windows/System32/config/SYSTEM
touch /Windows/System32/cmd.exe
umount /
mount /dev/sda3 /
write /DATA.TXT other
umount /
"
    );
    fish::output_of(&["--format=raw", "-a", &disk], &making);
    let image = ["--format=raw", "-a", &disk];
    let files = [r"C:\users\BOB\hello.txt", r"d:\data.txt", r"\Users\Bob\Hello.txt", "/users/bob/hello.txt"];
    assert_eq!(output_of("virt-cat", &[&image[..], &files].concat()), "hellootherhellohello");
    let error = fails(&run("virt-cat", &[&image[..], &[r"Z:\x"]].concat()));
    assert_eq!(error, "virt-cat: drive ‘z:’ not found.\n");
    let error = fails(&run("virt-log", &image));
    assert!(error.starts_with("virt-log: ") && error.contains("/Windows/System32/winevt/Logs"), "{error}");
}
