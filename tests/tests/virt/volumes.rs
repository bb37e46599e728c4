//! virt-filesystems and virt-df where volumes lie between disks and file systems.

use system_tests::fish;
use system_tests::programs::output_of;

/// A volume group on two disks, and a RAID array.
const MAKING: &str = "run
part-init /dev/sda gpt
part-add /dev/sda p 2048 104447
part-add /dev/sda p 104448 206847
part-add /dev/sda p 206848 309247
part-add /dev/sda p 309248 411647
mkfs ext4 /dev/sda1 label:one
pvcreate /dev/sda2
pvcreate /dev/sdb
vgcreate vg0 \"/dev/sda2 /dev/sdb\"
lvcreate root vg0 32
lvcreate swap vg0 8
mkfs ext4 /dev/vg0/root
mkswap /dev/vg0/swap label:sw
md-create raid \"/dev/sda3 /dev/sda4\" level:raid1
mkfs ext4 /dev/md127
";

#[test]
fn volumes_and_what_they_lie_in() {
    let directory = tempfile::tempdir().unwrap();
    let image = |name: &str, mib: u64| {
        let path = directory.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (a, b) = (image("a", 250), image("b", 64));
    fish::output_of(&["--format=raw", "-a", &a, "-a", &b], MAKING);
    let list = |words: &[&str]| {
        output_of("virt-filesystems", &[&["--format=raw", "-a", &a, "-a", &b], words].concat())
    };
    // Taken down from virt-filesystems 1.48 for such disks, but for the parents of the group, which it names wrongly.
    assert_eq!(
        list(&["--lvs", "--vgs", "--pvs", "-l"]),
        "Name           Type  Size       Parent\n\
         /dev/vg0/root  lv    33554432   /dev/vg0\n\
         /dev/vg0/swap  lv    8388608    /dev/vg0\n\
         /dev/vg0       vg    113246208  /dev/sda2,/dev/sdb\n\
         /dev/sda2      pv    50331648   -\n\
         /dev/sdb       pv    62914560   -\n"
    );
    assert_eq!(list(&["--lvs"]), "/dev/vg0/root\n/dev/vg0/swap\n");
    let all = list(&["--all", "--long", "--uuid"]);
    let (title, rest) = all.split_once('\n').unwrap();
    assert_eq!(title.split_whitespace().count(), 8, "{all}");
    let without_uuid = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let row = words[..7].join(" ");
        // How much room a RAID array leaves depends on how long its own list of writes is.
        if row.starts_with("/dev/md") { row.replace(words[5], "MD") } else { row }
    };
    let rows: Vec<String> = rest.lines().map(without_uuid).collect();
    let expected = [
        "/dev/sda1 filesystem ext4 one - 43879424 -",
        "/dev/md127 filesystem ext4 - - MD /dev/sda3,/dev/sda4",
        "/dev/vg0/root filesystem ext4 - - 26464256 -",
        "/dev/vg0/swap filesystem swap sw - 8388608 -",
        "/dev/vg0/root lv - - - 33554432 /dev/vg0",
        "/dev/vg0/swap lv - - - 8388608 /dev/vg0",
        "/dev/vg0 vg - - - 113246208 /dev/sda2,/dev/sdb",
        "/dev/sda2 pv - - - 50331648 -",
        "/dev/sdb pv - - - 62914560 -",
        "/dev/sda1 partition - - - 52428800 /dev/sda",
        "/dev/sda2 partition - - - 52428800 /dev/sda",
        "/dev/sda3 partition - - - 52428800 /dev/sda",
        "/dev/sda4 partition - - - 52428800 /dev/sda",
        "/dev/sda device - - - 262144000 -",
        "/dev/sdb device - - - 67108864 -",
    ];
    assert_eq!(rows, expected);
}
