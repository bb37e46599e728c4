//! Guests mounted on the host: whatever is done in the mount is answered as the kernel's own mount of the same file
//! system answers it, and what was written is in the image when guestunmount returns.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "guestmount/calls.rs"]
mod calls;
#[path = "guestmount/one_file.rs"]
mod one_file;
#[path = "guestmount/pair.rs"]
mod pair;
#[path = "guestmount/walk.rs"]
mod walk;

use std::fs;
use std::path::Path;
use std::process::Command;

use pair::{Mounted, images, run, sh};
use system_tests::programs;
use system_tests::random::Random;
use walk::Step;

/// The same walk in both mounts; then both are taken off, and what is in the images compared.
fn walk(mkfs: &str, options: &str, check: &str, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let [theirs, ours] = images(at, mkfs, 300);
    let kernel = Mounted::by_kernel(&theirs, at.join("kernel"), options);
    let us = Mounted::by_us(&ours, at.join("ours"), &[]);
    // SEED=number takes another walk.
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(seed);
    let mut random = Random::new(seed);
    let mut failures = 0;
    for number in 0..1500 {
        let step = Step::random(&mut random);
        let (expected, got) = (step.make(&kernel.point), step.make(&us.point));
        failures += usize::from(expected.is_err());
        assert_eq!(got, expected, "step {number} of walk {seed} on {mkfs}: {}", step.text());
        if number % 100 == 99 {
            assert_eq!(
                walk::seen(&us.point),
                walk::seen(&kernel.point),
                "after step {number} of walk {seed} on {mkfs}"
            );
        }
    }
    assert!((200..1300).contains(&failures), "{failures} of the calls failed");
    walk::write_together(&us.point, 8);
    walk::write_together(&kernel.point, 8);
    let (live, expected) = (walk::seen(&us.point), walk::seen(&kernel.point));
    us.take_off();
    // Two mounts of what were once copies would be one to btrfs.
    kernel.take_off();
    // Not the least is left for a journal to do.
    sh(&check.replace("IMAGE", &ours.display().to_string()));
    let again = Mounted::by_kernel(&ours, at.join("again"), options);
    assert_eq!(walk::seen(&again.point), live);
    assert_eq!(live, expected);
    again.take_off();
}

#[test]
fn a_mount_of_ext4_behaves_as_the_kernel_s() {
    walk(
        "mkfs.ext4 -q -b 4096",
        "user_xattr",
        "e2fsck -fn IMAGE && ! dumpe2fs -h IMAGE 2>&1 | grep needs_recovery",
        1,
    );
}

#[test]
fn a_mount_of_xfs_behaves_as_the_kernel_s() {
    walk("mkfs.xfs -q", "nouuid", "xfs_repair -n IMAGE", 2);
}

#[test]
fn a_mount_of_btrfs_behaves_as_the_kernel_s() {
    walk("mkfs.btrfs -q", "rw", "btrfs check IMAGE", 3);
}

#[test]
fn what_is_read_directly_is_what_the_kernel_reads() {
    for (mkfs, options) in [("mkfs.ext4 -q", "ro"), ("mkfs.xfs -q", "ro,nouuid")] {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let [image, _] = images(at, mkfs, 300);
        let kernel = Mounted::by_kernel(&image, at.join("kernel"), "rw");
        let mut random = Random::new(7);
        for _ in 0..600 {
            // Whether each works is the other tests' affair.
            let _ = Step::random(&mut random).make(&kernel.point);
        }
        walk::write_together(&kernel.point, 4);
        sh(&format!(
            "mkdir {0}/many; cd {0}/many; touch $(seq -f name-that-is-not-short-%g 3000)",
            kernel.point.display()
        ));
        kernel.take_off();
        let kernel = Mounted::by_kernel(&image, at.join("kernel"), options);
        let us = Mounted::by_us(&image, at.join("ours"), &["--ro", "--direct=only"]);
        for _ in 0..2 {
            assert_eq!(walk::seen(&us.point), walk::seen(&kernel.point), "{mkfs}");
        }
        let list = |root: &Path| {
            sh(&format!("cd {}; ls -a many; stat -f -c '%b %f %a %c %d %l %s' .", root.display()))
        };
        assert_eq!(list(&us.point), list(&kernel.point), "{mkfs}");
        let refused = fs::write(us.point.join("new"), "").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        us.take_off();
        kernel.take_off();
    }
}

