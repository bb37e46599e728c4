//! When things go wrong: machines that die, users who press Ctrl-C, disks that are full or hostile. What
//! is left is an error that says so, an image that is whole, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use appliance_engine::build::Appliance;
use system_tests::fish::{Ran, command, feed, output_of, script};
use system_tests::images::{self, Table};
use system_tests::programs::{peer, program, run};
use tempfile::TempDir;

/// More than anything here takes on a busy machine. What is still running then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// A directory with an empty `temporary` one in it, for `TMPDIR`.
    fn new() -> Self {
        Appliance::installed().expect("'make test' builds the appliance first");
        let scratch = Scratch { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(scratch.path("temporary")).unwrap();
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A qcow2 image with an ext4 file system, under a name.
    fn qcow2(&self, name: &str, mib: u64) -> String {
        let raw = self.path("raw");
        images::format(&raw, mib, &["mkfs.ext4", "-q", "-F"]);
        let image = self.text(name);
        peer("qemu-img", &["convert", "-O", "qcow2", raw.to_str().unwrap(), &image]);
        image
    }

    /// guestfish in this directory, started; it has printed `ready` and waits for more commands.
    fn started(&self, arguments: &[&str], before: &str) -> Running {
        let mut command = command(arguments);
        command.env("TMPDIR", self.path("temporary")).current_dir(self.directory.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(self.path("err")).unwrap());
        let mut child = command.spawn().unwrap();
        let mut keys = child.stdin.take().unwrap();
        keys.write_all(format!("{before}\necho ready\n").as_bytes()).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "ready"), "{}", self.errors());
        Running { child, keys: Some(keys) }
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.path("err")).unwrap_or_default()
    }

    /// Nothing of ours may be left where programs put things for a while.
    fn assert_no_leftovers(&self, process: u32) {
        let mine = |name: &str| name.starts_with(&format!("diskwright-{process}-"));
        for place in ["/tmp", "/dev/shm", "/var/tmp"] {
            let left: Vec<_> = names(Path::new(place)).into_iter().filter(|name| mine(name)).collect();
            assert!(left.is_empty(), "{place}: {left:?}");
        }
        let left = names(&self.path("temporary"));
        assert!(left.is_empty(), "{left:?}");
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A program with the processes it started, none of which outlives the test.
struct Running {
    child: Child,
    keys: Option<std::process::ChildStdin>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn type_line(&mut self, line: &str) {
        let keys = self.keys.as_mut().unwrap();
        keys.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn signal(&self, name: &str) {
        peer("kill", &[&format!("-{name}"), &self.child.id().to_string()]);
    }

    /// Waits for the end; `None` if a signal was it.
    fn end(&mut self) -> Option<i32> {
        drop(self.keys.take());
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A process, by its number and when it began, since numbers are used again.
type Process = (u32, String);

/// The fields of /proc/PID/stat behind the name.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// All processes below one.
fn descendants(process: u32) -> Vec<Process> {
    let all: Vec<(u32, u32, String)> = names(Path::new("/proc"))
        .iter()
        .filter_map(|name| name.parse().ok())
        .filter_map(|id| stat(id).map(|fields| (id, fields[1].parse().unwrap_or(0), fields[19].clone())))
        .collect();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![process];
    while let Some(parent) = parents.pop() {
        for (id, _, begun) in all.iter().filter(|(_, up, _)| *up == parent) {
            parents.push(*id);
            found.push((*id, begun.clone()));
        }
    }
    found
}

fn is_alive((id, begun): &Process) -> bool {
    stat(*id).is_some_and(|fields| fields[0] != "Z" && fields[19] == *begun)
}

fn assert_all_gone(processes: &[Process]) {
    assert!(!processes.is_empty(), "there was no machine");
    let begun = Instant::now();
    while processes.iter().any(is_alive) {
        assert!(begun.elapsed() < PATIENCE, "still there: {processes:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The file system in a qcow2 image, after its journal was replayed, is sound; so is the image.
fn assert_sound(scratch: &Scratch, image: &str) {
    peer("qemu-img", &["check", "-q", image]);
    let flat = scratch.text("flat");
    peer("qemu-img", &["convert", "-O", "raw", image, &flat]);
    // 1 when the journal was replayed.
    let replayed = Command::new("e2fsck").args(["-p", &flat]).output().unwrap();
    assert!(matches!(replayed.status.code(), Some(0 | 1)), "{replayed:?}");
    peer("e2fsck", &["-fn", &flat]);
}

#[test]
fn a_machine_that_dies_is_reported_at_once() {
    let scratch = Scratch::new();
    let image = scratch.qcow2("disk.qcow2", 8192);
    for backend in ["--backend=uml", "--backend=tcg"] {
        let before = "run\nmount /dev/sda /\nwrite /before kept\nsync";
        let mut running = scratch.started(&[backend, "-a", &image], before);
        let machine = descendants(running.child.id());
        // A command that takes long, and the machine is gone in the midst of it.
        running.type_line("checksum-device sha512 /dev/sda");
        std::thread::sleep(Duration::from_millis(30));
        for (id, _) in &machine {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).output();
        }
        assert_eq!(running.end(), Some(1), "{backend}");
        let error = scratch.errors();
        assert!(error.contains("The appliance") && error.contains("libguestfs: error: "), "{error}");
        assert_all_gone(&machine);
        scratch.assert_no_leftovers(running.child.id());
        peer("qemu-img", &["check", "-q", &image]);
        let kept = output_of(&["--ro", "-a", &image, "-m", "/dev/sda"], "cat /before\n");
        assert_eq!(kept, "kept\n");
    }
}

#[test]
fn ctrl_c_ends_a_script_in_order() {
    let scratch = Scratch::new();
    let image = scratch.qcow2("disk.qcow2", 400);
    File::create(scratch.path("large")).unwrap().set_len(8 << 30).unwrap();
    let mut running = scratch.started(&["-a", &image], "run\nmount /dev/sda /\nwrite /before kept");
    let machine = descendants(running.child.id());
    // An archive that does not end soon, from a program that is not interrupted itself.
    peer("mkfifo", &[&scratch.text("pipe")]);
    let mut tar = Command::new("tar");
    tar.args(["-cf", "pipe", "large"]).current_dir(scratch.directory.path()).stderr(Stdio::null());
    let mut tar = Running { child: tar.spawn().unwrap(), keys: None };
    running.type_line("mkdir /into\ntar-in pipe /into\nwrite /after x");
    let begun = Instant::now();
    while fs::metadata(&image).unwrap().len() < 3 << 20 {
        let runs = running.child.try_wait().unwrap().is_none();
        assert!(begun.elapsed() < PATIENCE && runs, "{}", scratch.errors());
        std::thread::sleep(Duration::from_millis(10));
    }
    running.signal("INT");
    assert_eq!(running.end(), Some(1));
    let error = scratch.errors();
    assert!(error.contains("tar_in: Operation cancelled by user"), "{error}");
    // Nobody reads the archive any more.
    assert_eq!(tar.end(), None);
    assert_all_gone(&machine);
    scratch.assert_no_leftovers(running.child.id());
    assert_sound(&scratch, &image);
    let left =
        output_of(&["--ro", "-a", &image, "-m", "/dev/sda"], "cat /before\nis-dir /into\nexists /after\n");
    assert_eq!(left, "kept\ntrue\nfalse\n");
}

#[test]
fn nothing_outlives_a_guestfish_that_is_killed() {
    let scratch = Scratch::new();
    let image = scratch.qcow2("disk.qcow2", 64);
    for backend in ["--backend=uml", "--backend=tcg"] {
        let before = "run\nmount /dev/sda /\nfill 7 3000000 /x\nsync\nfill 8 3000000 /y";
        let mut running = scratch.started(&[backend, "-a", &image], before);
        let machine = descendants(running.child.id());
        running.signal("KILL");
        assert_eq!(running.end(), None);
        assert_all_gone(&machine);
        scratch.assert_no_leftovers(running.child.id());
        assert_sound(&scratch, &image);
    }
}

#[test]
fn a_full_disk_is_told() {
    let scratch = Scratch::new();
    // A small memory file system of our own: no privileges are needed for it.
    let small = scratch.path("small");
    fs::create_dir(&small).unwrap();
    let guestfish = program("guestfish");
    let line = format!(
        "mount -t tmpfs -o size=20M none {small} && qemu-img create -q -f qcow2 {small}/disk.qcow2 1G && {guestfish} -a \
         {small}/disk.qcow2; status=$?; qemu-img check -q {small}/disk.qcow2; echo checked $?; exit $status",
        small = small.display(),
        guestfish = guestfish.display()
    );
    let script =
        "run\nmkfs ext4 /dev/sda\nmount /dev/sda /\nfill 7 100000000 /x\nsync\numount /\necho all is well\n";
    let ran = feed(Command::new("unshare").args(["-rm", "sh", "-c", &line]), script.as_bytes());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("No space left on device") || ran.err.contains("could be written"), "{ran:?}");
    // Clusters that were taken and never used may be left, which is 3; nothing worse.
    assert!(ran.text().ends_with("checked 0\n") || ran.text().ends_with("checked 3\n"), "{ran:?}");
}

#[test]
fn an_image_has_one_writer() {
    let scratch = Scratch::new();
    let image = scratch.qcow2("disk.qcow2", 32);
    let mut first = scratch.started(&["-a", &image], "run\nmount /dev/sda /\nwrite /x first");
    let second = run("guestfish", &["-a", &image, "-m", "/dev/sda", "write", "/x", "second"]);
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("lock") && error.contains("disk.qcow2"), "{error}");
    // Nor may it be read meanwhile: what a reader saw would not hold together.
    assert_eq!(run("virt-ls", &["-a", &image, "-m", "/dev/sda", "/"]).status.code(), Some(1));
    let qemu = Command::new("qemu-img").args(["check", &image]).output().unwrap();
    assert!(String::from_utf8_lossy(&qemu.stderr).contains("lock"), "{qemu:?}");
    assert_eq!(first.end(), Some(0));
    // Any number of readers may be there together.
    let mut reader = scratch.started(&["--ro", "-a", &image], "run\nmount /dev/sda /");
    assert_eq!(output_of(&["--ro", "-a", &image, "-m", "/dev/sda"], "cat /x\n"), "first\n");
    assert_eq!(reader.end(), Some(0));
}

#[test]
fn a_read_only_image_never_changes() {
    let scratch = Scratch::new();
    let (tree, image) = (scratch.path("tree"), scratch.path("disk"));
    fs::create_dir(&tree).unwrap();
    images::debian_tree(&tree);
    images::ext(&image, 32, &["mkfs.ext4"], &tree, "");
    let shown = image.to_str().unwrap();
    // A journal that wants to be replayed.
    let dirty = script(
        &["--format=raw", "-a", shown, "-m", "/dev/sda"],
        "write /new content\nsync\n!kill -9 $PPID\n",
    );
    assert_eq!(dirty.code, None);
    assert!(peer("dumpe2fs", &["-h", shown]).contains("needs_recovery"));
    let before = (peer("sha256sum", &[shown]), fs::metadata(&image).unwrap().modified().unwrap());
    // Even a writable mount by hand only writes to memory.
    for (how, lines) in [
        (&["--ro", "-i"][..], "cat /new\nls /etc\n"),
        (&["--ro", "--direct=never", "-i"], "cat /new\n"),
        (
            &["--ro", "--direct=never"],
            "run\nmount /dev/sda /\nwrite /more x\nsync\numount /\ne2fsck /dev/sda forceall:true\nzero /dev/sda\n",
        ),
        (&["--ro", "--direct=never", "--backend=tcg", "-m", "/dev/sda"], "cat /new\n"),
    ] {
        let ran = script(&[how, &["--format=raw", "-a", shown]].concat(), lines);
        assert!(ran.code.is_some(), "{how:?} {ran:?}");
        assert!(!lines.contains("cat /new") || ran.text().starts_with("content\n"), "{how:?} {ran:?}");
    }
    // Not even by somebody who may not write.
    fs::set_permissions(&image, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    assert_eq!(
        output_of(&["--ro", "--format=raw", "-a", shown, "-m", "/dev/sda"], "cat /new\n"),
        "content\n"
    );
    let after = (peer("sha256sum", &[shown]), fs::metadata(&image).unwrap().modified().unwrap());
    assert_eq!(before, after);
}

#[test]
fn without_an_appliance_it_is_said_what_to_do() {
    let scratch = Scratch::new();
    let image = scratch.qcow2("disk.qcow2", 16);
    let run = |arguments: &[&str], lines: &str| -> Ran {
        let mut command = command(arguments);
        command.env("DISKWRIGHT_CACHE", scratch.path("temporary")).env_remove("DISKWRIGHT_APPLIANCE");
        feed(&mut command, lines.as_bytes())
    };
    let ran = run(&["-a", &image], "run\nlist-filesystems\n");
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("appliance build"), "{ran:?}");
    // What needs none goes on without.
    let ran = run(&["--ro", "-a", &image, "-m", "/dev/sda"], "ls /\n");
    assert_eq!((ran.code, ran.text()), (Some(0), "lost+found\n"), "{ran:?}");
}

/// Damaged disks: both ways to read them end, with an answer or an error. The damage is the same every time.
#[test]
fn hostile_disks_harm_nobody() {
    let scratch = Scratch::new();
    let (tree, part, whole) = (scratch.path("tree"), scratch.path("part"), scratch.path("whole"));
    fs::create_dir(&tree).unwrap();
    images::debian_tree(&tree);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut number = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    for (table, features) in [(Table::Gpt, "^metadata_csum"), (Table::Logical, "^metadata_csum,^has_journal")]
    {
        images::ext(&part, 16, &["mkfs.ext4", "-O", features], &tree, "");
        images::disk(&whole, table, &[Some(&part), None]);
        let sound = fs::read(&whole).unwrap();
        let places: Vec<usize> = (0..sound.len()).filter(|&at| at < 4096 || sound[at] != 0).collect();
        for round in 0..24 {
            let damaged = scratch.path("damaged");
            fs::write(&damaged, &sound).unwrap();
            let file = File::options().write(true).open(&damaged).unwrap();
            for _ in 0..4 + number(40) {
                let at = places[number(places.len())];
                let byte = [sound[at] ^ (1 << number(8)), 0xff, number(256) as u8][number(3)];
                file.write_all_at(&[byte], at as u64).unwrap();
            }
            if round % 8 == 7 {
                file.set_len(number(sound.len()) as u64).unwrap();
            }
            let shown = damaged.to_str().unwrap();
            for how in ["--direct=only", "--direct=never"] {
                // The kernel is tried less often: it takes longer, and is not ours.
                if how == "--direct=never" && round % 3 != 0 {
                    continue;
                }
                let lines = "list-filesystems\npart-list /dev/sda\nmount-ro /dev/sda1 /\nfind /\ncat /etc/fstab\nreadlink /bin\nls /etc\nfilesize /etc/hostname\n";
                let lines: String = lines.lines().map(|line| format!("-{line}\n")).collect();
                let mut guestfish = Command::new("timeout");
                guestfish.args(["-k", "1", "60"]).arg(program("guestfish"));
                guestfish.args(["--ro", how, "--format=raw", "-a", shown, "-f", "/dev/stdin"]);
                let ran = feed(&mut guestfish, format!("run\n{lines}").as_bytes());
                assert!(
                    matches!(ran.code, Some(0 | 1)) && !ran.err.contains("panicked"),
                    "{round} {how}: {ran:?}"
                );
            }
        }
    }
}

/// Partitions over each other, and a file system that claims to be larger than its partition.
#[test]
fn disks_that_lie_are_read_like_the_kernel_reads_them() {
    let scratch = Scratch::new();
    let (one, disk) = (scratch.path("one"), scratch.path("disk"));
    images::format(&one, 16, &["mkfs.ext4", "-q", "-F", "-L", "one"]);
    images::disk(&disk, Table::Logical, &[Some(&one)]);
    let shown = disk.to_str().unwrap();
    let file = File::options().write(true).open(&disk).unwrap();
    // A second one over the first, and a third that begins within it.
    for (index, start, length) in [(1_u64, 2048_u32, 32_768_u32), (2, 4096, 2048)] {
        let mut entry = [0; 16];
        entry[4] = 0x83;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..].copy_from_slice(&length.to_le_bytes());
        file.write_all_at(&entry, 446 + 16 * index).unwrap();
    }
    let answer = |how: &str, lines: &str| {
        let ran = script(&["--ro", how, "--format=raw", "-a", shown], &format!("run\n{lines}"));
        (ran.code, ran.text().to_owned(), ran.err)
    };
    let overlapping = "list-partitions\nlist-filesystems\nmount-ro /dev/sda2 /\nls /\nvfs-label /dev/sda1\n";
    let (direct, kernel) = (answer("--direct=auto", overlapping), answer("--direct=never", overlapping));
    assert_eq!(direct, kernel);
    assert!(direct.1.starts_with("/dev/sda1\n/dev/sda2\n/dev/sda3\n"), "{direct:?}");
    // Half of the partition is gone: the kernel does not mount what is left.
    file.write_all_at(&16_384_u32.to_le_bytes(), 446 + 12).unwrap();
    file.write_all_at(&[0; 32], 446 + 16).unwrap();
    let (direct, kernel) = (
        answer("--direct=auto", "mount-ro /dev/sda1 /\n"),
        answer("--direct=never", "mount-ro /dev/sda1 /\n"),
    );
    assert_eq!(direct, kernel);
    assert_eq!(direct.0, Some(1));
}
