//! A server that is a command of ours: it is started for one client, and ends with it.
//!
//! It inherits a listening socket the way systemd passes one on, so it can be connected to more than once.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::address::Target;
use super::error::{Error, Result};

/// The variables name the process that is meant, which only knows its number when it runs. Descriptor 0 is the socket,
/// `$1` the number of what shall be standard input, if there is one.
const SHELL: &str = r#"exec 3<&0
case $1 in
    none) exec </dev/null ;;
    *) eval "exec <&$1 $1<&-" ;;
esac
shift
command -v "$1" >/dev/null 2>&1 || { printf '%s: No such file or directory\n' "$1" >&2; exit 127; }
LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#;

/// How long a server may take to end before it is made to.
const PATIENCE: Duration = Duration::from_secs(5);

/// The servers that run: process and directory.
static RUNNING: Mutex<Vec<(u32, PathBuf)>> = Mutex::new(Vec::new());

/// A running server, which is ended when this is dropped.
pub struct Server {
    process: Child,
    directory: PathBuf,
    target: Target,
}

impl Server {
    /// Starts `command`, a program and its arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &[OsString]) -> Result<Self> {
        let name = command.first().map(|word| word.display().to_string()).unwrap_or_default();
        let failed = |source: io::Error| Error::Start { command: name.clone(), source: source.into() };
        if command.is_empty() {
            return Err(Error::Invalid("The command of a server is missing".to_owned()));
        }
        let directory = private_directory().map_err(failed)?;
        let path = directory.join("sock");
        let spawned = UnixListener::bind(&path).and_then(|listener| spawn(listener, command));
        match spawned {
            Ok(process) => {
                running().push((process.id(), directory.clone()));
                Ok(Server { process, directory, target: Target::Unix(path) })
            }
            Err(error) => {
                remove(&directory);
                Err(failed(error))
            }
        }
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Ends all servers without waiting for them: for a program that is about to end in an unusual way.
    pub fn end_all() {
        for (process, directory) in running().drain(..) {
            terminate(process);
            remove(&directory);
        }
    }

    /// Its process, for who wants to know when it ends.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

fn running() -> MutexGuard<'static, Vec<(u32, PathBuf)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn terminate(process: u32) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn spawn(listener: UnixListener, command: &[OsString]) -> io::Result<Child> {
    // Small, so that the shell can name it with one digit; a server that reads its input finds ours there.
    let input = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 4)
        .ok()
        .filter(|input| rustix::io::fcntl_setfd(input, rustix::io::FdFlags::empty()).is_ok())
        .filter(|input| (4..10).contains(&input.as_raw_fd()));
    let number = match &input {
        Some(input) => input.as_raw_fd().to_string(),
        None => "none".to_owned(),
    };
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(SHELL).arg("sh").arg(number).args(command);
    shell.stdin(Stdio::from(OwnedFd::from(listener)));
    // What it has to say is none of the data that this program may be writing.
    shell.stdout(Stdio::from(std::io::stderr().as_fd().try_clone_to_owned()?));
    shell.spawn()
}

/// A directory that nobody else can look into.
fn private_directory() -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nbd-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => {}
            created => return created.map(|()| path),
        }
    }
}

fn remove(directory: &PathBuf) {
    let _ = std::fs::remove_file(directory.join("sock"));
    let _ = std::fs::remove_dir(directory);
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = self.process.id();
        // Whoever takes it off the list ends it.
        let mut all = running();
        let Some(index) = all.iter().position(|(process, _)| *process == id) else { return };
        all.swap_remove(index);
        drop(all);
        terminate(id);
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if start.elapsed() > PATIENCE {
                let _ = self.process.kill();
                let _ = self.process.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        remove(&self.directory);
    }
}
