//! Servers that end with their test.

use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use system_tests::programs::program;
use system_tests::socket::listens;
use tempfile::TempDir;

/// Longer than anything takes, however slow the machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A server on a Unix socket.
pub(crate) struct Server {
    process: Child,
    pub(crate) socket: PathBuf,
}

impl Server {
    /// `program` with `words` and `-k SOCKET`, for an image in `directory`.
    pub(crate) fn start(program: impl AsRef<OsStr>, directory: &Path, words: &[&str]) -> Self {
        let name = Path::new(program.as_ref()).file_name().unwrap().to_string_lossy().into_owned();
        let socket = directory.join(format!("{name}.{}", words.len()));
        let _ = std::fs::remove_file(&socket);
        let process = Command::new(program)
            .args(words)
            .arg("-k")
            .arg(&socket)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Server { process, socket };
        let start = Instant::now();
        while !listens(&server.socket) {
            assert!(start.elapsed() < LONG, "the server does not listen");
            assert!(server.process.try_wait().unwrap().is_none(), "the server has ended");
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// Ours.
    pub(crate) fn ours(directory: &Path, words: &[&str]) -> Self {
        let words: Vec<&str> = ["serve"].iter().chain(words).copied().collect();
        Self::start(program("nbd"), directory, &words)
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Bytes of memory that it occupies.
    pub(crate) fn memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < LONG, "the server does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An empty directory.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Runs a line of shell in `directory`, which must work; its output.
pub(crate) fn shell(directory: &Path, line: &str) -> String {
    let output = Command::new("bash").arg("-ec").arg(line).current_dir(directory).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {}\n{error}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
