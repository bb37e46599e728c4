//! Disks as files: whatever old tools do to the file is in the image, and the file is what qemu-img says the image is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use rustix::process::{Pid, Signal};
use system_tests::programs::{peer, program, run_in};
use system_tests::random::Random;
use system_tests::socket::listens;

const MIB: u64 = 1 << 20;
/// Longest time that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not yet");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A program in the foreground that shows a disk as a file; it is ended when this is dropped.
struct Shown {
    child: Child,
    point: PathBuf,
}

impl Shown {
    /// Runs it and waits for the file that tells its number.
    fn new(mut command: Command, point: &Path, pid_file: &Path) -> Shown {
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mount = if point.exists() { Some(point) } else { point.parent() };
        let mut shown = Shown { child, point: mount.unwrap().to_owned() };
        until("the file is shown", || {
            assert!(shown.child.try_wait().unwrap().is_none(), "{command:?} has ended");
            pid_file.exists()
        });
        shown
    }

    /// `nbdfuse`: ours under that name, or the real one. The words are options, and what follows the mount point.
    fn export(real: bool, options: &[&str], point: &Path, place: &[&str]) -> Shown {
        let pid_file = point.ancestors().nth(1 + usize::from(!point.exists())).unwrap().join("pid");
        let _ = fs::remove_file(&pid_file);
        let mut command = Command::new(if real { "nbdfuse".into() } else { program("nbd") });
        command.arg0("nbdfuse").args(options).arg("-P").arg(&pid_file).arg(point).args(place);
        Shown::new(command, point, &pid_file)
    }

