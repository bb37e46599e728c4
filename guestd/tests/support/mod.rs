//! An agent over a directory and loop devices, for tests of its actions.
//!
//! The agent runs in a mount namespace of its own, so whatever a test mounts is gone with it. Needs root.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part; a test may stop at the first surprise"
)]

use appliance_engine::rpc::Client;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;

/// Bytes.
pub const MIB: u64 = 1 << 20;

/// What an error says.
pub fn message(result: Result<impl std::fmt::Debug, guestd_api::Error>) -> String {
    result.unwrap_err().to_string()
}

/// What a tool of this machine prints; it must succeed.
pub fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running agent and what it works on.
pub struct Agent {
    pub client: Client,
    pub directory: TempDir,
    pub loops: Vec<Loop>,
    pub child: Child,
}

/// A file as a block device.
pub struct Loop {
    pub file: PathBuf,
    pub node: PathBuf,
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.node).status();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Killing it frees its mount namespace and with that the loop devices.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn attach(file: &Path, size: u64) -> Loop {
    File::create(file).unwrap().set_len(size).unwrap();
    let output = Command::new("losetup").args(["-f", "--show", "-P"]).arg(file).output().unwrap();
    assert!(output.status.success(), "losetup: {output:?}");
    let node = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    Loop { file: file.to_owned(), node }
}

impl Agent {
    /// An agent whose guest is the directory `guest` itself.
    pub fn over_directory() -> Agent {
        Self::start(&[], true)
    }

    /// An agent with disks of these sizes in bytes and nothing mounted.
    pub fn with_disks(sizes: &[u64]) -> Agent {
        Self::start(sizes, false)
    }

    fn start(sizes: &[u64], directory_is_guest: bool) -> Agent {
        let directory = tempfile::tempdir().unwrap();
        let guest = directory.path().join("guest");
        std::fs::create_dir(&guest).unwrap();
        let file = |index| directory.path().join(format!("disk{index}.img"));
        let loops: Vec<Loop> =
            sizes.iter().enumerate().map(|(index, size)| attach(&file(index), *size)).collect();
        let (ours, child) = Self::spawn(&guest, &loops, directory_is_guest);
        let client = Client::with_patience(ours, Duration::from_secs(60)).unwrap();
        Agent { client, directory, loops, child }
    }

    /// Starts the agent's program and returns the raw stream to it.
    pub fn spawn(guest: &Path, loops: &[Loop], directory_is_guest: bool) -> (UnixStream, Child) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let fd = rustix::io::dup(&theirs).unwrap();
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private"]).arg(env!("CARGO_BIN_EXE_guestd"));
        command.arg("--serve").arg(fd.as_raw_fd().to_string()).arg("--sysroot").arg(guest);
        for disk in loops {
            command.arg("--disk").arg(&disk.node);
        }
        if directory_is_guest {
            command.arg("--directory-is-guest");
        }
        // A duplicate made without close-on-exec is what the agent inherits.
        let child = command.spawn().unwrap();
        drop((fd, theirs));
        (ours, child)
    }

    /// A path of the guest as the host sees it, what is mounted there included.
    pub fn inside(&self, path: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(self.host(path).strip_prefix("/").unwrap())
    }

    /// Makes a fifo in the guest.
    pub fn make_fifo(&self, path: &str) {
        output("mkfifo", &[self.inside(path).to_str().unwrap()]);
    }

    /// The node of a disk.
    pub fn node(&self, index: usize) -> String {
        self.loops.get(index).unwrap().node.to_str().unwrap().to_owned()
    }

    /// A path of the guest as the host sees it (before anything is mounted on it).
    pub fn host(&self, path: &str) -> PathBuf {
        self.directory.path().join("guest").join(path.trim_start_matches('/'))
    }
}
