//! The side that runs commands.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};
use guestd_api::GuestString;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::{Reply, Request, frame, socket_path};
use crate::local::Flow;
use crate::session::Session;
use crate::shell::{Shell, report};

/// Tells the program that it is the one that stays.
const STAY: &str = "GUESTFISH_SERVER";
/// What it says when it can be reached.
const READY: &[u8] = b"ready\n";

/// Starts the server: this program again, with the same options. Prints how to reach it once it listens.
///
/// # Errors
/// When it cannot be started. What goes wrong in it is told by itself.
pub(crate) fn announce(csh: bool) -> Result<ExitCode> {
    let program = std::env::current_exe().context("this program")?;
    let (mut reader, writer) = io::pipe()?;
    // In a process group of its own: Ctrl-C is for those who wait for something.
    let child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(STAY, "1")
        .stdin(Stdio::null())
        .stdout(writer)
        .process_group(0)
        .spawn()
        .context("guestfish")?;
    let mut said = Vec::new();
    io::Read::read_to_end(&mut reader, &mut said)?;
    if said != READY {
        return Ok(ExitCode::FAILURE);
    }
    let pid = child.id();
    let line = if csh {
        format!("setenv GUESTFISH_PID {pid}\n")
    } else {
        format!("GUESTFISH_PID={pid}; export GUESTFISH_PID\n")
    };
    cli::print(&line)?;
    Ok(ExitCode::SUCCESS)
}

/// This process is the one that stays.
pub(crate) fn is_server() -> bool {
    std::env::var_os(STAY).is_some()
}

/// The socket's file, which goes away with the server.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Runs the commands of clients until one says so, or fails; false if one failed.
///
/// # Errors
/// When there can be no socket.
pub(crate) fn serve(session: &mut Session) -> Result<bool> {
    let path = socket_path(std::process::id())?;
    // A process of this number that was killed may have left one.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
    let socket = Socket { listener, path };
    io::stdout().write_all(READY)?;
    io::stdout().flush()?;
    // Who waits for the end of what is printed waits no longer; commands bring their own.
    let nowhere = fs::OpenOptions::new().read(true).write(true).open("/dev/null").context("/dev/null")?;
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    loop {
        let (stream, _) = socket.listener.accept()?;
        // A client that breaks off leaves the others.
        if let Ok(Some(done)) = serve_client(session, stream) {
            return Ok(done);
        }
    }
}

/// Serves one client; says how the server ends, if it does.
fn serve_client(session: &mut Session, mut stream: UnixStream) -> Result<Option<bool>> {
    while let Some((request, files)) = frame::receive::<Request>(&mut stream)? {
        if request.version != env!("CARGO_PKG_VERSION") {
            frame::send(&mut stream, &Reply::Version(env!("CARGO_PKG_VERSION").to_owned()), &[])?;
            return Ok(None);
        }
        let ignore = request.ignore_errors;
        let (reply, end) = match run(session, request, &files)? {
            Some(Flow::Go) => (Reply::Done, None),
            Some(Flow::Quit) => {
                // What the guest was told is on its disks when the client goes on.
                session.reopen()?;
                (Reply::Quit, Some(true))
            }
            None if ignore => (Reply::Failed, None),
            None => (Reply::Failed, Some(false)),
        };
        frame::send(&mut stream, &reply, &[])?;
        if end.is_some() {
            return Ok(end);
        }
    }
    Ok(None)
}

/// Runs a command with the client's files; nothing if it failed.
fn run(session: &mut Session, request: Request, files: &[OwnedFd]) -> Result<Option<Flow>> {
    let words: Vec<GuestString> = request.words.into_iter().map(GuestString::from).collect();
    let _borrowed = Borrowed::new(files)?;
    let done = Shell::with_text(request.text).run(session, &words, &mut io::stdout());
    io::stdout().flush()?;
    match done {
        Ok(flow) => Ok(Some(flow)),
        Err(error) => {
            report(session, &error);
            Ok(None)
        }
    }
}

/// Standard input, output and error of somebody else, until this is dropped.
struct Borrowed {
    own: [OwnedFd; 3],
}

impl Borrowed {
    fn new(files: &[OwnedFd]) -> Result<Self> {
        let own = [
            io::stdin().as_fd().try_clone_to_owned()?,
            io::stdout().as_fd().try_clone_to_owned()?,
            io::stderr().as_fd().try_clone_to_owned()?,
        ];
        let borrowed = Borrowed { own };
        if let [input, output, errors] = files {
            dup2_stdin(input)?;
            dup2_stdout(output)?;
            dup2_stderr(errors)?;
        }
        Ok(borrowed)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let [input, output, errors] = &self.own;
        // These are open; nothing else can go wrong.
        let _ = dup2_stdin(input);
        let _ = dup2_stdout(output);
        let _ = dup2_stderr(errors);
    }
}