    /// `nbd fuse-image`
    fn image(options: &[&str], image: &Path, point: &Path) -> Shown {
        let pid_file = image.with_extension("pid");
        let _ = fs::remove_file(&pid_file);
        let mut command = Command::new(program("nbd"));
        command.arg("fuse-image").args(options).arg("-P").arg(&pid_file).args([image, point]);
        Shown::new(command, point, &pid_file)
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, which must be a good one.
    fn ended(mut self) {
        until("the program ends", || self.child.try_wait().unwrap().is_some());
        assert!(self.child.wait().unwrap().success());
    }

    /// Takes the mount off as users do.
    fn take_off(self) {
        peer("umount", &[text(&self.point)]);
        self.ended();
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = Command::new("umount").arg("-l").arg(&self.point).stderr(Stdio::null()).status();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A directory with an empty image, and a directory to mount on.
fn with_image(format: &str, size: u64) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (image, point) = (directory.path().join("image"), directory.path().join("mount"));
    peer("qemu-img", &["create", "-q", "-f", format, text(&image), &size.to_string()]);
    fs::create_dir(&point).unwrap();
    (directory, image, point)
}

#[test]
fn a_file_system_is_made_in_a_chain_and_mounted_over_a_loop_device() {
    let (directory, base, point) = with_image("qcow2", 64 * MIB);
    let top = directory.path().join("top");
    peer("qemu-img", &["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "qcow2", text(&top)]);
    let before = fs::read(&base).unwrap();
    let shown = Shown::image(&[], &top, &point);
    let file = point.join("nbd");
    assert_eq!((file.metadata().unwrap().len(), fs::read_dir(&point).unwrap().count()), (64 * MIB, 1));
    peer("mkfs.ext4", &["-q", text(&file)]);
    let inside = directory.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let script = "mount -o loop $1 $2 && seq 100000 >$2/numbers && sync -f $2 && umount $2";
    peer("sh", &["-ec", script, "sh", text(&file), text(&inside)]);
    peer("e2fsck", &["-fn", text(&file)]);
    let copy = directory.path().join("copy");
    peer("cp", &["--sparse=always", text(&file), text(&copy)]);
    shown.take_off();
    peer("qemu-img", &["check", "-q", text(&top)]);
    peer("qemu-img", &["compare", "-q", "-f", "qcow2", "-F", "raw", text(&top), text(&copy)]);
    let numbers = peer("debugfs", &["-R", "cat numbers", text(&copy)]);
    assert_eq!(numbers, peer("seq", &["100000"]));
    assert_eq!(fs::read(&base).unwrap(), before);
}

/// One thing done to a file, and to memory.
fn step(file: &File, direct: &File, model: &mut [u8], random: &mut Random) {
    let size = model.len() as u64;
    let offset = random.below(size);
    let most = if random.chance(8) { 3 * MIB } else { 70_000 };
    let length = 1 + random.below(most);
    let end = (offset + length).min(size);
    let place = &mut model[offset as usize..end as usize];
    match random.below(6) {
        0 | 1 => {
            place.fill_with(|| random.below(256) as u8);
            file.write_all_at(place, offset).unwrap();
        }
        2 => {
            let (offset, data) = (offset / 4096 * 4096, vec![random.below(256) as u8; 8192]);
            let count = data.len().min((size - offset) as usize);
            direct.write_all_at(&data[..count], offset).unwrap();
            model[offset as usize..][..count].copy_from_slice(&data[..count]);
        }
        3 => {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(file, flags, offset, length).unwrap();
            place.fill(0);
        }
        4 => {
            rustix::fs::fallocate(file, FallocateFlags::ZERO_RANGE, offset, end - offset).unwrap();
            place.fill(0);
        }
        _ => {
            let mut data = vec![1; length as usize];
            let count = file.read_at(&mut data, offset).unwrap();
            assert!(count as u64 == end - offset && data[..count] == *place, "{length} bytes at {offset}");
        }
    }
}

/// The parts of a file that hold data.
fn data_of(file: &File) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap();
        found.push((start, at));
    }
    found
}

/// The same of an image, as qemu-img sees it.
fn data_by_qemu(image: &Path) -> Vec<(u64, u64)> {
    let map = peer("qemu-img", &["map", "--output=json", text(image)]);
    let map: serde_json::Value = serde_json::from_str(&map).unwrap();
    let mut found: Vec<(u64, u64)> = Vec::new();
    for extent in map.as_array().unwrap().iter().filter(|extent| extent["zero"] == false) {
        let start = extent["start"].as_u64().unwrap();
        let end = start + extent["length"].as_u64().unwrap();
        match found.last_mut().filter(|last| last.1 == start) {
            Some(last) => last.1 = end,
            None => found.push((start, end)),
        }
    }
    found
}

#[test]
fn reads_writes_and_holes_are_those_of_a_file() {
    for (format, seed) in [("qcow2", 1), ("raw", 2)] {
        let (directory, image, _) = with_image(format, 5 * MIB + 512);
        // On a file: the mount is the file.
        let point = directory.path().join("file");
        fs::write(&point, "covered").unwrap();
        let shown = Shown::image(&["-f", format], &image, &point);
        let file = File::options().read(true).write(true).open(&point).unwrap();
        let direct =
            File::options().write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(&point).unwrap();
        let mut model = vec![0; 5 * MIB as usize + 512];
        let mut random = Random::new(seed);
        for _ in 0..300 {
            step(&file, &direct, &mut model, &mut random);
        }
        assert!(fs::read(&point).unwrap() == model, "{format}");
        file.sync_all().unwrap();
        let data = data_of(&file);
        drop((file, direct));
        shown.take_off();
        assert_eq!(fs::read(&point).unwrap(), b"covered");
        if format == "qcow2" {
            assert_eq!(data, data_by_qemu(&image));
            peer("qemu-img", &["check", "-q", text(&image)]);
        }
        let raw = directory.path().join("raw");
        peer("qemu-img", &["convert", "-f", format, "-O", "raw", text(&image), text(&raw)]);
        assert!(fs::read(&raw).unwrap() == model, "{format}");
    }
}

/// The numbers of errors.
fn number<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_size_is_fixed_and_what_is_read_only_stays_as_it_is() {
    const ROFS: Option<i32> = Some(30);
    const NOSPC: Option<i32> = Some(28);
    const PERM: Option<i32> = Some(1);
    let (_directory, image, point) = with_image("qcow2", MIB);
    let shown = Shown::image(&["-o", "uid=12,gid=34"], &image, &point.join("disk.raw"));
    let path = point.join("disk.raw");
    // Truncation cuts nothing off, as of a block device.
    fs::write(&path, [5; 4096]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let seen = file.metadata().unwrap();
    assert_eq!((seen.len(), seen.uid(), seen.gid(), seen.mode()), (MIB, 12, 34, 0o100_600));
    assert_eq!(file.write_at(&[6; 8192], MIB - 4096).unwrap(), 4096);
    assert_eq!(number(file.write_at(&[6], MIB)), NOSPC);
    assert_eq!(number(file.set_len(4)), PERM);
    file.set_len(MIB).unwrap();
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::new(9, 5)).unwrap();
    let seen = path.metadata().unwrap();
    assert_eq!((seen.mode(), seen.mtime(), seen.mtime_nsec()), (0o100_640, 9, 5));
    assert_eq!(number(fs::write(point.join("other"), "")), PERM);
    assert_eq!(number(fs::remove_file(&path)), PERM);
    assert!(!point.join("nbd").exists());
    drop(file);
    // Another program may not have it meanwhile.
    let other = Command::new("qemu-img").args(["info", text(&image)]).output().unwrap();
    assert!(String::from_utf8_lossy(&other.stderr).contains("lock"));
    shown.take_off();

    let shown = Shown::image(&["-r"], &image, &point);
    let path = point.join("nbd");
    assert_eq!(number(File::options().write(true).open(&path)), ROFS);
    assert_eq!(fs::read(&path).unwrap()[..4097], [[5; 4096].as_slice(), &[0]].concat());
    assert_eq!(fs::metadata(&path).unwrap().mode(), 0o100_400);
    shown.signal(Signal::TERM);
    shown.ended();
    assert_eq!(fs::read_dir(&point).unwrap().count(), 0);
}

#[test]
fn a_signal_ends_it_when_nobody_uses_it_any_more() {
    let (_directory, image, point) = with_image("qcow2", MIB);
    let mut shown = Shown::image(&[], &image, &point);
    let path = point.join("nbd");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    file.write_all_at(b"before", 0).unwrap();
    shown.signal(Signal::INT);
    until("it is out of sight", || !path.exists());
    assert!(shown.child.try_wait().unwrap().is_none());
    file.write_all_at(b"after", 100).unwrap();
    drop(file);
    shown.ended();
    peer("qemu-io", &["-c", "read -P 0 6 94", "-c", "read -P 97 100 1", text(&image)]);
    peer("qemu-img", &["check", "-q", text(&image)]);
    // In use when it is told twice: whoever uses it gets errors, and nothing that was durable is lost.
    let shown = Shown::image(&[], &image, &point);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    file.write_all_at(b"durable", 200).unwrap();
    file.sync_all().unwrap();
    shown.signal(Signal::HUP);
    until("it is out of sight", || !path.exists());
    shown.signal(Signal::TERM);
    shown.ended();
    assert!(file.write_all_at(b"lost", 300).is_err());
    peer("qemu-io", &["-c", "read -P 100 200 1", text(&image)]);
    peer("qemu-img", &["check", "-q", text(&image)]);
}

/// A small file system in memory; taken off when this is dropped.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_host_and_a_broken_image_are_errors_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let small = Small(directory.path().join("small"));
    let point = directory.path().join("file");
    fs::create_dir(&small.0).unwrap();
    fs::write(&point, "").unwrap();
    peer("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs", text(&small.0)]);
    let image = small.0.join("image");
    peer("qemu-img", &["create", "-q", "-f", "qcow2", text(&image), "16M"]);
    let shown = Shown::image(&[], &image, &point);
    let file = File::options().read(true).write(true).open(&point).unwrap();
    assert_eq!(number(file.write_all_at(&[1; 4 << 20], 0)), Some(28));
    let mut start = [0; 65536];
    file.read_exact_at(&mut start, 0).unwrap();
    assert_eq!(start, [1; 65536]);
    drop(file);
    shown.take_off();
    peer("qemu-img", &["check", "-q", text(&image)]);

