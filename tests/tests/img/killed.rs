//! Commands of `img` that are killed at any moment: what they leave is old or new, and sound or marked and repairable.
//!
//! Each command is first run in peace, to know how long it takes and what becomes of the image. Then it is killed at
//! seeded moments within that time, each time upon a fresh copy. The judge is qemu-img.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use system_tests::programs::{program, run_in};
use system_tests::random::Random;

/// How often each command is killed.
const KILLS: u64 = 5;
/// How often that must not have come too late.
const ENOUGH: u64 = 2;

/// A directory with images, of which fresh copies are made.
struct Bench {
    directory: tempfile::TempDir,
    random: Random,
}

impl Bench {
    /// `setup` is run by the shell in the directory of the originals.
    fn new(seed: u64, setup: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let original = directory.path().join("original");
        fs::create_dir(&original).unwrap();
        let output = Command::new("bash").args(["-ec", setup]).current_dir(&original).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Bench { directory, random: Random::new(seed) }
    }

    /// A copy of the originals.
    fn fresh(&self) -> PathBuf {
        let copy = self.directory.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(self.directory.path().join("original")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        copy
    }

    /// Kills the command at random moments, and lets `judge` look at each result.
    fn kill(&mut self, arguments: &[&str], judge: impl Fn(&Path, &str)) {
        let mut whole = Duration::MAX;
        for _ in 0..2 {
            let copy = self.fresh();
            let begun = Instant::now();
            let output = run_in(&copy, "img", arguments);
            whole = whole.min(begun.elapsed());
            assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        }
        judge(&self.directory.path().join("copy"), &format!("{arguments:?} in peace"));
        let (mut number, mut killed) = (0, 0);
        // A run in peace may have been a slow one: should kills come too late, the next ones come earlier.
        while number < KILLS || killed < ENOUGH && number < 8 * KILLS {
            let copy = self.fresh();
            let latest = whole.as_micros() as u64 >> (number / KILLS);
            let after = Duration::from_micros(self.random.below(latest + 1));
            let survived = kill_after(&copy, arguments, after);
            killed += u64::from(!survived);
            judge(&copy, &format!("{arguments:?}, kill {number} after {after:?}"));
            number += 1;
        }
        assert!(killed >= ENOUGH, "{arguments:?}: only {killed} of {number} were killed in time");
    }
}

/// Starts a command and kills it. True if it was over before.
fn kill_after(directory: &Path, arguments: &[&str], after: Duration) -> bool {
    let mut command = Command::new(program("img"));
    command.args(arguments).current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(after);
    let survived = child.try_wait().unwrap().is_some();
    // It may be over by now: then there is nothing to kill.
    let _ = child.kill();
    child.wait().unwrap();
    survived
}

fn qemu(directory: &Path, arguments: &[&str]) -> Output {
    Command::new("qemu-img").args(arguments).current_dir(directory).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// QEMU finds at most leaks; or the image is marked as dirty, and our repair leaves nothing that QEMU finds.
fn assert_sound(directory: &Path, image: &str, what: &str) {
    let output = qemu(directory, &["check", "-f", "qcow2", image]);
    if !matches!(output.status.code(), Some(0 | 3)) {
        let info = qemu(directory, &["info", "--output=json", "-f", "qcow2", image]);
        let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
        assert_eq!(info["dirty-flag"], true, "{what}: {image} is damaged and not marked: {}", said(&output));
    }
    let repaired = run_in(directory, "img", &["check", "-q", "-r", "all", image]);
    assert!(matches!(repaired.status.code(), Some(0)), "{what}: {}", said(&repaired));
    let output = qemu(directory, &["check", "-f", "qcow2", image]);
    assert!(output.status.success(), "{what}: after the repair: {}", said(&output));
}

/// One of the raw files has the content of the image.
fn assert_one_of(directory: &Path, image: &str, allowed: &[&str], what: &str) {
    let same =
        |raw: &&str| qemu(directory, &["compare", "-f", "raw", "-F", "qcow2", raw, image]).status.success();
    assert!(allowed.iter().any(same), "{what}: {image} is none of {allowed:?}");
}

/// An image of 24 MiB in many pieces, and in `then.raw` what it shows.
const SCATTERED: &str = "
    qemu-img create -q -f qcow2 -o cluster_size=4k,OPTIONS d.q 24M
    for i in $(seq 0 299); do echo \"write -P $((i % 250 + 1)) $((i * 80))k 20k\"; done | qemu-io -f qcow2 d.q > /dev/null
    qemu-img convert -O raw d.q then.raw
";

fn scattered(options: &str) -> String {
    SCATTERED.replace("OPTIONS", options)
}

/// Writes over a part of the image; `now.raw` is what it shows then.
const CHANGE: &str = "
    qemu-io -f qcow2 -c 'write -P 251 1M 9M' d.q > /dev/null
    qemu-img convert -O raw d.q now.raw
";

#[test]
fn killed_snapshots() {
    let setup = format!("{} qemu-img snapshot -c first d.q {CHANGE}", scattered("compat=1.1"));
    let mut bench = Bench::new(1, &setup);
    let snapshots = |directory: &Path, what: &str| {
        for name in ["first", "second"] {
            let shown = qemu(directory, &["snapshot", "-l", "d.q"]);
            if said(&shown).contains(name) {
                let out = format!("{name}.raw");
                let output = qemu(directory, &["convert", "-l", name, "-O", "raw", "d.q", &out]);
                assert!(output.status.success(), "{what}: {}", said(&output));
                let expected = if name == "first" { "then.raw" } else { "now.raw" };
                let same = qemu(directory, &["compare", "-f", "raw", "-F", "raw", &out, expected]);
                assert!(same.status.success(), "{what}: snapshot {name} is something else");
            }
        }
    };
    for arguments in [&["snapshot", "-c", "second", "d.q"], &["snapshot", "-d", "first", "d.q"]] {
        bench.kill(arguments, |directory, what| {
            assert_sound(directory, "d.q", what);
            assert_one_of(directory, "d.q", &["now.raw"], what);
            snapshots(directory, what);
        });
    }
    bench.kill(&["snapshot", "-a", "first", "d.q"], |directory, what| {
        assert_sound(directory, "d.q", what);
        assert_one_of(directory, "d.q", &["now.raw", "then.raw"], what);
        snapshots(directory, what);
    });
}

#[test]
fn killed_amendments_sizes_and_repairs() {
    let mut bench = Bench::new(2, &format!("{}{CHANGE}", scattered("compat=1.1")));
    for options in ["refcount_bits=64", "compat=0.10", "lazy_refcounts=on"] {
        bench.kill(&["amend", "-o", options, "d.q"], |directory, what| {
            assert_sound(directory, "d.q", what);
            assert_one_of(directory, "d.q", &["now.raw"], what);
        });
    }
    let setup = "truncate -s 48M grown.raw; truncate -s 1M cut.raw
        dd if=now.raw of=grown.raw conv=notrunc status=none; dd if=now.raw of=cut.raw bs=1M count=1 status=none";
    let mut bench = Bench::new(3, &format!("{}{CHANGE}{setup}", scattered("compat=1.1")));
    bench.kill(&["resize", "-q", "d.q", "48M"], |directory, what| {
        assert_sound(directory, "d.q", what);
        assert_one_of(directory, "d.q", &["now.raw", "grown.raw"], what);
    });
    bench.kill(&["resize", "-q", "--shrink", "d.q", "1M"], |directory, what| {
        assert_sound(directory, "d.q", what);
        // What is being cut off may be gone in part already; what stays is untouched.
        let first = ["dd", "-f", "qcow2", "-O", "raw", "bs=1M", "count=1", "if=d.q", "of=first.raw"];
        assert!(qemu(directory, &first).status.success());
        let same = qemu(directory, &["compare", "-f", "raw", "-F", "raw", "first.raw", "cut.raw"]);
        assert!(same.status.success(), "{what}: {}", said(&same));
    });
    // Zeroes where the first reference counts were.
    let damage = "dd if=/dev/zero of=d.q bs=4k seek=2 count=1 conv=notrunc status=none";
    let mut bench = Bench::new(4, &format!("{}{CHANGE}{damage}", scattered("compat=1.1")));
    bench.kill(&["check", "-q", "-r", "all", "d.q"], |directory, what| {
        let again = run_in(directory, "img", &["check", "-q", "-r", "all", "d.q"]);
        assert!(again.status.success(), "{what}: {}", said(&again));
        assert_sound(directory, "d.q", what);
        assert_one_of(directory, "d.q", &["now.raw"], what);
    });
}

#[test]
fn killed_commits_and_rebases() {
    let over = "
        mv d.q base.q
        qemu-img create -q -f qcow2 -b base.q -F qcow2 -o cluster_size=4k d.q
        qemu-io -f qcow2 -c 'write -P 252 2M 6M' -c 'write -z 9M 3M' -c 'write -P 253 20M 1M' d.q > /dev/null
        qemu-img create -q -f raw other.raw 24M; qemu-io -f raw -c 'write -P 7 0 5M' other.raw > /dev/null
        qemu-img convert -O raw d.q now.raw";
    let mut bench = Bench::new(5, &format!("{}{over}", scattered("compat=1.1")));
    let commands: [&[&str]; 5] = [
        &["commit", "-q", "d.q"],
        &["commit", "-q", "-d", "d.q"],
        &["rebase", "-b", "other.raw", "-F", "raw", "d.q"],
        &["rebase", "-c", "-b", "other.raw", "-F", "raw", "d.q"],
        &["rebase", "-b", "", "d.q"],
    ];
    for arguments in commands {
        bench.kill(arguments, |directory, what| {
            assert_sound(directory, "base.q", what);
            assert_sound(directory, "d.q", what);
            assert_one_of(directory, "d.q", &["now.raw"], what);
        });
    }
}

/// There is no target, the old one, or the new one; and nothing else but what is called a part.
#[test]
fn killed_conversions() {
    let mut bench = Bench::new(6, &format!("{}{CHANGE} cp then.raw o", scattered("compat=1.1")));
    let ways: [&[&str]; 4] = [
        &["-O", "qcow2"],
        &["-c", "-O", "qcow2"],
        &["-O", "raw"],
        &["-O", "qcow2", "-o", "preallocation=full"],
    ];
    for way in ways {
        for target in ["o", "new"] {
            let mut arguments = vec!["convert", "-f", "qcow2"];
            arguments.extend(way);
            arguments.extend(["d.q", target]);
            bench.kill(&arguments, |directory, what| {
                for entry in fs::read_dir(directory).unwrap() {
                    let name = entry.unwrap().file_name().into_string().unwrap();
                    let known = ["d.q", "then.raw", "now.raw", "o", "new"].contains(&name.as_str());
                    assert!(known || (name.starts_with('.') && name.contains(target)), "{what}: left {name}");
                }
                if !directory.join(target).exists() {
                    assert!(target == "new", "{what}: the old target is gone");
                    return;
                }
                let info = qemu(directory, &["info", "--output=json", target]);
                let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
                if info["format"] == "qcow2" {
                    assert!(qemu(directory, &["check", target]).status.success(), "{what}");
                }
                let is = |raw| qemu(directory, &["compare", "-F", "raw", target, raw]).status.success();
                assert!(is("now.raw") || (target == "o" && is("then.raw")), "{what}: neither old nor new");
            });
        }
    }
}

/// However often it is killed, in the end all is there.
#[test]
fn killed_conversions_are_resumed() {
    let mut bench = Bench::new(7, &format!("{}{CHANGE}", scattered("compat=1.1")));
    for way in [&["-O", "qcow2"][..], &["-c", "-O", "qcow2"], &["-O", "raw"]] {
        let mut arguments = vec!["convert", "--resume"];
        arguments.extend(way);
        arguments.extend(["d.q", "o"]);
        bench.kill(&arguments, |directory, what| {
            for after in [4, 9] {
                kill_after(directory, &arguments, Duration::from_millis(after));
            }
            let output = run_in(directory, "img", &arguments);
            assert!(output.status.success(), "{what}: {}", said(&output));
            let same = qemu(directory, &["compare", "-F", "raw", "o", "now.raw"]);
            assert!(same.status.success(), "{what}: {}", said(&same));
            if way.contains(&"qcow2") {
                assert!(qemu(directory, &["check", "o"]).status.success(), "{what}");
            }
        });
    }
}

/// The part that is there lies: after a power cut, pieces of it may be lost although its journal is there.
#[test]
fn a_part_that_lost_blocks_is_not_trusted() {
    let bench = Bench::new(8, "");
    let mut random = Random::new(9);
    // Nothing that could be packed away before anybody interrupts it.
    let noise: Vec<u8> = (0..12 << 20).map(|_| random.below(256) as u8).collect();
    let original = bench.directory.path().join("original");
    fs::write(original.join("now.raw"), noise).unwrap();
    assert!(qemu(&original, &["convert", "-O", "qcow2", "now.raw", "d.q"]).status.success());
    let (mut finished, mut refused) = (0, 0);
    for way in [&["-O", "qcow2"][..], &["-c", "-O", "qcow2"], &["-O", "raw"]] {
        let mut arguments = vec!["convert", "--resume"];
        arguments.extend(way);
        arguments.extend(["d.q", "o"]);
        for round in 0..8 {
            let directory = bench.fresh();
            let part = directory.join(".o.part");
            let mut slow = arguments.clone();
            slow.extend(["-r", "8M"]);
            interrupt(&directory, &slow, &part);
            let mut bytes = fs::read(&part).unwrap();
            for _ in 0..=round {
                // Lost blocks are full of zeroes, or the end is missing.
                let at = random.below(bytes.len() as u64) as usize / 4096 * 4096;
                match random.below(5) {
                    0 => bytes.truncate(at.max(4096)),
                    _ => {
                        let end = (at + 4096 * (random.below(16) as usize + 1)).min(bytes.len());
                        bytes[at..end].fill(0);
                    }
                }
            }
            fs::write(&part, &bytes).unwrap();
            let output = run_in(&directory, "img", &arguments);
            let what = format!("{way:?}, round {round}: {}", said(&output));
            if !output.status.success() {
                assert!(output.status.code() == Some(1) && !directory.join("o").exists(), "{what}");
                refused += 1;
                continue;
            }
            finished += 1;
            let same = qemu(&directory, &["compare", "-F", "raw", "o", "now.raw"]);
            assert!(same.status.success(), "{what}: {}", said(&same));
            if way.contains(&"qcow2") {
                assert!(qemu(&directory, &["check", "o"]).status.success(), "{what}");
            }
        }
    }
    assert!(finished > refused, "{finished} were finished, {refused} refused");
}

/// Runs a slow conversion until a good part of it is there.
fn interrupt(directory: &Path, arguments: &[&str], part: &Path) {
    let mut command = Command::new(program("img"));
    command.args(arguments).current_dir(directory).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let written = || part.metadata().map_or(0, |m| std::os::unix::fs::MetadataExt::blocks(&m) * 512);
    let begun = Instant::now();
    while written() < 1 << 20
        && begun.elapsed() < Duration::from_secs(20)
        && child.try_wait().unwrap().is_none()
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait().unwrap();
    assert!(part.exists(), "it was over too soon");
}
