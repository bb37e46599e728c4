//! Boots a real User-Mode Linux.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use appliance_engine::backend::{Backend, Died, Ended};
use appliance_engine::uml::Uml;
use libimage::storage::{FileOptions, FileStorage, Memory};

use common::{
    Guest, PATIENCE, Watched, disks_and_port, drive, initrd, package, processes, spec, wait_for,
    wait_for_no_process,
};

const PACKAGE: &str = "user-mode-linux";
const PROGRAM: &str = "usr/bin/linux.uml";

fn kernel(directory: &Path) -> (Uml, PathBuf) {
    let package = package(PACKAGE);
    let initrd = initrd(directory, &package, &["virtio_blk", "virtio_console"]);
    (Uml::new(package.join(PROGRAM)), initrd)
}

#[test]
fn disks_slots_and_the_port() {
    let directory = tempfile::tempdir().unwrap();
    let (uml, initrd) = kernel(directory.path());
    disks_and_port(&uml, spec(&initrd));
}

#[test]
fn a_panic_is_noticed_at_once_and_explained() {
    let directory = tempfile::tempdir().unwrap();
    let (uml, initrd) = kernel(directory.path());
    let mut guest = Guest::boot(&uml, spec(&initrd));
    // Without its init a kernel cannot live.
    guest.start("exit 3");
    let mut rest = Vec::new();
    guest.stream.read_to_end(&mut rest).unwrap();
    assert!(matches!(guest.machine.wait(PATIENCE), Some(Ended::Signalled(_) | Ended::Exited(1..))));
    let died = Died::of("uml", &*guest.machine).unwrap().to_string();
    assert!(died.contains("Attempted to kill init"), "{died}");
    assert!(guest.machine.rpc().is_err(), "there is one channel, and it was taken");
}

#[test]
fn a_guest_that_never_speaks() {
    let directory = tempfile::tempdir().unwrap();
    let (uml, _) = kernel(directory.path());
    let nothing = directory.path().join("nothing");
    std::fs::write(&nothing, b"not an archive").unwrap();
    let mut machine = uml.launch(spec(&nothing)).unwrap();
    let mut rest = Vec::new();
    machine.rpc().unwrap().read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_ne!(machine.wait(PATIENCE), None);
    assert!(machine.kernel_log().contains("panic"), "{}", machine.kernel_log());
    let no_kernel = Uml::new(directory.path().join("missing")).launch(spec(&nothing));
    assert!(no_kernel.is_err_and(|error| error.to_string().contains("missing")));
    // A file that cannot be run, for whatever reason, shows as a machine that ends at once and says why.
    let mut no_program = Uml::new(&nothing).launch(spec(&nothing)).unwrap();
    no_program.rpc().unwrap().read_to_end(&mut rest).unwrap();
    assert!(matches!(no_program.wait(PATIENCE), Some(Ended::Exited(126 | 127))));
    assert!(no_program.kernel_log().contains("denied"), "{}", no_program.kernel_log());
}

#[test]
fn what_a_guest_can_see_of_its_host() {
    let directory = tempfile::tempdir().unwrap();
    let (uml, initrd) = kernel(directory.path());
    let mut guest = Guest::boot(&uml, spec(&initrd));
    // Whatever it asks for, a guest that mounts the host's files finds none.
    guest.run("mount -t hostfs -o / none /mnt");
    assert_eq!(guest.run("ls -A /mnt; ls -A /mnt/.. | grep -c passwd; true"), "0");
    assert_eq!(guest.run("ls /sys/class/net"), "lo");
    assert_eq!(guest.machine.confinement(), "namespaces of its own");
    // The process itself is in a world of its own too.
    let root = PathBuf::from(format!("/proc/{}/root", guest.machine.process_id().unwrap()));
    let mut names: Vec<_> =
        root.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !["nix", "gnu", "lib32"].contains(&name.as_str()));
    names.sort();
    assert_eq!(names, ["bin", "dev", "empty", "etc", "lib", "lib64", "proc", "run", "sbin", "tmp", "usr"]);
    let status = std::fs::read_to_string(root.with_file_name("status")).unwrap();
    for line in ["NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"] {
        assert!(status.contains(line), "{status}");
    }
    guest.power_off();
}