    // An L2 table that does not begin where one may.
    let (_directory, image, point) = with_image("qcow2", 16 * MIB);
    let l1 = File::open(&image).unwrap();
    let mut offset = [0; 8];
    l1.read_exact_at(&mut offset, 40).unwrap();
    let l1 = File::options().write(true).open(&image).unwrap();
    l1.write_all_at(&(1u64 << 63 | 0x1_0200).to_be_bytes(), u64::from_be_bytes(offset)).unwrap();
    let shown = Shown::image(&["-r"], &image, &point);
    assert_eq!(number(fs::read(point.join("nbd"))), Some(5));
    shown.take_off();
}

#[test]
fn mistakes_are_explained_and_leave_nothing_mounted() {
    let (directory, image, _) = with_image("qcow2", MIB);
    let fails = |arguments: &[&str], expected: &str| {
        let output = run_in(directory.path(), "nbd", &[&["fuse-image"], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && error.contains(expected), "{arguments:?}: {error}");
    };
    fails(&["image"], "Expecting one image file name and one mount point");
    fails(&["image", "no/where"], "no/where: mountpoint must be \"directory\" or \"directory/filename\"");
    fails(&["none", "mount"], "Could not open 'none'");
    fails(&["-o", "bogus", "image", "mount"], "There is no mount option 'bogus'");
    fails(&["--fork", "-f", "raw", "none", "mount"], "No such file or directory");
    fails(&["-P", "no/pid", "image", "mount"], "Could not write 'no/pid'");
    assert!(fs::read_dir(directory.path().join("mount")).unwrap().next().is_none());
    // In the background: usable when the command returns.
    let pid = directory.path().join("pid");
    let words: Vec<OsString> = ["fuse-image", "--fork", "--pid-file"]
        .into_iter()
        .map(Into::into)
        .chain([pid.clone().into()])
        .collect();
    let point = directory.path().join("mount");
    let status = Command::new(program("nbd"))
        .args(words)
        .args([&image, &point])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let size = point.join("nbd").metadata().map(|found| found.len()).unwrap_or(0);
    let number: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(number).unwrap(), Signal::TERM).unwrap();
    until("it is taken off", || !point.join("nbd").exists());
    assert_eq!(size, MIB);
}

