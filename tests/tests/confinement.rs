//! What a machine's processes can reach and what they leave, seen from outside: as an ordinary user whom
//! nothing else belongs to, so that whatever is his is theirs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use appliance_engine::build::Appliance;
use system_tests::fish::feed;
use system_tests::images;
use system_tests::programs::{peer, program};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
/// Where programs put things for a while.
const PLACES: [&str; 3] = ["/tmp", "/dev/shm", "/var/tmp"];

/// A user, and a directory with all that he needs.
struct User {
    id: u32,
    /// Nothing else runs as him. Without root's help he is who runs the test, and does other things as well.
    is_alone: bool,
    directory: TempDir,
}

impl User {
    /// Of users that are alone each number makes another.
    fn new(number: u32) -> User {
        let own = fs::metadata("/proc/self").unwrap().uid();
        let is_alone = own == 0;
        let id = if is_alone { 3_000_000_000 - std::process::id() * 8 - number } else { own };
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let appliance = Appliance::installed().expect("'make test' builds the appliance first");
        let files = directory.path().join("appliance");
        peer("cp", &["-r", appliance.directory.to_str().unwrap(), files.to_str().unwrap()]);
        peer("chmod", &["-R", "a+rX", files.to_str().unwrap()]);
        fs::copy(program("guestfish"), directory.path().join("guestfish")).unwrap();
        let disk = directory.path().join("disk");
        images::format(&disk, 32, &["mkfs.ext4", "-q", "-F"]);
        fs::set_permissions(&disk, fs::Permissions::from_mode(0o666)).unwrap();
        fs::create_dir(directory.path().join("cache")).unwrap();
        fs::set_permissions(directory.path().join("cache"), fs::Permissions::from_mode(0o777)).unwrap();
        User { id, is_alone, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// guestfish as this user, before it starts.
    fn guestfish(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let id = self.id.to_string();
        let mut words: Vec<&str> = Vec::new();
        if self.is_alone {
            words.extend(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
        }
        words.extend(wrapper);
        let program = self.path("guestfish");
        words.push(program.to_str().unwrap());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(arguments).arg("--format=raw").arg("-a").arg(self.path("disk"));
        command
            .env("DISKWRIGHT_APPLIANCE", self.path("appliance"))
            .env("DISKWRIGHT_CACHE", self.path("cache"));
        command.env_remove("TMPDIR").env("HOME", self.directory.path()).current_dir(self.directory.path());
        command
    }

    /// What belongs to him where programs put things.
    fn files(&self) -> BTreeSet<PathBuf> {
        let entries = PLACES.iter().flat_map(|place| fs::read_dir(place).unwrap().flatten());
        let his = |path: &PathBuf| {
            // Files come and go meanwhile.
            path.symlink_metadata().is_ok_and(|metadata| metadata.uid() == self.id)
        };
        entries.map(|entry| entry.path()).filter(his).collect()
    }

    /// His processes that are no zombies.
    fn processes(&self) -> BTreeSet<u32> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let field = |status: &str, name: &str| -> Option<String> {
            status.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
        };
        ids.filter(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let user =
                field(&status, "Uid:").and_then(|ids| ids.split_whitespace().next()?.parse::<u32>().ok());
            user == Some(self.id) && !field(&status, "State:").is_some_and(|state| state.starts_with('Z'))
        })
        .collect()
    }
}

/// A program that does not outlive the test.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a machine, looks at its processes, then kills one of them with `kill`, and looks for what is left.
fn observe(number: u32, wrapper: &[&str], backend: &str, look: impl Fn(u32, &User), kill: impl Fn(u32, u32)) {
    let user = User::new(number);
    let (files, processes) = (user.files(), user.processes());
    let mut command = user.guestfish(wrapper, &[backend]);
    let mut running = Guarded(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut keys = running.0.stdin.take().unwrap();
    keys.write_all(b"run\nmount /dev/sda /\nwrite /x kept\nsync\necho up\n").unwrap();
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n", "{backend}");
    let parent = running.0.id();
    let new = user.processes().difference(&processes).copied().collect::<BTreeSet<u32>>();
    let machine: BTreeSet<u32> =
        if user.is_alone { new } else { new.into_iter().filter(|id| descends(*id, parent)).collect() };
    let words =
        |id: u32| String::from_utf8_lossy(&fs::read(format!("/proc/{id}/cmdline")).unwrap()).into_owned();
    // The shell that is the first process of a namespace has the same words, after its own.
    let is_program = |id: &u32| {
        let words = words(*id);
        !words.starts_with("sh") && (words.contains("uml_dir=") || words.contains("virtserialport"))
    };
    let child = machine.iter().copied().find(is_program).expect("there is a machine");
    look(child, &user);
    kill(parent, child);
    drop(keys);
    let _ = running.0.wait();
    let left = || user.processes().difference(&processes).any(|id| user.is_alone || machine.contains(id));
    wait_for("the end of its processes", || !left());
    let mark = format!("diskwright-{parent}-");
    let is_ours = |path: &PathBuf| user.is_alone || path.to_string_lossy().contains(&mark);
    wait_for("the end of its files", || !user.files().difference(&files).any(is_ours));
    assert_eq!(peer("debugfs", &["-R", "cat /x", user.path("disk").to_str().unwrap()]), "kept");
}

/// Whether a process was started by another, or by one that this started, and so on.
fn descends(process: u32, from: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    match parent.and_then(|id| id.trim().parse().ok()) {
        None | Some(0) => false,
        Some(parent) => parent == from || descends(parent, from),
    }
}

fn namespace(process: &str, kind: &str) -> PathBuf {
    fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap()
}

fn in_namespaces(child: u32, _: &User) {
    for kind in ["net", "mnt", "pid", "ipc", "user", "uts"] {
        assert_ne!(namespace(&child.to_string(), kind), namespace("self", kind), "{kind}");
    }
    let devices = fs::read_to_string(format!("/proc/{child}/net/dev")).unwrap();
    let devices: Vec<_> =
        devices.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(devices, ["lo"]);
    // No home, no root's files, nobody's temporary ones.
    let root = PathBuf::from(format!("/proc/{child}/root"));
    for hidden in ["home", "root", "var", "work", "srv", "mnt", "opt", "etc/passwd", "dev/kvm", "dev/sda"] {
        assert!(!root.join(hidden).exists(), "{hidden}");
    }
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    assert!(fs::write(root.join("usr/bin/new"), "").is_err());
    limited(child);
}

fn under_rules(child: u32, _: &User) {
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
    limited(child);
}

fn limited(child: u32) {
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    for field in ["NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"] {
        assert!(status.contains(field), "{status}");
    }
}

fn kill(process: u32) {
    peer("kill", &["-KILL", &process.to_string()]);
}

#[test]
fn user_mode_linux_of_a_plain_user() {
    observe(0, &[], "--backend=uml", in_namespaces, |parent, _| kill(parent));
    observe(1, &[], "--backend=uml", in_namespaces, |_, child| kill(child));
}

#[test]
fn qemu_of_a_plain_user() {
    observe(2, &[], "--backend=tcg", in_namespaces, |parent, _| kill(parent));
    observe(3, &[], "--backend=tcg", in_namespaces, |_, child| kill(child));
}

/// On hosts where users may not have namespaces.
#[test]
fn machines_of_a_plain_user_without_namespaces() {
    let forbid = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"];
    let mut possible = Command::new(wrapper[0]);
    assert!(
        possible.args(&wrapper[1..]).arg("true").status().unwrap().success(),
        "user namespaces are needed"
    );
    for (number, backend) in [(4, "--backend=uml"), (5, "--backend=tcg")] {
        observe(number, &wrapper, backend, under_rules, |parent, _| kill(parent));
        observe(number, &wrapper, backend, under_rules, |_, child| kill(child));
    }
}

#[test]
fn memory_and_processors_are_as_set() {
    let user = User::new(6);
    let tree = user.path("tree");
    for place in ["bin", "dev", "proc", "sys"] {
        fs::create_dir_all(tree.join(place)).unwrap();
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    images::ext(&user.path("disk"), 32, &["mkfs.ext4"], &tree, "");
    fs::set_permissions(user.path("disk"), fs::Permissions::from_mode(0o666)).unwrap();
    let lines = "run\nmount /dev/sda /\ncommand \"/bin/busybox nproc\"\ncommand \"/bin/busybox grep MemTotal /proc/meminfo\"\n";
    for (backend, memory, cpus, seen) in [
        ("--backend=tcg", 768, 3, 3),
        ("--backend=tcg", 320, 1, 1),
        ("--backend=uml", 768, 3, 1),
        ("--backend=uml", 320, 1, 1),
    ] {
        let mut command = user.guestfish(&[], &["-v", backend]);
        let ran = feed(&mut command, format!("set-smp {cpus}\nset-memsize {memory}\n{lines}").as_bytes());
        let mut numbers = ran.text().split_whitespace().filter_map(|word| word.parse::<u32>().ok());
        assert_eq!((ran.code, numbers.next()), (Some(0), Some(seen)), "{backend} {cpus}: {ran:?}");
        // The kernel keeps some for itself.
        let total = numbers.next().unwrap() / 1024;
        assert!((memory * 4 / 5..=memory).contains(&total), "{backend} {memory}: {total}");
        let told = "User-Mode Linux has one processor";
        assert_eq!(ran.err.matches(told).count(), usize::from(seen < cpus), "{ran:?}");
    }
}

#[test]
fn the_hypervisor_can_be_chosen() {
    let user = User::new(7);
    let other = user.path("other-qemu");
    fs::write(&other, "#!/bin/sh\nexec /usr/bin/qemu-system-x86_64 \"$@\" -name chosen,process=chosen\n")
        .unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    let lines = |hv: &Path| format!("hv {}\nrun\nping-daemon\n!cat /proc/*/comm\n", hv.display());
    let ran = feed(&mut user.guestfish(&[], &["--backend=tcg"]), lines(&other).as_bytes());
    assert!(ran.code == Some(0) && ran.text().lines().any(|name| name == "chosen"), "{ran:?}");
    let ran = feed(&mut user.guestfish(&[], &["--backend=tcg"]), lines(&user.path("none")).as_bytes());
    assert!(ran.code == Some(1) && ran.err.contains("Could not open QEMU"), "{ran:?}");
}