#[test]
fn raid6_can_be_had() {
    let directory = tempfile::tempdir().unwrap();
    let (uml, initrd) = kernel(directory.path());
    let mut with = spec(&initrd);
    with.raid6 = true;
    for (spec, skipped) in [(spec(&initrd), true), (with, false)] {
        let mut guest = Guest::boot(&uml, spec);
        assert_eq!(guest.run("cat /proc/cmdline").contains("raid6_select_algo"), skipped);
        guest.power_off();
    }
}

#[test]
fn dropping_or_killing_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (uml, initrd) = kernel(directory.path());
    for kill in [true, false] {
        let mark = format!("mark-{}-{kill}", std::process::id());
        let mut spec = spec(&initrd);
        spec.cmdline.push(mark.clone());
        let mut guest = Guest::boot(&uml, spec);
        guest.start("while true; do sleep 1 | cat; done");
        assert!(!processes(&mark).is_empty());
        if kill {
            guest.machine.kill();
            assert_eq!(guest.machine.wait(PATIENCE), Some(Ended::Signalled(9)));
        }
        drop(guest);
        wait_for_no_process(&mark);
    }
}

/// Not a test by itself: the program that the tests below kill.
#[test]
fn victim() {
    let Ok(mark) = std::env::var(VICTIM) else { return };
    let directory = PathBuf::from(std::env::var(VICTIM_FILES).unwrap());
    let uml = Uml::new(std::env::var_os(VICTIM_KERNEL).unwrap());
    let mut spec = spec(&directory.join("initrd"));
    spec.cmdline.push(mark);
    spec.disks.push(drive(Watched::new(1 << 20), "disk"));
    let mut guest = Guest::boot(&uml, spec);
    guest.start("while true; do sleep 1 | cat; done");
    println!("\nUP {}", guest.machine.confinement());
    std::thread::sleep(PATIENCE);
}

const VICTIM: &str = "DISKWRIGHT_TEST_VICTIM";
const VICTIM_KERNEL: &str = "DISKWRIGHT_TEST_VICTIM_KERNEL";
const VICTIM_FILES: &str = "DISKWRIGHT_TEST_VICTIM_FILES";

/// Starts the victim through `wrapper`, kills it when `ready` says so, and looks for leftovers.
fn kill_the_parent(wrapper: &[&str], expected: Option<&str>, delay: Option<Duration>) {
    let directory = tempfile::tempdir().unwrap();
    kernel(directory.path());
    let linux = package(PACKAGE).join(PROGRAM);
    let temporary = directory.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mark = format!("mark-{}-victim-{:?}", std::process::id(), Instant::now()).replace(' ', "");
    let mark: String = mark.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let program = std::env::current_exe().unwrap();
    let mut words: Vec<&OsStr> = wrapper.iter().map(OsStr::new).collect();
    words.push(program.as_os_str());
    let mut victim = Command::new(words[0])
        .args(&words[1..])
        .args(["victim", "--exact", "--nocapture", "--test-threads=1"])
        .env(VICTIM, &mark)
        .env(VICTIM_FILES, directory.path())
        .env(VICTIM_KERNEL, &linux)
        .env("TMPDIR", &temporary)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    match delay {
        Some(delay) => std::thread::sleep(delay),
        None => {
            let output = BufReader::new(victim.stdout.take().unwrap());
            let up = output.lines().map_while(Result::ok).find(|line| line.starts_with("UP ")).unwrap();
            assert_eq!(Some(&up[3..]), expected);
        }
    }
    // The victim itself, by its number: it was started through `exec`.
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for_no_process(&mark);
    wait_for("an empty temporary directory", || std::fs::read_dir(&temporary).unwrap().next().is_none());
    assert_eq!(leftovers(victim.id()), Vec::<PathBuf>::new());
}

/// What lies where machines of a process might leave something.
fn leftovers(process: u32) -> Vec<PathBuf> {
    let ours = [format!("diskwright-{process}-"), "vm_file-".into()];
    ["/dev/shm", "/var/tmp", "/tmp"]
        .into_iter()
        .flat_map(|directory| std::fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| ours.iter().any(|name| path.to_string_lossy().contains(name)))
        .collect()
}

#[test]
fn killing_the_parent_leaves_nothing() {
    kill_the_parent(&[], Some("namespaces of its own"), None);
}

#[test]
fn killing_the_parent_at_any_moment_leaves_nothing() {
    for step in 0..8 {
        kill_the_parent(&[], None, Some(Duration::from_millis(5 + 12 * step)));
    }
}

