//! A program that goes on in the background once it is ready.
//!
//! It starts itself a second time, and waits until that says on a pipe that it is ready; or until it
//! ends, and then ends with its status. Until it is ready the second process has the terminal, for questions; then it has
//! a session of its own. Nothing is forked from a process with threads.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Names the pipe for the second process.
const VARIABLE: &str = "DISKWRIGHT_READY";

/// A descriptor that whoever started this process has left open, as a file of its own.
///
/// # Errors
/// When it is not open, or nothing that can be opened again.
pub fn inherited(fd: RawFd, write: bool) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().read(!write).write(write).open(format!("/proc/self/fd/{fd}"))
}

/// In the second process: what it says that it is ready with. `None` in the first.
pub struct Background(std::fs::File);

impl Background {
    /// Whether this is the second process.
    ///
    /// # Errors
    /// When the pipe that it was promised is not there.
    pub fn here() -> io::Result<Option<Self>> {
        let Ok(number) = std::env::var(VARIABLE) else { return Ok(None) };
        let number = number.parse().map_err(io::Error::other)?;
        let pipe = inherited(number, true)?;
        Ok(Some(Background(pipe)))
    }

    /// The first process can end: from here on nobody sees what is printed.
    ///
    /// # Errors
    /// When that cannot be said.
    pub fn ready(mut self) -> io::Result<()> {
        rustix::process::setsid()?;
        let nowhere = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&nowhere)?;
        dup2_stdout(&nowhere)?;
        dup2_stderr(&nowhere)?;
        self.0.write_all(b"1")
    }
}

/// In the first process: starts the second and waits for it.
///
/// # Errors
/// When it cannot be started.
pub fn start() -> io::Result<ExitCode> {
    let (mut reader, writer) = io::pipe()?;
    let inherit = writer.try_clone()?;
    rustix::io::fcntl_setfd(&inherit, rustix::io::FdFlags::empty())?;
    let mut words = std::env::args_os();
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    command.args(words).env(VARIABLE, inherit.as_raw_fd().to_string()).stdin(Stdio::inherit());
    let mut child = command.spawn()?;
    drop((writer, inherit));
    let mut byte = [0];
    // Without a byte it has ended, and said why.
    if reader.read(&mut byte)? == 1 {
        return Ok(ExitCode::SUCCESS);
    }
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