/// What becomes of a few things done to an export as a file.
fn deeds(path: &Path) -> Vec<String> {
    let file = File::options().read(true).write(true).open(path).or_else(|_| File::open(path)).unwrap();
    let seen = path.metadata().unwrap();
    let mut told = vec![format!("{} bytes, mode {:o}, {} links", seen.len(), seen.mode(), seen.nlink())];
    let mut tell = |what: &str, result: std::io::Result<String>| {
        let shown = result.unwrap_or_else(|error| format!("error {:?}", error.raw_os_error()));
        told.push(format!("{what}: {shown}"));
    };
    let mut start = [0; 8];
    tell("read", file.read_at(&mut start, 4096).map(|count| format!("{:?}", &start[..count])));
    tell(
        "read the end",
        file.read_at(&mut start, seen.len() - 3).map(|count| format!("{:?}", &start[..count])),
    );
    tell("write", file.write_at(b"written", 8192).map(|count| count.to_string()));
    tell("sync", file.sync_all().map(|()| "done".to_owned()));
    tell("read again", file.read_at(&mut start, 8192).map(|count| format!("{:?}", &start[..count])));
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let fallocate = |flags| rustix::fs::fallocate(&file, flags, 8192, 4096).map_err(Into::into);
    tell("punch", fallocate(punch).map(|()| "done".to_owned()));
    tell("zero", fallocate(FallocateFlags::ZERO_RANGE).map(|()| "done".to_owned()));
    tell("allocate", fallocate(FallocateFlags::empty()).map(|()| "done".to_owned()));
    tell("read zeroes", file.read_at(&mut start, 8192).map(|count| format!("{:?}", &start[..count])));
    told
}

