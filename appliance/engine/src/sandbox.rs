//! Runs a virtual machine's process shut in, and makes sure that it never outlives us.
//!
//! Where the host allows it, the process gets namespaces of its own: it sees no network, no other
//! process, and of the file system only programs and libraries, plus a private memory file system that
//! vanishes with it. It is the first process of its PID namespace and dies with the thread that made it,
//! so nothing of it can be left behind, however we end. Where namespaces are not allowed, it is kept from
//! files by Landlock and from networks by a filter of system calls; a process group and a small watchdog see
//! to its end.

#![allow(unsafe_code, reason = "clone, and system calls between it and execve, have no safe form")]

mod enter;
mod limits;
mod world;

pub(crate) use world::private_directory;

use std::ffi::{CString, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid};

use crate::processor::Processor;
use enter::{Plan, Pointers, STEPS};
use limits::Limits;

/// The first process of a PID namespace. It cannot be the program itself: the kernel spares a first
/// process its own signals, and a UML that panics would try to abort for ever.
const INIT: &str = "\"$@\"; exit $?";

/// A program to run, and what it is given.
pub(crate) struct Program {
    /// The executable, opened.
    pub(crate) file: OwnedFd,
    /// Name of the process.
    pub(crate) name: String,
    /// Descriptors that it inherits, under the numbers they have here.
    pub(crate) keep: Vec<OwnedFd>,
    /// Standard output and error.
    pub(crate) output: OwnedFd,
    /// Bytes that it may need in memory files, `/dev/shm` and its private directory together.
    pub(crate) memory: u64,
    /// All of it runs on one processor of the host.
    pub(crate) one_processor: bool,
}

/// Where the program may write, as it sees it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// A private directory.
    pub(crate) directory: PathBuf,
    /// A directory in which nothing is.
    pub(crate) empty: PathBuf,
    /// For `TMPDIR`, where there is no `/dev/shm` of its own.
    pub(crate) temporary: Option<PathBuf>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
}

/// A process that runs shut in. Dropping it ends everything that belongs to it, and waits for that.
pub(crate) struct Child {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    pidfd: OwnedFd,
    pid: Pid,
    hold: Hold,
    ended: Mutex<Option<Ended>>,
    changed: Condvar,
}

/// What holds a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Namespaces,
    /// Landlock and the filter.
    Limits,
    /// On a kernel without Landlock.
    Filter,
}

