//! Running programs: tools in their root, or the guest's own in the guest.
//!
//! A program runs in a process group of its own that dies when the action is cancelled. What it prints is
//! bounded; names of disks and paths in its messages are put as the user knows them.

use crate::worker::Worker;
use guestd_api::{Failure, GuestString};
use rustix::process::Pid;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most that a program may print into an answer.
const MAX_OUTPUT: usize = 64 << 20;
/// The most of its error text that is kept: the end says what went wrong.
const MAX_ERRORS: usize = 64 << 10;

/// The programs that actions have started and will wait for. It is locked while one starts, so who holds
/// the lock knows them all.
static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// See [`STARTED`].
pub(crate) fn started() -> MutexGuard<'static, BTreeSet<i32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program to be run.
pub(crate) struct Program<'w> {
    worker: &'w Worker,
    name: OsString,
    command: Command,
    /// The guest's path as it appears in the program's output; empty for the guest's own programs.
    sysroot: Vec<u8>,
}

/// What is left of a program that has ended.
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// What it said on its standard error output, in the user's words.
    pub(crate) errors: GuestString,
}

impl Worker {
    /// A program of the tools.
    pub(crate) fn tool(&self, name: &str) -> Result<Program<'_>, Failure> {
        let root = self.agent.tools.open_root()?;
        if self.agent.tools.find(name)?.is_none() {
            let package = crate::tools::package(name);
            return Err(Failure::new(format!(
                "The appliance has no program '{name}', which the package '{package}' would bring"
            ))
            .with_errno(libc::ENOENT));
        }
        let sysroot = self.agent.tools.sysroot_text(&self.agent.sysroot);
        Ok(Program::new(self, OsStr::new(name), root, sysroot))
    }

    /// A program of the guest.
    pub(crate) fn guest_program(&self, name: &OsStr) -> Result<Program<'_>, Failure> {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open(&self.agent.sysroot, flags, rustix::fs::Mode::empty())
            .map_err(|e| Failure::io("/sysroot", &e.into()))?;
        Ok(Program::new(self, name, root, Vec::new()))
    }
}

impl<'w> Program<'w> {
    fn new(worker: &'w Worker, name: &OsStr, root: OwnedFd, sysroot: Vec<u8>) -> Self {
        let mut command = Command::new(name);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        command.env("HOME", "/root").env("SHELL", "/bin/sh").env("TERM", "dumb");
        command.envs(worker.agent.session.environment().iter());
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        crate::sys::set_root(&mut command, root);
        Program { worker, name: name.to_owned(), command, sysroot }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it a file as standard input.
    pub(crate) fn stdin(mut self, file: std::fs::File) -> Self {
        self.command.stdin(file);
        self
    }

    /// Has it write its standard output into a file.
    pub(crate) fn stdout(mut self, file: std::fs::File) -> Self {
        self.command.stdout(file);
        self
    }

    /// Runs it to its end, whatever its status.
    pub(crate) fn finish(self) -> Result<Done, Failure> {
        self.finish_with(None, None)
    }

    /// Runs it; a status other than 0 is a failure that says what the program said.
    pub(crate) fn run(self) -> Result<Vec<u8>, Failure> {
        let done = self.finish()?;
        done.success().map(|()| done.stdout)
    }

    /// Runs it; a failure's text starts with what it was about.
    pub(crate) fn run_for(self, subject: impl AsRef<[u8]>) -> Result<Vec<u8>, Failure> {
        self.run().map_err(|failure| failure.about(subject))
    }

    /// Runs it with a stream to its standard input or from its standard output.
    pub(crate) fn finish_with(
        mut self,
        input: Option<&mut dyn Read>,
        output: Option<&mut dyn Write>,
    ) -> Result<Done, Failure> {
        if input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let task = &self.worker.task;
        task.check()?;
        let failed = |e: &io::Error| Failure::io(self.name.as_encoded_bytes(), e);
        let (mut child, pid) = {
            let mut started = started();
            let child = self.command.spawn().map_err(|e| failed(&e))?;
            let pid = i32::try_from(child.id()).unwrap_or_default();
            started.insert(pid);
            (child, pid)
        };
        let group = Pid::from_raw(pid);
        if let Some(group) = group {
            task.child_started(group);
        }
        let streams = Streams::new(&mut child);
        streams.widen(input.is_some(), output.is_some());
        let moved = streams.pump(input, output, || {
            if let Some(group) = group {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
        });
        let status = child.wait();
        started().remove(&pid);
        if let Some(group) = group {
            task.child_ended(group);
        }
        let status = status.map_err(|e| failed(&e))?;
        task.check()?;
        let (stdout, errors) = moved.map_err(|e| failed(&e))?;
        let errors = self.user_text(&errors);
        Ok(Done { status, stdout, errors })
    }

    /// A program's text with names as the user knows them, without the last newline.
    fn user_text(&self, text: &[u8]) -> GuestString {
        let text = text.trim_ascii_end();
        if self.sysroot.is_empty() {
            return text.into();
        }
        self.worker.agent.disks.shown_text(&without_sysroot(text, &self.sysroot)).into()
    }
}

/// Text in which paths below the guest's root start at the guest's root.
pub(crate) fn without_sysroot(text: &[u8], sysroot: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(sysroot.len()).position(|window| window == sysroot) {
        let (before, found) = rest.split_at(at);
        out.extend_from_slice(before);
        rest = found.get(sysroot.len()..).unwrap_or_default();
        if rest.first() != Some(&b'/') {
            out.push(b'/');
        }
    }
    out.extend_from_slice(rest);
    out
}

impl Done {
    /// An error with the program's words unless its status is 0.
    pub(crate) fn success(&self) -> Result<(), Failure> {
        if self.status.success() { Ok(()) } else { Err(self.failure()) }
    }

    /// An error that says how the program ended, unless its status is 0.
    pub(crate) fn success_of(&self, name: &str) -> Result<(), Failure> {
        match self.status.code() {
            Some(0) => Ok(()),
            Some(code) => {
                Err(Failure::new(self.errors.clone()).about(format!("{name} exited with status {code}")))
            }
            None => Err(self.failure()),
        }
    }

    /// What the program said, or how it ended if it said nothing.
    pub(crate) fn failure(&self) -> Failure {
        let failure = match (self.errors.is_empty(), self.status.code(), self.status.signal()) {
            (false, _, _) => return Failure::new(self.errors.clone()),
            (true, Some(code), _) => format!("command exited with status {code} and no message"),
            (true, None, Some(signal)) => format!("command was ended by signal {signal}"),
            (true, None, None) => "command ended in an unknown way".to_owned(),
        };
        Failure::new(failure)
    }
}

/// The ends of a child's pipes.
struct Streams {
    stdin: Option<std::process::ChildStdin>,
    stdout: Option<std::process::ChildStdout>,
    stderr: Option<std::process::ChildStderr>,
}

impl Streams {
    fn new(child: &mut Child) -> Self {
        Streams { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() }
    }

    /// Makes the pipes of streams hold more, so that fewer changes of process move them. Where the kernel does
    /// not allow it they are slower and nothing else.
    fn widen(&self, input: bool, output: bool) {
        const ROOM: usize = 1 << 20;
        if let Some(pipe) = self.stdin.as_ref().filter(|_| input) {
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, ROOM);
        }
        if let Some(pipe) = self.stdout.as_ref().filter(|_| output) {
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, ROOM);
        }
    }