/// What another user may and may not do, ACLs and the bits of sticky and inheriting directories included.
const AS_OTHERS: &str = r#"
mkdir open sticky group closed acl; echo secret > closed/file; echo hello > shared; echo own > own
chmod 0777 open; chmod 1777 sticky; chown 0:2000 group; chmod 2775 group; chmod 0700 closed; chmod 0640 shared
chown 1000:1000 own; chmod 4755 own; touch sticky/root; mkdir sticky/rootdir
setfacl -m u:1000:rwx,d:u:1001:rwX,d:g::r-x acl; setfacl -m u:1000:r shared
cat > user.sh <<'END'
try() { "$@" 2>&1 | sed "s/^[a-z]*: //"; echo "$1 -> ${PIPESTATUS[0]}"; }
try touch open/a; try touch sticky/b; try rm -f sticky/root; try rmdir sticky/rootdir; try mv sticky/root sticky/c
try cat closed/file; try cat shared; try sh -c 'echo x >> shared'; try chmod 600 shared; try chown 1000 shared
try touch group/f; try mkdir group/d; try touch acl/f; try mkdir acl/d; try touch acl/d/deep; try touch new
try chgrp 2000 open/a; try chgrp 0 open/a; try chmod 2755 open/a; try sh -c 'echo more >> own'; try truncate -s 1 own
try ln shared open/link; try ln own open/link; try mv open/a open/z; try touch -d 2001-01-01 own; try touch -d 2001-01-01 shared
try mkfifo open/p; try mknod open/n c 1 3; try ls closed; try test -x acl; try test -w shared; umask 077; try touch open/u acl/u
END
setpriv --reuid 1000 --regid 1000 --groups 1000,2000 bash user.sh
rm user.sh; find . -mindepth 1 -not -name lost+found -printf '%P %M %U %G %n %y %s\n' | sort
getfacl -R --numeric . 2>/dev/null
chattr +i own; rm -f own 2>&1; echo "rm -> $?"; sh -c 'echo x > own' 2>&1 | sed 's/.*own/own/'; lsattr own; chattr -i own
chattr +a shared; echo y >> shared; sh -c 'echo z > shared' 2>&1 | sed 's/.*shared/shared/'; cat shared; chattr -a shared
"#;

#[test]
fn other_users_may_what_the_guest_says() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    sh(&format!("chmod 755 {}", at.display()));
    let [theirs, ours] = images(at, "mkfs.ext4 -q", 100);
    let kernel = Mounted::by_kernel(&theirs, at.join("kernel"), "acl");
    let us = Mounted::by_us(&ours, at.join("ours"), &[]);
    let said = |root: &Path| sh(&format!("cd {}; set +e; {AS_OTHERS}", root.display()));
    let (expected, got) = (said(&kernel.point), said(&us.point));
    for (expected, got) in expected.lines().zip(got.lines()) {
        assert_eq!(got, expected);
    }
    assert_eq!(got, expected);
    assert!(expected.contains("cat -> 1") && expected.lines().count() > 100, "{expected}");
    us.take_off();
    kernel.take_off();
}

/// Programs that use file systems hard.
const WORK: &str = r#"
git init -q repo; cd repo; git config user.email a@b; git config user.name a; git config gc.auto 0
for i in $(seq 60); do mkdir -p d$((i % 7)); seq $i $((i * 40)) > d$((i % 7))/f$i; done
git add .; git commit -qm one; git status --porcelain; cd ..; git clone -q repo clone; git -C clone status --porcelain
git -C clone log --format=%s; git -C clone fsck --full 2>&1
sqlite3 db 'create table t(a integer primary key, b text); pragma journal_mode=wal;'
for i in 1 2 3; do sqlite3 db "with recursive n(i) as (select 1 union all select i+1 from n where i<500) insert into t(b) select 'row '||i from n;"; done
sqlite3 db 'select count(*), sum(length(b)) from t; pragma integrity_check;'
cp -a repo copy; truncate -s 3M holes; ln repo/d1/f1 hard; setfattr -n user.x -v y hard
rsync -aHAX repo/ hard holes rsynced/; rsync -aHAXn --itemize-changes repo/ hard rsynced/ ; tar -cf all.tar --xattrs repo hard
mkdir out; tar -xf all.tar -C out --xattrs; diff -r repo out/repo && echo same; stat -c '%h' rsynced/hard
printf 'all: a b c\n%%: ; echo made $@ > $@\n' > Makefile; make -s -j3; cat a b c; ls -A | sort | grep -c fuse_hidden
exec 3> open; rm open; echo there >&3; ls -A | grep -c hidden; exec 3>&-
find . -type f | wc -l; du -s --apparent-size repo/d1 | cut -f1
"#;