#[test]
fn an_export_is_the_file_that_nbdfuse_shows() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let script = "head -c 1000000 /dev/urandom >$1 && qemu-img convert -f raw -O qcow2 $1 $2";
    peer("sh", &["-ec", script, "sh", text(&at("raw")), text(&at("first.qcow2"))]);
    fs::copy(at("first.qcow2"), at("second.qcow2")).unwrap();
    fs::create_dir(at("mount")).unwrap();
    let servers = |image: &str| {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let image = at(image);
        [
            words(&format!("[ qemu-nbd -f qcow2 {} ]", text(&image))),
            words("[ nbdkit --exit-with-parent pattern 1M ]"),
            words("--command nbdkit -s memory 1M"),
            words("--command nbdkit -s -r memory 1M"),
        ]
    };
    let pairs = servers("first.qcow2").into_iter().zip(servers("second.qcow2"));
    for (number, (theirs, ours)) in pairs.enumerate() {
        let told = [(true, theirs), (false, ours)].map(|(real, place)| {
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            let shown = Shown::export(real, &[], &at("mount").join("disk"), &place);
            let told = deeds(&at("mount").join("disk"));
            shown.take_off();
            told
        });
        let [theirs, ours] = told;
        assert_eq!(ours, theirs, "server {number}");
    }
    // No socket of a server is left, and no server.
    peer("qemu-img", &["compare", text(&at("first.qcow2")), text(&at("second.qcow2"))]);
    peer("qemu-img", &["check", "-q", text(&at("second.qcow2"))]);
}

#[test]
fn an_export_is_reached_by_any_way_and_its_errors_are_the_file_s() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "").unwrap();
    let socket = at("socket");
    let server = Command::new("nbdkit")
        .args(["-f", "-U", text(&socket), "--filter=error", "--filter=noextents", "memory", "1M"])
        .args(["error-pread-file=".to_owned() + text(&at("broken")), "error-pread=EIO".to_owned()])
        .args(["error-pread-rate=100%"])
        .spawn()
        .unwrap();
    let mut server = Ended(server);
    until("the server listens", || listens(&socket));
    let uri = format!("nbd+unix:///?socket={}", text(&socket));
    for place in [vec![uri.as_str()], vec!["--unix", text(&socket)]] {
        let shown = Shown::export(false, &["-C", "3"], &at("file"), &place);
        let file = File::options().read(true).write(true).open(at("file")).unwrap();
        file.write_all_at(b"here", 70_000).unwrap();
        let mut start = [0; 4];
        file.read_exact_at(&mut start, 70_000).unwrap();
        assert_eq!(&start, b"here");
        fs::write(at("broken"), "").unwrap();
        let wanted = file.read_at(&mut start, 500_000);
        fs::remove_file(at("broken")).unwrap();
        assert_eq!(number(wanted), Some(5));
        file.read_exact_at(&mut start, 500_000).unwrap();
        drop(file);
        shown.take_off();
    }
    // A server that goes away: the file has errors, and can still be taken off.
    let shown = Shown::export(false, &["-r"], &at("file"), &[&uri]);
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    assert_eq!(number(fs::read(at("file"))), Some(5));
    shown.take_off();
    let output = run_in(directory.path(), "nbd", &["fuse", "file", &uri]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("Connection refused"), "{error}");
}

/// A program that is ended when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
