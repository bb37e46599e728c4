//! One guestfish that serves the commands of others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::Command;

use system_tests::fish::{Ran, command, feed};
use system_tests::programs::{peer, program};

/// A server that ends with the test.
struct Server {
    pid: String,
    directory: tempfile::TempDir,
}

impl Server {
    fn new(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ran = feed(command(arguments).env("XDG_RUNTIME_DIR", directory.path()), b"");
        assert!(ran.code == Some(0) && ran.err.is_empty(), "{ran:?}");
        let line = ran.text().strip_prefix("GUESTFISH_PID=").unwrap();
        let pid = line.strip_suffix("; export GUESTFISH_PID\n").unwrap().to_owned();
        Server { pid, directory }
    }

    fn ask(&self, arguments: &[&str], input: &str) -> Ran {
        let mut client = command(&[&["--remote"], arguments].concat());
        client.env("XDG_RUNTIME_DIR", self.directory.path()).env("GUESTFISH_PID", &self.pid);
        feed(client.current_dir(self.directory.path()), input.as_bytes())
    }

    fn output(&self, arguments: &[&str]) -> String {
        let ran = self.ask(arguments, "");
        assert!(ran.code == Some(0) && ran.err.is_empty(), "{arguments:?}: {ran:?}");
        ran.text().to_owned()
    }

    fn runs(&self) -> bool {
        Path::new(&format!("/proc/{}/exe", self.pid)).read_link().is_ok_and(|exe| exe.ends_with("guestfish"))
    }

    /// Waits until it has ended.
    fn ended(&self) -> bool {
        (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            !self.runs()
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.runs() {
            let _ = Command::new("kill").arg(&self.pid).status();
        }
    }
}

#[test]
fn commands_are_served_until_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk").to_str().unwrap().to_owned();
    let server = Server::new(&["--listen", "-N", &format!("{disk}=fs:ext4:32M")]);
    assert_eq!(server.output(&["mount", "/dev/sda1", "/"]), "");
    assert_eq!(server.output(&["write", "/a", "x y", ":", "cat", "/a"]), "x y\n");
    // Typed, piped, with text that follows, with the client's own shell.
    let ran = server.ask(
        &[],
        "cat /a | tr a-z A-Z\nupload -<<END /b\nhello\nEND\ncat /b\n!echo here\n-cat /missing\nglob echo /[ab]\ntime echo t | head -n 1\n",
    );
    assert_eq!((ran.code, ran.text()), (Some(0), "X Y\nhello\n\nhere\n/a\n/b\nt\n"), "{ran:?}");
    assert!(ran.err.contains("libguestfs: error: cat: /missing: No such file or directory\n"), "{ran:?}");
    // Streams are the client's.
    let ran = server.ask(&["upload", "-", "/up"], "from the client");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(server.output(&["download", "/up", "-"]), "from the client");
    assert_eq!(server.output(&["get-memsize"]), "512\n");
    assert!(server.runs());
    assert_eq!(server.output(&["exit"]), "");
    assert!(server.ended(), "it goes on");
    // What was written is on the disk when the client returns.
    let part = system_tests::images::part_of(Path::new(&disk), 0);
    assert_eq!(peer("debugfs", &["-R", "cat /up", part.to_str().unwrap()]), "from the client");
    let ran = server.ask(&["echo", "x"], "");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "guestfish: remote: looks like the server is not running\n")
    );
}

#[test]
fn a_failed_command_ends_the_server_unless_ignored() {
    let server = Server::new(&["--listen"]);
    let ran = server.ask(&["--", "-xyzzy"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), "xyzzy: unknown command\n"));
    assert!(server.runs());
    let ran = server.ask(&["get-backend-setting", "nope"], "");
    assert!(ran.code == Some(1) && ran.err.contains("setting not found"), "{ran:?}");
    assert!(server.ended(), "it goes on");
}

#[test]
fn a_server_that_cannot_begin_is_told() {
    let ran = feed(&mut command(&["--listen", "-a", "/no/such/disk"]), b"");
    assert_eq!((ran.code, ran.text()), (Some(1), ""));
    assert!(ran.err.contains("/no/such/disk: No such file or directory"), "{ran:?}");
    let mut lonely = Command::new(program("guestfish"));
    let ran = feed(lonely.args(["--remote", "echo"]).env_remove("GUESTFISH_PID"), b"");
    assert!(ran.code == Some(1) && ran.err.contains("$GUESTFISH_PID must be set"), "{ran:?}");
    let directory = tempfile::tempdir().unwrap();
    let ran = feed(command(&["--listen", "--csh"]).env("XDG_RUNTIME_DIR", directory.path()), b"");
    let pid = ran.text().strip_prefix("setenv GUESTFISH_PID ").unwrap().trim().to_owned();
    let mut client = command(&[&format!("--remote={pid}"), "quit"]);
    assert_eq!(feed(client.env("XDG_RUNTIME_DIR", directory.path()), b"").code, Some(0));
}