#[test]
fn programs_work_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let [theirs, ours] = images(at, "mkfs.ext4 -q", 200);
    let kernel = Mounted::by_kernel(&theirs, at.join("kernel"), "rw");
    let us = Mounted::by_us(&ours, at.join("ours"), &[]);
    let said = |root: &Path| sh(&format!("cd {}; set +e; {WORK}", root.display()));
    let (expected, got) = (said(&kernel.point), said(&us.point));
    assert_eq!(got, expected);
    assert!(expected.contains("1500|") && expected.contains("same"), "{expected}");
    us.take_off();
    kernel.take_off();
    sh(&format!("e2fsck -fn {}", ours.display()));
}

/// A mount in the foreground, as a process of this test's.
fn foreground(image: &Path, point: &Path) -> std::process::Child {
    fs::create_dir_all(point).unwrap();
    let mut command = Command::new(programs::program("guestmount"));
    command.arg("-a").arg(image).args(["-m", "/dev/sda", "--no-fork", "--fd=1", "--backend=uml"]).arg(point);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
    child
}

#[test]
fn being_told_to_stop_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let [_, image] = images(at, "mkfs.ext4 -q", 300);
    let point = at.join("mount");
    let mut guestmount = foreground(&image, &point);
    let file = point.join("file");
    let mut writer = Command::new("dd");
    writer
        .args(["if=/dev/zero", "bs=64K", "count=1500", "status=none"])
        .arg(format!("of={}", file.display()));
    let mut writer = writer.spawn().unwrap();
    while fs::metadata(&file).map_or(0, |meta| meta.len()) < 1 << 20 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    run(Command::new("kill").arg(guestmount.id().to_string()));
    assert!(writer.wait().unwrap().success(), "who writes is not disturbed");
    assert!(guestmount.wait().unwrap().success());
    sh(&format!("e2fsck -fn {}", image.display()));
    let size = sh(&format!(
        "debugfs -R 'stat /file' {} 2>/dev/null | grep -o 'Size: [0-9]*' | head -n 1",
        image.display()
    ));
    assert_eq!(size.trim(), format!("Size: {}", 1500 * 65536));
}

#[test]
fn what_dies_does_not_hang() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let [_, image] = images(at, "mkfs.ext4 -q", 100);
    let point = at.join("mount");
    // The appliance.
    let mut guestmount = foreground(&image, &point);
    fs::write(point.join("durable"), "x").unwrap();
    sh(&format!("sync {}", point.join("durable").display()));
    // Its process is started by one that is started by guestmount.
    sh(&format!("kill -9 $(pgrep -P $(pgrep -P {}))", guestmount.id()));
    let mut asked = 0;
    let error = loop {
        // Each name is new: nothing of it is remembered.
        asked += 1;
        match fs::metadata(point.join(format!("name{asked}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => break error,
            _ => {}
        }
    };
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    let ended = programs::run("guestunmount", &[point.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(!guestmount.wait().unwrap().success());
    // The journal is played back, and all is well.
    sh(&format!("e2fsck -fp {0} || [ $? = 1 ]; e2fsck -fn {0}", image.display()));
    assert_eq!(sh(&format!("debugfs -R 'cat /durable' {} 2>/dev/null", image.display())), "x");

    // guestmount itself.
    let mut guestmount = foreground(&image, &point);
    fs::write(point.join("later"), "y").unwrap();
    sh(&format!("sync {}", point.join("later").display()));
    guestmount.kill().unwrap();
    guestmount.wait().unwrap();
    let error = fs::read_dir(&point).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NOTCONN.raw_os_error()));
    assert_eq!(programs::run("guestunmount", &[point.to_str().unwrap()]).status.code(), Some(0));
    assert_eq!(programs::run("guestunmount", &[point.to_str().unwrap()]).status.code(), Some(3));
    sh(&format!("e2fsck -fp {0} || [ $? = 1 ]; e2fsck -fn {0}", image.display()));
    assert_eq!(sh(&format!("debugfs -R 'cat /later' {} 2>/dev/null", image.display())), "y");
}

#[test]
fn several_file_systems_are_one_tree_in_a_qcow2() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let image = at.join("disk.qcow2");
    let name = image.to_str().unwrap();
    programs::output_of("img", &["create", "-f", "qcow2", name, "700M"]);
    let script = "run\npart-init /dev/sda mbr\npart-add /dev/sda p 2048 204800\npart-add /dev/sda p 206848 -2048\n\
                  mkfs ext4 /dev/sda1\nmkfs xfs /dev/sda2\nmount /dev/sda1 /\nmkdir /boot\n";
    assert_eq!(system_tests::fish::output_of(&["--format=qcow2", "-a", name], script), "");
    let point = at.join("mount");
    fs::create_dir(&point).unwrap();
    let mount = |words: &[&str]| {
        let mut all = vec!["-a", name, "-m", "/dev/sda1", "-m", "/dev/sda2:/boot"];
        all.extend_from_slice(words);
        all.push(point.to_str().unwrap());
        programs::output_of("guestmount", &all);
    };
    mount(&["-o", "uid=1000,umask=022"]);
    fs::write(point.join("boot/vmlinuz"), "kernel").unwrap();
    fs::write(point.join("root"), "root").unwrap();
    let meta = fs::metadata(point.join("boot/vmlinuz")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 1000);
    let crossed = fs::rename(point.join("root"), point.join("boot/root")).unwrap_err();
    assert_eq!(crossed.kind(), std::io::ErrorKind::CrossesDevices);
    programs::output_of("guestunmount", &[point.to_str().unwrap()]);
    mount(&["--ro"]);
    assert_eq!(fs::read(point.join("boot/vmlinuz")).unwrap(), b"kernel");
    let refused = fs::write(point.join("root"), "").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    programs::output_of("guestunmount", &[point.to_str().unwrap()]);
}

