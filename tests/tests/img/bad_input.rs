//! Input and circumstances that nobody wishes for: `img` says in one line what is wrong and with which file,
//! fails, and leaves nothing behind.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use system_tests::programs::program;

/// A directory, and the programs run in it.
struct Room {
    directory: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        Room { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn img(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("img"));
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// The real tools; they must succeed.
    fn shell(&self, line: &str) {
        let output = Command::new("bash").args(["-ec", line]).current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs a command that must fail with one line (or the two of a usage or lock error) which holds
    /// `expected`, and must change nothing.
    #[track_caller]
    fn fails(&self, words: &[&str], expected: &str) {
        let before = self.names();
        let output = self.img(words).output().unwrap();
        complains(&output, expected, words);
        assert_eq!(self.names(), before, "{words:?}");
    }
}

#[track_caller]
fn complains(output: &Output, expected: &str, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words:?}: {errors}");
    assert!(errors.contains(expected), "{words:?}: {errors}");
    let lines: Vec<&str> = errors.lines().filter(|line| !line.starts_with("WARNING")).collect();
    assert!(lines.iter().all(|line| !line.contains("panicked")), "{words:?}: {errors}");
    assert!(lines[0].starts_with("img: ") || lines[0].starts_with("  "), "{words:?}: {errors}");
}

/// Kills and reaps a process when the test ends, however it ends.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn things_that_are_no_images() {
    let room = Room::new();
    room.shell("mkdir d; mkfifo fifo; echo QFI >text; printf 'QFI\\373\\0\\0\\0\\3' >short; touch empty");
    for words in [
        &["info", "d"][..],
        &["check", "d"],
        &["snapshot", "-c", "x", "d"],
        &["resize", "d", "1M"],
        &["convert", "d", "o"],
        &["convert", "text", "d"],
    ] {
        room.fails(words, "'d'");
    }
    room.fails(&["info", "fifo"], "'fifo'");
    room.fails(&["convert", "fifo", "o"], "fifo");
    room.fails(&["info", "short"], "'short'");
    room.fails(&["check", "-f", "qcow2", "empty"], "Image is not in qcow2 format");
    room.fails(&["info", "-f", "qcow2", "text"], "Image is not in qcow2 format");
    for format in ["qcow", "vmdk", "QCOW2", ""] {
        room.fails(&["info", "-f", format, "text"], "Unknown driver");
        room.fails(&["create", "-f", format, "new", "1M"], "Unknown file format");
        room.fails(&["convert", "-O", format, "text", "new"], "Unknown file format");
    }
}

/// Every field of the header set to what no image has; nothing but an answer is asked for.
#[test]
fn hostile_headers() {
    let room = Room::new();
    room.shell(
        "qemu-img create -q -f qcow2 -b base -F raw -u good 8M; qemu-io -f qcow2 -c 'write 0 64k' good >/dev/null 2>&1 || true; truncate -s 8M base; qemu-io -f qcow2 -c 'write 1M 200k' good >/dev/null; qemu-img snapshot -c s good",
    );
    let good = fs::read(room.path().join("good")).unwrap();
    let commands: [&[&str]; 6] = [
        &["info", "bad"],
        &["check", "bad"],
        &["check", "-r", "all", "bad"],
        &["snapshot", "-c", "new", "bad"],
        &["resize", "bad", "+1M"],
        &["convert", "-O", "qcow2", "bad", "o"],
    ];
    let bad = room.path().join("bad");
    for (index, (at, length)) in FIELDS.into_iter().enumerate() {
        for (round, pattern) in [0xff, 0x7f, 0x01, 0x80].into_iter().enumerate() {
            let mut bytes = good.clone();
            match pattern {
                0x01 | 0x80 => bytes[at] = pattern,
                other => bytes[at..at + length].fill(other),
            }
            let words = commands[(index + round) % commands.len()];
            fs::write(&bad, &bytes).unwrap();
            let mut limited = Command::new("bash");
            limited.args(["-c", "ulimit -v 1048576; exec timeout 20 \"$0\" \"$@\""]);
            limited.arg(program("img")).args(words).current_dir(room.path());
            let output = limited.output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            assert!(matches!(code, Some(0..=3)), "{at} {pattern:x} {words:?}: {code:?} {errors}");
            assert!(!errors.contains("panicked"), "{at} {pattern:x} {words:?}: {errors}");
            if code == Some(1) {
                assert!(
                    errors.contains("bad") || errors.contains("check"),
                    "{at} {pattern:x} {words:?}: {errors}"
                );
            }
            let _ = fs::remove_file(room.path().join("o"));
        }
    }
    // And cut off at any length.
    for length in
        [0, 1, 71, 72, 103, 104, 111, 112, 500, 65_536, 131_072, 196_608, 196_616, good.len() - 70_000]
    {
        fs::write(&bad, &good[..length]).unwrap();
        for words in commands {
            let output = room.img(words).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0..=3 | 63)), "{length} {words:?}: {errors}");
            assert!(!errors.contains("panicked"), "{length} {words:?}: {errors}");
        }
        let _ = fs::remove_file(room.path().join("o"));
    }
}

