//! virt-tail: what is added to files while a guest runs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use system_tests::images;
use system_tests::programs::{peer, program, run};

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    receive
}

#[test]
fn files_are_followed_until_it_is_told_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (tree, disk) = (directory.path().join("tree"), directory.path().join("disk"));
    std::fs::create_dir(&tree).unwrap();
    let begin: String = (1..=12).map(|n| format!("line {n}\n")).collect();
    std::fs::write(tree.join("a"), &begin).unwrap();
    std::fs::write(tree.join("b"), "other\n").unwrap();
    images::ext(&disk, 8, &["mkfs.ext2"], &tree, "");
    let image = disk.to_str().unwrap().to_owned();
    let words = ["--format=raw", "-a", &image, "-m", "/dev/sda", "-f", "/a", "/b", "/nope"];
    let child = Command::new(program("virt-tail"))
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let heard = lines(child.0.stdout.take().unwrap());
    let next = || heard.recv_timeout(Duration::from_secs(120)).unwrap();
    let some = |count: usize| (0..count).map(|_| next()).collect::<Vec<_>>();
    // The headings are those of virt-tail 1.48, which shows the last ten lines at first.
    assert_eq!(some(4), ["", "", "--- /a ---", ""]);
    assert_eq!(some(10), (3..=12).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert_eq!(some(5), ["", "", "--- /b ---", "", "other"]);
    // As a machine would write it: into a copy that takes the place of the image's bytes.
    std::fs::write(directory.path().join("longer"), begin + "line 13\n").unwrap();
    let changed = directory.path().join("changed");
    std::fs::copy(&disk, &changed).unwrap();
    let commands = format!("rm a\nwrite {}/longer a\n", directory.path().display());
    std::fs::write(directory.path().join("commands"), commands).unwrap();
    let script = directory.path().join("commands");
    peer("debugfs", &["-w", "-f", script.to_str().unwrap(), changed.to_str().unwrap()]);
    std::fs::copy(&changed, &disk).unwrap();
    assert_eq!(some(5), ["", "", "--- /a ---", "", "line 13"]);
    peer("kill", &["-INT", &child.0.id().to_string()]);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));

    // Without any file there is nothing to wait for.
    let ran = run("virt-tail", &["--format=raw", "-a", &image, "-m", "/dev/sda", "/nope"]);
    assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(0), &b""[..]));
}