impl Child {
    /// Starts `program` with the arguments that `arguments` makes for the place it gets. When it has
    /// ended, `at_end` runs before anybody hears of it.
    pub(crate) fn spawn(
        program: Program,
        arguments: impl Fn(&Place) -> Vec<OsString> + Send + 'static,
        at_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Child> {
        let (tell, told) = mpsc::sync_channel(1);
        // The thread that starts the process must live as long as it: the kernel ties them together.
        let keeper = std::thread::Builder::new().name("machine-keeper".into()).spawn(move || {
            let processor = program.one_processor.then(Processor::claim).flatten();
            let started = match &processor {
                Some(processor) => processor.run(|| start(program, &arguments)),
                None => start(program, &arguments),
            };
            let (shared, group) = match started {
                Ok((shared, group)) => (Arc::new(shared), group),
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _ = tell.send(Ok(Arc::clone(&shared)));
            shared.keep();
            drop(group);
            let ended = shared.reap();
            at_end();
            drop(processor);
            *shared.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
            shared.changed.notify_all();
        })?;
        let shared = told.recv().map_err(|_| io::Error::other("The thread that starts machines died"))??;
        Ok(Child { shared, keeper: Some(keeper) })
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        // An error means that it has ended by itself.
        let _ = pidfd_send_signal(&self.shared.pidfd, Signal::KILL);
    }

    /// What holds it, in a few words.
    pub(crate) fn confinement(&self) -> &'static str {
        match self.shared.hold {
            Hold::Namespaces => "namespaces of its own",
            Hold::Limits => "Landlock, a filter of system calls, and a watchdog",
            Hold::Filter => "a filter of system calls, and a watchdog",
        }
    }

    /// The process id, for messages.
    pub(crate) fn id(&self) -> i32 {
        self.shared.pid.as_raw_nonzero().get()
    }

    /// Waits until it has ended, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<Ended> {
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.changed.wait_timeout_while(ended, timeout, |ended| ended.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Shared {
    /// Waits until the process has ended, but leaves it to be collected: its number stays taken.
    fn keep(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {}
    }

    fn reap(&self) -> Ended {
        let status = loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.ok().flatten(),
            }
        };
        match status.and_then(|status| status.exit_status()) {
            // So a shell reports a signal, and the first process of a namespace is a shell.
            Some(code @ 129..) if self.hold == Hold::Namespaces => Ended::Signalled(code - 128),
            Some(code) => Ended::Exited(code),
            None => Ended::Signalled(
                status.and_then(|status| status.terminating_signal()).unwrap_or(libc::SIGKILL),
            ),
        }
    }
}

/// Tries with namespaces, then without.
fn start(
    program: Program,
    arguments: &impl Fn(&Place) -> Vec<OsString>,
) -> io::Result<(Shared, Option<Group>)> {
    if let Ok((pid, pidfd)) = world::create(program.memory)
        .and_then(|(world, place)| launch(&program, arguments(&place), Walls::World(world), &place))
    {
        return Ok((Shared::new(pid, pidfd, Hold::Namespaces), None));
    }
    let (place, directory) = world::shared_place(program.memory)?;
    let mut group = Group::new(directory);
    let files: Vec<_> = [&program.file].into_iter().chain(&program.keep).map(AsFd::as_fd).collect();
    let limits = Limits::new(&files, &[&place.directory])?;
    let hold = if limits.guards_files() { Hold::Limits } else { Hold::Filter };
    let (pid, pidfd) = launch(&program, arguments(&place), Walls::Limits(limits), &place)?;
    group.guard(pid);
    Ok((Shared::new(pid, pidfd, hold), Some(group)))
}

impl Shared {
    fn new(pid: Pid, pidfd: OwnedFd, hold: Hold) -> Self {
        Shared { pidfd, pid, hold, ended: Mutex::new(None), changed: Condvar::new() }
    }
}

/// What is put around a process.
enum Walls {
    World(enter::World),
    Limits(Limits),
}

fn launch(
    program: &Program,
    arguments: Vec<OsString>,
    walls: Walls,
    place: &Place,
) -> io::Result<(Pid, OwnedFd)> {
    let (world, limits) = match walls {
        Walls::World(world) => (Some(world), None),
        Walls::Limits(limits) => (None, Some(limits)),
    };
    let null = std::fs::File::open("/dev/null")?;
    let (go_read, mut go_write) = io::pipe()?;
    let (mut status_read, status_write) = io::pipe()?;
    let path = format!("/proc/self/fd/{}", program.file.as_raw_fd());
    let mut keep: Vec<_> = program.keep.iter().map(AsRawFd::as_raw_fd).collect();
    let (runner, first) = if world.is_some() {
        keep.push(program.file.as_raw_fd());
        ("/bin/sh", ["sh", "-c", INIT, &program.name, &path].map(OsString::from).to_vec())
    } else {
        (path.as_str(), vec![OsString::from(&program.name)])
    };
    let arguments = first.into_iter().chain(arguments);
    let mut environment = vec![CString::from(c"PATH=/usr/bin:/bin"), CString::from(c"HOME=/nonexistent")];
    if let Some(temporary) = &place.temporary {
        let mut variable = OsString::from("TMPDIR=");
        variable.push(temporary);
        environment.push(c_string(variable)?);
    }
    let plan = Plan {
        world,
        limits,
        program: c_string(OsString::from(runner))?,
        arguments: Pointers::new(arguments.map(c_string).collect::<io::Result<_>>()?),
        environment: Pointers::new(environment),
        stdio: [null.as_raw_fd(), program.output.as_raw_fd(), program.output.as_raw_fd()],
        keep,
        go: go_read.as_raw_fd(),
        go_writer: go_write.as_raw_fd(),
        status: status_write.as_raw_fd(),
    };
    let (pid, pidfd) = enter::born(&plan)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("The new process has no number"))?;
    drop(status_write);
    // Fails only if the process is gone, which shows below.
    let _ = go_write.write_all(&[1]);
    let mut report = [0; 8];
    let told = read_some(&mut status_read, &mut report)?;
    if told == 0 {
        // The pipe was closed by a successful execve.
        return Ok((pid, pidfd));
    }
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    let report = u64::from_ne_bytes(report);
    let step = STEPS.get((report & 0xffff_ffff) as usize).copied().unwrap_or("start");
    let source = io::Error::from_raw_os_error((report >> 32) as i32);
    Err(io::Error::new(source.kind(), format!("The process of {} could not {step}: {source}", program.name)))
}

fn read_some(pipe: &mut io::PipeReader, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match pipe.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn c_string(text: OsString) -> io::Result<CString> {
    CString::new(text.into_vec()).map_err(io::Error::other)
}

/// A machine without namespaces: its process group, its directory, and the watchdog of both.
struct Group {
    leader: Option<Pid>,
    directory: PathBuf,
    watchdog: Option<std::process::Child>,
}

/// Reads the number of a process group, then waits for the end of its input, which only we hold open:
/// when we die, however, the watchdog cleans up in our place.
const WATCHDOG: &str =
    "read -r group; read -r _; [ -z \"$group\" ] || kill -s KILL -- \"-$group\"; rm -rf -- \"$1\"";

impl Group {
    fn new(directory: PathBuf) -> Self {
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "machine-watchdog"])
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .ok();
        Group { leader: None, directory, watchdog }
    }

    fn guard(&mut self, leader: Pid) {
        self.leader = Some(leader);
        if let Some(input) = self.watchdog.as_mut().and_then(|watchdog| watchdog.stdin.as_mut()) {
            // Without its watchdog the machine is as good as others have them.
            let _ = writeln!(input, "{}", leader.as_raw_nonzero());
        }
    }
}

impl Drop for Group {
    /// Runs when the leader has ended and is not yet collected, so that its number is still its own.
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
        if let Some(watchdog) = &mut self.watchdog {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
    }
}