/// Offset and length of each field of the header, and of the first extension.
const FIELDS: [(usize, usize); 22] = [
    (4, 4),
    (8, 8),
    (16, 4),
    (20, 4),
    (24, 8),
    (32, 4),
    (36, 4),
    (40, 8),
    (48, 8),
    (56, 4),
    (60, 4),
    (64, 8),
    (72, 8),
    (80, 8),
    (88, 8),
    (96, 4),
    (100, 4),
    (104, 1),
    (112, 4),
    (116, 4),
    (196_608, 8),
    (131_072, 8),
];

#[test]
fn a_sparse_giant_and_an_address_space_of_one_gibibyte() {
    let room = Room::new();
    room.shell("truncate -s 8P giant || truncate -s 8T giant; qemu-img create -q -f qcow2 large 1P; qemu-img create -q -f qcow2 -o cluster_size=2M,preallocation=metadata meta 64G");
    let limited = |words: &[&str]| {
        let mut command = Command::new("bash");
        command.args(["-c", "ulimit -v 1048576; exec \"$0\" \"$@\""]);
        command.arg(program("img")).args(words).current_dir(room.path());
        command.output().unwrap()
    };
    for words in [
        &["info", "giant"][..],
        &["info", "large"],
        &["check", "large"],
        &["check", "meta"],
        &["snapshot", "-c", "x", "large"],
        &["resize", "large", "+1T"],
        &["convert", "-O", "qcow2", "meta", "copy"],
        &["create", "-f", "qcow2", "-o", "cluster_size=2M", "new", "1P"],
    ] {
        let output = limited(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn chains_that_end_nowhere() {
    let room = Room::new();
    room.shell(
        "qemu-img create -q -f qcow2 -b b -F qcow2 -u a 1M; qemu-img create -q -f qcow2 -b a -F qcow2 -u b 1M;
         qemu-img create -q -f qcow2 -b self -F qcow2 -u t 1M; mv t self; cp self keep
         qemu-img create -q -f qcow2 -b nothing -F raw -u orphan 1M;
         qemu-img create -q -f qcow2 -b nbd://127.0.0.1:1/x -F raw -u remote 1M;
         touch top; for i in $(seq 0 250); do qemu-img create -q -f qcow2 -b $((i + 1)).q -F qcow2 -u $i.q 1M; done; qemu-img create -q -f qcow2 251.q 1M",
    );
    for words in [&["check"][..], &["snapshot", "-c", "x"], &["convert", "-O", "qcow2"]] {
        let with = |name: &'static str| {
            let mut words = words.to_vec();
            words.push(name);
            if words[0] == "convert" {
                words.push("o");
            }
            words
        };
        room.fails(&with("a"), "infinite loop");
        room.fails(&with("self"), "infinite loop");
        room.fails(&with("orphan"), "'nothing': No such file");
        room.fails(&with("remote"), "Failed to connect to '127.0.0.1:1'");
        room.fails(&with("0.q"), "more than 200 backing files");
    }
    room.fails(&["resize", "a", "2M"], "infinite loop");
    room.fails(&["info", "--backing-chain", "a"], "infinite loop");
    room.fails(&["create", "-f", "qcow2", "-b", "a", "-F", "qcow2", "new"], "infinite loop");
    assert_eq!(fs::read(room.path().join("self")).unwrap(), fs::read(room.path().join("keep")).unwrap());
}

/// A small file system in memory, unmounted when the test ends.
struct Small(tempfile::TempDir);

impl Small {
    /// `None` where mounting is not allowed.
    fn new(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(directory.path())
            .output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Small(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk() {
    let room = Room::new();
    let Some(small) = Small::new("size=3M") else { return };
    let at = |name: &str| small.0.path().join(name).display().to_string();
    room.shell("head -c 8M /dev/urandom >big; head -c 1M /dev/zero >zero");
    fs::write(at("kept"), "old").unwrap();
    room.shell(&format!("qemu-img create -q -f qcow2 {} 64M", at("image")));
    let names = || fs::read_dir(small.0.path()).unwrap().count();
    for words in [
        vec!["convert", "-f", "raw", "big", "NEW"],
        vec!["convert", "-f", "raw", "-O", "qcow2", "big", "NEW"],
        vec!["convert", "-f", "raw", "-c", "-O", "qcow2", "big", "NEW"],
        vec!["convert", "-f", "raw", "big", "KEPT"],
        vec!["create", "-o", "preallocation=full", "NEW", "8M"],
        vec!["create", "-o", "preallocation=falloc", "NEW", "8M"],
        vec!["create", "-f", "qcow2", "-o", "preallocation=full", "NEW", "8M"],
        vec!["create", "-f", "qcow2", "-o", "preallocation=full", "KEPT", "8M"],
        vec!["resize", "-f", "raw", "--preallocation=full", "KEPT", "8M"],
    ] {
        let words: Vec<String> =
            words.iter().map(|word| word.replace("NEW", &at("new")).replace("KEPT", &at("kept"))).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = room.img(&words).output().unwrap();
        complains(&output, "No space left on device", &words);
        assert_eq!(names(), 2, "{words:?}");
        assert_eq!(fs::read_to_string(at("kept")).unwrap(), "old", "{words:?}");
    }
    // What was written to an existing image on the full disk is either there or not, and the image whole.
    let output =
        room.img(&["convert", "-f", "raw", "-n", "-O", "qcow2", "big", &at("image")]).output().unwrap();
    complains(&output, "No space left on device", &["convert -n"]);
    room.shell(&format!("qemu-img check -q {} || test $? = 3", at("image")));
}

#[test]
fn files_and_directories_that_may_not_be_written() {
    let room = Room::new();
    let Some(small) = Small::new("size=16M") else { return };
    let at = |name: &str| small.0.path().join(name).display().to_string();
    room.shell(&format!(
        "qemu-img create -q -f qcow2 {0} 1M; qemu-img create -q {1} 1M; qemu-img create -q r 1M",
        at("q"),
        at("r")
    ));
    let remount = |how: &str| {
        let status =
            Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(small.0.path()).status();
        assert!(status.unwrap().success());
    };
    remount("ro");
    let (q, r, new) = (at("q"), at("r"), at("new"));
    for words in [
        &["create", &new, "1M"][..],
        &["create", &r, "1M"],
        &["create", "-f", "qcow2", &q, "1M"],
        &["resize", &q, "2M"],
        &["snapshot", "-c", "x", &q],
        &["check", "-r", "all", &q],
        &["convert", "r", &new],
        &["convert", "r", &r],
        &["convert", "-n", "r", &r],
    ] {
        let output = room.img(words).output().unwrap();
        complains(&output, "Read-only file system", words);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(&small.0.path().display().to_string()),
            "{words:?}"
        );
    }
    for words in [&["info", &q][..], &["check", &q], &["snapshot", "-l", &q], &["convert", &q, "o"]] {
        let output = room.img(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    remount("rw");
    // An ordinary user meets permissions.
    room.shell("mkdir closed; touch locked; chmod 000 locked; chmod 555 closed; chmod 755 .");
    let as_nobody = |words: &[&str]| {
        let program = program("img");
        let copy = small.0.path().join("img");
        fs::copy(program, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(small.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy).args(words);
        command.current_dir(room.path()).output().unwrap()
    };
    for words in [
        &["info", "locked"][..],
        &["create", "locked", "1M"],
        &["convert", "r", "closed/new"],
        &["create", "closed/new", "1M"],
    ] {
        complains(&as_nobody(words), "Permission denied", words);
    }
    assert!(fs::read_dir(room.path().join("closed")).unwrap().next().is_none());
}

#[test]
fn images_in_use() {
    let room = Room::new();
    room.shell("qemu-img create -q -f qcow2 q 8M; qemu-img create -q r 8M; qemu-img create -q -f qcow2 -b q -F qcow2 -u top 8M");
    let hold = |name: &str| {
        let mut command = Command::new("qemu-io");
        command
            .args(["-f", "qcow2", "-c", "sleep 60000", name])
            .current_dir(room.path())
            .stdout(Stdio::null());
        let child = Held(command.spawn().unwrap());
        // Looked up, not tried: who tries holds the image for a moment too.
        let inode = format!(":{} ", fs::metadata(room.path().join(name)).unwrap().ino());
        wait_until("the lock", || fs::read_to_string("/proc/locks").unwrap().contains(&inode));
        child
    };
    let holder = hold("q");
    let inode = fs::metadata(room.path().join("q")).unwrap().ino();
    for words in [
        &["info", "q"][..],
        &["check", "q"],
        &["snapshot", "-l", "q"],
        &["convert", "q", "o"],
        &["info", "-b", "top"],
        &["convert", "top", "o"],
    ] {
        room.fails(words, "Failed to get shared \"write\" lock\nIs another process using the image [q]?");
    }
    for words in [
        &["resize", "q", "+1M"][..],
        &["snapshot", "-c", "x", "q"],
        &["check", "-r", "all", "q"],
        &["create", "-f", "qcow2", "q", "1M"],
        &["create", "q", "1M"],
        &["convert", "r", "q"],
        &["convert", "-n", "-O", "qcow2", "r", "q"],
    ] {
        room.fails(words, "Failed to get \"write\" lock\nIs another process using the image [q]?");
    }
    assert_eq!(fs::metadata(room.path().join("q")).unwrap().ino(), inode);
    for words in [&["info", "-U", "q"][..], &["check", "-U", "q"], &["snapshot", "-U", "-l", "q"]] {
        assert!(room.img(words).output().unwrap().status.success(), "{words:?}");
    }
    drop(holder);
    assert!(room.img(&["resize", "q", "+1M"]).output().unwrap().status.success());
}

#[test]
fn an_image_that_img_uses_is_closed_to_qemu_and_to_a_second_img() {
    let room = Room::new();
    room.shell("head -c 4M /dev/urandom >r; qemu-img create -q -f qcow2 t 4M; qemu-img create -q o 4M");
    let child =
        Held(room.img(&["convert", "-f", "raw", "-n", "-O", "qcow2", "-r", "1M", "r", "t"]).spawn().unwrap());
    let locked = |name: &str| {
        let mut command = Command::new("qemu-img");
        let output = command.args(["resize", name, "+1M"]).current_dir(room.path()).output().unwrap();
        String::from_utf8_lossy(&output.stderr).contains("\"write\" lock")
    };
    wait_until("the lock", || locked("t"));
    assert!(locked("r") || !Path::new("/proc/locks").exists());
    room.fails(&["resize", "t", "+1M"], "\"write\" lock");
    room.fails(&["resize", "-f", "raw", "r", "+1M"], "\"write\" lock");
    drop(child);
    room.shell("qemu-img check -q t || test $? = 3");
    // The target that is to be replaced is taken too.
    let child = Held(room.img(&["convert", "-f", "raw", "-r", "1M", "r", "o"]).spawn().unwrap());
    wait_until("the lock", || locked("o"));
    room.fails(&["create", "o", "1M"], "\"write\" lock");
    drop(child);
}

/// Starts a slow conversion to `target` and waits until it is under way.
fn slow(room: &Room, target: &str) -> Held {
    let words = ["convert", "-f", "raw", "-p", "-O", "qcow2", "-r", "2M", "big", target];
    let mut child = Held(room.img(&words).stdout(Stdio::piped()).spawn().unwrap());
    let mut first = [0; 8];
    child.0.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    child
}

#[test]
fn an_interrupted_conversion_leaves_nothing() {
    let room = Room::new();
    room.shell("head -c 40M /dev/urandom >big; echo old >kept");
    let before = room.names();
    for signal in ["-INT", "-TERM", "-KILL"] {
        for target in ["new", "kept"] {
            let mut child = slow(&room, target);
            let id = child.0.id().to_string();
            assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
            let status = child.0.wait().unwrap();
            assert!(
                !status.success() && (signal != "-KILL" || status.signal() == Some(9)),
                "{signal}: {status}"
            );
            assert_eq!(room.names(), before, "{signal}");
            assert_eq!(fs::read_to_string(room.path().join("kept")).unwrap(), "old\n");
        }
    }
}

#[test]
fn nobody_reads_what_is_said() {
    let room = Room::new();
    room.shell("qemu-img create -q -f qcow2 q 1M; for i in 1 2 3; do qemu-img snapshot -c s$i q; done; head -c 9M /dev/urandom >r");
    for line in [
        "info q",
        "info --output=json q",
        "snapshot -l q",
        "check q",
        "create -o help",
        "--help",
        "convert -p -f raw r o",
        "create n 1M",
    ] {
        let script = format!("set -o pipefail; '{}' {line} | true", program("img").display());
        let output = Command::new("bash").args(["-c", &script]).current_dir(room.path()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{line}: {:?} {errors}", output.status);
    }
    // A full device is no closed pipe: it is told.
    for line in ["info q", "snapshot -l q", "create m 1M"] {
        let script = format!("'{}' {line} >/dev/full", program("img").display());
        let output = Command::new("bash").args(["-c", &script]).current_dir(room.path()).output().unwrap();
        assert!(!output.status.success(), "{line}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("No space left on device"), "{line}");
    }
}
