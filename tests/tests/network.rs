//! `--network`: what a guest reaches, what it does not, and what is left of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use system_tests::fish::{command, feed, output_of, script};
use system_tests::images;
use system_tests::programs::peer;

/// The host, as guests see it.
const GATEWAY: &str = "169.254.2.2";
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers every request with some bytes, until the test ends. Listens where only this host can connect.
fn serve(body: Vec<u8>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            // Who hangs up early is not this server's concern.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    port
}

/// A guest with a shell and a few programs, all of them one static program of the host.
fn guest(directory: &Path, name: &str, resolv_conf: impl FnOnce(&Path)) -> PathBuf {
    let tree = directory.join(format!("{name}.tree"));
    for place in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(tree.join(place)).unwrap();
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    for program in ["cat", "grep", "ip", "ls", "nproc", "sh", "sha256sum", "wget"] {
        symlink("busybox", tree.join("bin").join(program)).unwrap();
    }
    resolv_conf(&tree.join("etc/resolv.conf"));
    let image = directory.join(name);
    images::ext(&image, 32, &["mkfs.ext4"], &tree, "");
    image
}

fn sha256(bytes: &[u8]) -> String {
    let mut command = std::process::Command::new("sha256sum");
    feed(&mut command, bytes).text()[..64].to_owned()
}

fn reaches_the_host(backend: &str) {
    let directory = tempfile::tempdir().unwrap();
    let image = guest(directory.path(), "guest", |file| fs::write(file, "# the guest's own\n").unwrap());
    // More than any buffer on the way.
    let body: Vec<u8> = (0..5_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let port = serve(body.clone());
    let options = ["--network", backend, "--format=raw", "-a", image.to_str().unwrap(), "-m", "/dev/sda"];
    let lines = format!(
        "get-network\n\
         sh \"wget -q -O - http://{GATEWAY}:{port}/ | sha256sum\"\n\
         sh \"cat /etc/resolv.conf; echo changed >/etc/resolv.conf\"\n\
         sh \"ip -4 addr show dev eth0 | grep -o 'inet .* brd'; ip route | grep -o 'default via .* dev'\"\n\
         sh \"cat /etc/resolv.conf\"\n\
         cat /etc/resolv.conf\n"
    );
    let expected = format!(
        "true\n{}  -\n\nnameserver 169.254.2.3\n\ninet 169.254.2.15/16 brd\ndefault via {GATEWAY} dev\n\nnameserver 169.254.2.3\n\n# the guest's own\n\n",
        sha256(&body)
    );
    assert_eq!(output_of(&options, &lines), expected, "{backend}");
    // Without the option there is nothing but the loopback.
    let alone = output_of(&options[1..], "sh \"ls /sys/class/net; cat /etc/resolv.conf\"\n");
    assert_eq!(alone, "lo\n# the guest's own\n\n", "{backend}");
    let raw = image.to_str().unwrap();
    assert_eq!(peer("debugfs", &["-R", "cat /etc/resolv.conf", raw]), "# the guest's own\n");
    peer("e2fsck", &["-fn", raw]);
}

#[test]
fn a_guest_of_uml_reaches_its_host() {
    reaches_the_host("--backend=uml");
}

#[test]
fn a_guest_of_qemu_reaches_its_host() {
    reaches_the_host("--backend=tcg");
}

/// A link to nowhere, no file at all, a link out of the guest, and a file system that cannot be written.
#[test]
fn name_servers_are_shown_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    let to_nowhere = "../run/systemd/resolve/stub-resolv.conf";
    let nowhere = guest(directory.path(), "nowhere", |file| symlink(to_nowhere, file).unwrap());
    let none = guest(directory.path(), "none", |_| ());
    let outside = guest(directory.path(), "outside", |file| symlink("../../../../init", file).unwrap());
    let show = "sh \"cat /etc/resolv.conf\"\n";
    for (image, mount, shown) in [
        (&nowhere, "mount", true),
        (&nowhere, "mount-ro", true),
        (&none, "mount", true),
        (&none, "mount-ro", false),
        (&outside, "mount", true),
    ] {
        let image = image.to_str().unwrap();
        let listing = || peer("debugfs", &["-R", "ls -p /etc", image]);
        let before = (listing(), peer("debugfs", &["-R", "stat /etc/resolv.conf", image]));
        let arguments = ["--network", "--backend=uml", "--format=raw", "-a", image];
        let ran = script(&arguments, &format!("run\n{mount} /dev/sda /\n{show}"));
        assert_eq!(ran.text().starts_with("nameserver 169.254.2.3\n"), shown, "{image} {mount}: {ran:?}");
        assert_eq!(ran.code, Some(if shown { 0 } else { 1 }), "{image} {mount}: {ran:?}");
        let names = |listing: &str| -> Vec<String> {
            listing.lines().filter_map(|line| line.split('/').nth(5)).map(str::to_owned).collect()
        };
        assert_eq!(names(&listing()), names(&before.0), "{image} {mount}");
        if image != none.to_str().unwrap() {
            assert_eq!(peer("debugfs", &["-R", "stat /etc/resolv.conf", image]), before.1, "{image} {mount}");
        }
        peer("e2fsck", &["-fn", image]);
    }
}

#[test]
fn a_missing_passt_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let image = guest(directory.path(), "guest", |_| ());
    let mut lacking = command(&["--network", "--backend=uml", "--ro", "-a", image.to_str().unwrap()]);
    let ran = feed(lacking.env("PATH", directory.path()), b"run\nping-daemon\nsh true\n");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("package passt"), "{ran:?}");
    // One that does not work says why in its own words.
    let broken = directory.path().join("passt");
    fs::write(&broken, "#!/bin/sh\necho 'there is no room' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut lacking = command(&["--network", "--backend=uml", "--ro", "-a", image.to_str().unwrap()]);
    let ran = feed(lacking.env("PATH", directory.path()), b"run\nping-daemon\nsh true\n");
    assert!(ran.code == Some(1) && ran.err.contains("there is no room"), "{ran:?}");
}

/// A program that does not outlive the test.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The passt below a process, and its state.
fn passt_of(process: u32) -> Option<u32> {
    let children = format!("/proc/{process}/task");
    let threads = fs::read_dir(children).ok()?.flatten();
    let ids = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let ids: Vec<u32> = ids
        .flat_map(|text| text.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    ids.into_iter()
        .find(|id| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.starts_with("passt")))
}

#[test]
fn passt_is_shut_in_and_ends_with_its_parent() {
    let directory = tempfile::tempdir().unwrap();
    let image = guest(directory.path(), "guest", |_| ());
    for backend in ["--backend=uml", "--backend=tcg"] {
        let mut command = command(&["--network", backend, "--ro", "-a", image.to_str().unwrap()]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut running = Guarded(child);
        let mut keys = running.0.stdin.take().unwrap();
        keys.write_all(b"run\nping-daemon\nmount /dev/sda /\nsh \"echo up\"\n").unwrap();
        let mut lines = BufReader::new(running.0.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        let passt = passt_of(running.0.id()).expect("there is a passt");
        // No files, no privileges, few system calls.
        let status = fs::read_to_string(format!("/proc/{passt}/status")).unwrap();
        for field in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"] {
            assert!(status.contains(field), "{status}");
        }
        let names = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).unwrap();
        assert_ne!(names(&passt.to_string()), names("self"));
        peer("kill", &["-KILL", &running.0.id().to_string()]);
        let begun = Instant::now();
        while Path::new(&format!("/proc/{passt}")).exists() {
            assert!(begun.elapsed() < PATIENCE, "passt is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = lines.read_to_string(&mut line);
    }
}