    /// Moves everything until the child closes its outputs. `give_up` ends the child when a stream of ours
    /// failed, so that the others end as well.
    fn pump(
        self,
        input: Option<&mut dyn Read>,
        output: Option<&mut dyn Write>,
        give_up: impl Fn(),
    ) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let Streams { stdin, stdout, stderr } = self;
        std::thread::scope(|scope| {
            let errors = scope.spawn(move || read_errors(stderr));
            let (moved, stdout) = match output {
                Some(output) => (copy(stdout, output).map(|()| Vec::new()), None),
                None => (Ok(Vec::new()), stdout),
            };
            if moved.is_err() {
                give_up();
            }
            let collected = stdout.map(|stdout| scope.spawn(move || collect(stdout)));
            let fed = match (input, stdin) {
                (Some(input), Some(stdin)) => feed(input, stdin),
                _ => Ok(()),
            };
            if fed.is_err() {
                give_up();
            }
            let panicked = || io::Error::other("a thread of the agent failed");
            let text = match collected {
                Some(thread) => {
                    let text = thread.join().map_err(|_| panicked())?;
                    if text.is_err() {
                        give_up();
                    }
                    text
                }
                None => moved,
            };
            let errors = errors.join().map_err(|_| panicked())?;
            fed?;
            Ok((text?, errors))
        })
    }
}

fn copy(from: Option<impl Read>, to: &mut dyn Write) -> io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = vec![0; guestd_api::exchange::PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Feeds the program; if it stops reading, what it says counts and not the broken pipe.
fn feed(input: &mut dyn Read, mut stdin: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; guestd_api::exchange::PIECE];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match stdin.write_all(buffer.get(..count).unwrap_or_default()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn collect(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.by_ref().take(MAX_OUTPUT as u64).read_to_end(&mut text)?;
    if text.len() == MAX_OUTPUT && from.read(&mut [0])? > 0 {
        return Err(io::Error::other(format!("the program prints more than {MAX_OUTPUT} bytes")));
    }
    Ok(text)
}

/// Reads error text to its end and keeps the last part of it.
fn read_errors(from: Option<impl Read>) -> Vec<u8> {
    let Some(mut from) = from else { return Vec::new() };
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return text,
            Ok(count) => {
                text.extend_from_slice(buffer.get(..count).unwrap_or_default());
                if text.len() > 2 * MAX_ERRORS {
                    text.drain(..text.len().saturating_sub(MAX_ERRORS));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return text,
        }
    }
}