#[test]
fn guestfish_mounts_locally_too() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let [_, image] = images(at, "mkfs.ext4 -q", 100);
    let point = at.join("mount");
    fs::create_dir(&point).unwrap();
    let (image, point) = (image.display(), point.display());
    let script = format!(
        "add {image}\nrun\nmount /dev/sda /\nmount-local {point} cachetimeout:1\n!echo hello > {point}/file\n\
         umount-local retry:true\ncat /file\n-umount-local\n-mount-local-run\nmount-local {point} readonly:true\n\
         -mount-local {point}\n!cat {point}/file; guestunmount=$(dirname $0); umount {point}\nmount-local-run\n\
         write /file bye\ncat /file\n-internal-mount-local uid:1\n-internal-mount-local\n"
    );
    let fish = system_tests::fish::script(&[], &script);
    assert!(fish.text().starts_with("hello\n"), "{fish:?}");
    let text = format!("{}{}", fish.text(), fish.err);
    for part in [
        "no filesystem is mounted",
        "you must call guestfs_mount_local first",
        "already mounted",
        "hello\n\n",
        "bye",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    sh(&format!("e2fsck -fn {image}"));
}

#[test]
fn every_call_answers_as_the_kernel_s() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let [theirs, ours] = images(at, "mkfs.ext4 -q", 100);
    let kernel = Mounted::by_kernel(&theirs, at.join("kernel"), "rw");
    let us = Mounted::by_us(&ours, at.join("ours"), &[]);
    let expected = calls::answers(&kernel.point.join("all"));
    let got = calls::answers(&us.point.join("all"));
    for (expected, got) in expected.iter().zip(&got) {
        assert_eq!(got, expected);
    }
    assert_eq!((got.len(), expected.len()), (366, 366));
    let done = expected.iter().filter(|line| line.contains(": Ok")).count();
    assert!((60..300).contains(&done), "{done} were done");
    us.take_off();
    kernel.take_off();
}

#[test]
fn a_file_is_what_was_done_to_it() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(11);
    for (mkfs, options) in [("mkfs.ext4 -q", "ro"), ("mkfs.xfs -q", "ro,nouuid")] {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let [image, _] = images(at, mkfs, 300);
        let us = Mounted::by_us(&image, at.join("ours"), &[]);
        let model = one_file::work(&us.point.join("file"), &mut Random::new(seed), 500);
        us.take_off();
        let kernel = Mounted::by_kernel(&image, at.join("kernel"), options);
        assert!(fs::read(kernel.point.join("file")).unwrap() == model, "walk {seed} on {mkfs}");
        kernel.take_off();
    }
}