#[test]
fn without_namespaces_killing_the_parent_leaves_nothing_either() {
    let moments = [0, 10, 30].map(|delay| Some(Duration::from_millis(delay)));
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"];
    if !Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").status().is_ok_and(|status| status.success())
    {
        eprintln!(
            "SKIPPED: without_namespaces...: user namespaces cannot be made here, so not forbidden either"
        );
        return;
    }
    kill_the_parent(&wrapper, Some("Landlock, a filter of system calls, and a watchdog"), None);
    for delay in moments {
        kill_the_parent(&wrapper, None, delay);
    }
}

/// Not a check but a measurement: `cargo test --release --test uml -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures, and takes a while"]
fn speed() {
    let directory = tempfile::tempdir().unwrap();
    let (uml, initrd) = kernel(directory.path());
    for disks in [1, 8, 24] {
        let mut times: Vec<_> = (0..7)
            .map(|_| {
                let mut spec = spec(&initrd);
                spec.spare_slots = disks;
                let start = Instant::now();
                let mut guest = Guest::boot(&uml, spec);
                let ready = start.elapsed();
                let log = guest.run("cut -d' ' -f1 /proc/uptime");
                drop(guest);
                (ready, start.elapsed() - ready, log)
            })
            .collect();
        times.sort();
        println!(
            "{disks} disks: launch to first answer {:?}, end {:?}, uptime {}",
            times[3].0, times[3].1, times[3].2
        );
    }

    let path = directory.path().join("disk");
    std::fs::write(&path, vec![7; 512 << 20]).unwrap();
    let file = FileStorage::open(&path, FileOptions { read_only: false, ..FileOptions::default() }).unwrap();
    let mut spec = spec(&initrd);
    spec.disks = vec![drive(Arc::new(file), "file"), drive(Arc::new(Memory::new(512 << 20)), "memory")];
    let mut guest = Guest::boot(&uml, spec);
    let mut measure = |what: &str, command: &str, amount: f64, unit: &str| {
        let mut rates: Vec<f64> = (0..5)
            .map(|_| {
                let start = Instant::now();
                guest.run(command);
                amount / start.elapsed().as_secs_f64()
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        println!("{what}: {:.0} {unit}", rates[2]);
    };
    measure("nothing", "true", 1.0, "commands/s");
    for disk in ["vda", "vdb"] {
        measure(
            &format!("{disk} read 1M"),
            &format!("dd if=/dev/{disk} of=/dev/null bs=1M count=512 iflag=direct"),
            512.0,
            "MiB/s",
        );
        measure(
            &format!("{disk} write 1M"),
            &format!("dd if=/dev/zero of=/dev/{disk} bs=1M count=512 oflag=direct"),
            512.0,
            "MiB/s",
        );
        measure(
            &format!("{disk} buffered read"),
            &format!("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/{disk} of=/dev/null bs=1M count=100"),
            100.0,
            "MiB/s",
        );
        measure(
            &format!("{disk} read 4k"),
            &format!("dd if=/dev/{disk} of=/dev/null bs=4k count=10000 iflag=direct"),
            10000.0,
            "IOPS",
        );
        measure(
            &format!("{disk} write 4k"),
            &format!("dd if=/dev/zero of=/dev/{disk} bs=4k count=10000 oflag=direct"),
            10000.0,
            "IOPS",
        );
    }
    let mut bytes = vec![0; 256 << 20];
    for _ in 0..3 {
        let start = Instant::now();
        guest.start("dd if=/dev/zero bs=64k count=4096 >&3");
        guest.read_exact(&mut bytes);
        println!("guest to host: {:.0} MiB/s", 256.0 / start.elapsed().as_secs_f64());
        guest.finish();
        let start = Instant::now();
        guest.start("head -c 134217728 <&3 >/dev/null");
        guest.stream.write_all(&bytes[..128 << 20]).unwrap();
        guest.finish();
        println!("host to guest: {:.0} MiB/s", 128.0 / start.elapsed().as_secs_f64());
    }
    guest.start("cat <&3 >&3");
    let mut pings: Vec<_> = (0..2000)
        .map(|_| {
            let start = Instant::now();
            guest.stream.write_all(&[1; 64]).unwrap();
            guest.read_exact(&mut [0; 64]);
            start.elapsed()
        })
        .collect();
    pings.sort();
    println!("round trip of 64 bytes: {:?}", pings[1000]);
}