#[test]
fn names_that_are_the_same_in_another_case_are_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let [image, _] = images(at, "mkfs.xfs -q -n version=ci", 300);
    let us = Mounted::by_us(&image, at.join("ours"), &[]);
    let path = |name: &str| us.point.join(name);
    assert!(fs::metadata(path("NAME")).is_err());
    fs::create_dir(path("Directory")).unwrap();
    fs::write(path("Directory/Name"), "what it says").unwrap();
    fs::write(path("name"), "short").unwrap();
    // That there was nothing is not remembered.
    assert_eq!(fs::read_to_string(path("NAME")).unwrap(), "short");
    assert_eq!(fs::read_to_string(path("DIRECTORY/NAME")).unwrap(), "what it says");
    sh(&format!("chattr +A {}", path("Directory/Name").display()));
    fs::remove_file(path("nAmE")).unwrap();
    assert!(fs::metadata(path("name")).is_err() && fs::metadata(path("NAME")).is_err());
    us.take_off();

    // The direct reader does not look such names up: an appliance is started for that, behind the mount.
    let us = Mounted::by_us(&image, at.join("ours"), &["--ro"]);
    let path = |name: &str| us.point.join(name);
    assert_eq!(sh(&format!("ls {}", us.point.display())), "Directory\n");
    assert_eq!(fs::read_to_string(path("dIRECTORY/nAME")).unwrap(), "what it says");
    assert_eq!(fs::read_to_string(path("Directory/Name")).unwrap(), "what it says");
    let numbers = ["Directory/Name", "DIRECTORY/name", "directory/NAME"]
        .map(|name| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path(name)).unwrap()));
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    assert_eq!(sh(&format!("find {} -type f -printf '%P %s\n'", us.point.display())), "Directory/Name 12\n");
    let flags = sh(&format!("lsattr {}", path("Directory/Name").display()));
    assert_eq!(flags.split(' ').next().unwrap().replace('-', ""), "A");
    assert_eq!(fs::metadata(path("nothing")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    us.take_off();

    let us = Mounted::by_us(&image, at.join("ours"), &["--ro", "--direct=only"]);
    let refused = fs::metadata(us.point.join("DIRECTORY")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    us.take_off();
}

#[test]
fn keys_open_what_is_mounted() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let image = at.join("crypt.img");
    let uuid = "11111111-aaaa-bbbb-cccc-00000000000a";
    sh(&format!(
        "truncate -s 32M {0}; printf secret | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 \
         --pbkdf-force-iterations 1000 --uuid {uuid} {0} -",
        image.display()
    ));
    let script = "run\nluks-open /dev/sda crypt\nsecret\nmkfs ext4 /dev/mapper/crypt\nmount /dev/mapper/crypt /\n\
                  write /file inside\n";
    let words = ["--format=raw", "--keys-from-stdin", "-a", image.to_str().unwrap()];
    system_tests::fish::output_of(&words, script);
    let point = at.join("mount");
    fs::create_dir(&point).unwrap();
    let program = programs::program("guestmount");
    let line = |before: &str, words: &str| {
        let device = format!("/dev/mapper/luks-{uuid}");
        let (program, image, point) = (program.display(), image.display(), point.display());
        format!("{before} {program} -a {image} -m {device} {words} {point} 2>&1")
    };
    for (before, words) in [("", "--key all:key:secret --ro"), ("echo secret |", "--keys-from-stdin")] {
        sh(&line(before, words));
        assert_eq!(fs::read_to_string(point.join("file")).unwrap(), "inside", "{words}");
        programs::output_of("guestunmount", &[point.to_str().unwrap()]);
    }
    let said = sh(&format!("{} || echo refused", line("", "--key all:key:wrong")));
    assert!(said.contains("could not find key") && said.ends_with("refused\n"), "{said}");
}

#[test]
fn who_is_not_root_mounts_too() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let [image, _] = images(at, "mkfs.ext4 -q", 20);
    // The programs may lie where only root looks.
    for name in ["guestmount", "guestunmount"] {
        fs::copy(programs::program(name), at.join(name)).unwrap();
    }
    let point = at.join("mount");
    fs::create_dir(&point).unwrap();
    sh(&format!("chmod 755 {0}; chown 65534:65534 {0}/mount {1}", at.display(), image.display()));
    let user = format!("cd {}; HOME={0} setpriv --reuid 65534 --regid 65534 --clear-groups", at.display());
    sh(&format!("{user} ./guestmount --ro -a {} -m /dev/sda mount", image.display()));
    let mounted = Mounted::there(point.clone());
    assert_eq!(sh(&format!("{user} ls mount")), "lost+found\n");
    assert_eq!(sh(&format!("{user} stat -f -c %l mount")), "255\n");
    // Nobody else was let in, not even root.
    let refused = fs::read_dir(&point).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    sh(&format!("{user} ./guestunmount mount"));
    mounted.was_taken_off();
    let said = sh(&format!("{user} ./guestunmount mount 2>&1 || echo $?"));
    assert!(said.ends_with("3\n"), "{said}");
}
